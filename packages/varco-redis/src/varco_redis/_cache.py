"""The cache in Redis."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
import zlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from varco_cache import (
    MISSING,
    CacheBackend,
    CacheConfigError,
    CacheEntry,
    CacheKeyError,
    CacheStats,
    Lease,
)
from varco_redis._cache_scripts import cache_scripts
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._entries import Entries, checked_tags, packed_tags
from varco_redis._errors import RedisDataError
from varco_redis._link import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from varco_events import Serializer
    from varco_redis._link import Command, Script

logger = logging.getLogger("varco_redis.cache")

_CHUNK = 500
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
        self.patience: float = self.settings.load_wait + self.settings.time_limit
        self._link = Link(self.settings, on_connect=self._greet)
        self._owner = os.urandom(8)
        cluster = self.settings.is_cluster
        shards = self.settings.shards if cluster else 1
        prefix = self.settings.key_prefix
        names = [f"{{{prefix}{n:03}}}" if cluster else prefix for n in range(shards)]
        self._bases = [f"{name}k:".encode() for name in names]
        self._metas = [f"{name}m".encode() for name in names]
        self._notes = [f"{name}n:".encode() for name in names]
        self._base, self._meta = self._bases[0], self._metas[0]
        self._base_text = self._base.decode()
        self._scripts = cache_scripts(len(self._base))
        self._hits = self._misses = self._sets = self._damaged = 0
        self._open: dict[bytes, RedisLease] = {}

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss; pass `MISSING` to tell a miss from a cached None."""
        data = await self._run(self._scripts.get, self._place(key))
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
        return isinstance(await self._run(self._scripts.get, self._place(key)), bytes)

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""
        head, tail = self._entries.pack(value, packed_tags(tags) if tags else b"")
        place = self._place(key)
        await self._run(self._scripts.set, place, head, tail, self._milliseconds(ttl))
        self._sets += 1

    async def delete(self, key: Any) -> None:
        """Forget a key; a load that began before does not bring it back."""
        await self._link.call("UNLINK", self._place(key)[0])

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
        found: dict[Any, Any] = {}
        read = self._entries.value
        for some, values, _ in await self._read_many(keys):
            for key, data in zip(some, values, strict=True):
                if data is not None:
                    try:
                        found[key] = read(data, type_hint)
                    except Exception as error:  # noqa: BLE001 # whatever a serializer raises
                        self._damage(key, error)
        self._hits += len(found)
        return found

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit, in one round trip."""
        found: dict[Any, CacheEntry] = {}
        for some, values, now in await self._read_many(keys):
            for key, data in zip(some, values, strict=True):
                if data is not None:
                    try:
                        value = self._entries.value(data, type_hint)
                        left = self._entries.left(data, now) / 1000
                        found[key] = CacheEntry(value, left or math.inf, self._entries.tags(data))
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
        for meta, some, places in self._chunks(items):
            args: list[Any] = [milliseconds]
            for key in some:
                args += self._entries.pack(items[key], blob)
            calls.append((self._scripts.set_many, [meta, *places], args))
        await self._run_many(calls)
        self._sets += len(items)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys in one round trip."""
        commands: list[Command] = [("UNLINK", *places) for _, _, places in self._chunks(keys)]
        for answer in await self._link.pipeline(commands):
            if isinstance(answer, Exception):
                raise answer

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load of `key`, unless another process has: then `arm` waits for it."""
        held = checked_tags(tags)
        lease = RedisLease(key, held, ())
        lease.blob, lease.token = packed_tags(held), os.urandom(16)
        await self._ask(lease)
        return lease

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """With `look`, the value that is there by now, waiting for a process that loads it.

        Such a process that dies is waited for no longer than the `lease_time` of the settings.
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
        stored = bool(await self._run(self._scripts.fill, self._place(lease.key), *args))
        self._sets += stored
        return stored

    async def release(self, lease: Lease) -> None:
        """Give up a lease without filling it; another process may begin at once."""
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        if not lease.closed:
            self._close(lease)
            if lease.kind == _OURS:
                place, _ = self._place(lease.key)
                await self._link.run(self._scripts.release, (place,), lease.mark)

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill under this lease would be stored."""
        assert isinstance(lease, RedisLease)  # noqa: S101 # what `lease` returned
        if lease.closed:
            return False
        if lease.kind == _OTHERS:
            return True  # it still waits in `arm`, so what it will read is fresh
        return bool(
            await self._run(self._scripts.holds, self._place(lease.key), *self._held(lease))
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
        pattern = _escaped(self._base) + b"*"
        while True:
            cursor, places = await self._link.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", _CHUNK, "TYPE", "string"
            )
            if places:
                freed += await self._run(self._scripts.sweep, (self._meta, *places))
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
            errors=self._damaged,
        )

    async def stop(self) -> None:
        """End background work and close the connections; they are opened again when needed."""
        await super().stop()
        await self._link.close()

    def _place(self, key: Any) -> tuple[bytes | str, bytes]:
        """The key in Redis and the meta key beside it."""
        if key.__class__ is not str:
            raise CacheKeyError("key of a RedisCache", key, "use a string")
        if len(self._bases) == 1:
            return self._base_text + key, self._meta
        encoded = key.encode()
        shard = zlib.crc32(encoded) % len(self._bases)
        return self._bases[shard] + encoded, self._metas[shard]

    def _chunks(self, keys: Iterable[Any]) -> list[tuple[bytes, list[Any], list[bytes | str]]]:
        """The keys by meta key, a few hundred at a time, and their places."""
        by_meta: dict[bytes, tuple[list[Any], list[bytes | str]]] = {}
        if len(self._bases) == 1:
            some = list(keys)
            if set(map(type, some)) - {str}:
                for key in some:
                    self._place(key)  # raises
            base = self._base_text
            by_meta[self._meta] = (some, [base + key for key in some])
            keys = ()
        for key in keys:
            place, meta = self._place(key)
            some, places = by_meta.setdefault(meta, ([], []))
            some.append(key)
            places.append(place)
        return [
            (meta, some[at : at + _CHUNK], places[at : at + _CHUNK])
            for meta, (some, places) in by_meta.items()
            for at in range(0, len(some), _CHUNK)
        ]

    async def _read_many(self, keys: Iterable[Any]) -> list[tuple[list[Any], list[Any], int]]:
        """Keys, what is under each, and the time in Redis; misses are counted."""
        chunks = self._chunks(keys)
        answers = await self._run_many(
            [(self._scripts.get_many, [meta, *places], ()) for meta, _, places in chunks]
        )
        self._misses += sum(values.count(None) for values in answers)
        return [
            (some, values, values.pop())
            for (_, some, _), values in zip(chunks, answers, strict=True)
        ]

    async def _run(self, script: Script, keys: Sequence[Any], *args: Any) -> Any:
        try:
            return await self._link.run(script, keys, *args)
        except ResponseError as error:
            await self._repair(error, keys)
            return await self._link.run(script, keys, *args)

    async def _run_many(
        self, calls: list[tuple[Script, Sequence[Any], Sequence[Any]]]
    ) -> list[Any]:
        if len(calls) == 1:
            ((script, keys, args),) = calls
            return [await self._run(script, keys, *args)]
        try:
            return list(await self._link.run_many(calls))
        except ResponseError as error:
            for _, keys, _ in calls:
                await self._repair(error, keys)
            return list(await self._link.run_many(calls))

    async def _repair(self, error: ResponseError, keys: Sequence[Any]) -> None:
        """Remove what is no part of a cache under these keys; raises when that is not the error."""
        meta, *places = sorted(keys, key=lambda key: key not in self._metas)
        numbers = _are_no_numbers(error)
        if not numbers and "WRONGTYPE" not in str(error):
            raise RedisDataError(str(places[0] if places else meta), str(error)) from error
        removed = await self._link.run(self._scripts.repair, (meta, *places), int(numbers))
        self._note_repair(removed, places[0] if places else meta, error)

    def _note_repair(self, removed: int, place: bytes | str, error: ResponseError) -> None:
        self._damaged += removed
        logger.warning(
            "removed %d keys of a wrong type or content from the cache %r, near %r: %s",
            removed,
            self.settings.key_prefix,
            place,
            error,
        )

    async def _invalidate(self, *args: str) -> None:
        await self._run_many(
            [
                (self._scripts.invalidate, (meta, notes), (self.settings.max_generations, *args))
                for meta, notes in zip(self._metas, self._notes, strict=True)
            ]
        )

    async def _greet(self, connection: Any) -> None:
        """On a new connection: forget everything if the server is not the one of before."""
        if self.settings.keep_across_restarts:
            return
        try:
            await connection.send_command("INFO", "server", check_health=False)
            _, _, rest = bytes(_as_bytes(await connection.read_response())).partition(b"run_id:")
            run = rest.split(None, 1)[0]
            script, meta, notes = self._scripts.greet, self._meta, self._notes[0]
            await connection.send_command(
                "EVAL", script.text, 2, meta, notes, run, check_health=False
            )
            await connection.read_response()
        except NoPermissionError as error:
            logger.warning(
                "whether Redis was restarted is not known, so entries are kept: %s", error
            )
        except ResponseError as error:
            await self._repair_on(connection, error)

    async def _repair_on(self, connection: Any, error: ResponseError) -> None:
        numbers = _are_no_numbers(error)
        if not numbers and "WRONGTYPE" not in str(error):
            raise error
        script = self._scripts.repair
        await connection.send_command(
            "EVAL", script.text, 1, self._meta, int(numbers), check_health=False
        )
        self._note_repair(await connection.read_response(), self._meta, error)
        await self._greet(connection)

    def _milliseconds(self, ttl: float | None) -> int:
        """What Redis is told; 0 for no end."""
        if ttl is None:
            ttl = self.settings.default_ttl
            if ttl is None:
                return 0
        if not ttl > 0:
            raise CacheConfigError("ttl", ttl, "seconds above zero, or None for the default")
        if ttl == math.inf:
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
        lease.kind, lease.written, stamp = await self._run(
            self._scripts.lease,
            self._place(lease.key),
            self._owner,
            lease.token,
            math.ceil(self.settings.lease_time * 1000),
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
        interval = self.settings.lease_time / 3
        milliseconds = math.ceil(self.settings.lease_time * 1000)
        while self._open:
            await asyncio.sleep(interval)
            calls = [
                (self._scripts.release, (self._place(lease.key)[0],), (lease.mark, milliseconds))
                for lease in self._open.values()
            ]
            try:
                await self._link.run_many(calls)
            except Exception:  # Redis may be away; the next turn tries again
                logger.warning("leases of running loads were not kept", exc_info=True)


def _escaped(text: bytes) -> bytes:
    """The text as a pattern that matches nothing else."""
    return b"".join(b"\\" + bytes((one,)) if one in b"*?[]\\^-" else bytes((one,)) for one in text)


def _as_bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _are_no_numbers(error: ResponseError) -> bool:
    """Whether a script stumbled over what the meta key holds: all of it is numbers, or packed."""
    signs = ("attempt to ", "bad argument", "not an integer", "Bad data format", "Missing bytes")
    return any(sign in str(error) for sign in signs)
