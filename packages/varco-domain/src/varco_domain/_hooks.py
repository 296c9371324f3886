"""Whether a hook does anything, and what a method of somebody's own takes."""

from collections.abc import Callable
from functools import lru_cache
from inspect import signature
from types import MethodType
from typing import Any


def default[F: Callable[..., Any]](hook: F) -> F:
    """Mark the method of a base class that `untouched` knows again."""
    hook.__varco_default__ = hook  # type: ignore[attr-defined] # the mark of ours
    return hook


def untouched(hook: Any) -> bool:
    """Tell whether a hook, bound or not, is a marked one: not overridden, patched or set."""
    function = hook.__func__ if hook.__class__ is MethodType else hook
    # What wraps a marked one has a copy of its mark.
    return getattr(function, "__varco_default__", None) is function


def takes(method: Callable[..., Any], name: str) -> bool:
    """Tell whether a method has a parameter of this name."""
    return _takes(getattr(method, "__func__", method), name)


@lru_cache(maxsize=512)
def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
