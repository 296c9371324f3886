"""Where a literal lies among the values that a field can hold.

A field holds values of one kind in one range. A literal of another kind compares with nothing, and
one between two values that the field can hold becomes the nearest of them: `x < 1.5` of a field of
integers is `x <= 1`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from math import floor, inf, isfinite, nextafter
from sys import float_info
from typing import Any, Final, NamedTuple
from uuid import UUID

_EXACT: Final = Context(prec=9000, Emax=99_999, Emin=-99_999)


class Placed(NamedTuple):
    """Where a literal lies: at `value`, or when not `exact` right above it.

    Nothing that the field can hold is between the two; with None nothing is below the literal.
    """

    value: Any
    exact: bool = True


type Place = Callable[[Any], Placed | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """How the values of a field are stored.

    Attributes:
        place: Where a literal lies among them; None of a literal of another kind.
        text: Whether they are text.
        decimal: Whether they are decimals, many of which are equal to one float.
        comparable: Whether more can be asked of them than whether they are null.
    """

    place: Place
    text: bool = False
    decimal: bool = False
    comparable: bool = True


def _other(_value: Any) -> Placed | None:
    return None


def _text(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, str) else None


def _boolean(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, bool) else None


def _date(value: Any) -> Placed | None:
    if isinstance(value, datetime):
        moment = _utc(value)
        return Placed(moment.date(), exact=moment.time() == time())
    return Placed(value) if isinstance(value, date) else None


def _moment(value: Any) -> Placed | None:
    if isinstance(value, datetime):
        return Placed(_utc(value))
    if isinstance(value, date):
        return Placed(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return None


def _time(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, time) else None


def _uuid(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, UUID) else None


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _float(value: Any) -> Placed | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        near = float(value)
    except OverflowError:
        near = inf if value > 0 else -inf
    if near == inf:
        return Placed(float_info.max, exact=False)
    if near == -inf:
        return Placed(None, exact=False)
    if isinstance(value, int) and int(near) != value:
        return Placed(near if near < value else nextafter(near, -inf), exact=False)
    return Placed(near)


TEXT: Final = Stored(_text, text=True)
"""Text, compared by code point."""
BOOLEAN: Final = Stored(_boolean)
"""Booleans, which are no numbers."""
FLOAT: Final = Stored(_float)
"""Doubles."""
MOMENT: Final = Stored(_moment)
"""Moments to the microsecond, as datetimes in UTC."""
DATE: Final = Stored(_date)
"""Dates."""
TIME: Final = Stored(_time)
"""Times of day."""
IDENTIFIER: Final = Stored(_uuid)
"""UUIDs."""
OPAQUE: Final = Stored(_other)
"""Values that compare with no literal, such as bytes."""
DOCUMENT: Final = Stored(_other, comparable=False)
"""Values of which can only be asked whether they are null, such as JSON."""


def integers(low: int, high: int) -> Stored:
    """Whole numbers of a range, both ends included."""

    def place(value: Any) -> Placed | None:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return None
        if isinstance(value, float) and not isfinite(value):
            return None  # a key may be given as one; no query holds it
        if isinstance(value, Decimal) and not value.is_finite():
            return None  # isfinite would make an infinite float of a large one
        whole = floor(value)
        if whole > high:
            return Placed(high, exact=False)
        if whole < low:
            return Placed(None, exact=False)
        return Placed(whole, exact=whole == value)

    return Stored(place)


def durations(longest: timedelta) -> Stored:
    """Durations, and negative ones, that are no longer."""

    def place(value: Any) -> Placed | None:
        if not isinstance(value, timedelta):
            return None
        if value > longest:
            return Placed(longest, exact=False)
        return Placed(None, exact=False) if value < -longest else Placed(value)

    return Stored(place)


def decimals(precision: int | None = None, scale: int | None = None) -> Stored:
    """Exact decimals of at most `precision` digits, `scale` of them behind the point."""
    if scale is None:
        return Stored(_number, decimal=True)
    step = Decimal(1).scaleb(-scale)
    limit = None if precision is None else Decimal(1).scaleb(precision - scale)

    def place(value: Any) -> Placed | None:
        placed = _number(value)
        if placed is None:
            return None
        number = placed.value
        if limit is not None and number >= limit:
            return Placed(limit - step, exact=False)
        if limit is not None and number <= -limit:
            return Placed(None, exact=False)
        below = number.quantize(step, ROUND_FLOOR, _EXACT)
        return Placed(below, exact=below == number)

    return Stored(place, decimal=True)


def _number(value: Any) -> Placed | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Placed(Decimal(value))


def rounding_to(value: float) -> tuple[Decimal, Decimal, bool]:
    """The decimals that become this float: from, to, and whether both ends do too."""
    here = Decimal(value)
    below, above = nextafter(value, -inf), nextafter(value, inf)
    # At the largest double the next step would be as wide as the one before.
    down = _EXACT.subtract(here, Decimal(below if below != -inf else -above))
    up = _EXACT.subtract(Decimal(above), here) if above != inf else down
    if below == -inf:
        down = up
    low = _EXACT.subtract(here, _EXACT.divide(down, Decimal(2)))
    high = _EXACT.add(here, _EXACT.divide(up, Decimal(2)))
    # Ties go to the even neighbour: to this float if its last bit is 0.
    last_digit = value.hex().partition("p")[0][-1]
    return low, high, int(last_digit, 16) % 2 == 0
