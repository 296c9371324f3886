"""Cached functions and methods: they stand where the undecorated ones did."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, overload

from varco_cache._entry import MISSING
from varco_cache._identity import plain_function

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from varco_cache._calls import CachedCalls


class CachedFunction[**P, R]:
    """A cached async function; on an instance it is a `CachedMethod`.

    As of a function, a copy of it is itself, and it is pickled by its name.
    """

    __name__: str
    __qualname__: str

    def __init__(self, calls: CachedCalls) -> None:
        self._calls = calls
        functools.update_wrapper(self, plain_function(calls.func))
        self.__wrapped__: Callable[..., Coroutine[Any, Any, R]] = calls.func
        inspect.markcoroutinefunction(self)
        self._key_for = calls.key_for
        self._at_hand = calls.cache if not calls.windowed else None

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
        calls = self._calls
        cache = calls.cache_for(args)
        if self._at_hand is None and not calls.windowed:
            value = cache.peek(key)
            if value is not MISSING:
                return value
        return await calls.miss(cache, key, args, kwargs)

    def __set_name__(self, owner: type, name: str) -> None:
        """A function of a class is a method, whatever its first parameter is called."""
        del owner, name
        first = next(iter(inspect.signature(self._calls.func).parameters.values()), None)
        if first is not None and first.kind in {first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD}:
            self._calls.is_method = True
            self._remake()

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> CachedFunction[P, R]: ...

    @overload
    def __get__[S, **Q](
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedMethod[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if not self._calls.is_method:  # it became one after its class was made
            self.__set_name__(object, self.__name__)
        return CachedMethod[Any, R](self, instance)

    if not TYPE_CHECKING:  # a checker would let every misspelling pass

        def __getattr__(self, name: str) -> Any:
            """`__code__` and the like, of the undecorated function."""
            if name == "_calls":
                raise AttributeError(name)
            return getattr(self._calls.func, name)

    @property
    def __defaults__(self) -> tuple[Any, ...] | None:
        """Those of the undecorated function; keys follow what is set."""
        return self._function().__defaults__  # type: ignore[no-any-return] # of any function

    @__defaults__.setter
    def __defaults__(self, values: tuple[Any, ...] | None) -> None:
        self._function().__defaults__ = values
        self._remake()

    @property
    def __kwdefaults__(self) -> dict[str, Any] | None:
        """Likewise of the parameters that are given by name."""
        return self._function().__kwdefaults__  # type: ignore[no-any-return] # likewise

    @__kwdefaults__.setter
    def __kwdefaults__(self, values: dict[str, Any] | None) -> None:
        self._function().__kwdefaults__ = values
        self._remake()

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<cached function {self.__qualname__} at {id(self):#x}>"

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of the call with these arguments."""
        await self._calls.invalidate(args, kwargs)

    async def invalidate_all(self) -> None:
        """Forget the results of every call."""
        await self._calls.invalidate_all(())

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, whatever is cached, and store the result."""
        return await self._calls.refresh(args, kwargs)  # type: ignore[no-any-return] # what func returns

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key of the call with these arguments."""
        return self._key_for(*args, **kwargs)

    def _function(self) -> Any:
        return plain_function(self._calls.func)

    def _remake(self) -> None:
        self._calls.make_keys()
        self._key_for = self._calls.key_for


class CachedMethod[**P, R]:
    """A cached function bound to its owner; equal to itself bound again, as methods are."""

    __slots__ = ("__func__", "__self__", "__weakref__", "_calls")

    def __init__(self, function: CachedFunction[..., R], owner: Any) -> None:
        self.__func__: CachedFunction[..., R] = function
        self.__self__: Any = owner
        self._calls = function._calls  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # of this file

    @property
    def __wrapped__(self) -> Callable[..., Coroutine[Any, Any, R]]:
        """The undecorated function, unbound."""
        return self._calls.func

    @property
    def __signature__(self) -> inspect.Signature:
        """What a call takes: the parameters of the undecorated function without its owner."""
        whole = inspect.signature(self._calls.func)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    if not TYPE_CHECKING:  # a checker would let every misspelling pass

        def __getattr__(self, name: str) -> Any:
            """`__name__`, that it is a coroutine function, and the like, of the function."""
            if name in CachedMethod.__slots__:
                raise AttributeError(name)
            return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CachedMethod):
            return NotImplemented
        return self.__self__ is other.__self__ and self.__func__ is other.__func__  # pyright: ignore[reportUnknownMemberType] # of any

    def __hash__(self) -> int:
        return hash((id(self.__self__), id(self.__func__)))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, str]]:
        return getattr, (self.__self__, self._calls.name)

    def __repr__(self) -> str:
        return f"<cached method {self.__func__.__qualname__} of {self.__self__!r}>"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result of the call, or a new one."""
        calls = self._calls
        full = (self.__self__, *args)
        key = calls.key_for(*full, **kwargs)
        cache = calls.cache_for(full)
        if not calls.windowed:
            value = cache.peek(key)
            if value is not MISSING:
                return value  # type: ignore[no-any-return] # what was stored is what R says
        return await calls.miss(cache, key, full, kwargs)  # type: ignore[no-any-return] # likewise

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of the call with these arguments."""
        await self._calls.invalidate((self.__self__, *args), kwargs)

    async def invalidate_all(self) -> None:
        """Forget the results of every call on this owner."""
        await self._calls.invalidate_all((self.__self__,))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, whatever is cached, and store the result."""
        return await self._calls.refresh((self.__self__, *args), kwargs)  # type: ignore[no-any-return] # likewise

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key of the call with these arguments."""
        return self._calls.key_for(self.__self__, *args, **kwargs)


class CachedClassMethod[**P, R]:
    """A cached class method; reading the attribute gives a `CachedMethod` of the class."""

    def __init__(self, function: CachedFunction[..., R]) -> None:
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.__isabstractmethod__: bool = getattr(function, "__isabstractmethod__", False)

    def __get__(self, instance: object, owner: type | None = None) -> CachedMethod[P, R]:
        """Bound to the class."""
        return CachedMethod(self.__wrapped__, type(instance) if owner is None else owner)


class CachedStaticMethod[**P, R]:
    """A cached static method; reading the attribute gives the `CachedFunction`."""

    def __init__(self, function: CachedFunction[P, R]) -> None:
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.__isabstractmethod__: bool = getattr(function, "__isabstractmethod__", False)

    def __get__(self, instance: object, owner: type | None = None) -> CachedFunction[P, R]:
        """The function itself."""
        return self.__wrapped__
