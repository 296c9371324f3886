"""The values a comparison can hold: a closed set, so that every backend knows all of them."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

from varco_query._errors import InvalidNodeError, UnknownFieldError, shorten

type Scalar = bool | int | float | str | Decimal | date | time | timedelta | UUID
"""One value of a type that every backend knows."""
type Value = Scalar | tuple[Scalar, ...] | None
"""What a comparison can hold: a scalar, several of them, or null."""

# Just under the 4300 digits that Python itself converts, and both within 4200 characters.
MAX_BITS: Final = 13_900
MAX_EXPONENT: Final = 2_000


def _integer(value: Any) -> int:
    if value.bit_length() > MAX_BITS:
        raise InvalidNodeError(f"an integer of {value.bit_length()} bits is over {MAX_BITS} bits")
    return value if value.__class__ is int else int(value)


def _text(value: Any) -> str:
    text: str = value if value.__class__ is str else str.__str__(value)
    if "\0" in text:
        raise InvalidNodeError(f"text {shorten(text)} holds a NUL, which databases refuse")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidNodeError(
                f"text {shorten(text)} holds a lone surrogate, which is no character"
            ) from None
    return text


def _float(value: Any) -> float:
    if not math.isfinite(value):
        raise InvalidNodeError(f"number {value} is not finite; databases do not agree on it")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if not value.is_finite():
        raise InvalidNodeError(f"number {value} is not finite; databases do not agree on it")
    if not value and abs(value.adjusted()) > MAX_EXPONENT:
        return Decimal(0)
    if value.adjusted() > MAX_EXPONENT or value.as_tuple().exponent < -MAX_EXPONENT:
        raise InvalidNodeError(f"number {shorten(value)} has over {MAX_EXPONENT} digits")
    return Decimal(value)


def _datetime(value: Any) -> datetime:
    zone = None if value.utcoffset() is None else value.tzinfo
    if zone is not None and zone is not UTC:
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise InvalidNodeError(f"datetime {value!r} is out of range in UTC") from None
        zone = UTC
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=zone,
    )


def _date(value: Any) -> date:
    return date(value.year, value.month, value.day)


def _time(value: Any) -> time:
    if value.tzinfo is not None:
        raise InvalidNodeError(f"time {value!r} has a timezone; only a datetime can have one")
    return time(value.hour, value.minute, value.second, value.microsecond)


def _timedelta(value: Any) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


def _uuid(value: Any) -> UUID:
    return UUID(int=value.int)


EXACT: Final[dict[type, Callable[[Any], Scalar]]] = {
    str: _text,
    bool: bool,
    int: _integer,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    UUID: _uuid,
}


def check_scalar(value: object) -> Scalar:
    """The value in its plain form: enums by value, aware datetimes in UTC, no subclasses.

    Raises:
        InvalidNodeError: It is None, not finite, or of a type that queries do not know.
    """
    check = EXACT.get(type(value))
    if check is not None:
        return check(value)
    if isinstance(value, Enum):
        return check_scalar(cast("object", value.value))
    for kind, check in EXACT.items():
        if isinstance(value, kind):
            return check(value)
    names = ", ".join(kind.__name__ for kind in EXACT)
    raise InvalidNodeError(
        f"{type(value).__name__} {shorten(value)} is no value of a query; use one of {names}"
    )


def same_value(left: object, right: object) -> bool:
    """Equality that tells 1 from true and from 1.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple):
        lefts, rights = cast("tuple[object, ...]", left), cast("tuple[object, ...]", right)
        return len(lefts) == len(rights) and all(map(same_value, lefts, rights))
    return left == right


# The fields that passed, so that most are checked once. Threads may add the same field twice; it
# holds about _MAX_FIELDS, however many are asked for.
FIELDS: Final[dict[object, str]] = {}
_MAX_FIELDS: Final = 4_096
_LONG_FIELD: Final = 100


def check_field(field: object) -> str:
    """A field: a path of identifiers, none of which Python reserves for itself.

    Raises:
        UnknownFieldError: It is anything else, such as `__class__` or `a b`.
    """
    if field.__class__ is str and field in FIELDS:
        return FIELDS[field]
    if isinstance(field, str):
        for part in field.split("."):
            if not part.isidentifier() or part.startswith("__"):
                break
        else:
            plain = str.__str__(field)
            if len(FIELDS) < _MAX_FIELDS and len(plain) < _LONG_FIELD:
                FIELDS[plain] = plain
            return plain
    raise UnknownFieldError(field)
