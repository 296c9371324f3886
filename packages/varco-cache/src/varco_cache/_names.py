"""Where each public name is defined, and what it needs."""

from importlib import import_module

_MODULES = {
    "_backend": ("AsyncCache", "CacheBackend", "GuardedCache", "NamespacedCache"),
    "_cached": ("cached",),
    "_channel": ("INVALIDATION_CHANNEL",),
    "_checks": ("checked_ttl",),
    "_entry": ("MISSING", "CacheEntry", "CacheStats"),
    "_errors": (
        "CacheConfigError",
        "CacheDeadlockError",
        "CacheError",
        "CacheKeyError",
        "CacheUsageError",
        "CacheWaitTimeoutError",
    ),
    "_event_driven": ("EventDrivenStrategy",),
    "_eviction": ("Eviction",),
    "_function": ("CachedFunction", "CachedMethod"),
    "_invalidated": ("CacheInvalidated", "CacheInvalidationConsumer", "CacheInvalidationEvent"),
    "_layered": ("LayeredCache",),
    "_lease": ("Lease",),
    "_memory": ("InMemoryCache",),
    "_noop": ("NoOpCache",),
    "_service": ("CacheServiceMixin", "CachedService"),
    "_settings": ("CacheSettings",),
    "_strategies": (
        "CompositeStrategy",
        "ExplicitStrategy",
        "InvalidationStrategy",
        "TTLStrategy",
        "TaggedStrategy",
    ),
    "_tags": ("checked_tags",),
    "_warming": ("CacheWarmer", "CompositeWarmer", "QueryCacheWarmer", "SnapshotCacheWarmer"),
    "_write_mode": ("WriteMode",),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}
_EXTRAS = {"_invalidated": "events", "_service": "domain"}


def load(name: str) -> object:
    """The value of a public name.

    Raises:
        AttributeError: There is no such name.
        ImportError: It is behind an extra that is not installed.
    """
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'varco_cache' has no attribute {name!r}")
    try:
        return getattr(import_module(f"varco_cache.{module}"), name)
    except ModuleNotFoundError as error:
        if module not in _EXTRAS or error.name is None or error.name.startswith("varco_cache"):
            raise
        raise ImportError(
            f"{name} needs {error.name}: pip install 'varco-cache[{_EXTRAS[module]}]'"
        ) from error
