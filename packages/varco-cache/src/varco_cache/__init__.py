"""Async cache with layers, tags, single flight and scan-resistant eviction.

A name is loaded when it is first used; those behind an extra say what to install.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_cache._backend import AsyncCache, CacheBackend, GuardedCache, NamespacedCache
    from varco_cache._cached import cached
    from varco_cache._channel import INVALIDATION_CHANNEL
    from varco_cache._checks import checked_ttl
    from varco_cache._entry import MISSING, CacheEntry, CacheStats
    from varco_cache._errors import (
        CacheConfigError,
        CacheDeadlockError,
        CacheError,
        CacheKeyError,
        CacheUsageError,
        CacheWaitTimeoutError,
    )
    from varco_cache._event_driven import EventDrivenStrategy
    from varco_cache._eviction import Eviction
    from varco_cache._function import CachedFunction, CachedMethod
    from varco_cache._invalidated import (
        CacheInvalidated,
        CacheInvalidationConsumer,
        CacheInvalidationEvent,
    )
    from varco_cache._layered import LayeredCache
    from varco_cache._lease import Lease
    from varco_cache._memory import InMemoryCache
    from varco_cache._noop import NoOpCache
    from varco_cache._service import CachedService, CacheServiceMixin
    from varco_cache._settings import CacheSettings
    from varco_cache._strategies import (
        CompositeStrategy,
        ExplicitStrategy,
        InvalidationStrategy,
        TaggedStrategy,
        TTLStrategy,
    )
    from varco_cache._tags import checked_tags
    from varco_cache._warming import (
        CacheWarmer,
        CompositeWarmer,
        QueryCacheWarmer,
        SnapshotCacheWarmer,
    )
    from varco_cache._write_mode import WriteMode
else:
    from varco_cache._names import load

    def __getattr__(name: str) -> object:
        """Load a name when it is first used."""
        return globals().setdefault(name, load(name))


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
    "CacheWaitTimeoutError",
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
    "checked_tags",
    "checked_ttl",
)
