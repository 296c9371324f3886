"""Async cache with layers, tags, single flight and scan-resistant eviction."""

from varco_cache._base import AsyncCache, CacheBackend
from varco_cache._cached import CachedFunction, CachedMethod, cached
from varco_cache._entry import MISSING, CacheEntry, CacheStats
from varco_cache._errors import (
    CacheConfigError,
    CacheDeadlockError,
    CacheError,
    CacheKeyError,
    CacheUsageError,
)
from varco_cache._eviction import Eviction
from varco_cache._guard import GuardedCache
from varco_cache._layered import LayeredCache, WriteMode
from varco_cache._lease import Lease
from varco_cache._memory import InMemoryCache
from varco_cache._namespace import NamespacedCache
from varco_cache._noop import NoOpCache
from varco_cache._settings import CacheSettings
from varco_cache._strategies import (
    CompositeStrategy,
    ExplicitStrategy,
    InvalidationStrategy,
    TaggedStrategy,
    TTLStrategy,
)
from varco_cache._warming import (
    CacheWarmer,
    CompositeWarmer,
    QueryCacheWarmer,
    SnapshotCacheWarmer,
)

__all__: tuple[str, ...] = (
    "MISSING",
    "AsyncCache",
    "CacheBackend",
    "CacheConfigError",
    "CacheDeadlockError",
    "CacheEntry",
    "CacheError",
    "CacheKeyError",
    "CacheSettings",
    "CacheStats",
    "CacheUsageError",
    "CacheWarmer",
    "CachedFunction",
    "CachedMethod",
    "CompositeStrategy",
    "CompositeWarmer",
    "Eviction",
    "ExplicitStrategy",
    "GuardedCache",
    "InMemoryCache",
    "InvalidationStrategy",
    "LayeredCache",
    "Lease",
    "NamespacedCache",
    "NoOpCache",
    "QueryCacheWarmer",
    "SnapshotCacheWarmer",
    "TTLStrategy",
    "TaggedStrategy",
    "WriteMode",
    "cached",
)
