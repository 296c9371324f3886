"""A cache of somebody's own that can only get, set and delete, made whole."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeGuard

from varco_cache._base import AsyncCache, CacheBackend
from varco_cache._checks import checked_ttl
from varco_cache._entry import FOREVER, MISSING, CacheEntry
from varco_cache._errors import CacheKeyError, CacheUsageError
from varco_cache._keylock import KeyLocks
from varco_cache._lease import Lease
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from collections.abc import Iterable

_METHODS = ("get", "set", "delete", "exists", "clear", "delete_prefix")
_KEPT = "_varco_adopted"
_TAG = "varco:tag:"
_PLACE, _TAGS = "varco:place", "varco:tags"


def is_cache(one: object) -> TypeGuard[CacheBackend | AsyncCache[Any, Any]]:
    """Whether it is a cache, or has the methods that the least of them have."""
    if isinstance(one, CacheBackend):
        return True
    return not isinstance(one, type) and all(callable(getattr(one, m, None)) for m in _METHODS)


def adopted(cache: object) -> CacheBackend:
    """A cache with all that one has: itself, or the one view of it that supplies the rest.

    Raises:
        CacheUsageError: It is no cache.
    """
    if isinstance(cache, CacheBackend) and cache.is_whole:
        return cache
    known = getattr(cache, _KEPT, None)
    if isinstance(known, AdoptedCache) and known.cache is cache:
        return known
    if not is_cache(cache):
        missing = ", ".join(m for m in _METHODS if not callable(getattr(cache, m, None)))
        raise CacheUsageError(f"{cache!r} is no cache: it lacks {missing}")
    view = AdoptedCache(cache)
    # Where there is no room for it, each who asks has a view: invalidations lie in the cache.
    with suppress(AttributeError):
        setattr(cache, _KEPT, view)
    return view


class AdoptedLease(Lease):
    """A lease that knows the generation of each tag when it was taken."""

    __slots__ = ("generations",)

    generations: dict[str, str]


class AdoptedCache(CacheBackend):
    """Supplies tags and loads to a cache with `get set delete exists clear delete_prefix`.

    What is stored without tags lies in it as it is. A value with tags lies in a place of its own,
    and under its key a note says where, and of which generation its tags are; an invalidation
    begins a new one. So processes that share the cache share the tags, and no value is ever served
    with the tags of another. Keys with tags are strings.

    Entries do not tell how long they have left: `CacheEntry.ttl` is `math.nan`.
    """

    knows_ttl = False

    def __init__(self, cache: CacheBackend | AsyncCache[Any, Any]) -> None:
        self.cache: Any = cache
        if isinstance(cache, CacheBackend):
            self._view_of = cache
        self.shared: bool = getattr(cache, "shared", False)  # a view is what lies beneath it
        self._locks = KeyLocks()

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The value and its tags; None on a miss."""
        value = await self._get(key)
        if value is MISSING:
            return None
        note = _note(value)
        if note is None:
            if type_hint is not None:
                value = await self._get(key, type_hint)
            return None if value is MISSING else CacheEntry(value, math.nan)
        tags: dict[str, str] = note[_TAGS]
        # The value first: what is invalidated before it was read is seen in the generations.
        value = await self._get(note[_PLACE], type_hint)
        if value is MISSING or tags != await self._generations(tags):
            return None
        return CacheEntry(value, math.nan, frozenset(tags))

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss."""
        entry = await self.get_entry(key, type_hint=type_hint)
        return default if entry is None else entry.value

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value."""
        checked_ttl(ttl)
        generations = await self._current(checked_tags(tags))
        try:
            await self._put(key, value, ttl, generations)
        finally:
            self.leases.revoke(key)

    async def delete(self, key: Any) -> None:
        """Forget a key."""
        try:
            async with self._locks.hold(key):
                await self._drop_place(key)
                await self.cache.delete(key)
        finally:
            self.leases.revoke(key)

    async def clear(self) -> None:
        """Forget everything."""
        try:
            await self._locks.settle()
            await self.cache.clear()
        finally:
            self.leases.revoke_all()

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        try:
            await self._locks.settle()
            await self.cache.delete_prefix(prefix)
        finally:
            self.leases.revoke_prefix(prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Begin a new generation of these tags."""
        held = checked_tags(tags)
        try:
            for tag in held:
                await self.cache.set(_TAG + tag, _generation())
        finally:
            for tag in held:
                self.leases.tags.invalidate(tag)

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load."""
        held = frozenset(tags)
        lease = AdoptedLease(key, held, self.leases.tags.acquire(held))
        self.leases.admit(lease)
        try:
            lease.generations = await self._current(held)
        except BaseException:
            self.leases.close(lease)
            raise
        return lease

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded, of the generations in which the load began."""
        assert isinstance(lease, AdoptedLease)  # noqa: S101 # what `lease` returned
        if not self.leases.settle(lease, tags):
            return False
        late = None if tags is None else checked_tags(tags)
        generations = lease.generations if late is None else await self._current(late)
        await self._put(lease.key, value, ttl, generations)
        return True

    async def stop(self) -> None:
        """End background work, and stop the cache."""
        await super().stop()
        stop = getattr(self.cache, "stop", None)
        if stop is not None:
            await stop()

    async def _start(self, *, scoped: bool) -> None:
        if not self._background.running:
            start = getattr(self.cache, "start", None)
            if start is not None:
                await start()
            await super()._start(scoped=scoped)

    async def _get(self, key: Any, type_hint: Any = None) -> Any:
        """The value, or MISSING: a None asks whether there is one."""
        hint = {} if type_hint is None else {"type_hint": type_hint}
        value = await self.cache.get(key, **hint)
        return MISSING if value is None and not await self.cache.exists(key) else value

    async def _put(
        self, key: Any, value: Any, ttl: float | None, generations: dict[str, str]
    ) -> None:
        lives = None if ttl == FOREVER else ttl
        async with self._locks.hold(key):
            await self._drop_place(key)
            if generations:
                if not isinstance(key, str):
                    raise CacheKeyError("key of an entry with tags", key, "use a string")
                place = f"{key}#{_generation()}"
                await self.cache.set(place, value, ttl=lives)
                value = {_PLACE: place, _TAGS: generations}
            await self.cache.set(key, value, ttl=lives)

    async def _drop_place(self, key: Any) -> None:
        note = _note(await self.cache.get(key))
        if note is not None:
            await self.cache.delete(note[_PLACE])

    async def _generations(self, tags: Iterable[str]) -> dict[str, Any]:
        return {tag: await self.cache.get(_TAG + tag) for tag in tags}

    async def _current(self, tags: frozenset[str]) -> dict[str, str]:
        """The generation of each tag; one that has none yet begins."""
        found = await self._generations(tags)
        for tag, generation in found.items():
            if generation is None:
                found[tag] = _generation()
                await self.cache.set(_TAG + tag, found[tag])
        return found


def _note(value: Any) -> Any:
    """What lies under the key of an entry with tags; None under that of another."""
    if isinstance(value, dict) and value.keys() == {_PLACE, _TAGS}:
        return value  # pyright: ignore[reportUnknownVariableType] # of any
    return None


def _generation() -> str:
    return os.urandom(12).hex()
