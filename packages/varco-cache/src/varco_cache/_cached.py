"""`@cached`: an async function that remembers."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, cast, overload

from varco_cache._backend import AsyncCache, CacheBackend, adopted, is_cache
from varco_cache._calls import CachedCalls, CacheFactory, TagsOrMaker
from varco_cache._errors import CacheUsageError
from varco_cache._freshness import Freshness
from varco_cache._function import CachedClassMethod, CachedFunction, CachedStaticMethod
from varco_cache._identity import plain_function

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

type CacheOrFactory = CacheBackend | AsyncCache[Any, Any] | CacheFactory


class Decorator:
    """What `cached(...)` returns: put it on an async function or method."""

    def __init__(self, make: Callable[..., CachedCalls]) -> None:
        self._make = make

    # A static or class method is no callable to itself, whatever the overlap suggests.
    @overload
    def __call__[**P, R](  # type: ignore[overload-overlap] # see above
        self, func: staticmethod[P, Coroutine[Any, Any, R]]
    ) -> CachedStaticMethod[P, R]: ...

    @overload
    def __call__[T, **P, R](
        self, func: classmethod[T, P, Coroutine[Any, Any, R]]
    ) -> CachedClassMethod[P, R]: ...

    @overload
    def __call__[**P, R](
        self, func: Callable[P, Coroutine[Any, Any, R]]
    ) -> CachedFunction[P, R]: ...

    def __call__(self, func: Any) -> Any:
        """The cached form of `func`.

        Raises:
            CacheUsageError: `func` is no async function.
            CacheKeyError: Nothing tells it from its likes in a cache that processes share.
        """
        if isinstance(func, staticmethod | classmethod):
            inner = cast("Any", func).__func__
            function = CachedFunction[..., Any](self._make(_checked(inner)))
            if isinstance(func, classmethod):
                function.__set_name__(type, inner.__name__)
                return CachedClassMethod[..., Any](function)
            return CachedStaticMethod[..., Any](function)
        return CachedFunction[..., Any](self._make(_checked(func)))


def cached(
    cache: CacheOrFactory,
    *,
    key: str | Callable[..., str] | None = None,
    ttl: float | None = None,
    namespace: str = "",
    name: str | None = None,
    tags: TagsOrMaker = (),
    stale_while_revalidate: float = 0.0,
    stale_if_error: float = 0.0,
    early_refresh: float = 0.0,
    jitter: float = 0.0,
) -> Decorator:
    """Remember the results of an async function: one load per key however many callers wait.

    A failure reaches all who wait and is not cached; None is. A cache that is down costs nothing
    but the call. Functions share a cache and a namespace without sharing results, those that one
    `def` makes included, and so do the instances that have the method, unless `key` is given.

    Args:
        cache: The cache, or a callable that is given the first argument (`self`) and returns it.
        key: Made from all arguments when None; a template such as `"user:{user_id}"`; or a
            callable with the parameters of the function.
        ttl: Seconds a result is fresh; None for the default of the cache.
        namespace: The beginning of the keys.
        name: What the function is called in keys instead of its own name: needed in a cache that
            processes share by functions that are made anew by each call of what defines them.
        tags: For `CacheBackend.invalidate_tags`: strings, or a callable with the parameters of
            the function.
        stale_while_revalidate: Seconds after the ttl in which the old result is served while one
            load renews it, in the background if the cache is started.
        stale_if_error: Seconds after the ttl in which the old result is served if renewing fails.
        early_refresh: Seconds before the end of the ttl from which a hit renews the result.
        jitter: Share of the ttl that is cut at random, so that entries do not expire together.
    """
    source: Any = cache
    if is_cache(source):
        source = adopted(source)
    elif not callable(source):
        raise CacheUsageError(
            f"cached() needs a cache or a callable that returns one, not {cache!r}"
        )
    freshness = Freshness(ttl, stale_while_revalidate, stale_if_error, early_refresh, jitter)
    return Decorator(
        partial(
            CachedCalls,
            source=source,
            key=key,
            namespace=namespace,
            name=name,
            tags=tags,
            freshness=freshness,
        )
    )


def _checked(func: Any) -> Any:
    if inspect.iscoroutinefunction(func) and hasattr(plain_function(func), "__qualname__"):
        return func
    name = getattr(func, "__qualname__", repr(func))
    raise CacheUsageError(
        f"@cached works on async functions, and {name} is none; "
        f"make it `async def`, or put @cached beneath the other decorator"
    )
