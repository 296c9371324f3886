"""From a comparison of the query language to comparisons that every engine answers alike.

A column holds values of one kind in one range. A literal of another kind compares with nothing,
and one between two values that the column can hold becomes the nearest of them: ``x < 1.5`` on a
column of integers is ``x <= 1``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from math import floor, inf, nextafter
from sys import float_info
from typing import Any, Final
from uuid import UUID

from varco_domain.meta import FieldKind, FieldMeta
from varco_query import Operation
from varco_sa._columns import value_class
from varco_sa._dialect import Dialect

_INT_MAX, _INT_MIN = 2**63 - 1, -(2**63)
_LONGEST = timedelta(microseconds=_INT_MAX)
_EXACT = Context(prec=9000, Emax=99_999, Emin=-99_999)

NOTHING: Final = ("false",)
NOT_NULL: Final = ("not null",)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a literal lies among a column's values.

    ``value`` is the literal itself when ``exact``; otherwise the largest value below it, None when
    there is none.
    """

    value: Any
    exact: bool = True


type Place = Callable[[Any], Placed | None]

_MIRROR: Final = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
# What an inexact literal asks of the largest value below it.
_BELOW: Final = {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}


def order(op: str, placed: Placed | None) -> tuple[str, Any] | tuple[str]:
    """The comparison ``column op literal`` as a step and its value."""
    if placed is None:
        return NOTHING
    if placed.exact:
        return op, placed.value
    if op == "=":
        return NOTHING
    if op == "!=":
        return NOT_NULL
    if placed.value is None:
        return NOTHING if op[0] == "<" else NOT_NULL
    return _BELOW[op], placed.value


def place_for(field: FieldMeta, dialect: Dialect) -> Place:
    """The function that places literals among the values of the field's column."""
    kind = field.kind
    if kind in {FieldKind.ENUM, FieldKind.LITERAL}:
        return _BY_CLASS[value_class(field) or str]
    if kind is FieldKind.DECIMAL:
        precision, scale = dialect.decimal_limits(field.hint.precision, field.hint.scale)
        return lambda value: _decimal(value, precision, scale)
    return _BY_KIND.get(kind, _nothing)


def _nothing(_value: Any) -> Placed | None:
    return None


def _text(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, str) else None


def _boolean(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, bool) else None


def _integer(value: Any) -> Placed | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    whole = floor(value)
    if whole > _INT_MAX:
        return Placed(_INT_MAX, exact=False)
    if whole < _INT_MIN:
        return Placed(None, exact=False)
    return Placed(whole, exact=whole == value)


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


def _decimal(value: Any, precision: int | None, scale: int | None) -> Placed | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    if scale is None:
        return Placed(number)
    step = Decimal(1).scaleb(-scale)
    if precision is not None:
        limit = Decimal(1).scaleb(precision - scale)
        if number >= limit:
            return Placed(limit - step, exact=False)
        if number <= -limit:
            return Placed(None, exact=False)
    below = number.quantize(step, ROUND_FLOOR, _EXACT)
    return Placed(below, exact=below == number)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _moment(value: Any) -> Placed | None:
    if isinstance(value, datetime):
        return Placed(_utc(value))
    if isinstance(value, date):
        return Placed(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return None


def _date(value: Any) -> Placed | None:
    if isinstance(value, datetime):
        moment = _utc(value)
        return Placed(moment.date(), exact=moment.time() == time())
    return Placed(value) if isinstance(value, date) else None


def _time(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, time) else None


def _duration(value: Any) -> Placed | None:
    if not isinstance(value, timedelta):
        return None
    if value > _LONGEST:
        return Placed(_LONGEST, exact=False)
    if value < -_LONGEST:
        return Placed(None, exact=False)
    return Placed(value)


def _uuid(value: Any) -> Placed | None:
    return Placed(value) if isinstance(value, UUID) else None


_BY_CLASS: Final[dict[type, Place]] = {str: _text, int: _integer, bool: _boolean}
_BY_KIND: Final[dict[FieldKind, Place]] = {
    FieldKind.STR: _text,
    FieldKind.INT: _integer,
    FieldKind.FLOAT: _float,
    FieldKind.BOOL: _boolean,
    FieldKind.DATETIME: _moment,
    FieldKind.DATE: _date,
    FieldKind.TIME: _time,
    FieldKind.TIMEDELTA: _duration,
    FieldKind.UUID: _uuid,
}

ORDER: Final = {
    Operation.EQUAL: "=",
    Operation.NOT_EQUAL: "!=",
    Operation.LESS_THAN: "<",
    Operation.LESS_EQUAL: "<=",
    Operation.GREATER_THAN: ">",
    Operation.GREATER_EQUAL: ">=",
}


def mirrored(op: str) -> str:
    """The comparison that is true where another is false."""
    return _MIRROR[op]


def around(value: float) -> tuple[Decimal, Decimal, bool]:
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
