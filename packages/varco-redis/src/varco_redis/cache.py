"""The cache, under the path of the specification."""

from varco_redis._cache import RedisCache
from varco_redis._cache_settings import RedisCacheSettings
from varco_redis._di import RedisCacheConfiguration
from varco_redis._tracked import TrackedRedisCache

__all__: tuple[str, ...] = (
    "RedisCache",
    "RedisCacheConfiguration",
    "RedisCacheSettings",
    "TrackedRedisCache",
)
