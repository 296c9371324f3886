"""From a field of a model to what a document holds of it, and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from varco_domain.backend import FieldKind, FieldMeta, json_codec, stored_as
from varco_query import compile as kit

DIGITS: Final = 34
"""Of a Decimal128."""
FINER: Final = ":us"
"""Behind the name of a moment: its digits below the millisecond, where a date ends."""
_TEXT: Final = "_json"
_INT_LIMIT: Final = 2**63
_MILLISECOND: Final = 1000
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLOOR: Final = Context(prec=DIGITS, rounding=ROUND_FLOOR, Emin=-6143, Emax=6144)
_PLACES: Final = Decimal(1).scaleb(-30)
# More than a field holds: 35 digits before the point.
_HUGE: Final = Decimal(1).scaleb(40)


@dataclass(frozen=True, slots=True)
class Codec:
    """How the values of a field are written and read, None aside.

    Attributes:
        write: Gives what the document holds; raises a ValueError that says why it cannot.
        read: Gives the value back; raises whatever it does of what is not one.
        stored: Where literals lie among the values.
        literal: Gives what a literal is compared as.
        moment: Whether digits below the millisecond are kept beside it.
        exact: What a document holds as it is: a value of this very class needs no reading.
        matchable: Whether the server can match it against a pattern, where it is text.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    stored: kit.Stored
    literal: Callable[[Any], Any]
    moment: bool = False
    exact: type | None = None
    matchable: bool = True


def codec_of(field: FieldMeta) -> Codec:
    """How a field is written and read."""
    stored = stored_as(field)
    match field.kind:
        case FieldKind.ENUM:
            members = _Members(cast("type[Enum]", field.python_type))
            return Codec(_value_of, members.read, stored, _same)
        case FieldKind.LITERAL:
            choices = {choice: choice for choice in field.choices}
            return Codec(_same, choices.__getitem__, stored, _same)
        case FieldKind.DECIMAL:
            return Codec(_decimal, _Decimals(field).read, _decimals(stored), _decimal)
        case FieldKind.JSON:
            return Codec(*_json(field), stored, _same)
        case FieldKind.DATETIME if field.primary_key:
            return Codec(_microseconds, _moment_of, stored, _microseconds)
        case FieldKind.DATETIME:
            return Codec(naive, _aware, stored, naive, moment=True)
        case kind:
            write, read = _BY_KIND[kind]
            return Codec(write, read, stored, write, exact=_AS_IT_IS.get(kind))


def naive(moment: datetime) -> datetime:
    """A moment as PyMongo takes and gives it, without its timezone and to the millisecond."""
    below = moment.microsecond % _MILLISECOND
    return moment.replace(tzinfo=None, microsecond=moment.microsecond - below)


def finer(moment: datetime) -> int | None:
    """The digits below the millisecond, None if there are none."""
    return moment.microsecond % _MILLISECOND or None


def _same(value: Any) -> Any:
    return value


def _value_of(member: Enum) -> Any:
    return member.value


class _Members(dict[Any, Any]):
    """The members of an enum by value; those that are combined, or missing, the enum makes."""

    def __init__(self, enum: type[Enum]) -> None:
        super().__init__({member.value: member for member in enum})
        self._enum = enum

    def read(self, value: Any) -> Any:
        found = self.get(value)
        return self._enum(value) if found is None else found


def _integer(value: Any) -> int:
    if value.__class__ is bool:
        raise TypeError
    number = int(value)
    # Shells of JavaScript write whole numbers as doubles, and PyMongo has an int of its own.
    if number != value:
        raise ValueError
    return number


def _float(value: Any) -> float:
    if value.__class__ is bool:
        raise TypeError
    return float(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return bytes(value)


def _other(value: Any) -> Any:
    """Refuse what is not of the very class that a document holds of a field."""
    raise TypeError(f"{type(value).__name__} is not what a document holds of this field")


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment_of(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=_integer(value))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  # PyMongo takes it for UTC


def _date(value: datetime) -> date:
    return value.date()


def _clock(value: time) -> str:
    return value.isoformat("microseconds")


def _span(value: timedelta) -> int:
    return value // _MICROSECOND


def _span_of(value: Any) -> timedelta:
    return timedelta(microseconds=_integer(value))


_AS_IT_IS: Final[dict[FieldKind, type]] = {
    FieldKind.STR: str,
    FieldKind.INT: int,
    FieldKind.FLOAT: float,
    FieldKind.BOOL: bool,
    FieldKind.UUID: UUID,
}
_BY_KIND: Final[dict[FieldKind, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    FieldKind.STR: (_same, _other),
    FieldKind.INT: (_same, _integer),
    FieldKind.FLOAT: (_same, _float),
    FieldKind.BOOL: (_same, _other),
    FieldKind.BYTES: (_same, _bytes),
    FieldKind.DATE: (_midnight, _date),
    FieldKind.TIME: (_clock, time.fromisoformat),
    FieldKind.TIMEDELTA: (_span, _span_of),
    FieldKind.UUID: (_same, _other),
}


def _decimal(value: Decimal) -> Decimal128:
    if len(value.as_tuple().digits) > DIGITS:
        raise ValueError(f"MongoDB keeps at most {DIGITS} digits of a decimal")
    return Decimal128(value)


class _Decimals:
    """Reads decimals as they are kept: with the digits of the scale, or without zeros."""

    def __init__(self, field: FieldMeta) -> None:
        scale = field.hint.scale
        self._step = None if scale is None else Decimal(1).scaleb(-scale)

    def read(self, value: Any) -> Decimal:
        number: Decimal = value.to_decimal()
        if not number.is_finite():
            raise ValueError
        return number if self._step is None else number.quantize(self._step)


def _decimals(stored: kit.Stored) -> kit.Stored:
    """Of a decimal that a Decimal128 holds: a literal of more digits lies above one of fewer."""

    def place(value: Any) -> kit.Placed | None:
        placed = stored.place(value)
        if placed is None or placed.value is None:
            return placed
        number: Decimal = placed.value
        if number >= _HUGE:
            return kit.Placed(_HUGE, exact=False)
        if number <= -_HUGE:
            return kit.Placed(None, exact=False)
        if number.as_tuple().exponent < -30:  # type: ignore[operator]  # noqa: PLR2004  # pyright: ignore[reportOperatorIssue]  # it is finite
            number = number.quantize(_PLACES, ROUND_FLOOR, Context(prec=2_000))
        number = _FLOOR.plus(number)
        return kit.Placed(number, exact=placed.exact and number == placed.value)

    return kit.Stored(place, decimal=True)


def _json(field: FieldMeta) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    dump, load = json_codec(field)

    def write(value: Any) -> Any:
        data = dump(value)
        return data if _is_plain(data) else {_TEXT: json.dumps(data, ensure_ascii=False)}

    def read(data: Any) -> Any:
        if data.__class__ is dict and data.keys() == {_TEXT}:
            return load(json.loads(data[_TEXT]))
        return load(_plain(data))

    return write, read


def _is_plain(data: Any) -> bool:
    """Whether a document can hold JSON data as it is, and it is not taken for something else."""
    if data.__class__ is dict:
        return data.keys() != {_TEXT} and all(
            key and key[0] != "$" and "." not in key and _is_plain(data[key]) for key in data
        )
    if data.__class__ is list:
        return all(map(_is_plain, data))
    return data.__class__ is not int or -_INT_LIMIT <= data < _INT_LIMIT


def _plain(data: Any) -> Any:
    """JSON data without PyMongo's own int."""
    if data.__class__ is dict:
        return {key: _plain(data[key]) for key in data}
    if data.__class__ is list:
        return [_plain(item) for item in data]
    if isinstance(data, int) and data.__class__ is not bool:
        return int(data)
    return data


def only_plain(codec: Codec) -> Codec:
    """A codec of JSON that refuses what a document cannot hold as it is."""

    def write(value: Any) -> Any:
        data = codec.write(value)
        if data.__class__ is dict and data.keys() == {_TEXT}:
            raise ValueError("a document cannot hold it as it is")
        return data

    return replace(codec, write=write)


def _seconds(value: timedelta) -> float:
    seconds = value.total_seconds()
    if timedelta(seconds=seconds) != value:
        raise ValueError("seconds in a double do not tell it to the microsecond")
    return seconds


def _of_seconds(value: Any) -> timedelta:
    return timedelta(seconds=_float(value))


SECONDS: Final = Codec(_seconds, _of_seconds, kit.durations(timedelta.max), timedelta.total_seconds)
"""Spans of time as beanie writes them."""

_HEX: Final = "0123456789abcdef"
_ID_DIGITS: Final = 24


def _object_id(value: str) -> ObjectId:
    if len(value) != _ID_DIGITS or not set(value) <= set(_HEX):
        raise ValueError("an ObjectId is of 24 hexadecimal digits in lower case")
    return ObjectId(value)


def _text_of_id(value: Any) -> str:
    if not isinstance(value, ObjectId):
        raise TypeError
    return str(value)


def _place_of_id(value: Any) -> kit.Placed | None:
    """Where text lies among texts of 24 hexadecimal digits."""
    if not isinstance(value, str):
        return None
    length = next((at for at, each in enumerate(value) if each not in _HEX), len(value))
    length = min(length, _ID_DIGITS)
    start, rest = value[:length], _ID_DIGITS - length
    if not rest:
        return kit.Placed(start, exact=value == start)
    below = [each for each in _HEX if each < value[length : length + 1]]
    if below:
        return kit.Placed(start + below[-1] + "f" * (rest - 1), exact=False)
    before = int(start + "0" * rest, 16) - 1
    return kit.Placed(None if before < 0 else f"{before:024x}", exact=False)


OBJECT_ID: Final = Codec(
    _object_id, _text_of_id, kit.Stored(_place_of_id, text=True), ObjectId, matchable=False
)
"""Text of 24 hexadecimal digits, where a document has an ObjectId."""


def same_json(one: Any, other: Any) -> bool:
    """Whether two fields of JSON hold the same: 1, 1.0 and true differ."""
    return one == other and repr(_plain(one)) == repr(_plain(other))


def of_document(document: Mapping[str, Any], path: str) -> Any:
    """What a document holds at a path, None where there is nothing."""
    outer, _, inner = path.partition(".")
    found = document.get(outer)
    if not inner:
        return found
    return cast("Mapping[str, Any]", found).get(inner) if isinstance(found, Mapping) else None
