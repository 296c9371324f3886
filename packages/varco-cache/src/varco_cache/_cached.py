"""`@cached`: an async function that remembers."""

from __future__ import annotations

import functools
import inspect
import logging
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, overload

from varco_cache._base import CacheBackend
from varco_cache._callkey import KeyMaker, chosen_owner_key, key_maker, owner_key
from varco_cache._canonical import qualified
from varco_cache._entry import FOREVER, MISSING, CacheEntry, checked_ttl
from varco_cache._errors import CacheConfigError, CacheUsageError
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from varco_cache._flight import Loader

type CacheOrFactory = CacheBackend | Callable[[Any], CacheBackend] | Callable[[], CacheBackend]
type TagsOrMaker = Iterable[str] | Callable[..., Iterable[str]]

logger = logging.getLogger("varco_cache")


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long a result is fresh, and what may be served after that, in seconds."""

    ttl: float | None = None
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    early_refresh: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        checked_ttl(self.ttl)
        for name in ("stale_while_revalidate", "stale_if_error", "early_refresh"):
            value = getattr(self, name)
            if not value >= 0:
                raise CacheConfigError(name, value, "seconds, zero or more")
            if value and self.ttl is None:
                raise CacheConfigError("ttl", None, f"{name} needs one to count from")
        if not 0 <= self.jitter < 1:
            raise CacheConfigError("jitter", self.jitter, "a share of the ttl, from 0 to below 1")

    @property
    def windowed(self) -> bool:
        """Whether a hit must look at its age."""
        return bool(self.stale or self.early_refresh)

    @property
    def stale(self) -> float:
        """Seconds that an entry is kept beyond its ttl."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def lifetime(self) -> float | None:
        """The ttl to store a result with."""
        if self.ttl is None or self.ttl == FOREVER:
            return self.ttl
        share = 1 - self.jitter * random.random() if self.jitter else 1  # noqa: S311 # spreads load
        return self.ttl * share + self.stale


class _Core:
    """What the function, its methods and its handles share."""

    def __init__(
        self,
        func: Callable[..., Coroutine[Any, Any, Any]],
        source: CacheOrFactory,
        key: str | Callable[..., str] | None,
        namespace: str,
        tags: TagsOrMaker,
        freshness: Freshness,
        *,
        method: bool,
    ) -> None:
        self.func = func
        self.method = method
        self.freshness = freshness
        self.windowed: bool = freshness.windowed
        self._tags_for = tags if callable(tags) else None
        self._tags = frozenset[str]() if callable(tags) else checked_tags(tags)
        # Two functions of one name in two modules may share a namespace, not results.
        name = qualified(func)
        self.prefix: str = f"{namespace}:" if namespace else ""
        # Keys of the caller's own making do not tell whose they are: a tag does.
        self.all_tag: str | None = None if key is None else f"cached:{self.prefix}{name}"
        if key is None:
            self.prefix += f"{name}:"
        self.cache: CacheBackend | None = None
        self._factory: Callable[..., CacheBackend] | None = None
        leading: Callable[[Any], str] | None = None
        if isinstance(source, CacheBackend):
            self.cache = source.guarded()
            leading = owner_key if method else None
        else:
            self._factory = source
            self._factory_takes = bool(inspect.signature(source).parameters)
            leading = chosen_owner_key if method else None
        self.leading = leading
        self.key_for: KeyMaker = key_maker(func, self.prefix, key, leading=leading)

    def cache_for(self, args: tuple[Any, ...]) -> CacheBackend:
        """The cache of a call."""
        if self.cache is not None:
            return self.cache
        assert self._factory is not None  # noqa: S101 # one of the two is set
        if not self._factory_takes:
            return self._factory().guarded()
        if not args:
            raise CacheUsageError(
                f"the cache of {self.func.__qualname__} is chosen by its first argument: "
                f"pass that one by position"
            )
        return self._factory(args[0]).guarded()

    def tags_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[str]:
        """The tags of a call's result."""
        tags = self._tags
        if self._tags_for is not None:
            tags = checked_tags(self._tags_for(*args, **kwargs))
        return tags if self.all_tag is None else tags | {self.all_tag}

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
            return entry.value
        try:
            return await renew()
        except Exception:
            if left > -freshness.stale_if_error:
                logger.warning("serving %s from before a failed refresh", key, exc_info=True)
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
        if self.all_tag is not None:
            await cache.invalidate_tags(self.all_tag)
            return
        owner = self.leading(args[0]) if self.leading is not None and args else ""
        await cache.delete_prefix(self.prefix + owner)


class CachedMethod[**P, R]:
    """A cached function bound to its owner; or not bound to any, as a static method."""

    __slots__ = ("__self__", "_core", "_owner")

    def __init__(self, core: _Core, owner: tuple[Any, ...]) -> None:
        self._core = core
        self._owner = owner
        self.__self__: Any = owner[0] if owner else None

    @property
    def __wrapped__(self) -> Callable[..., Coroutine[Any, Any, R]]:
        """The undecorated function, unbound."""
        return self._core.func

    @property
    def __signature__(self) -> inspect.Signature:
        """What a call takes: the parameters of the undecorated function without its owner."""
        whole = inspect.signature(self._core.func)
        parameters = list(whole.parameters.values())[len(self._owner) :]
        return whole.replace(parameters=parameters)

    if not TYPE_CHECKING:  # a checker would let every misspelling pass

        def __getattr__(self, name: str) -> Any:
            """`__name__` and the like, of the undecorated function."""
            if name in CachedMethod.__slots__:
                raise AttributeError(name)
            return getattr(self._core.func, name)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result of the call, or a new one."""
        core = self._core
        full = (*self._owner, *args)
        key = core.key_for(*full, **kwargs)
        cache = core.cache_for(full)
        if not core.windowed:
            value = cache.peek(key)
            if value is not MISSING:
                return value  # type: ignore[no-any-return] # what was stored is what R says
        return await core.miss(cache, key, full, kwargs)  # type: ignore[no-any-return] # likewise

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of the call with these arguments."""
        await self._core.invalidate((*self._owner, *args), kwargs)

    async def invalidate_all(self) -> None:
        """Forget the results of every call."""
        await self._core.invalidate_all(self._owner)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, whatever is cached, and store the result."""
        return await self._core.refresh((*self._owner, *args), kwargs)  # type: ignore[no-any-return] # likewise

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key of the call with these arguments."""
        return self._core.key_for(*self._owner, *args, **kwargs)


# Frameworks ask of an instance whether calling it gives something to await.
inspect.markcoroutinefunction(CachedMethod)


class CachedFunction[**P, R]:
    """A cached async function; on an instance it is a `CachedMethod`."""

    __name__: str
    __qualname__: str

    def __init__(self, core: _Core) -> None:
        functools.update_wrapper(self, core.func)
        inspect.markcoroutinefunction(self)
        self._core = core
        self._key_for = core.key_for
        self._at_hand = core.cache if not core.windowed else None

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result of the call, or a new one."""
        key = self._key_for(*args, **kwargs)
        cache = self._at_hand
        if cache is not None:
            value = cache.peek(key)
            if value is not MISSING:
                return value  # type: ignore[no-any-return] # what was stored is what R says
        return await self._slow(key, args, kwargs)  # type: ignore[no-any-return] # likewise

    async def _slow(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        core = self._core
        cache = core.cache_for(args)
        if self._at_hand is None and not core.windowed:
            value = cache.peek(key)
            if value is not MISSING:
                return value
        return await core.miss(cache, key, args, kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> CachedFunction[P, R]: ...

    @overload
    def __get__[S, **Q](
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedMethod[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return CachedMethod[Any, R](self._core, (instance,))

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of the call with these arguments."""
        await self._core.invalidate(args, kwargs)

    async def invalidate_all(self) -> None:
        """Forget the results of every call."""
        await self._core.invalidate_all(())

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, whatever is cached, and store the result."""
        return await self._core.refresh(args, kwargs)  # type: ignore[no-any-return] # what func returns

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key of the call with these arguments."""
        return self._core.key_for(*args, **kwargs)


class CachedClassFunction[**P, R]:
    """A cached class method or static method; reading the attribute gives a `CachedMethod`."""

    def __init__(self, core: _Core) -> None:
        self.__doc__ = core.func.__doc__
        self._core = core

    def __get__(self, instance: object, owner: type | None = None) -> CachedMethod[P, R]:
        """Bound to the class when it is a class method."""
        cls = type(instance) if owner is None else owner
        return CachedMethod(self._core, (cls,) if self._core.method else ())


class Decorator:
    """What `cached(...)` returns: put it on an async function or method."""

    def __init__(self, make: Callable[..., _Core]) -> None:
        self._make = make

    # A static or class method is no callable to itself, whatever the overlap suggests.
    @overload
    def __call__[**P, R](  # type: ignore[overload-overlap] # see above
        self, func: staticmethod[P, Coroutine[Any, Any, R]]
    ) -> CachedClassFunction[P, R]: ...

    @overload
    def __call__[T, **P, R](
        self, func: classmethod[T, P, Coroutine[Any, Any, R]]
    ) -> CachedClassFunction[P, R]: ...

    @overload
    def __call__[**P, R](
        self, func: Callable[P, Coroutine[Any, Any, R]]
    ) -> CachedFunction[P, R]: ...

    def __call__(self, func: Any) -> Any:
        """The cached form of `func`.

        Raises:
            CacheUsageError: `func` is no async function.
        """
        if isinstance(func, staticmethod | classmethod):
            inner = _checked(func.__func__)  # pyright: ignore[reportUnknownMemberType] # of Any
            return self._of_class(inner, method=isinstance(func, classmethod))
        return self._of_function(_checked(func))

    def _of_class(self, func: Any, *, method: bool) -> CachedClassFunction[..., Any]:
        return CachedClassFunction(self._make(func, method=method))

    def _of_function(self, func: Any) -> CachedFunction[..., Any]:
        first = next(iter(inspect.signature(func).parameters), None)
        return CachedFunction(self._make(func, method=first in {"self", "cls"}))


def cached(
    cache: CacheOrFactory,
    *,
    key: str | Callable[..., str] | None = None,
    ttl: float | None = None,
    namespace: str = "",
    tags: TagsOrMaker = (),
    stale_while_revalidate: float = 0.0,
    stale_if_error: float = 0.0,
    early_refresh: float = 0.0,
    jitter: float = 0.0,
) -> Decorator:
    """Remember the results of an async function: one load per key however many callers wait.

    A failure reaches all who wait and is not cached; None is. A cache that is down costs nothing
    but the call. Several decorated functions may share cache and namespace, unless one `def` makes
    them: what it closes over is no part of the key.

    Args:
        cache: The cache, or a callable that is given the first argument (`self`) and returns it.
        key: Made from all arguments when None; a template such as `"user:{user_id}"`; or a
            callable with the parameters of the function.
        ttl: Seconds a result is fresh; None for the default of the cache.
        namespace: The beginning of the keys.
        tags: For `CacheBackend.invalidate_tags`: strings, or a callable with the parameters of
            the function.
        stale_while_revalidate: Seconds after the ttl in which the old result is served while one
            load renews it, in the background if the cache is started.
        stale_if_error: Seconds after the ttl in which the old result is served if renewing fails.
        early_refresh: Seconds before the end of the ttl from which a hit renews the result.
        jitter: Share of the ttl that is cut at random, so that entries do not expire together.
    """
    if not isinstance(cache, CacheBackend) and not callable(cache):
        raise CacheUsageError(
            f"cached() needs a cache or a callable that returns one, not {cache!r}"
        )
    freshness = Freshness(ttl, stale_while_revalidate, stale_if_error, early_refresh, jitter)

    def make(func: Callable[..., Coroutine[Any, Any, Any]], *, method: bool) -> _Core:
        return _Core(func, cache, key, namespace, tags, freshness, method=method)

    return Decorator(make)


def _checked(func: Any) -> Any:
    if inspect.iscoroutinefunction(func) and hasattr(func, "__qualname__"):
        return func
    name = getattr(func, "__qualname__", repr(func))
    raise CacheUsageError(
        f"@cached works on async functions, and {name} is none; "
        f"make it `async def`, or put @cached beneath the other decorator"
    )
