"""Async cache with layers, tags, single flight and scan-resistant eviction."""

from importlib import import_module
from typing import TYPE_CHECKING

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
from varco_cache._layered import LayeredCache
from varco_cache._lease import Lease
from varco_cache._memory import InMemoryCache
from varco_cache._namespace import NamespacedCache
from varco_cache._noop import NoOpCache
from varco_cache._settings import CacheSettings
from varco_cache._strategies import (
    INVALIDATION_CHANNEL,
    CompositeStrategy,
    EventDrivenStrategy,
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
from varco_cache._write_mode import WriteMode

__all__: tuple[str, ...] = (
    "INVALIDATION_CHANNEL",
    "MISSING",
    "AsyncCache",
    "CacheBackend",
    "CacheConfigError",
    "CacheDeadlockError",
    "CacheEntry",
    "CacheError",
    "CacheInvalidated",
    "CacheInvalidationConsumer",
    "CacheInvalidationEvent",
    "CacheKeyError",
    "CacheServiceMixin",
    "CacheSettings",
    "CacheStats",
    "CacheUsageError",
    "CacheWarmer",
    "CachedFunction",
    "CachedMethod",
    "CachedService",
    "CompositeStrategy",
    "CompositeWarmer",
    "EventDrivenStrategy",
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

if TYPE_CHECKING:
    from varco_cache._invalidated import (
        CacheInvalidated,
        CacheInvalidationConsumer,
        CacheInvalidationEvent,
    )
    from varco_cache._service import CachedService, CacheServiceMixin
else:
    _BEHIND_EXTRAS = {
        "CacheInvalidated": ("events", "_invalidated"),
        "CacheInvalidationConsumer": ("events", "_invalidated"),
        "CacheInvalidationEvent": ("events", "_invalidated"),
        "CacheServiceMixin": ("domain", "_service"),
        "CachedService": ("domain", "_service"),
    }

    def __getattr__(name: str) -> object:
        """Import what lies behind an extra when it is asked for."""
        if name not in _BEHIND_EXTRAS:
            raise AttributeError(f"module 'varco_cache' has no attribute {name!r}")
        extra, module = _BEHIND_EXTRAS[name]
        try:
            return getattr(import_module(f"varco_cache.{module}"), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("varco_cache"):
                raise
            raise ImportError(
                f"{name} needs {error.name}: pip install 'varco-cache[{extra}]'"
            ) from error
