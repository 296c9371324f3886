"""Values as the language writes them."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

from varco_query._errors import InvalidNodeError, shorten
from varco_query._table import TERMINALS
from varco_query._value import Scalar, check_scalar

_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
# What a pattern needs stays as it is written: '50\%' holds a backslash, as '50\\%' does.
_KEPT: Final = ("%", "_")
ESCAPED: Final = tuple(f"\\{each}" for each in (*_ESCAPES, *_KEPT, "uXXXX"))
_QUOTES: Final = str.maketrans({text: f"\\{by}" for by, text in _ESCAPES.items() if text != '"'})


class EscapeError(Exception):
    """An escape that is none, at an offset of the text; the parser says where that is."""

    def __init__(self, offset: int, escape: str) -> None:
        super().__init__(offset, escape)
        self.offset = offset
        self.escape = escape


@cache
def _pattern(expression: str) -> re.Pattern[str]:
    # Compiled when it is needed: few filters hold all kinds of values.
    return re.compile(expression, re.DOTALL)


def unescape(body: str) -> str:
    """The text that the inside of quotes stands for."""

    def replace(match: re.Match[str]) -> str:
        code, long_code, single = match.groups()
        if single in _ESCAPES:
            return _ESCAPES[single]
        if single in _KEPT:
            return match[0]
        number = int(code or long_code or "0", 16)
        # Neither NUL nor half a surrogate pair can be stored.
        if 0 < number < 0xD800 or 0xDFFF < number <= 0x10FFFF:  # noqa: PLR2004  # Unicode
            return chr(number)
        raise EscapeError(match.start(), match[0])

    return _pattern(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.)|)").sub(replace, body)


def quote(text: str) -> str:
    """The text in single quotes."""
    return f"'{text.translate(_QUOTES)}'"


def parse_float(text: str) -> float:
    """A number with an exponent.

    Raises:
        InvalidNodeError: It is so large or small that a float would be infinite or 0.
    """
    number = float(text)
    if number in {float("inf"), float("-inf")} or (not number and re.match(r"-?[0.]*[1-9]", text)):
        raise InvalidNodeError(
            f"number {shorten(text)} is out of range of a float; write it without an exponent"
        )
    return number


def parse_datetime(text: str) -> datetime:
    """An ISO 8601 date and time, in UTC when it has an offset."""
    value = _read_iso(datetime.fromisoformat, "DATETIME", text, "2026-01-31T08:00:00Z")
    try:
        return value.astimezone(UTC) if value.tzinfo else value
    except OverflowError:
        raise InvalidNodeError(f"datetime {text} is out of range in UTC") from None


def parse_date(text: str) -> date:
    """An ISO 8601 date."""
    return _read_iso(date.fromisoformat, "DATE", text, "2026-01-31")


def parse_time(text: str) -> time:
    """An ISO 8601 time of day."""
    return _read_iso(time.fromisoformat, "TIME", text, "08:30")


def _read_iso[T](read: Callable[[str], T], terminal: str, text: str, example: str) -> T:
    # Python reads more forms than the language has, and forgets digits after the sixth.
    _check_form(terminal, text, example)
    try:
        return read(text.upper())
    except ValueError as error:
        raise InvalidNodeError(f"{shorten(text)} does not exist: {error}") from None


def _check_form(terminal: str, text: str, example: str) -> None:
    if _pattern(TERMINALS[terminal]).fullmatch(text) is None:
        raise InvalidNodeError(f"{shorten(text)} is not of the form {example}")
    digits = text.partition(".")[2]
    if _pattern("[0-9]{6}[0-9]*[1-9]").match(digits):
        raise InvalidNodeError(
            f"{shorten(text)} has more than six digits after the point of its seconds; "
            "no value is finer than a microsecond"
        )


def parse_duration(text: str) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds."""
    _check_form("DURATION", text, "P1DT2H3M4.5S")
    parts: list[tuple[str, str, str]] = _pattern(r"([0-9]+)(?:\.([0-9]+))?([A-Za-z])").findall(text)
    if not parts:
        raise InvalidNodeError(f"duration {shorten(text)} has no part, such as P1D or PT1H")
    try:
        value = sum(
            (
                timedelta(
                    **{
                        _UNITS[unit.upper()]: int(number.lstrip("0")[:20] or 0),
                        "microseconds": int(fraction[:6].ljust(6, "0")),
                    }
                )
                for number, fraction, unit in parts
            ),
            timedelta(),
        )
    except OverflowError:
        raise InvalidNodeError(f"duration {shorten(text)} is too long") from None
    return -value if text.startswith("-") else value


_UNITS: Final = {"W": "weeks", "D": "days", "H": "hours", "M": "minutes", "S": "seconds"}


def _duration_text(value: timedelta) -> str:
    length = abs(value)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}P{length.days}DT{length.seconds}.{length.microseconds:06}S"


def _datetime_text(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _float_text(value: float) -> str:
    shown = repr(value)
    return shown if "e" in shown else f"{shown}e0"


def _decimal_text(value: Decimal) -> str:
    shown = format(value, "f")
    return shown if "." in shown else f"{shown}.0"


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _float_text,
    Decimal: _decimal_text,
    str: quote,
    datetime: _datetime_text,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _duration_text,
    UUID: str,
}


def literal(value: Scalar) -> str:
    """The value as the language writes it."""
    return _WRITERS[type(value)](value)


def read_scalar(kind: str, text: str) -> Scalar:
    """The value that a literal of the terminal `kind` stands for."""
    return check_scalar(cast("object", _READERS[kind](text)))


_READERS: Final[dict[str, Callable[[str], Scalar]]] = {
    "INTEGER": int,
    "DECIMAL": Decimal,
    "FLOAT": parse_float,
    "TRUE": lambda _text: True,
    "FALSE": lambda _text: False,
    "DATETIME": parse_datetime,
    "DATE": parse_date,
    "TIME": parse_time,
    "DURATION": parse_duration,
    "UUID": UUID,
}
