"""What a field keeps: every backend takes these values, gives them back equal, and refuses others.

The limits are what all engines have in common, so that a model means the same on each of them; a
backend may only narrow them. What is kept is at times another form of what was given: a moment in
UTC, a decimal with the digits of its scale. The entity that `save` returns has it already.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum, Flag
from math import isfinite
from typing import Any, Final, cast
from uuid import UUID

from varco_domain._fields import FieldKind, FieldMeta
from varco_domain._json import keep_json
from varco_domain._limits import (
    DIGITS,
    INT_LIMIT,
    KEY_LENGTH,
    PLACES,
    check_int,
    check_text,
)

type Keep = Callable[[Any], Any]
"""Returns the value as it is kept, or raises a ValueError that says why it cannot be."""

_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_EXACT = Context(prec=2_000, traps=[Inexact, InvalidOperation])


def storable(field: FieldMeta, *, keyed: bool) -> Keep:
    """The function that checks a field's values, None aside.

    Args:
        field: The field.
        keyed: Whether an index or a constraint holds it.
    """
    limit = field.hint.max_length or (KEY_LENGTH if keyed else None)
    match field.kind:
        case FieldKind.STR:
            return _text(limit)
        case FieldKind.BYTES:
            return _bytes(limit)
        case FieldKind.DECIMAL:
            return _decimal(field.hint.precision, field.hint.scale)
        case FieldKind.ENUM:
            return _member(cast("type[Enum]", field.python_type))
        case FieldKind.LITERAL:
            return _choice(field.python_type, frozenset(field.choices))
        case FieldKind.JSON:
            return keep_json(field.annotation)
        case kind:
            return _BY_KIND[kind]


def keyed_fields(
    fields: Mapping[str, FieldMeta], pk_fields: Collection[str], groups: Collection[tuple[str, ...]]
) -> frozenset[str]:
    """The fields that an index or a constraint holds.

    Args:
        fields: All fields of a model.
        pk_fields: Those of its key.
        groups: Those that are unique together.
    """
    keyed = {
        n for n, f in fields.items() if f.hint.index or f.hint.unique or f.foreign_key is not None
    }
    return frozenset(keyed.union(pk_fields, *groups))


def _wrong(expected: str, value: Any) -> ValueError:
    return ValueError(f"{expected} is needed, not {type(value).__name__}")


def _text(limit: int | None) -> Keep:
    def keep(value: Any) -> str:
        if value.__class__ is not str:
            raise _wrong("a str", value)
        if limit is not None and len(value) > limit:
            raise ValueError(f"at most {limit} long, got {len(value)}")
        check_text(value)
        return value

    return keep


def _bytes(limit: int | None) -> Keep:
    def keep(value: Any) -> bytes:
        if value.__class__ is not bytes:
            raise _wrong("bytes", value)
        if limit is not None and len(value) > limit:
            raise ValueError(f"at most {limit} long, got {len(value)}")
        return value

    return keep


def _integer(value: Any) -> int:
    if value.__class__ is not int:
        raise _wrong("an int", value)
    check_int(value)
    return value


def _float(value: Any) -> float:
    if value.__class__ is not float:
        # Type checkers take an int for a float.
        if value.__class__ is not int or not -INT_LIMIT <= value < INT_LIMIT:
            raise _wrong("a float", value)
        if float(value) != value:
            raise ValueError("a float would round this int")
        return float(value)
    if not isfinite(value):
        raise ValueError("a finite number is needed, not NaN or infinity")
    # Of the two zeros engines keep one.
    return value + 0.0


def _boolean(value: Any) -> bool:
    if value.__class__ is not bool:
        raise _wrong("a bool", value)
    return value


def _decimal(precision: int | None, scale: int | None) -> Keep:
    places = PLACES if scale is None else scale
    digits = precision or DIGITS
    whole = min(digits, DIGITS - PLACES) if scale is None else digits - scale
    step = Decimal(1).scaleb(-places)

    def keep(value: Any) -> Decimal:
        if value.__class__ is not Decimal:
            raise _wrong("a Decimal", value)
        if not value.is_finite():
            raise ValueError("a finite number is needed, not NaN or infinity")
        if value and value.adjusted() >= whole:
            raise ValueError(f"at most {whole} digits before the point are kept")
        try:
            kept = value.quantize(step, context=_EXACT)
        except (Inexact, InvalidOperation):
            raise ValueError(f"at most {places} digits after the point are kept") from None
        if not kept:
            kept = kept.copy_abs()
        if scale is not None:
            return kept
        kept = plain_decimal(kept)
        if len(kept.as_tuple().digits) > digits:
            raise ValueError(f"at most {digits} digits are kept")
        return kept

    return keep


def plain_decimal(value: Decimal) -> Decimal:
    """The number without zeros at the end and without an exponent: 100, not 1E+2 or 100.0.

    What a decimal without a scale comes back as.
    """
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _moment(value: Any) -> datetime:
    kept = value
    if value.__class__ is not datetime or value.tzinfo is not UTC or value.fold:
        kept = _in_utc(value)
    if not _FIRST < kept < _LAST:
        raise ValueError("the first and the last moment of the calendar mean infinity to engines")
    return cast("datetime", kept)


def _in_utc(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise _wrong("a datetime", value)
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a timezone: datetime.now(UTC)")
    try:
        moved = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC this moment is outside of the calendar") from None
    # Libraries that stop the clock, or count nanoseconds, have subclasses.
    kept = datetime.combine(moved.date(), moved.time(), UTC).replace(fold=0)
    if kept != moved:
        raise ValueError("a datetime is kept to the microsecond, this one is finer")
    return kept


def _date(value: Any) -> date:
    if value.__class__ is date:
        return value
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _wrong("a date", value)
    return date(value.year, value.month, value.day)


def _time(value: Any) -> time:
    if value.__class__ is not time:
        raise _wrong("a time", value)
    if value.tzinfo is not None:
        raise ValueError("a time of day without a timezone is needed")
    return value.replace(fold=0) if value.fold else value


def _span(value: Any) -> timedelta:
    if value.__class__ is not timedelta:
        raise _wrong("a timedelta", value)
    if not -INT_LIMIT <= value // _MICROSECOND < INT_LIMIT:
        raise ValueError("at most 292,000 years are kept")
    return value


def _uuid(value: Any) -> UUID:
    if value.__class__ is UUID:
        return value
    if not isinstance(value, UUID):
        raise _wrong("a UUID", value)
    # Drivers and libraries that make UUIDs have subclasses.
    return UUID(int=value.int)


def _member(cls: type[Enum]) -> Keep:
    combines = issubclass(cls, Flag)

    def keep(value: Any) -> Enum:
        if value.__class__ is not cls:
            raise ValueError(f"a member of {cls.__name__} is needed, not {type(value).__name__}")
        if combines:
            check_int(value.value)
            if cls(value.value) != value:
                raise ValueError(f"{cls.__name__} does not make this combination of its value")
        return value

    return keep


def _choice(cls: type, choices: frozenset[Any]) -> Keep:
    def keep(value: Any) -> Any:
        # 1 and True are equal.
        if value.__class__ is not cls or value not in choices:
            listed = ", ".join(sorted(map(repr, choices)))
            raise ValueError(f"one of {listed} is needed")
        return value

    return keep


_BY_KIND: Final[dict[FieldKind, Keep]] = {
    FieldKind.INT: _integer,
    FieldKind.FLOAT: _float,
    FieldKind.BOOL: _boolean,
    FieldKind.DATETIME: _moment,
    FieldKind.DATE: _date,
    FieldKind.TIME: _time,
    FieldKind.TIMEDELTA: _span,
    FieldKind.UUID: _uuid,
}
