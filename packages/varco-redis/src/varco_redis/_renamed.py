"""Settings under names that they no longer have."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOW = {
    "time_limit": "timeout",
    "connect_time_limit": "connect_timeout",
    "idle_limit": "lease",
    "lease_time": "lease",
}


class Renamed(type):
    """Has classes take values under the names that they had; each warns once."""

    if not TYPE_CHECKING:  # checkers are to see the names of now alone

        def __call__(cls, *args: Any, **values: Any) -> Any:
            return super().__call__(*args, **current(cls, values))


def current(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names of now."""
    fields: Mapping[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined] # of dataclasses
    found = dict(values)
    for old in [name for name in values if name not in fields]:
        new = name_now(cls, old)
        if new is not None:
            found.setdefault(new, found.pop(old))
    return found


def name_now(cls: type, old: str) -> str | None:
    """What a setting of `cls` is called now; None when it never was there."""
    new = _NOW.get(old)
    if new is None or new not in cls.__dataclass_fields__:  # type: ignore[attr-defined] # of dataclasses
        return None
    _warn(old, new)
    return new


def names_before(new: str) -> list[str]:
    """What the setting `new` was called."""
    return [old for old, now in _NOW.items() if now == new]


@cache
def _warn(old: str, new: str) -> None:
    warnings.warn(f"the setting {old!r} is called {new!r} now", DeprecationWarning, stacklevel=5)
