"""Redis backend of varco: cache, event bus on Streams, dead letters, locks and limits."""

from varco_redis._cache import RedisCache
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._errors import (
    RedisBackendError,
    RedisBackPressureError,
    RedisConfigError,
    RedisDataError,
    RedisLockLostError,
    RedisLockTimeoutError,
    RedisUnavailableError,
)
from varco_redis._settings import RedisSettings

__all__: tuple[str, ...] = (
    "RedisBackPressureError",
    "RedisBackendError",
    "RedisCache",
    "RedisCacheSettings",
    "RedisConfigError",
    "RedisDataError",
    "RedisLockLostError",
    "RedisLockTimeoutError",
    "RedisSettings",
    "RedisUnavailableError",
)
