"""A rate limit that processes share."""

from __future__ import annotations

import asyncio
import time

from varco_redis._errors import RedisConfigError
from varco_redis._link import Script
from varco_redis._part import RedisPart
from varco_redis._settings import RedisSettings

# The generic cell rate algorithm: one number, the time at which all that was allowed is used up.
# ARGV: microseconds for one, how many at once, how many now.
_TAKE = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local each, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now)
local after = used + cost * each
local wait = after - burst * each - now
if wait > 0 then return string.format('%.0f', wait) end
local life = math.ceil((after - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.max(1, life))
return '0'
""")


class RedisRateLimiter(RedisPart):
    """Lets `rate` calls through in `per` seconds, of all processes together, `burst` at once.

    Args:
        settings: Where Redis is.
        name: One limit for each, shared by whoever gives the same name and numbers.
        rate: How many calls.
        per: In how many seconds.
        burst: How many may come at once; `rate` when None.
        key_prefix: The beginning of its keys in Redis.

    Raises:
        RedisUnavailableError: When Redis does not answer in time; nothing was let through.
    """

    def __init__(
        self,
        settings: RedisSettings | None = None,
        *,
        name: str,
        rate: float,
        per: float = 1.0,
        burst: int | None = None,
        key_prefix: str = "varco:rate:",
    ) -> None:
        super().__init__(settings or RedisSettings())
        for what, value in (("rate", rate), ("per", per), ("burst", 1 if burst is None else burst)):
            if not value > 0:
                raise RedisConfigError(what, value, "must be above zero")
        self.name = name
        self._each = per / rate * 1_000_000
        self._burst = max(1, rate) if burst is None else burst
        self._prefix = key_prefix

    async def take(self, key: str = "", *, cost: int = 1) -> float:
        """Let one call through: 0.0, or how many seconds too early it is; then it is not counted.

        Args:
            key: Who calls; each has the whole limit.
            cost: How many calls it counts as, at most `burst`.
        """
        if not 0 < cost <= self._burst:
            raise RedisConfigError("cost", cost, f"from 1 to the burst, {self._burst:g}")
        place = f"{self._prefix}{self.name}:{key}"
        wait = await self._run(_TAKE, (place,), f"{self._each:f}", self._burst, cost)
        return int(wait) / 1_000_000

    async def acquire(self, key: str = "", *, cost: int = 1, wait: float | None = None) -> bool:
        """Wait for one's turn, at most `wait` seconds; whether it came."""
        until = None if wait is None else time.monotonic() + wait
        while (early := await self.take(key, cost=cost)) > 0:
            if until is not None and time.monotonic() + early > until:
                return False
            await asyncio.sleep(early)
        return True
