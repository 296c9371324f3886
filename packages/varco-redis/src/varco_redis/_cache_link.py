"""The link of a cache: where its keys lie, and what happens to what is no part of a cache there."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from varco_cache import CacheKeyError
from varco_redis._cache_scripts import cache_scripts
from varco_redis._errors import refusals_as_data_errors
from varco_redis._link import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_redis._cache_settings import RedisCacheSettings
    from varco_redis._link import Call, Script

logger = logging.getLogger("varco_redis.cache")

CHUNK = 500
# What a script says that stumbled over the meta key, where all is numbers, or packed.
_NO_NUMBERS = ("attempt to ", "bad argument", "not an integer", "Bad data format", "Missing bytes")


class CacheLink(Link):
    """Runs the scripts of one cache, and removes from its keys what was written by others."""

    def __init__(self, settings: RedisCacheSettings) -> None:
        super().__init__(settings, on_connect=self._greet)
        shards = settings.shards if settings.is_cluster else 1
        prefix = settings.key_prefix
        names = [f"{{{prefix}{n:03}}}" if settings.is_cluster else prefix for n in range(shards)]
        self._trusting = settings.keep_across_restarts
        self._prefix = prefix
        self.bases = [f"{name}k:".encode() for name in names]
        self.metas = [f"{name}m".encode() for name in names]
        self.notes = [f"{name}n:".encode() for name in names]
        self._base, self._meta = self.bases[0].decode(), self.metas[0]
        self.scripts = cache_scripts(len(self.bases[0]))
        self.repaired = 0
        """How many keys of others were removed."""

    def place(self, key: Any) -> tuple[bytes | str, bytes]:
        """The key in Redis and the meta key beside it."""
        if key.__class__ is not str:
            raise CacheKeyError("key of a RedisCache", key, "use a string")
        if len(self.bases) == 1:
            return self._base + key, self._meta
        encoded = key.encode()
        shard = zlib.crc32(encoded) % len(self.bases)
        return self.bases[shard] + encoded, self.metas[shard]

    def chunks(self, keys: Iterable[Any]) -> list[tuple[bytes, list[Any], list[bytes | str]]]:
        """The keys by meta key, a few hundred at a time, and their places."""
        by_meta: dict[bytes, tuple[list[Any], list[bytes | str]]] = {}
        held = list(keys)
        if len(self.bases) == 1 and set(map(type, held)) <= {str}:  # the common way, at once
            base = self._base
            by_meta[self._meta] = (held, [base + key for key in held])
            held = []
        for key in held:
            place, meta = self.place(key)
            some, places = by_meta.setdefault(meta, ([], []))
            some.append(key)
            places.append(place)
        return [
            (meta, some[at : at + CHUNK], places[at : at + CHUNK])
            for meta, (some, places) in by_meta.items()
            for at in range(0, len(some), CHUNK)
        ]

    async def run(self, script: Script, keys: Sequence[Any], *args: Any) -> Any:
        """The answer of a script."""
        try:
            return await super().run(script, keys, *args)
        except ResponseError as error:
            with refusals_as_data_errors(keys[0]):
                await self._repair(error, keys)
                return await super().run(script, keys, *args)

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of scripts that are called at once."""
        if len(calls) == 1:
            ((script, keys, args),) = calls
            return [await self.run(script, keys, *args)]
        try:
            return await super().run_many(calls)
        except ResponseError as error:
            with refusals_as_data_errors(calls[0][1][0]):
                for _, keys, _ in calls:
                    await self._repair(error, keys)
                return await super().run_many(calls)

    async def _repair(self, error: ResponseError, keys: Sequence[Any]) -> None:
        """Remove what is no part of a cache under these keys; raises when that is not the error."""
        meta, *places = sorted(keys, key=lambda key: key not in self.metas)
        drop = _is_damage(error)
        removed = await super().run(self.scripts.repair, (meta, *places), int(drop))
        self._note(removed, places[0] if places else meta, error)

    async def _greet(self, connection: Any, *, repair: bool = True) -> None:
        """On a new connection: forget everything if the server is not the one of before."""
        if self._trusting:
            return
        try:
            await connection.send_command("INFO", "server", check_health=False)
            info: Any = await connection.read_response()
            told: bytes = info.encode() if isinstance(info, str) else bytes(info)
            run = told.partition(b"run_id:")[2].split(None, 1)[0]
            script, keys = self.scripts.greet, (self._meta, self.notes[0])
            await connection.send_command("EVAL", script.text, 2, *keys, run, check_health=False)
            await connection.read_response()
        except NoPermissionError as error:
            logger.warning(
                "whether Redis was restarted is not known, so entries are kept: %s", error
            )
        except ResponseError as error:
            if not repair:
                raise
            args = (self.scripts.repair.text, 1, self._meta, int(_is_damage(error)))
            await connection.send_command("EVAL", *args, check_health=False)
            self._note(await connection.read_response(), self._meta, error)
            await self._greet(connection, repair=False)

    def _note(self, removed: int, place: bytes | str, error: ResponseError) -> None:
        self.repaired += removed
        logger.warning(
            "removed %d keys of a wrong type or content from the cache %r, near %r: %s",
            removed,
            self._prefix,
            place,
            error,
        )


def _is_damage(error: ResponseError) -> bool:
    """Whether what the meta key holds is damaged; raises when the error is none of a cache's."""
    text = str(error)
    damaged = any(sign in text for sign in _NO_NUMBERS)
    if not damaged and "WRONGTYPE" not in text:
        raise error
    return damaged
