"""The base of every cache, with its views at hand."""

from varco_cache._adopted import adopted, is_cache
from varco_cache._base import AsyncCache, CacheBackend, Views
from varco_cache._guard import GuardedCache
from varco_cache._namespace import NamespacedCache

__all__ = ("AsyncCache", "CacheBackend", "GuardedCache", "NamespacedCache", "adopted", "is_cache")

CacheBackend._views = Views(adopted, GuardedCache, NamespacedCache)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # set here, once
