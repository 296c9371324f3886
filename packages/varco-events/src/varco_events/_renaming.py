"""Parameters under names that they no longer have."""

from __future__ import annotations

import inspect
import warnings
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def takes_former_names[**P, R](**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function take keywords under the names that they had; each warns once.

    Args:
        names: What the parameter is called now, by its former name.

    Raises:
        TypeError: From the function, when it is given both.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **values: P.kwargs) -> R:
            given: dict[str, Any] = values
            for old in names.keys() & given.keys():
                if names[old] in given:
                    raise TypeError(f"{function.__qualname__}() takes {names[old]!r}, not {old!r}")
                _warn(function.__qualname__, old, names[old])
                given[names[old]] = given.pop(old)
            return function(*args, **values)

        return (
            inspect.markcoroutinefunction(call) if inspect.iscoroutinefunction(function) else call
        )

    return decorate


@cache
def _warn(function: str, old: str, new: str) -> None:
    warnings.warn(
        f"{old!r} of {function}() is called {new!r} now", DeprecationWarning, stacklevel=3
    )
