"""The cache in Redis."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from typing import TYPE_CHECKING, Any

from varco_cache import (
    MISSING,
    CacheBackend,
    CacheEntry,
    CacheStats,
    Lease,
    checked_ttl,
)
from varco_redis._cache_link import CHUNK, CacheLink
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._entries import Entries, checked_tags, packed_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from varco_events import Serializer
    from varco_redis._link import Command, Script

logger = logging.getLogger("varco_redis.cache")

_MOST_MILLISECONDS = 10**15
_POLL, _MOST_POLL = 0.005, 0.1
# What lay under the key when a lease was asked for.
_VALUE, _OTHERS, _OURS = b"v", b"w", b"l"


class RedisLease(Lease):
    """A lease that Redis knows of: `kind` says what lay under the key when it was taken."""

    __slots__ = ("blob", "kind", "mark", "token", "written")

    blob: bytes
    kind: bytes
    mark: bytes
    token: bytes
    written: bytes


class RedisCache(CacheBackend):
    """A cache that processes share.

    Every operation is one round trip and one step in Redis, so no read that starts after a write
    or an invalidation returned, in whatever process, sees what was before. Tags and prefixes are
    invalidated at a cost that knows no size. Of all processes that miss a key at once, one loads
    it. Values are serialized as JSON unless a serializer is given; nothing is ever unpickled, and
    what cannot be read is a miss, logged and counted.

    Safe for any number of tasks of one event loop at a time. Keys are strings.

    Raises:
        RedisUnavailableError: From any operation, when Redis does not answer in time.
    """

    shared: bool = True

    def __init__(
        self,
        settings: RedisCacheSettings | None = None,
        *,
        serializer: Serializer[Any] | None = None,
    ) -> None:
        """Nothing is connected before the first operation.

        Args:
            settings: The defaults of `RedisCacheSettings` when None.
            serializer: Values to bytes and back; it must not run what it reads.
        """
        self.settings: RedisCacheSettings = settings or RedisCacheSettings()
        self._entries = Entries(self.settings, serializer)
        # How long `arm` may wait for another process that loads the key already.
        self.patience: float = self.settings.load_wait + self.settings.timeout
        self._link = CacheLink(self.settings)
        self._scripts = self._link.scripts
        self._owner = os.urandom(8)
        self._hits = self._misses = self._sets = self._damaged = 0
        self._open: dict[bytes, RedisLease] = {}

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss; pass `MISSING` to tell a miss from a cached None."""
        data = await self._link.run(self._scripts.get, self._link.place(key))
        if data is None:
            self._misses += 1
            return default
        value = self._decoded(key, data, type_hint)
        return default if value is MISSING else value

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The value with its remaining time to live and its tags; None on a miss."""
        return (await self.get_entries((key,), type_hint=type_hint)).get(key)

    async def exists(self, key: Any) -> bool:
        """Whether `get` would hit."""
        return isinstance(await self._link.run(self._scripts.get, self._link.place(key)), bytes)

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""
        head, tail = self._entries.pack(value, packed_tags(tags) if tags else b"")
        place = self._link.place(key)
        await self._link.run(self._scripts.set, place, head, tail, self._milliseconds(ttl))
        self._sets += 1

    async def delete(self, key: Any) -> None:
        """Forget a key; a load that began before does not bring it back."""
        await self._link.call("UNLINK", self._link.place(key)[0])

    async def clear(self) -> None:
        """Forget everything; the memory is freed as entries are met, expire or are swept."""
        await self._invalidate("c")

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        await self._invalidate("p", prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget everything that was stored with one of these tags."""
        held = checked_tags(tags)
        if held:
            await self._invalidate("t", *held)

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit, in one round trip."""
        read = self._entries.value
        return await self._found(keys, lambda data, _: read(data, type_hint))

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit, in one round trip."""
        entries = self._entries

        def read(data: Any, now: int) -> CacheEntry:
            left = entries.left(data, now) / 1000 or math.inf
            return CacheEntry(entries.value(data, type_hint), left, entries.tags(data))

        return await self._found(keys, read)

    async def _found[T](self, keys: Iterable[Any], read: Callable[[Any, int], T]) -> dict[Any, T]:
        """What is read of those keys that hit; `read` gets the answer and Redis's time."""
        found: dict[Any, T] = {}
        for some, values, now in await self._read_many(keys):
            for key, data in zip(some, values, strict=True):
                if data is not None:
                    try:
                        found[key] = read(data, now)
                    except Exception as error:  # noqa: BLE001 # whatever a serializer raises
                        self._damage(key, error)
        self._hits += len(found)
        return found

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike, in one round trip; all or none of each few hundred."""
        blob, milliseconds = packed_tags(tags), self._milliseconds(ttl)
        calls: list[tuple[Script, Sequence[Any], Sequence[Any]]] = []
        for meta, some, places in self._link.chunks(items):
            args: list[Any] = [milliseconds]
            for key in some:
                args += self._entries.pack(items[key], blob)
            calls.append((self._scripts.set_many, [meta, *places], args))
        await self._link.run_many(calls)
        self._sets += len(items)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys in one round trip."""
        commands: list[Command] = [("UNLINK", *places) for _, _, places in self._link.chunks(keys)]
        self._link.all_right(await self._link.pipeline(commands))

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load of `key`, unless another process has: then `arm` waits for it."""
        held = checked_tags(tags)
        lease = RedisLease(key, held, ())
        lease.blob, lease.token = packed_tags(held), os.urandom(16)
        await self._ask(lease)
        return lease

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """With `look`, the value that is there by now, waiting for a process that loads it.

        Such a process that dies is waited for no longer than the `lease` of the settings.
        """
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        pause, until = _POLL, time.monotonic() + self.settings.load_wait
        while lease.kind == _OTHERS:
            if not look or time.monotonic() > until:
                await self._ask(lease, force=True)
                break
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 # not for secrets
            pause = min(2 * pause, _MOST_POLL)
            await self._ask(lease)
        if look and lease.kind == _VALUE:
            return await self.get(lease.key, MISSING, type_hint=type_hint)
        return MISSING

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded under a lease unless it was revoked; whether it was stored."""
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        if lease.closed or lease.kind == _OTHERS:
            self._close(lease)
            return False
        head, tail = self._entries.pack(value, lease.blob if tags is None else packed_tags(tags))
        late = "0" if tags is None else "1"
        args = (*self._held(lease), late, head, tail, self._milliseconds(ttl))
        self._close(lease)
        stored = bool(await self._link.run(self._scripts.fill, self._link.place(lease.key), *args))
        self._sets += stored
        return stored

    async def release(self, lease: Lease) -> None:
        """Give up a lease without filling it; another process may begin at once."""
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        if not lease.closed:
            self._close(lease)
            if lease.kind == _OURS:
                place, _ = self._link.place(lease.key)
                await self._link.run(self._scripts.release, (place,), lease.mark)

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill under this lease would be stored."""
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        if lease.closed:
            return False
        if lease.kind == _OTHERS:
            return True  # it still waits in `arm`, so what it will read is fresh
        return bool(
            await self._link.run(
                self._scripts.holds, self._link.place(lease.key), *self._held(lease)
            )
        )

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Nothing: this process holds no copies."""

    async def sweep(self, *, pause: float = 0.01) -> int:
        """Free what was invalidated and has not been met since; returns how much.

        Walks over the keys a few at a time and rests `pause` seconds in between. Not on a cluster,
        where entries without a `ttl` stay until they are met.
        """
        if self.settings.is_cluster:
            return 0
        cursor, freed = b"0", 0
        pattern = _escaped(self._link.bases[0]) + b"*"
        while True:
            cursor, places = await self._link.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", CHUNK, "TYPE", "string"
            )
            if places:
                freed += await self._link.run(self._scripts.sweep, (self._link.metas[0], *places))
            if cursor in {b"0", 0}:
                return freed
            await asyncio.sleep(pause)

    async def is_healthy(self) -> bool:
        """Whether Redis answers and takes writes; waits no longer than the time limit."""
        return await self._link.is_healthy()

    def stats(self) -> CacheStats:
        """What this process did; `errors` counts values that could not be read."""
        return CacheStats(
            hits=self._hits,
            misses=self._misses,
            sets=self._sets,
            loads=self._flights.loads,
            errors=self._damaged + self._link.repaired,
            stale=self._flights.stale,
        )

    async def stop(self) -> None:
        """End background work and close the connections; they are opened again when needed."""
        await super().stop()
        await self._link.close()

    async def _read_many(self, keys: Iterable[Any]) -> list[tuple[list[Any], list[Any], int]]:
        """Keys, what is under each, and the time in Redis; misses are counted."""
        chunks = self._link.chunks(keys)
        answers = await self._link.run_many(
            [(self._scripts.get_many, [meta, *places], ()) for meta, _, places in chunks]
        )
        self._misses += sum(values.count(None) for values in answers)
        return [
            (some, values, values.pop())
            for (_, some, _), values in zip(chunks, answers, strict=True)
        ]

    async def _invalidate(self, *args: str) -> None:
        await self._link.run_many(
            [
                (
                    self._scripts.invalidate,
                    (meta, notes),
                    (self.settings.max_generations, *args),
                )
                for meta, notes in zip(self._link.metas, self._link.notes, strict=True)
            ]
        )

    def _milliseconds(self, ttl: float | None) -> int:
        """What Redis is told; 0 for no end."""
        checked_ttl(ttl)
        if ttl is None:
            ttl = self.settings.default_ttl
        if ttl is None or ttl == math.inf:
            return 0
        return max(1, min(math.ceil(ttl * 1000), _MOST_MILLISECONDS))

    def _decoded(self, key: Any, data: Any, type_hint: Any) -> Any:
        """The value of what a script answered; MISSING, counted and logged, when it is none."""
        try:
            value = self._entries.value(data, type_hint)
        except Exception as error:  # noqa: BLE001 # whatever a serializer raises
            self._damage(key, error)
            return MISSING
        self._hits += 1
        return value

    def _damage(self, key: Any, error: Exception) -> None:
        self._misses += 1
        self._damaged += 1
        logger.warning(
            "what is stored under %r cannot be read and counts as a miss: %s: %.200s",
            key,
            type(error).__name__,
            error,
        )

    async def _ask(self, lease: RedisLease, *, force: bool = False) -> None:
        """Take the lease in Redis, or see why it cannot be had; `force` takes it from another."""
        lease.kind, lease.written, stamp = await self._link.run(
            self._scripts.lease,
            self._link.place(lease.key),
            self._owner,
            lease.token,
            math.ceil(self.settings.lease * 1000),
            lease.blob,
            int(force),
        )
        lease.mark = stamp if lease.kind == _VALUE else self._owner + lease.token
        if lease.kind == _OURS:
            if not self._open:
                self.spawn(self._keep)
            self._open[lease.token] = lease

    def _held(self, lease: RedisLease) -> tuple[bytes, bytes, bytes, bytes]:
        return lease.kind, lease.mark, lease.written, lease.blob

    def _close(self, lease: RedisLease) -> None:
        lease.closed = True
        self._open.pop(lease.token, None)

    async def _keep(self) -> None:
        """Keep the leases of long loads while there are any."""
        interval = self.settings.lease / 3
        milliseconds = math.ceil(self.settings.lease * 1000)
        while self._open:
            await asyncio.sleep(interval)
            calls = [
                (
                    self._scripts.release,
                    (self._link.place(lease.key)[0],),
                    (lease.mark, milliseconds),
                )
                for lease in self._open.values()
            ]
            try:
                await self._link.run_many(calls)
            except Exception:  # Redis may be away; the next turn tries again
                logger.warning("leases of running loads were not kept", exc_info=True)


def _escaped(text: bytes) -> bytes:
    """The text as a pattern that matches nothing else."""
    return b"".join(b"\\" + bytes((one,)) if one in b"*?[]\\^-" else bytes((one,)) for one in text)
