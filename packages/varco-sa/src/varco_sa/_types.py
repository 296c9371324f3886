"""Column types that give a value one meaning on every engine.

Text compares by code point, times are UTC, decimals are exact. What a field may hold varco-domain
has checked before.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from varco_domain.backend import plain_decimal
from varco_domain.exception import CheckViolationError
from varco_sa._decimals import decode_decimal, encode_decimal
from varco_sa._dialects import dialect_of

# A function of one value, or None for "as it comes"; SQLAlchemy's own names for it are private.
type Processor = Any

_MICROSECOND = timedelta(microseconds=1)
_EXACT = Context(prec=2_000)


def each(convert: Callable[[Any], Any]) -> Processor:
    """A processor that converts every value but null."""
    return lambda value: None if value is None else convert(value)  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]  # any value


class Checked(TypeDecorator[Any]):
    """Base of the types below; knows the field it belongs to, for its errors."""

    impl: Any = sa.String
    cache_ok = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # SQLAlchemy asks each class for itself.
        cls.cache_ok = True

    def __init__(self, owner: type | None = None, field: str | None = None) -> None:
        super().__init__()
        self.owner = owner
        self.field = field

    def literal_processor(self, dialect: Dialect) -> Processor:
        """In the text of a constraint a value is written as it is stored."""
        impl: Any = self.load_dialect_impl(dialect).dialect_impl(dialect)
        write: Any = impl.literal_processor(dialect)
        cls: Any = type(self)
        if cls.bind_processor is Checked.bind_processor:
            return write  # it does what the impl's bind_processor does
        store = self.bind_processor(dialect)

        def process(value: Any) -> str:
            return str(write(value if store is None else store(value)))

        return process

    def refuse(self, rule: str) -> CheckViolationError:
        """The error of a value that breaks the rule."""
        return CheckViolationError(self.owner or object, self.field, rule)


class Text(Checked):
    """A string, compared by code point."""

    def __init__(
        self,
        owner: type | None = None,
        field: str | None = None,
        length: int | None = None,
        *,
        in_key: bool = False,
    ) -> None:
        super().__init__(owner, field)
        self.length = length
        self.in_key = in_key

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A type with a binary collation that pads nothing."""
        return dialect_of(dialect).text(self.length, in_key=self.in_key)

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Refuse what is too long, and NUL, which PostgreSQL cannot store."""
        length = dialect_of(dialect).text_length(self.length, in_key=self.in_key)

        def process(value: Any) -> Any:
            if value is not None:
                if length is not None and len(value) > length:
                    raise self.refuse(f"the length of at most {length} characters")
                if "\0" in value:
                    raise self.refuse("the rule that text holds no NUL")
            return value

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """As it comes."""
        return None


class Integer(Checked):
    """A whole number of 64 bits."""

    impl = sa.BigInteger

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A type that can count."""
        return dialect_of(dialect).integer()


class Float(Checked):
    """A double."""

    impl = sa.Double


class Bytes(Checked):
    """Bytes."""

    impl = sa.LargeBinary

    def __init__(
        self,
        owner: type | None = None,
        field: str | None = None,
        length: int | None = None,
        *,
        in_key: bool = False,
    ) -> None:
        super().__init__(owner, field)
        self.length = length
        self.in_key = in_key

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A type that can be in an index, if need be."""
        return dialect_of(dialect).binary(self.length, in_key=self.in_key)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002  # SQLAlchemy's signature
        """Refuse what is too long."""
        if value is not None and self.length is not None and len(value) > self.length:
            raise self.refuse(f"the length of at most {self.length} bytes")
        return value


class Number(Checked):
    """A decimal: exact everywhere, on SQLite as text that sorts as the numbers do."""

    impl = sa.Numeric

    def __init__(
        self,
        owner: type | None = None,
        field: str | None = None,
        precision: int | None = None,
        scale: int | None = None,
    ) -> None:
        super().__init__(owner, field)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """NUMERIC, or text where that is not exact."""
        ours = dialect_of(dialect)
        return ours.decimal(*ours.decimal_limits(self.precision, self.scale))

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Text where there is no exact type."""
        return None if dialect_of(dialect).exact_decimals else each(encode_decimal)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """Decimals with the digits of their scale; without one, with no more than they need."""
        exact = dialect_of(dialect).exact_decimals
        if not self.scale:
            # asyncpg gives 1E+4 for 10000 where there are no digits after the point.
            return each(
                plain_decimal if exact else lambda text: plain_decimal(decode_decimal(text))
            )
        if exact:
            return super().result_processor(dialect, coltype)
        step = Decimal(1).scaleb(-self.scale)
        return each(lambda text: decode_decimal(text).quantize(step, context=_EXACT))


class Timestamp(Checked):
    """A moment, stored and loaded in UTC."""

    impl = sa.DateTime

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Microseconds everywhere."""
        return dialect_of(dialect).moment()

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Convert to UTC; a datetime without a zone is taken as UTC."""
        store = dialect_of(dialect).store_moment
        return each(lambda value: store(in_utc(value)))

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """Aware datetimes in UTC."""
        load = dialect_of(dialect).load_moment
        return None if load is None else each(load)


def in_utc(value: datetime) -> datetime:
    """The moment in UTC; a datetime without a zone is taken as UTC."""
    zone = value.tzinfo
    if zone is UTC:
        return value
    return value.replace(tzinfo=UTC) if zone is None else value.astimezone(UTC)


class Identifier(Checked):
    """A UUID."""

    impl = sa.Uuid

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A type that takes every UUID."""
        return dialect_of(dialect).uuid()

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """A plain UUID, also where the driver has a class of its own."""
        load = dialect_of(dialect).load_uuid
        return super().result_processor(dialect, coltype) if load is None else each(load)


class ClockTime(Checked):
    """A time of day, to the microsecond."""

    impl = sa.Time

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Microseconds everywhere."""
        return dialect_of(dialect).clock_time()


class Duration(Checked):
    """A timedelta as whole microseconds."""

    impl = sa.BigInteger

    def bind_processor(self, dialect: Dialect) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """Count microseconds."""
        return each(lambda value: value // _MICROSECOND)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """Back to a timedelta."""
        return each(lambda value: timedelta(microseconds=value))


class Choice(Checked):
    """An enum member, stored as its value; also takes the bare value."""

    def __init__(
        self,
        stored: "Text | Integer",
        enum: type[Enum],
        owner: type | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(owner, field)
        self.stored = stored
        self.enum = enum

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the values."""
        return self.stored.load_dialect_impl(dialect)

    def bind_processor(self, dialect: Dialect) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """Members as their values."""
        return each(lambda value: value.value if isinstance(value, Enum) else value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """The value: the mapper makes a member of it, and knows the row if there is none."""
        return None


class JsonText(Checked):
    """A JSON column read and written as text: the mapper knows the model's type."""

    impl = sa.JSON

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """JSONB where there is one."""
        return dialect_of(dialect).json()

    def bind_processor(self, dialect: Dialect) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """As it comes."""
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """As it comes."""
        return None


class Comparable(Checked):
    """The type of a value that is compared with a column: not cut, rounded or checked."""

    impl = sa.Numeric

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """NUMERIC of any size."""
        return dialect_of(dialect).decimal(None, None)

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Encode as the column is."""
        if dialect_of(dialect).exact_decimals:
            return None
        return each(lambda value: encode_decimal(Decimal(value)))
