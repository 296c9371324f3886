"""The cache, under the path of the specification."""

from varco_redis._cache import RedisCache
from varco_redis._cache_settings import RedisCacheSettings

__all__: tuple[str, ...] = ("RedisCache", "RedisCacheSettings")
