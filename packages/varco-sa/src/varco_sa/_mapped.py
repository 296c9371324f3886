"""What columns that others made keep of a field: it comes back equal, or is refused."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from struct import pack, unpack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from varco_domain.backend import FieldKind, FieldMeta
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel
from varco_sa._columns import column_type
from varco_sa._dialect import Dialect
from varco_sa._mapped_types import (
    MappedFloat,
    MappedJson,
    MappedMember,
    MappedMoment,
    MappedNumber,
    MappedUuid,
    Padded,
    ShownFloat,
)

if TYPE_CHECKING:
    from enum import Enum

type Keep = Callable[[Any], Any]
"""Returns what the column keeps of a value, or raises a ValueError that says why it cannot."""

_EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST: Final = datetime.max.replace(tzinfo=UTC) - _EPOCH
SHORTEST: Final = datetime.min.replace(tzinfo=UTC) - _EPOCH
"""The durations that are between the years 1 and 9999 when they are counted from 1970."""
_MICROSECONDS: Final = 6
_SINGLE: Final = 24
_INT_BITS: Final = 64
# By what a field is stored: the types of columns that can do it, and what to say of others.
_TYPES: Final[Mapping[FieldKind, tuple[tuple[type[TypeEngine[Any]], ...], str]]] = {
    FieldKind.STR: ((sa.String,), "String or Text"),
    FieldKind.INT: ((sa.Integer,), "Integer"),
    FieldKind.FLOAT: ((sa.Float, sa.Numeric), "Double"),
    FieldKind.BOOL: ((sa.Boolean,), "Boolean"),
    FieldKind.BYTES: ((sa.LargeBinary, sa.BINARY, sa.VARBINARY), "LargeBinary"),
    FieldKind.DECIMAL: ((sa.Numeric,), "Numeric"),
    FieldKind.DATETIME: ((sa.DateTime,), "DateTime"),
    FieldKind.DATE: ((sa.Date,), "Date"),
    FieldKind.TIME: ((sa.Time,), "Time"),
    FieldKind.TIMEDELTA: ((sa.Interval, sa.BigInteger), "Interval, or BigInteger (microseconds)"),
    FieldKind.UUID: ((sa.Uuid,), "Uuid"),
    FieldKind.JSON: ((sa.JSON,), "JSON"),
}
_BY_CLASS: Final = {str: FieldKind.STR, int: FieldKind.INT, bool: FieldKind.BOOL}


class Mapped(NamedTuple):
    """The type to use of a column, and what it keeps; None for everything."""

    type: TypeEngine[Any]
    keep: Keep | None = None


def mapped(
    model: type[DomainModel], field: FieldMeta, given: TypeEngine[Any], dialect: Dialect
) -> Mapped:
    """How a field is stored in a column of a type that was given; one's own are left to it.

    Raises:
        RepositoryClassCreationFailed: Its values would not come back as they were.
    """
    if isinstance(given, TypeDecorator) and not isinstance(given, sa.Interval):
        return Mapped(given)
    if isinstance(given, sa.Enum) and field.kind in {FieldKind.ENUM, FieldKind.LITERAL}:
        return _named(model, field, given)
    kind = field.kind
    if kind in {FieldKind.ENUM, FieldKind.LITERAL}:
        kind = _BY_CLASS[_value_class(field)]
    types, wanted = _TYPES[kind]
    inexact = (
        (kind is FieldKind.DECIMAL and isinstance(given, sa.Float))
        or (kind is FieldKind.TIME and getattr(given, "timezone", False) and dialect.keeps_zones)
        or hasattr(given, "retrieve_as_bitwise")  # SET of MariaDB gives sets
    )
    fits = isinstance(given, types) or (
        kind is FieldKind.TIMEDELTA and given.python_type is timedelta
    )
    if not fits or isinstance(given, sa.Enum) or inexact:
        raise _unfit(model, field, given, wanted)
    return _stored(model, field, given, dialect, _keep(kind, given, dialect))


def _stored(
    model: type[DomainModel],
    field: FieldMeta,
    given: TypeEngine[Any],
    dialect: Dialect,
    keep: Keep | None,
) -> Mapped:
    match field.kind:
        case FieldKind.ENUM:
            return Mapped(column_type(model, field, in_key=False), _of_value(keep))
        case FieldKind.JSON:
            return Mapped(MappedJson(), None if dialect.strict_types else _lone_number)
        case FieldKind.STR if isinstance(given, sa.CHAR | sa.NCHAR) and dialect.pads:
            return Mapped(Padded(given), keep)
        case FieldKind.DATETIME:
            return Mapped(MappedMoment(given), keep)
        case FieldKind.UUID:
            return Mapped(MappedUuid(cast("sa.Uuid[Any]", given)))
        case FieldKind.DECIMAL:
            number = cast("sa.Numeric[Any]", given)
            return Mapped(MappedNumber(number, dialect.decimal_column(number)[1]), keep)
        case FieldKind.FLOAT if not isinstance(given, sa.Float):
            return Mapped(MappedFloat(cast("sa.Numeric[Any]", given)), keep)
        case FieldKind.FLOAT if keep is not None and dialect.single_digits is not None:
            return Mapped(ShownFloat(given), keep)
        case FieldKind.TIMEDELTA if isinstance(given, sa.BigInteger):
            return Mapped(column_type(model, field, in_key=False))
        case _:
            return Mapped(given, keep)


def _value_class(field: FieldMeta) -> type:
    if field.kind is FieldKind.LITERAL:
        return field.python_type
    member = next(iter(cast("type[Enum]", field.python_type)))
    return str if isinstance(member.value, str) else int


def _unfit(
    model: type[DomainModel], field: FieldMeta, given: TypeEngine[Any], wanted: str
) -> RepositoryClassCreationFailed:
    what = {FieldKind.ENUM: f"values of {field.python_type.__name__}"}.get(field.kind, field.kind)
    return RepositoryClassCreationFailed(
        f"{model.__name__}.{field.name}: {what} would not come back unchanged from a column of "
        f"{given!r}; declare it as {wanted}, or as a TypeDecorator of your own",
        model,
    )


def _named(model: type[DomainModel], field: FieldMeta, given: sa.Enum) -> Mapped:
    """How members, or choices, are stored in SQLAlchemy's enum."""
    names: list[str] = given.enums
    if field.kind is FieldKind.LITERAL:
        if given.enum_class is None and set(field.choices) <= set(names):
            return Mapped(given)
        listed = ", ".join(map(repr, field.choices))
        raise _unfit(model, field, given, f"Enum({listed})")
    cls = cast("type[Enum]", field.python_type)
    members = list(cls)
    if given.enum_class is not cls or len(names) != len(members):
        raise _unfit(model, field, given, f"Enum({cls.__name__})")
    return Mapped(MappedMember(given, tuple(zip(names, members, strict=True))))


def _of_value(keep: Keep | None) -> Keep | None:
    if keep is None:
        return None

    def keep_member(member: Any) -> Any:
        keep(member.value)
        return member

    return keep_member


def _keep(kind: FieldKind, given: Any, dialect: Dialect) -> Keep | None:  # one for each kind
    match kind:
        case FieldKind.STR | FieldKind.BYTES:
            return _length(given, dialect)
        case FieldKind.INT:
            return _range(dialect.integer_range(given))
        case FieldKind.DECIMAL:
            return _number(given, dialect)
        case FieldKind.FLOAT if isinstance(given, sa.Float):
            return _single(dialect.single_digits) if dialect.float_bits(given) <= _SINGLE else None
        case FieldKind.FLOAT:
            exact = _number(given, dialect)
            return lambda value: float(exact(Decimal(repr(value))))
        case FieldKind.DATETIME:
            return _cut(dialect.second_digits(given))
        case FieldKind.TIME:
            return _fraction(dialect.second_digits(given))
        case FieldKind.TIMEDELTA if isinstance(given, sa.Interval) and not dialect.intervals:
            return _interval(dialect.second_digits(given))
        case _:
            return None


def _length(given: Any, dialect: Dialect) -> Keep | None:
    length: int | None = given.length
    if not dialect.strict_types:
        return None
    if isinstance(given, sa.BINARY):
        return _filled(length or 1)
    filled = isinstance(given, sa.CHAR | sa.NCHAR)

    def keep(value: Any) -> Any:
        if length is not None and len(value) > length:
            raise ValueError(f"its column keeps a length of at most {length}, got {len(value)}")
        # With them it is filled up, and nobody can tell which were the text's own.
        if filled and value.endswith(" "):
            raise ValueError("its column keeps no spaces at the end")
        return value

    return None if length is None and not filled else keep


def _filled(width: int) -> Keep:
    """A column of one width, which is filled up with zero bytes."""

    def keep(value: bytes) -> bytes:
        if len(value) != width:
            raise ValueError(f"its column keeps {width} bytes, no less and no more")
        return value

    return keep


def _range(limits: tuple[int, int] | None) -> Keep | None:
    if limits is None:
        return None
    low, high = limits

    def keep(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"its column keeps {low} to {high}")
        return value

    return keep


def _number(given: Any, dialect: Dialect) -> Callable[[Decimal], Decimal]:
    precision, scale = dialect.decimal_column(given)
    exact = dialect.exact_decimals

    def keep(value: Decimal) -> Decimal:
        kept = value
        if scale is not None:
            try:
                kept = value.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
            except (Inexact, InvalidOperation):
                message = f"its column keeps at most {scale} digits after the point"
                raise ValueError(message) from None
        if precision is not None and kept and kept.adjusted() >= precision - (scale or 0):
            whole = precision - (scale or 0)
            raise ValueError(f"its column keeps at most {whole} digits before the point")
        if not exact and Decimal(f"{float(kept):.{scale or 0}f}") != kept:
            raise ValueError("its column keeps about 15 digits: this engine has no decimals")
        return kept

    return keep


def _single(digits: int | None) -> Keep:
    """Floats of 4 bytes, of which an engine shows so many digits, or all."""

    def keep(value: float) -> float:
        try:
            stored = unpack("f", pack("f", value))[0]
        except OverflowError:
            stored = None
        shown = None if stored is None or digits is None else float(f"{stored:.{digits}g}")
        if value != (stored if digits is None else shown):
            raise ValueError("its column keeps floats of 4 bytes, which would round it")
        return value

    return keep


def _lone_number(value: Any) -> Any:
    """SQLite makes a number of its own of JSON that is nothing else, in a column called JSON."""
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() >= _INT_BITS):
        raise ValueError("its column keeps no float, and no int of over 64 bits, by itself")
    return value


def _cut(digits: int) -> Keep | None:
    """Leave out of a moment what is finer than the column: clocks are."""
    if digits >= _MICROSECONDS:
        return None
    unit = 10 ** (_MICROSECONDS - digits)

    def keep(value: datetime) -> datetime:
        return value.replace(microsecond=value.microsecond - value.microsecond % unit)

    return keep


def _fraction(digits: int) -> Keep | None:
    if digits >= _MICROSECONDS:
        return None
    unit = 10 ** (_MICROSECONDS - digits)

    def keep(value: time) -> time:
        if value.microsecond % unit:
            raise ValueError(f"its column keeps {digits} digits of a second")
        return value

    return keep


def _interval(digits: int) -> Keep:
    """Where there is no type for it, SQLAlchemy stores the moment so long after 1970."""
    unit = 10 ** (_MICROSECONDS - digits)

    def keep(value: timedelta) -> timedelta:
        if value.microseconds % unit:
            raise ValueError(f"its column keeps {digits} digits of a second")
        if not SHORTEST <= value <= LONGEST:
            raise ValueError("its column keeps what is between the years 1 and 9999")
        return value

    return keep
