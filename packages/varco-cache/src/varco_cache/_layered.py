"""Caches stacked: a fast one in front of a shared one."""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio

from varco_cache._backend import CacheBackend, GuardedCache, adopted
from varco_cache._checks import checked_seconds, checked_ttl
from varco_cache._entry import FOREVER, MISSING, CacheEntry, CacheStats
from varco_cache._errors import CacheConfigError
from varco_cache._guard import RETRY_AFTER, TIMEOUT
from varco_cache._keylock import KeyLocks
from varco_cache._lease import Lease
from varco_cache._renaming import takes_time_limit
from varco_cache._tags import checked_tags
from varco_cache._write_back import WriteBuffer
from varco_cache._write_mode import WriteMode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping


class LayeredLease(Lease):
    """A lease of the stack, and one of each layer that may be filled."""

    __slots__ = ("parts",)

    parts: list[Lease | None]


class LayeredCache(CacheBackend):
    """Layers from the fastest to the most shared; each read asks them in turn and promotes.

    A layer that is down or slow is survived: reads go on without it, and what was deleted or
    overwritten meanwhile is deleted in it before it is read again. An invalidation goes from the
    last layer to the first and holds for every read that starts after it returned.

    Other processes' first layers are not reached by it: they serve an entry to the end of its
    ttl, or for `promote_ttl` if that is shorter, unless an event bus tells them.

    Writes and deletes of one key take turns, which keeps the layers from disagreeing. What
    invalidates by tag or prefix waits for the writes that began before it, or one of them could
    land after it.
    """

    reliable: bool = True

    @takes_time_limit
    def __init__(
        self,
        *layers: CacheBackend,
        write_mode: WriteMode | str = WriteMode.WRITE_THROUGH,
        promote_ttl: float | None = None,
        timeout: float = TIMEOUT,
        retry_after: float = RETRY_AFTER,
        flush_interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At least one layer, the fastest first.

        Args:
            layers: The caches.
            write_mode: "write-through", "write-around" or "write-back".
            promote_ttl: Most seconds that a copy lives in the layers before the last, written or
                promoted; never longer than the original.
            timeout: Seconds to wait for a layer that is not in this process.
            retry_after: Seconds to leave such a layer alone after three failures in a row.
            flush_interval: Seconds between the background writes of "write-back".
            clock: Seconds, never going back.
        """
        if not layers:
            raise CacheConfigError("layers", layers, "give at least one cache")
        try:
            self._mode = WriteMode(write_mode)
        except ValueError:
            names = ", ".join(repr(one.value) for one in WriteMode)
            raise CacheConfigError("write_mode", write_mode, f"one of {names}") from None
        self._layers = layers
        self._around = self._mode is WriteMode.WRITE_AROUND
        self._promote_ttl = checked_ttl(promote_ttl, "promote_ttl")
        checked_seconds(timeout, "timeout")
        checked_seconds(retry_after, "retry_after")
        self._caches = [
            layer
            if layer.reliable
            else GuardedCache(layer, timeout=timeout, retry_after=retry_after, clock=clock)
            for layer in map(adopted, layers)
        ]
        self.shared: bool = any(cache.shared for cache in self._caches)
        self.knows_ttl: bool = all(cache.knows_ttl for cache in self._caches)
        self._first = self._caches[0]
        self._last = self._caches[-1]
        self._locks = KeyLocks()
        self._buffer: WriteBuffer | None = None
        if self._mode is WriteMode.WRITE_BACK and len(layers) > 1:
            self._buffer = WriteBuffer(self._last, clock=clock)
            self._caches.insert(-1, self._buffer.cache)
        self._flush_interval = checked_seconds(flush_interval, "flush_interval")

    @property
    def layers(self) -> tuple[CacheBackend, ...]:
        """Those given, in order."""
        return self._layers

    @property
    def write_mode(self) -> WriteMode:
        """Where `set` writes."""
        return self._mode

    def peek(self, key: Any) -> Any:
        """The value if the first layer has it at hand."""
        return self._first.peek(key)

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value from the first layer that has it, promoted to those before; or `default`."""
        value = self._first.peek(key)
        if value is not MISSING:
            return value
        entry = await self.get_entry(key, type_hint=type_hint)
        return default if entry is None else entry.value

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The entry from the first layer that has it, promoted to those before."""
        # Each lease is taken before the layers beneath are read: what is invalidated in between
        # is not promoted.
        leases: list[tuple[CacheBackend, Lease]] = []
        try:
            for cache in self._caches:
                if cache is self._last and self._buffer is not None and key in self._buffer:
                    return None
                entry = await cache.get_entry(key, type_hint=type_hint)
                if entry is not None:
                    await self._promote(leases, entry)
                    return entry
                if cache is not self._last and not self._is_buffer(cache):
                    leases.append((cache, await cache.lease(key)))
            return None
        finally:
            await _release_all(leases)

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit: one look at each layer for all that are missing."""
        found: dict[Any, Any] = {}
        missing: list[Any] = []
        for key in keys:
            value = self._first.peek(key)
            if value is MISSING:
                missing.append(key)
            else:
                found[key] = value
        if missing:
            entries = await self.get_entries(missing, type_hint=type_hint)
            found |= {key: entry.value for key, entry in entries.items()}
        return found

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit, likewise, promoted to the layers before."""
        found: dict[Any, CacheEntry] = {}
        missing = list(dict.fromkeys(keys))
        leases: dict[Any, list[tuple[CacheBackend, Lease]]] = {key: [] for key in missing}
        try:
            for cache in self._caches:
                if cache is self._last and self._buffer is not None:
                    missing = [key for key in missing if key not in self._buffer]
                if not missing:
                    break
                hits = await cache.get_entries(missing, type_hint=type_hint)
                for key, entry in hits.items():
                    await self._promote(leases[key], entry)
                found |= hits
                missing = [key for key in missing if key not in hits]
                if cache is not self._last and not self._is_buffer(cache):
                    for key in missing:
                        leases[key].append((cache, await cache.lease(key)))
            return found
        finally:
            for some in leases.values():
                await _release_all(some)

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value as `write_mode` says; every read that starts afterwards sees it."""
        checked_ttl(ttl)
        held = checked_tags(tags)
        try:
            async with self._locks.hold(key):
                if self._buffer is not None:
                    await self._promise(key, value, ttl, held)
                else:
                    kept = await self._set_last({key: value}, ttl, held)
                    await self._set_near({key: value}, ttl, held, around=kept and self._around)
        finally:
            self.leases.revoke(key)

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike: one write to each layer."""
        if self._buffer is not None:
            await super().set_many(items, ttl=ttl, tags=tags)
            return
        checked_ttl(ttl)
        held = checked_tags(tags)
        try:
            async with self._locks.hold_all(items):
                kept = await self._set_last(items, ttl, held)
                await self._set_near(items, ttl, held, around=kept and self._around)
        finally:
            for key in items:
                self.leases.revoke(key)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys in every layer."""
        some = list(keys)
        try:
            async with self._locks.hold_all(some):
                await self._each(lambda cache: cache.delete_many(some))
        finally:
            for key in some:
                self.leases.revoke(key)

    async def delete(self, key: Any) -> None:
        """Forget a key in every layer."""
        try:
            async with self._locks.hold(key):
                await self._each(lambda cache: cache.delete(key))
        finally:
            self.leases.revoke(key)

    async def clear(self) -> None:
        """Forget everything in every layer."""
        try:
            await self._locks.settle()
            await self._each(lambda cache: cache.clear())
        finally:
            self.leases.revoke_all()

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix` in every layer."""
        try:
            await self._locks.settle()
            await self._each(lambda cache: cache.delete_prefix(prefix))
        finally:
            self.leases.revoke_prefix(prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget what carries one of these tags in every layer."""
        held = checked_tags(tags)
        try:
            await self._locks.settle()
            await self._each(lambda cache: cache.invalidate_tags(*held))
        finally:
            for tag in held:
                self.leases.tags.invalidate(tag)

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Forget the copies of the layers in this process."""
        some, held = list(keys), checked_tags(tags)
        for cache in reversed(self._caches):
            await cache.invalidate_near(some, held)
        await super().invalidate_near(some, held)

    async def get_or_set(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
    ) -> Any:
        """The cached value or what `loader` returns: one look at the layers and one load."""
        value = self._first.peek(key)
        if value is not MISSING:
            return value
        return await self.load(key, loader, ttl=ttl, tags=tags, type_hint=type_hint)

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load; `arm` adds the layers that are not in this process."""
        held = frozenset(tags)
        lease = LayeredLease(key, held, self.leases.tags.acquire(held))
        lease.parts = [None] * len(self._caches)
        self.leases.admit(lease)
        for index, cache in enumerate(self._caches):
            if cache.local and not self._is_buffer(cache):
                lease.parts[index] = await cache.lease(key, tags=held)
        return lease

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """Look through the layers; on a miss, take the leases of those not in this process."""
        assert isinstance(lease, LayeredLease)  # noqa: S101 # what `lease` returned
        if look:
            value = await self.get(lease.key, MISSING, type_hint=type_hint)
            if value is not MISSING:
                return value
        for index, cache in enumerate(self._caches):
            if not cache.local:
                part = lease.parts[index] = await cache.lease(lease.key, tags=lease.tags)
                if cache.patience:
                    # Another process may be loading it: then what it loads will do.
                    value = await cache.arm(part, look=look, type_hint=type_hint)
                    if value is not MISSING:
                        return value
        return MISSING

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded in every layer, from the last on, until one refuses."""
        assert isinstance(lease, LayeredLease)  # noqa: S101 # what `lease` returned
        if not self.leases.settle(lease, tags):
            await self._release_parts(lease)
            return False
        try:
            for index in reversed(range(len(self._caches))):
                part, lease.parts[index] = lease.parts[index], None
                if part is None:
                    continue
                cache = self._caches[index]
                lives = ttl if cache is self._last else self._near_ttl(cache, ttl)
                stored = await cache.fill(part, value, ttl=lives, tags=tags)
                if not stored and not part.holds:
                    return False
            return True
        finally:
            await self._release_parts(lease)

    async def release(self, lease: Lease) -> None:
        """Give up a lease in every layer."""
        assert isinstance(lease, LayeredLease)  # noqa: S101 # what `lease` returned
        self.leases.close(lease)
        await self._release_parts(lease)

    async def flush(self) -> int:
        """Write what "write-back" has pending; how many keys are pending still."""
        return 0 if self._buffer is None else await self._buffer.flush()

    def stats(self) -> CacheStats:
        """Hits of any layer, misses of the last; what each did is in its own `stats()`."""
        each = [cache.stats() for cache in self._caches]
        return CacheStats(
            hits=sum(one.hits for one in each),
            misses=each[-1].misses,
            sets=each[0].sets,
            loads=self._flights.loads,
            stale=self._flights.stale,
            evictions=sum(one.evictions for one in each),
            expirations=sum(one.expirations for one in each),
            errors=sum(one.errors for one in each),
            entries=sum(one.entries for one in each),
            size_bytes=sum(one.size_bytes for one in each),
        )

    async def stop(self) -> None:
        """Write what is pending, end background work and stop the layers."""
        # The last first, and each although another fails or the caller is cancelled.
        async with AsyncExitStack() as last:
            for cache in self._caches:
                last.push_async_callback(cache.stop)
            if self._buffer is not None:
                last.push_async_callback(self._buffer.finish)
            last.push_async_callback(super().stop)

    async def _start(self, *, scoped: bool) -> None:
        if self._background.running:
            return
        for cache in self._caches:
            # On trio only a scope can own background work, so the layers are entered.
            if scoped and not isinstance(cache, GuardedCache):
                await cache.__aenter__()
            else:
                await cache.start()
        await super()._start(scoped=scoped)
        if self._buffer is not None:
            self.spawn(self._keep_flushing)

    async def _keep_flushing(self) -> None:
        while True:
            await anyio.sleep(self._flush_interval)
            await self.flush()

    async def _promise(self, key: Any, value: Any, ttl: float | None, tags: frozenset[str]) -> None:
        assert self._buffer is not None  # noqa: S101 # of "write-back"
        await self._buffer.add(key, value, ttl, tags)
        if not self._background.running:
            await self._buffer.flush()
        await self._set_near({key: value}, ttl, tags, around=False)

    async def _set_last(
        self, items: Mapping[Any, Any], ttl: float | None, tags: frozenset[str]
    ) -> bool:
        """Write to the last layer; whether it has all of them."""
        if isinstance(self._last, GuardedCache):
            return await self._last.try_set_many(items, ttl=ttl, tags=tags)
        await self._last.set_many(items, ttl=ttl, tags=tags)
        return True

    async def _set_near(
        self, items: Mapping[Any, Any], ttl: float | None, tags: frozenset[str], *, around: bool
    ) -> None:
        """Write to the layers before the last, or with `around` have them forget the keys."""
        for cache in reversed(self._caches[:-1]):
            if around:
                await cache.delete_many(items)
            elif not self._is_buffer(cache):
                await cache.set_many(items, ttl=self._near_ttl(cache, ttl), tags=tags)

    def _near_ttl(self, cache: CacheBackend, ttl: float | None) -> float | None:
        """How long a copy may live in a layer before the last."""
        longest = self._promote_ttl
        if longest is None:
            return ttl
        if ttl is None:
            ttl = getattr(cache, "default_ttl", None)
        return longest if ttl is None else min(ttl, longest)

    async def _each(self, act: Callable[[CacheBackend], Awaitable[None]]) -> None:
        """From the last layer to the first, or a read in between would promote the old value."""
        if self._buffer is not None:
            async with self._buffer.paused():
                for cache in reversed(self._caches):
                    await act(cache)
            return
        for cache in reversed(self._caches):
            await act(cache)

    async def _promote(self, leases: list[tuple[CacheBackend, Lease]], entry: CacheEntry) -> None:
        if entry.ttl <= 0:
            return
        # What does not end beneath gets the default of the layer, as if it were set there.
        ttl = entry.ttl if 0 < entry.ttl < FOREVER else None
        for cache, lease in reversed(leases):
            lives = self._near_ttl(cache, ttl)
            if (
                math.isnan(entry.ttl)
                and lives is None
                and getattr(cache, "default_ttl", None) is None
            ):
                continue  # nothing bounds how long a copy would outlive it
            await cache.fill(lease, entry.value, ttl=lives, tags=entry.tags)

    def _is_buffer(self, cache: CacheBackend) -> bool:
        return self._buffer is not None and cache is self._buffer.cache

    async def _release_parts(self, lease: LayeredLease) -> None:
        for index, part in enumerate(lease.parts):
            if part is not None:
                lease.parts[index] = None
                await self._caches[index].release(part)


async def _release_all(leases: Iterable[tuple[CacheBackend, Lease]]) -> None:
    for cache, lease in leases:
        if not lease.closed:
            await cache.release(lease)
