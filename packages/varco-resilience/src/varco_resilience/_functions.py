"""What the decorators know about the callables that they wrap."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any

from varco_resilience._errors import UnsupportedFunctionError

if TYPE_CHECKING:
    from collections.abc import Callable

_HOLDERS: tuple[Any, ...] = (staticmethod, classmethod)


MAKE_ASYNC = "make it `async def` or mark it with inspect.markcoroutinefunction"


class Kind(Enum):
    """How a callable runs."""

    SYNC = "sync"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"
    MIXED = "mixed"
    """In two ways at once, so that no strategy could say which calls it surrounds."""


PLAIN_KINDS = (Kind.SYNC, Kind.ASYNC)
KINDS = (*PLAIN_KINDS, Kind.GENERATOR, Kind.ASYNC_GENERATOR)


def kind_of(func: Any) -> Kind:
    """How a function, a method, a partial or an object with `__call__` runs."""
    func = _target(func)
    if inspect.isclass(func):
        return Kind.SYNC  # it makes an instance, whatever calling that may mean
    kinds = _kinds(func)
    if not inspect.isroutine(func):
        # Of the class, as Python calls it: what an instance may have of that name is not called.
        kinds |= _kinds(type(func).__call__)
    if len(kinds) > 1:
        return Kind.MIXED
    return next(iter(kinds), Kind.SYNC)


def _kinds(func: Any) -> set[Kind]:
    kinds: set[Kind] = set()
    if inspect.iscoroutinefunction(func):
        kinds.add(Kind.ASYNC)
    if inspect.isasyncgenfunction(func):
        kinds.add(Kind.ASYNC_GENERATOR)
    if inspect.isgeneratorfunction(func):
        kinds.add(Kind.GENERATOR)
        # What types.coroutine has made can be awaited as well as iterated over.
        code = getattr(func, "__code__", None)
        if code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE:
            kinds.add(Kind.ASYNC)
    return kinds


def _target(func: Any) -> Any:
    """What a call ends up in."""
    while True:
        if isinstance(func, functools.partial):
            func = func.func
        elif isinstance(func, staticmethod):
            func = func.__func__
        else:
            return func


def name_of(func: Any) -> str:
    """The qualified name of a callable, for messages."""
    func = _target(func)
    name = getattr(func, "__qualname__", None)
    return name if isinstance(name, str) else type(func).__qualname__


def decorate(
    decorator: str, func: Any, wrap: Callable[[Callable[..., Any], Kind, str], Callable[..., Any]]
) -> Any:
    """Wrap a callable, or what a static or class method holds, and carry its metadata over."""
    if isinstance(func, _HOLDERS):
        return type(func)(decorate(decorator, func.__func__, wrap))
    if not callable(func):
        raise UnsupportedFunctionError(decorator, repr(func), "it is not callable")
    if inspect.isclass(func):
        raise UnsupportedFunctionError(
            decorator, func.__qualname__, "it is a class; decorate a function that makes instances"
        )
    name = name_of(func)
    wrapper = wrap(func, kind_of(func), name)
    # The attributes of an object are its own state, those of a function describe it.
    updated = functools.WRAPPER_UPDATES if inspect.isroutine(func) else ()
    return functools.update_wrapper(wrapper, func, updated=updated)


def only(decorator: str, kind: Kind, name: str, supported: tuple[Kind, ...], remedy: str) -> None:
    """Refuse the kinds of function that a strategy cannot serve."""
    if kind is Kind.MIXED:
        remedy = "say which by writing it as `async def`"
    if kind not in supported:
        raise UnsupportedFunctionError(
            decorator, name, f"it is {_ARTICLES[kind]} {kind.value} function; {remedy}"
        )


def callable_sync[**P, R](decorator: str, func: Callable[P, R]) -> Callable[P, R]:
    """A sync function to be called once, whose answer is no coroutine either.

    Raises:
        UnsupportedFunctionError: it is none, at once; or it has made a coroutine, as `answering`.
    """
    name, remedy = name_of(func), "use the async way of calling"
    only(decorator, kind_of(func), name, (Kind.SYNC,), remedy)
    return answering(decorator, func, name, remedy)


def answering[**P, R](
    decorator: str, func: Callable[P, R], name: str, remedy: str
) -> Callable[P, R]:
    """A sync function that answers for itself.

    A coroutine of another function would fail, or succeed, where no strategy looks; it has not
    begun and never will.

    Raises:
        UnsupportedFunctionError: by the function returned, when `func` has made a coroutine.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result = func(*args, **kwargs)
        if hasattr(type(result), "__await__") and isinstance(result, Coroutine):
            result.close()
            raise UnsupportedFunctionError(decorator, name, f"it returns a coroutine; {remedy}")
        return result

    return call


def check_async(decorator: str, func: Any) -> None:
    """Refuse a function that is not async before it is called."""
    remedy = f"use the sync way of calling, or, if what it returns is to be awaited, {MAKE_ASYNC}"
    only(decorator, kind_of(func), name_of(func), (Kind.ASYNC,), remedy)


_ARTICLES = {
    Kind.SYNC: "a",
    Kind.ASYNC: "an",
    Kind.GENERATOR: "a",
    Kind.ASYNC_GENERATOR: "an",
    Kind.MIXED: "a",
}
