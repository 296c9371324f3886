"""What a cached function does when it is called."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from varco_cache._backend import CacheBackend, adopted
from varco_cache._callkey import KeyMaker, key_maker
from varco_cache._errors import CacheConfigError, CacheKeyError, CacheUsageError
from varco_cache._identity import (
    function_name,
    owner_key,
    plain_function,
    qualified,
    shared_owner_key,
)
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from varco_cache._entry import CacheEntry
    from varco_cache._flight import Loader
    from varco_cache._freshness import Freshness

type CacheFactory = Callable[[Any], object] | Callable[[], object]
type TagsOrMaker = Iterable[str] | Callable[..., Iterable[str]]
type AsyncFunction = Callable[..., Coroutine[Any, Any, Any]]

logger = logging.getLogger("varco_cache")


class CachedCalls:
    """The calls of one function: their keys, tags and caches, and what is done on a miss."""

    def __init__(
        self,
        func: AsyncFunction,
        source: CacheBackend | CacheFactory,
        *,
        key: str | Callable[..., str] | None,
        namespace: str,
        name: str | None,
        tags: TagsOrMaker,
        freshness: Freshness,
    ) -> None:
        self.func = func
        self.name: str = plain_function(func).__name__
        self.freshness = freshness
        self.windowed: bool = freshness.windowed
        self._key = key
        self._tags_for = tags if callable(tags) else None
        self._tags = frozenset[str]() if callable(tags) else checked_tags(tags)
        self.prefix: str = f"{namespace}:" if namespace else ""
        # Keys of the caller's own making do not tell whose they are: a tag does.
        self._all_tag: str | None = None
        self._nameless = False
        if key is None:
            # Functions of one name, or of one `def`, may share a namespace, not results.
            own, everywhere = (name, name) if name is not None else function_name(func)
            if isinstance(source, CacheBackend) and source.shared and everywhere is not None:
                own = everywhere
            self._nameless = own != everywhere
            self.prefix += f"{own}:"
        else:
            self._all_tag = f"cached:{self.prefix}{name or qualified(plain_function(func))}"
        self.cache: CacheBackend | None = None
        self._factory: Callable[..., object] | None = None
        if isinstance(source, CacheBackend):
            self.cache = source.guarded()
            self._check(self.cache)
        else:
            self._factory = source
            self._factory_takes = _needs_an_argument(source)
        first = next(iter(inspect.signature(func).parameters), None)
        self.is_method: bool = first in {"self", "cls"}
        self.make_keys()

    def make_keys(self) -> None:
        """Make the function that makes keys, from the function as it is now."""
        shared = self.cache is not None and self.cache.shared
        leading = (shared_owner_key if shared else owner_key) if self.is_method else None
        self.key_for: KeyMaker = key_maker(self.func, self.prefix, self._key, leading=leading)

    def cache_for(self, args: tuple[Any, ...]) -> CacheBackend:
        """The cache of a call."""
        if self.cache is not None:
            return self.cache
        assert self._factory is not None  # noqa: S101 # one of the two is set
        if not self._factory_takes:
            cache = adopted(self._factory()).guarded()
        elif args:
            cache = adopted(self._factory(args[0])).guarded()
        else:
            raise CacheUsageError(
                f"the cache of {plain_function(self.func).__qualname__} is chosen by its first "
                f"argument: pass that one by position"
            )
        if cache.shared or (self.windowed and not cache.knows_ttl):
            self._check(cache)
            if self.is_method and self._key is None and args:
                shared_owner_key(args[0])
        return cache

    def tags_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[str]:
        """The tags of a call's result."""
        tags = self._tags
        if self._tags_for is not None:
            tags = checked_tags(self._tags_for(*args, **kwargs))
        return tags if self._all_tag is None else tags | {self._all_tag}

    async def miss(
        self, cache: CacheBackend, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What to do when the result is not at hand."""
        loader = functools.partial(self.func, *args, **kwargs)
        tags, ttl = self.tags_for(args, kwargs), self.freshness.lifetime()
        if not self.windowed:
            if cache.local:
                return await cache.load(key, loader, ttl=ttl, tags=tags)
            return await cache.get_or_set(key, loader, ttl=ttl, tags=tags)
        entry = await cache.get_entry(key)
        if entry is None:
            return await cache.load(key, loader, ttl=ttl, tags=tags, look=not cache.local)
        return await self._aged(cache, key, entry, loader, tags)

    async def _aged(
        self,
        cache: CacheBackend,
        key: str,
        entry: CacheEntry,
        loader: Loader,
        tags: frozenset[str],
    ) -> Any:
        """A cached result by its age: served, served and renewed, renewed, or a last resort."""
        freshness = self.freshness
        left = entry.ttl - freshness.stale
        if left > freshness.early_refresh:
            return entry.value

        async def renew() -> Any:
            ttl = freshness.lifetime()
            return await cache.load(key, loader, ttl=ttl, tags=tags, look=False)

        serve_meanwhile = left > -freshness.stale_while_revalidate
        # Where nobody owns background work, one caller renews and the others are served.
        if serve_meanwhile and (cache.loading(key) or cache.spawn(renew)):
            if left <= 0:
                cache.served_stale()
            return entry.value
        try:
            return await renew()
        except Exception:
            if left > -freshness.stale_if_error:
                logger.warning("serving %s from before a failed refresh", key, exc_info=True)
                cache.served_stale()
                return entry.value
            raise

    async def refresh(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function and store the result."""
        return await self.cache_for(args).load(
            self.key_for(*args, **kwargs),
            functools.partial(self.func, *args, **kwargs),
            ttl=self.freshness.lifetime(),
            tags=self.tags_for(args, kwargs),
            join=False,
            look=False,
        )

    async def invalidate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forget the result of one call."""
        await self.cache_for(args).delete(self.key_for(*args, **kwargs))

    async def invalidate_all(self, args: tuple[Any, ...]) -> None:
        """Forget the results of all calls, of one owner where keys name it."""
        cache = self.cache_for(args)
        if self._all_tag is not None:
            await cache.invalidate_tags(self._all_tag)
            return
        owner = owner_key(args[0]) if self.is_method and args else ""
        await cache.delete_prefix(self.prefix + owner)

    def _check(self, cache: CacheBackend) -> None:
        """Refuse a cache that cannot keep what this function promises."""
        if self._nameless and cache.shared:
            raise CacheKeyError(
                f"function {plain_function(self.func).__qualname__!r}",
                self.func,
                "is made anew by each call of what defines it, so nothing tells other processes "
                "which one it is: pass name=, one for each, or key=",
            )
        if self.windowed and not cache.knows_ttl:
            raise CacheConfigError(
                "cache",
                cache,
                "it does not tell how long an entry has left, which early_refresh, "
                "stale_while_revalidate and stale_if_error need: implement get_entry",
            )


def _needs_an_argument(factory: Callable[..., object]) -> bool:
    """Whether it cannot be called with none."""
    return any(
        one.default is one.empty and one.kind not in {one.VAR_KEYWORD, one.KEYWORD_ONLY}
        for one in inspect.signature(factory).parameters.values()
    )
