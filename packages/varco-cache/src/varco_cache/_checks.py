"""What a number has to be, checked alike wherever one is given."""

from __future__ import annotations

import math
import sys

from varco_cache._errors import CacheConfigError

LONGEST = sys.float_info.max
"""The most seconds that are a number; `math.inf` is for ever, and a larger `int` is nothing."""

_PLAIN = "as a plain number (of a timedelta, its total_seconds())"


def checked_ttl(ttl: float | None, name: str = "ttl") -> float | None:
    """The time to live when it is one: None, or seconds above zero.

    Raises:
        CacheConfigError: Zero, negative or not a number.
    """
    if ttl is None or (_is_span(ttl) and ttl > 0):
        return ttl
    raise CacheConfigError(name, ttl, f"seconds above zero {_PLAIN}, or None for the default")


def checked_seconds(value: float, name: str, *, least: float | None = None) -> float:
    """Seconds above zero, or from `least` on.

    Raises:
        CacheConfigError: Less, or not a number.
    """
    if _is_span(value) and (value > 0 if least is None else value >= least):
        return value
    bound = "above zero" if least is None else f"from {least:g} on"
    raise CacheConfigError(name, value, f"seconds {bound} {_PLAIN}")


def checked_count(value: int | None, name: str) -> int | None:
    """How many there may be at most: None for no bound, or a whole number above zero.

    Raises:
        CacheConfigError: Something else.
    """
    if value is None or (_is_number(value) and not isinstance(value, float) and value > 0):
        return value
    raise CacheConfigError(name, value, "a whole number above zero, or None for no bound")


def checked_share(value: float, name: str) -> float:
    """A share from 0 to below 1.

    Raises:
        CacheConfigError: Something else.
    """
    if _is_number(value) and 0 <= value < 1:
        return value
    raise CacheConfigError(name, value, "a share of the ttl, a number from 0 to below 1")


def _is_span(value: float) -> bool:
    """Whether it is a number of seconds that a clock can be moved by, or `math.inf`."""
    return _is_number(value) and (value <= LONGEST or value == math.inf)


def _is_number(value: object) -> bool:
    """Whether it is a number that means an amount; `True` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
