"""What the decorators know about the callables that they wrap."""

from __future__ import annotations

import functools
import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any

from varco_resilience._errors import UnsupportedFunctionError

if TYPE_CHECKING:
    from collections.abc import Callable

_HOLDERS: tuple[Any, ...] = (staticmethod, classmethod)


class Kind(Enum):
    """How a callable runs."""

    SYNC = "sync"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


def kind_of(func: Any) -> Kind:
    """How a function, a method, a partial or an object with `__call__` runs."""
    while isinstance(func, functools.partial):
        func = func.func
    for candidate in (func, func.__call__):
        if inspect.iscoroutinefunction(candidate):
            return Kind.ASYNC
        if inspect.isasyncgenfunction(candidate):
            return Kind.ASYNC_GENERATOR
        if inspect.isgeneratorfunction(candidate):
            return Kind.GENERATOR
    return Kind.SYNC


def name_of(func: Any) -> str:
    """The qualified name of a callable, for messages."""
    while isinstance(func, functools.partial):
        func = func.func
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
    """Refuse the kinds of function that a decorator cannot serve."""
    if kind not in supported:
        raise UnsupportedFunctionError(
            decorator, name, f"it is {_ARTICLES[kind]} {kind.value} function; {remedy}"
        )


_ARTICLES = {
    Kind.SYNC: "a",
    Kind.ASYNC: "an",
    Kind.GENERATOR: "a",
    Kind.ASYNC_GENERATOR: "an",
}
