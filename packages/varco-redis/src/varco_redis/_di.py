"""What a providify container installs, from variables such as `VARCO_REDIS_URL`.

Each part reads the variables of `VARCO_REDIS_` and, before them, those of its own:
`VARCO_REDIS_CACHE_`, `VARCO_REDIS_BUS_` and `VARCO_REDIS_DLQ_`.
"""

import os

from providify import Configuration, Provider

from varco_cache import CacheBackend
from varco_events import AbstractDeadLetterQueue, AbstractEventBus
from varco_redis._bus import RedisEventBus
from varco_redis._bus_settings import RedisEventBusSettings
from varco_redis._cache import RedisCache
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._dead_letters import RedisDeadLetterQueue, RedisDeadLetterQueueSettings
from varco_redis._settings import RedisSettings

_SHARED = "VARCO_REDIS_"


def _read[S: RedisSettings](settings: type[S], own: str) -> S:
    """The settings of one part: its own variables go before the shared ones."""
    shared = {name: value for name, value in os.environ.items() if name.startswith(_SHARED)}
    special = {
        _SHARED + name.removeprefix(own): value
        for name, value in shared.items()
        if name.startswith(own)
    }
    return settings.from_env(_SHARED, {**shared, **special})


@Configuration
class RedisCacheConfiguration:
    """Binds `CacheBackend` to a `RedisCache` with the settings of the environment.

    `await container.ainstall(RedisCacheConfiguration)`; stop the cache at the end.
    """

    @Provider(singleton=True)
    def cache(self) -> CacheBackend:
        """The cache."""
        return RedisCache(_read(RedisCacheSettings, "VARCO_REDIS_CACHE_"))


@Configuration
class RedisEventBusConfiguration:
    """Binds `AbstractEventBus` to a `RedisEventBus` with the settings of the environment.

    Start the bus when the consumers are registered, and stop it at the end.
    """

    @Provider(singleton=True)
    def bus(self) -> AbstractEventBus:
        """The bus."""
        return RedisEventBus(_read(RedisEventBusSettings, "VARCO_REDIS_BUS_"))


@Configuration
class RedisDeadLetterQueueConfiguration:
    """Binds `AbstractDeadLetterQueue` to a `RedisDeadLetterQueue`, likewise; stop it at the end."""

    @Provider(singleton=True)
    def dead_letters(self) -> AbstractDeadLetterQueue:
        """The queue."""
        return RedisDeadLetterQueue(_read(RedisDeadLetterQueueSettings, "VARCO_REDIS_DLQ_"))
