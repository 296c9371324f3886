"""A lock that processes share, with fencing tokens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import time
from typing import TYPE_CHECKING

from varco_redis._errors import (
    RedisBackendError,
    RedisConfigError,
    RedisLockLostError,
    RedisLockTimeoutError,
    RedisUnavailableError,
)
from varco_redis._link import Script
from varco_redis._part import RedisPart
from varco_redis._settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

logger = logging.getLogger("varco_redis.lock")

_POLL, _MOST_POLL = 0.01, 0.25

# KEYS: the lock and the last token. A token is above all before it, also when Redis lost the last
# one, since it is no smaller than the time of day.
_ACQUIRE = Script("""
local held = redis.call('HMGET', KEYS[1], 'owner', 'token')
if held[1] then
  if held[1] ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return held[2]
end
local t = redis.call('TIME')
local token = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, t[1] * 1000000 + t[2])
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text, 'PX', ARGV[2] + 86400000)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', text)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return text
""")
_EXTEND = Script("""
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
_RELEASE = Script("""
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")


class HeldLock:
    """A lock that was had; `token` is greater than that of everybody who had it before.

    Give the token to what the lock protects, and have that refuse a smaller one than it has seen:
    then a holder that was frozen past the end of its lock does no harm.
    """

    def __init__(self, locks: RedisLock, name: str, owner: str, token: int, ttl: float) -> None:
        self.name = name
        self.token = token
        self._locks = locks
        self._owner = owner
        self._ttl = ttl

    async def extend(self) -> None:
        """Hold it for its `ttl` from now on.

        Raises:
            RedisLockLostError: It was not ours any more.
        """
        if not await self._locks._extend(self.name, self._owner, self._ttl):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # a part of it
            raise RedisLockLostError(self.name, self.token)

    async def release(self) -> None:
        """Let others have it.

        Raises:
            RedisLockLostError: It was not ours any more, so others may have worked beside us.
        """
        if not await self._locks._release(self.name, self._owner):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # a part of it
            raise RedisLockLostError(self.name, self.token)


class RedisLock(RedisPart):
    """Locks by name, each held by one task of all processes until it is released or expires.

    An expired lock protects nothing by itself, only its fencing token does.
    """

    def __init__(
        self, settings: RedisSettings | None = None, *, key_prefix: str = "varco:lock:"
    ) -> None:
        super().__init__(settings or RedisSettings())
        self._prefix = key_prefix

    @contextlib.asynccontextmanager
    async def hold(
        self, name: str, *, ttl: float = 10.0, wait: float = math.inf
    ) -> AsyncGenerator[HeldLock]:
        """Hold the lock in the block, extended in the background, whatever the block takes.

        Args:
            name: One lock for each.
            ttl: Seconds after which others may have it when this process dies.
            wait: Most seconds to wait for it.

        Raises:
            RedisLockTimeoutError: Another had it all that time.
            RedisLockLostError: At the end of the block: it was lost in between.
        """
        held = await self.acquire(name, ttl=ttl, wait=wait)
        keeper = asyncio.create_task(self._keep(held, ttl))
        failed = False
        try:
            yield held
        except BaseException:
            failed = True
            raise
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            try:
                await held.release()
            except (RedisLockLostError, RedisUnavailableError):
                if not failed:
                    raise

    async def acquire(self, name: str, *, ttl: float = 10.0, wait: float = math.inf) -> HeldLock:
        """The lock, for `ttl` seconds unless it is extended.

        Raises:
            RedisLockTimeoutError: Another had it for `wait` seconds.
        """
        if not ttl > 0:
            raise RedisConfigError("ttl", ttl, "seconds above zero")
        owner, milliseconds = os.urandom(16).hex(), math.ceil(ttl * 1000)
        until, pause = time.monotonic() + wait, _POLL
        while True:
            try:
                token = int(await self._run(_ACQUIRE, self._keys(name), owner, milliseconds))
            except asyncio.CancelledError:
                with contextlib.suppress(RedisBackendError):
                    await self._release(name, owner)  # nobody else would, should it be ours
                raise
            if token:
                return HeldLock(self, name, owner, token, ttl)
            left = until - time.monotonic()
            if left <= 0:
                raise RedisLockTimeoutError(name, wait)
            await asyncio.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311 # not for secrets
            pause = min(2 * pause, _MOST_POLL)

    async def _keep(self, held: HeldLock, ttl: float) -> None:
        while True:
            await asyncio.sleep(ttl / 3)
            try:
                await held.extend()
            except RedisLockLostError:
                logger.warning("lock %r was lost while it was held", held.name)
                return
            except RedisBackendError as error:
                logger.warning("lock %r could not be extended: %s", held.name, error)

    async def _extend(self, name: str, owner: str, ttl: float) -> bool:
        keys = self._keys(name)
        return bool(await self._run(_EXTEND, keys, owner, math.ceil(ttl * 1000)))

    async def _release(self, name: str, owner: str) -> bool:
        return bool(await self._run(_RELEASE, self._keys(name), owner))

    def _keys(self, name: str) -> tuple[str, str]:
        base = f"{{{self._prefix}{name}}}"
        return f"{base}:held", f"{base}:token"
