"""The limit of time under the name that it had."""

from __future__ import annotations

import warnings
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def takes_time_limit[**P](init: Callable[P, None]) -> Callable[P, None]:
    """Have an `__init__` take `timeout` as `time_limit` too, which warns once."""

    @wraps(init)
    def call(*args: P.args, **values: P.kwargs) -> None:
        given: dict[str, Any] = values
        if "time_limit" in given:
            if "timeout" in given:
                raise TypeError(f"{init.__qualname__}() takes 'timeout', not 'time_limit'")
            _warn(init.__qualname__)
            given["timeout"] = given.pop("time_limit")
        init(*args, **values)

    return call


@cache
def _warn(name: str) -> None:
    warnings.warn(
        f"'time_limit' of {name}() is called 'timeout' now", DeprecationWarning, stacklevel=3
    )
