"""What a providify container installs, from variables such as `VARCO_REDIS_URL`.

Each part reads the variables of `VARCO_REDIS_` and, before them, those of its own:
`VARCO_REDIS_CACHE_`, `VARCO_REDIS_BUS_` and `VARCO_REDIS_DLQ_`.
"""

from providify import Configuration, Provider

from varco_cache import CacheBackend
from varco_events import AbstractDeadLetterQueue, AbstractEventBus
from varco_redis._bus import RedisEventBus
from varco_redis._bus_settings import RedisEventBusSettings
from varco_redis._cache import RedisCache
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._dead_letters import RedisDeadLetterQueue, RedisDeadLetterQueueSettings


@Configuration
class RedisCacheConfiguration:
    """Binds `CacheBackend` to a `RedisCache` with the settings of the environment.

    `await container.ainstall(RedisCacheConfiguration)`; stop the cache at the end.
    """

    @Provider(singleton=True)
    def cache(self) -> CacheBackend:
        """The cache."""
        return RedisCache(RedisCacheSettings.of_part("CACHE"))


@Configuration
class RedisEventBusConfiguration:
    """Binds `AbstractEventBus` to a `RedisEventBus` with the settings of the environment.

    Start the bus when the consumers are registered, and stop it at the end.
    """

    @Provider(singleton=True)
    def bus(self) -> AbstractEventBus:
        """The bus."""
        return RedisEventBus(RedisEventBusSettings.of_part("BUS"))


@Configuration
class RedisDeadLetterQueueConfiguration:
    """Binds `AbstractDeadLetterQueue` to a `RedisDeadLetterQueue`; stop it at the end."""

    @Provider(singleton=True)
    def dead_letters(self) -> AbstractDeadLetterQueue:
        """The queue."""
        return RedisDeadLetterQueue(RedisDeadLetterQueueSettings.of_part("DLQ"))
