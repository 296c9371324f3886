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


def check_sync(decorator: str, func: Any) -> str:
    """Refuse a function that is not sync before it is called; the name of one that is."""
    name = name_of(func)
    only(decorator, kind_of(func), name, (Kind.SYNC,), "use the async way of calling")
    return name


def answer_type(
    result: object, decorator: str, name: str, remedy: str = MAKE_ASYNC
) -> type[object]:
    """The type of what a sync function has answered with; further answers of it need no look.

    A coroutine would fail, or succeed, where no strategy looks; it has not begun and never will.

    Raises:
        UnsupportedFunctionError: it is a coroutine.
    """
    found = type(result)
    if hasattr(found, "__await__") and isinstance(result, Coroutine):
        result.close()
        raise UnsupportedFunctionError(decorator, name, f"it returns a coroutine; {remedy}")
    return found


def check_async(decorator: str, func: Any) -> str:
    """Refuse a function that is not async before it is called; the name of one that is."""
    name = name_of(func)
    remedy = f"use the sync way of calling, or, if what it returns is to be awaited, {MAKE_ASYNC}"
    only(decorator, kind_of(func), name, (Kind.ASYNC,), remedy)
    return name


_ARTICLES = {
    Kind.SYNC: "a",
    Kind.ASYNC: "an",
    Kind.GENERATOR: "a",
    Kind.ASYNC_GENERATOR: "an",
    Kind.MIXED: "a",
}
