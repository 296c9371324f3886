"""Redis backend of varco: cache, event bus on Streams, dead letters, locks and limits.

What you touch is loaded when you touch it.
"""

# Not from typing: importing that costs more than importing this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from varco_redis._bus import RedisEventBus
    from varco_redis._bus_settings import BusMode, RedisEventBusSettings
    from varco_redis._cache import RedisCache
    from varco_redis._cache_settings import RedisCacheSettings
    from varco_redis._channels import RedisChannelManager
    from varco_redis._dead_letters import RedisDeadLetterQueue, RedisDeadLetterQueueSettings
    from varco_redis._deduplicator import RedisDeduplicator, RedisDeduplicatorSettings
    from varco_redis._di import (
        RedisCacheConfiguration,
        RedisDeadLetterQueueConfiguration,
        RedisEventBusConfiguration,
    )
    from varco_redis._errors import (
        RedisBackendError,
        RedisBackPressureError,
        RedisChannelRefusedError,
        RedisConfigError,
        RedisDataError,
        RedisLockLostError,
        RedisLockTimeoutError,
        RedisPoisonError,
        RedisUnavailableError,
    )
    from varco_redis._lock import HeldLock, RedisLock
    from varco_redis._rate_limiter import RedisRateLimiter
    from varco_redis._settings import RedisSettings
    from varco_redis._tracked import TrackedRedisCache
else:
    _HOMES = {
        "_bus": "RedisEventBus",
        "_bus_settings": "BusMode RedisEventBusSettings",
        "_cache": "RedisCache",
        "_cache_settings": "RedisCacheSettings",
        "_channels": "RedisChannelManager",
        "_dead_letters": "RedisDeadLetterQueue RedisDeadLetterQueueSettings",
        "_deduplicator": "RedisDeduplicator RedisDeduplicatorSettings",
        "_di": (
            "RedisCacheConfiguration RedisDeadLetterQueueConfiguration RedisEventBusConfiguration"
        ),
        "_errors": (
            "RedisBackPressureError RedisBackendError RedisChannelRefusedError RedisConfigError "
            "RedisDataError RedisLockLostError RedisLockTimeoutError RedisPoisonError "
            "RedisUnavailableError"
        ),
        "_lock": "HeldLock RedisLock",
        "_rate_limiter": "RedisRateLimiter",
        "_settings": "RedisSettings",
        "_tracked": "TrackedRedisCache",
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 # lazy

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__: tuple[str, ...] = (
    "BusMode",
    "HeldLock",
    "RedisBackPressureError",
    "RedisBackendError",
    "RedisCache",
    "RedisCacheConfiguration",
    "RedisCacheSettings",
    "RedisChannelManager",
    "RedisChannelRefusedError",
    "RedisConfigError",
    "RedisDataError",
    "RedisDeadLetterQueue",
    "RedisDeadLetterQueueConfiguration",
    "RedisDeadLetterQueueSettings",
    "RedisDeduplicator",
    "RedisDeduplicatorSettings",
    "RedisEventBus",
    "RedisEventBusConfiguration",
    "RedisEventBusSettings",
    "RedisLock",
    "RedisLockLostError",
    "RedisLockTimeoutError",
    "RedisPoisonError",
    "RedisRateLimiter",
    "RedisSettings",
    "RedisUnavailableError",
    "TrackedRedisCache",
)
