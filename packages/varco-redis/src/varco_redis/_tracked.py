"""A Redis cache with copies in this process, which Redis itself invalidates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from varco_cache import MISSING, CacheEntry, CacheStats, InMemoryCache
from varco_events import back_off, describe
from varco_redis._cache import RedisCache
from varco_redis._errors import RedisConfigError
from varco_redis._waiting import listen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from varco_cache import Lease
    from varco_events import Serializer
    from varco_redis._cache_settings import RedisCacheSettings

logger = logging.getLogger("varco_redis.tracked")


class TrackedRedisCache(RedisCache):
    """A `RedisCache` that answers a repeated read from this process, without asking Redis.

    Redis tells this process of every key that is written, deleted or expires, and of every tag and
    prefix that is invalidated, by whomever (`CLIENT TRACKING` in broadcast mode). So a copy is old
    for no longer than such a message is under way; what this process writes itself is seen at
    once. While the connection for these messages is not there, or does not answer for two
    `check_interval`s, nothing is answered from copies, and all of them are forgotten.

    Copies are the values themselves: who changes one changes it for all readers of the process.
    Start it, or it is a plain `RedisCache`.
    """

    def __init__(
        self,
        settings: RedisCacheSettings | None = None,
        *,
        serializer: Serializer[Any] | None = None,
        max_size: int | None = 10_000,
        max_bytes: int | None = None,
        check_interval: float = 1.0,
    ) -> None:
        """A cache whose copies are bounded.

        Args:
            settings: The defaults of `RedisCacheSettings` when None; no cluster.
            serializer: Values to bytes and back.
            max_size: Most copies.
            max_bytes: Most bytes of copies, estimated.
            check_interval: Seconds without a message after which the connection is checked.
        """
        super().__init__(settings, serializer=serializer)
        if self.settings.is_cluster:
            raise RedisConfigError("url", "redis+cluster://...", "use a RedisCache on a cluster")
        if not check_interval > 0:
            raise RedisConfigError("check_interval", check_interval, "seconds above zero")
        self._near = InMemoryCache(max_size=max_size, max_bytes=max_bytes)
        self._check_interval = check_interval
        # True only while every invalidation since the oldest copy has been or will be heard.
        self._live = False

    @property
    def is_tracking(self) -> bool:
        """Whether reads may be answered from copies at this moment."""
        return self._live

    def peek(self, key: Any) -> Any:
        """The value if this process has a copy."""
        return self._near.peek(key) if self._live else MISSING

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss; perhaps from a copy."""
        if self._live:
            value = self._near.peek(key if type_hint is None else _hinted(key, type_hint))
            if value is not MISSING:
                return value
            entry = await self._fetch(key, type_hint)
            return default if entry is None else entry.value
        return await super().get(key, default, type_hint=type_hint)

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit; one round trip for those without a copy."""
        held = list(keys)
        if not self._live or type_hint is not None:
            return await super().get_many(held, type_hint=type_hint)
        copies = {key: self._near.peek(key) for key in held}
        found = {key: value for key, value in copies.items() if value is not MISSING}
        rest = [key for key in held if key not in found]
        return found | (await super().get_many(rest) if rest else {})

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value; the next read of this process fetches it."""
        try:
            await super().set(key, value, ttl=ttl, tags=tags)
        finally:
            self._drop(key)

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike, in one round trip."""
        try:
            await super().set_many(items, ttl=ttl, tags=tags)
        finally:
            for key in items:
                self._drop(key)

    async def delete(self, key: Any) -> None:
        """Forget a key."""
        try:
            await super().delete(key)
        finally:
            self._drop(key)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys in one round trip."""
        held = list(keys)
        try:
            await super().delete_many(held)
        finally:
            for key in held:
                self._drop(key)

    async def clear(self) -> None:
        """Forget everything."""
        try:
            await super().clear()
        finally:
            await self._near.clear()

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        try:
            await super().delete_prefix(prefix)
        finally:
            self._near.drop_prefix(prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget everything that was stored with one of these tags."""
        try:
            await super().invalidate_tags(*tags)
        finally:
            self._near.drop_tags(map(_tag, tags))

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded under a lease; the next read of this process fetches it."""
        try:
            return await super().fill(lease, value, ttl=ttl, tags=tags)
        finally:
            self._drop(lease.key)

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Forget the copies of this process."""
        for key in keys:
            self._drop(key)
        self._near.drop_tags(map(_tag, tags))

    def stats(self) -> CacheStats:
        """What this process did, hits of copies included, and how many copies it holds."""
        far, near = super().stats(), self._near.stats()
        return CacheStats(
            hits=far.hits + near.hits,
            misses=far.misses,
            sets=far.sets,
            loads=far.loads,
            evictions=near.evictions,
            expirations=near.expirations,
            errors=far.errors,
            entries=near.entries,
            size_bytes=near.size_bytes,
            stale=far.stale,
        )

    async def stop(self) -> None:
        """Forget the copies, end background work and close the connections."""
        await super().stop()
        await self._near.stop()

    async def _start(self, *, scoped: bool) -> None:
        if not self._background.running:
            await super()._start(scoped=scoped)
            await self._near.start()
            ready = asyncio.Event()
            self.spawn(lambda: self._keep_tracking(ready))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.timeout):
                    await ready.wait()

    async def _fetch(self, key: Any, type_hint: Any) -> CacheEntry | None:
        name = key if type_hint is None else _hinted(key, type_hint)
        # Taken before Redis is asked: what is invalidated in between leaves no copy.
        lease = await self._near.lease(name)
        # A copy under another hint has a name of its own, and goes with the key all the same.
        whole = lease if type_hint is None else await self._near.lease(key)
        try:
            entry = await self.get_entry(key, type_hint=type_hint)
            if entry is not None and self._live and whole.holds:
                tags = {_tag(tag) for tag in entry.tags}
                if type_hint is not None:
                    tags.add(_key_tag(key))
                await self._near.fill(lease, entry.value, ttl=entry.ttl, tags=tags)
            return entry
        finally:
            await self._near.release(lease)
            await self._near.release(whole)

    def _drop(self, key: Any) -> None:
        self._near.drop(key)
        self._near.drop_tags((_key_tag(key),))

    async def _keep_tracking(self, ready: asyncio.Event) -> None:
        attempt = 0
        while True:
            try:
                await self._track(ready)
            except Exception as error:  # noqa: BLE001 # whatever it is, tracking goes on
                attempt = 0 if ready.is_set() else attempt + 1
                logger.warning("copies are not used until tracking goes on: %s", describe(error))
            ready.clear()
            await asyncio.sleep(back_off(attempt))

    async def _track(self, ready: asyncio.Event) -> None:
        async with asyncio.timeout(self.settings.timeout):
            connection = await self._link.connect()
        try:
            connection._parser.set_invalidation_push_handler(self._heard)  # noqa: SLF001 # there is no other way
            prefixes = ("PREFIX", self._link.bases[0], "PREFIX", self._link.notes[0])
            async with asyncio.timeout(self.settings.timeout):
                await connection.send_command(
                    "CLIENT", "TRACKING", "ON", "BCAST", *prefixes, check_health=False
                )
                await connection.read_response()
            await self._near.clear()
            self._live = True
            ready.set()
            await listen(self._link, connection, self._check_interval)
        finally:
            self._live = False
            await self._near.clear()
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)

    async def _heard(self, message: list[Any]) -> bool:
        names: list[bytes] | None = message[1]
        if names is None:  # the database was flushed
            await self._near.clear()
            return True
        base, notes = self._link.bases[0], self._link.notes[0]
        for name in names:
            if name.startswith(base):
                self._drop(name[len(base) :].decode(errors="surrogateescape"))
            elif name.startswith(notes):
                await self._note(name[len(notes) :].decode(errors="surrogateescape"))
        return True

    async def _note(self, note: str) -> None:
        kind, name = note[:1], note[1:]
        if kind == "t":
            self._near.drop_tags((_tag(name),))
        elif kind == "p":
            self._near.drop_prefix(name)
        else:
            await self._near.clear()


def _hinted(key: Any, type_hint: Any) -> str:
    return f"{key}\0{type_hint!r}"


def _tag(tag: str) -> str:
    return f"t{tag}"


def _key_tag(key: Any) -> str:
    return f"k{key}"
