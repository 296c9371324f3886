"""What it means for two values to be equal, or one to be less.

The meaning that every backend has to give a comparison; the README has it as a table.
"""

from collections.abc import Callable
from datetime import MINYEAR, UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast

type Pair = tuple[Any, Any]

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NUMBERS: Final = frozenset({int, float, Decimal})


def plain(value: Any) -> Any:
    """The value as it is compared: enums by value, datetimes aware in UTC."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        try:
            return value.astimezone(UTC)
        except OverflowError:
            # In the first or last hours of time, which have no UTC: the nearest that has.
            return _FIRST if value.year == MINYEAR else _LAST
    return value


def kind(value: Any) -> type | None:
    """Values of one kind can be compared; true is no number."""
    for each in (bool, str, int, float, Decimal, date):
        if isinstance(value, each):
            return int if each in _NUMBERS else each
    return None if value is None else cast("type", value.__class__)


def align(left: Any, right: Any) -> Pair | None:
    """Both values in a form that Python compares; None when they are of different kinds."""
    left, right = plain(left), plain(right)
    if kind(left) is not kind(right):
        return None
    if isinstance(left, float) and isinstance(right, Decimal):
        return left, float(right)
    if isinstance(left, Decimal) and isinstance(right, float):
        return float(left), right
    if isinstance(left, date) and isinstance(left, datetime) != isinstance(right, datetime):
        return midnight(left), midnight(right)
    return left, right


def midnight(value: date) -> datetime:
    """A date as the datetime at which it begins, in UTC."""
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def comparer(compare: Callable[[Any, Any], bool], literal: Any) -> Callable[[Any], bool]:
    """A test of a value that is not null against the literal.

    False for a value of another kind, whatever is asked.
    """
    literal = plain(literal)
    # Not for datetimes: a naive and an aware one are of one type, but Python compares them not.
    exact = None if isinstance(literal, datetime) else literal.__class__

    def test(value: Any) -> bool:
        if value.__class__ is exact:
            return compare(value, literal)
        pair = align(value, literal)
        return pair is not None and compare(*pair)

    return test
