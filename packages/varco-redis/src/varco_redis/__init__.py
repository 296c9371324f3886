"""Redis backend of varco: cache, event bus on Streams, dead letters, locks and limits."""

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
    RedisConfigError,
    RedisDataError,
    RedisLockLostError,
    RedisLockTimeoutError,
    RedisUnavailableError,
)
from varco_redis._lock import HeldLock, RedisLock
from varco_redis._rate_limiter import RedisRateLimiter
from varco_redis._settings import RedisSettings
from varco_redis._tracked import TrackedRedisCache

__all__: tuple[str, ...] = (
    "BusMode",
    "HeldLock",
    "RedisBackPressureError",
    "RedisBackendError",
    "RedisCache",
    "RedisCacheConfiguration",
    "RedisCacheSettings",
    "RedisChannelManager",
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
    "RedisRateLimiter",
    "RedisSettings",
    "RedisUnavailableError",
    "TrackedRedisCache",
)
