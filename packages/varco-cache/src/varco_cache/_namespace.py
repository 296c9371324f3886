"""A part of a cache as a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_cache._base import CacheBackend
from varco_cache._errors import CacheConfigError, CacheKeyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from varco_cache._background import Job
    from varco_cache._entry import CacheEntry, CacheStats
    from varco_cache._lease import Lease


class NamespacedCache(CacheBackend):
    """A view of a cache under a prefix; made by `CacheBackend.namespace`.

    Keys must be strings. Tags belong to the whole cache: invalidating one reaches every namespace.
    The view owns nothing: start and stop the cache beneath it.
    """

    def __init__(self, cache: CacheBackend, name: str) -> None:
        if not name:
            raise CacheConfigError("namespace", name, "give a name")
        self._cache = self._view_of = cache
        self.prefix: str = f"{name}:"
        self.local: bool = cache.local  # a view is what lies beneath it
        self.reliable: bool = cache.reliable  # likewise
        self.shared: bool = cache.shared  # likewise
        self.knows_ttl: bool = cache.knows_ttl  # likewise

    def peek(self, key: Any) -> Any:
        """The value if this process has it at hand."""
        return self._cache.peek(self._full(key))

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss."""
        return await self._cache.get(self._full(key), default, type_hint=type_hint)

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The value with its remaining time to live and its tags; None on a miss."""
        return await self._cache.get_entry(self._full(key), type_hint=type_hint)

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit."""
        full = {self._full(key): key for key in keys}
        found = await self._cache.get_many(full, type_hint=type_hint)
        return {full[key]: value for key, value in found.items()}

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit."""
        full = {self._full(key): key for key in keys}
        found = await self._cache.get_entries(full, type_hint=type_hint)
        return {full[key]: entry for key, entry in found.items()}

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike."""
        full = {self._full(key): value for key, value in items.items()}
        await self._cache.set_many(full, ttl=ttl, tags=tags)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys."""
        await self._cache.delete_many([self._full(key) for key in keys])

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value."""
        await self._cache.set(self._full(key), value, ttl=ttl, tags=tags)

    async def delete(self, key: Any) -> None:
        """Forget a key."""
        await self._cache.delete(self._full(key))

    async def clear(self) -> None:
        """Forget this namespace."""
        await self._cache.delete_prefix(self.prefix)

    async def delete_prefix(self, prefix: str) -> None:
        """Forget the keys of this namespace that begin with `prefix`."""
        await self._cache.delete_prefix(self.prefix + prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget what carries one of the tags, in every namespace."""
        await self._cache.invalidate_tags(*tags)

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Forget the copies of this process."""
        await self._cache.invalidate_near([self._full(key) for key in keys], tags)

    async def get_or_set(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
    ) -> Any:
        """The cached value or what `loader` returns, as the cache beneath does it."""
        return await self._cache.get_or_set(
            self._full(key), loader, ttl=ttl, tags=tags, type_hint=type_hint
        )

    async def load(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
        join: bool = True,
        look: bool = True,
    ) -> Any:
        """Load through the cache beneath, which shares loads among all views."""
        return await self._cache.load(
            self._full(key),
            loader,
            ttl=ttl,
            tags=tags,
            type_hint=type_hint,
            join=join,
            look=look,
        )

    def loading(self, key: Any) -> bool:
        """Whether a load of this key is running in this process."""
        return self._cache.loading(self._full(key))

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load."""
        return await self._cache.lease(self._full(key), tags=tags)

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded under a lease."""
        return await self._cache.fill(lease, value, ttl=ttl, tags=tags)

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """Ready a lease."""
        return await self._cache.arm(lease, look=look, type_hint=type_hint)

    async def release(self, lease: Lease) -> None:
        """Give up a lease."""
        await self._cache.release(lease)

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill would be stored."""
        return await self._cache.holds(lease)

    def stats(self) -> CacheStats:
        """Of the whole cache beneath."""
        return self._cache.stats()

    def served_stale(self) -> None:
        """Of the cache beneath."""
        self._cache.served_stale()

    def spawn(self, job: Job) -> bool:
        """In the background of the cache beneath."""
        return self._cache.spawn(job)

    def _full(self, key: Any) -> str:
        if isinstance(key, str):
            return self.prefix + key
        raise CacheKeyError("key of a namespace", key, "use a string")
