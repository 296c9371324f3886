"""From the value of a query to the type of a field."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from varco_query._compare import midnight
from varco_query._literals import parse_date, parse_datetime, parse_duration, parse_time
from varco_query._value import Scalar

type Coerce = Callable[[Any], Scalar | None]


def _to_int(value: Any) -> int | None:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return None


def _to_float(value: Any) -> float | None:
    if not _is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _to_decimal(value: Any) -> Decimal | None:
    if not _is_number(value):
        return None
    # A float by its shortest text: 0.1, not the 55 digits of its binary value.
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _to_datetime(value: Any) -> datetime | None:
    if isinstance(value, str):
        value = parse_date(value) if len(value) == 10 else parse_datetime(value)  # noqa: PLR2004  # YYYY-MM-DD
    if not isinstance(value, date):
        return None
    instant = midnight(value)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def _to_date(value: Any) -> date | None:
    return parse_date(value) if isinstance(value, str) else None


def _to_time(value: Any) -> time | None:
    return parse_time(value) if isinstance(value, str) else None


def _to_duration(value: Any) -> timedelta | None:
    return parse_duration(value) if isinstance(value, str) else None


def _to_uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) and len(value) <= 45 else None  # noqa: PLR2004  # urn:uuid:{...}
    except ValueError:
        return None


def _never(_value: Any) -> None:
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


COERCERS: Final[dict[type, tuple[str, Coerce]]] = {
    str: ("text in quotes", _never),
    bool: ("true or false", _never),
    int: ("a whole number", _to_int),
    float: ("a number within the range of a float", _to_float),
    Decimal: ("a number", _to_decimal),
    datetime: ("a date and time such as 2026-01-31T08:00:00Z", _to_datetime),
    date: ("a date such as 2026-01-31", _to_date),
    time: ("a time such as 08:30", _to_time),
    timedelta: ("a duration such as P1DT2H", _to_duration),
    UUID: ("a UUID", _to_uuid),
}
"""What each type is called in an error, and what makes a value one of it.

It gives None, or raises InvalidNodeError with a reason, when the value does not fit.
"""
