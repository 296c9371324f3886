"""Types of columns in tables that existed before: as their own, with the model's values."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeEngine

from varco_domain.backend import plain_decimal
from varco_sa._dialects import dialect_of
from varco_sa._types import Checked, JsonText, Processor, each, in_utc

# More than MariaDB's DECIMAL holds, of which it makes the largest it has, with a warning.
_LARGE: Final = 1e60


class _Mapped(Checked):
    """A column of a table that existed before: stored and loaded as its own type does it."""

    def __init__(self, given: TypeEngine[Any]) -> None:
        super().__init__()
        self.given = given

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the column."""
        return dialect.type_descriptor(self.given)

    def _loaded(
        self, dialect: Dialect, coltype: object, convert: Callable[[Any], Any]
    ) -> Processor:
        impl = self.load_dialect_impl(dialect).dialect_impl(dialect)
        given: Any = impl.result_processor(dialect, coltype)
        return each(convert if given is None else lambda value: convert(given(value)))


class MappedMoment(_Mapped):
    """A moment in a column of a table that existed before, in UTC where that keeps no zone.

    The mapper has cut what is finer than the column; what is compared with it is not cut.
    """

    impl = sa.DateTime

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Convert to UTC."""
        ours = dialect_of(dialect)
        given = self.load_dialect_impl(dialect).dialect_impl(dialect).bind_processor(dialect)
        zoned = ours.keeps_zones and getattr(self.given, "timezone", False)

        def process(value: datetime) -> Any:
            moment = in_utc(value)
            if not zoned:
                moment = moment.replace(tzinfo=None)
            return moment if given is None else given(moment)

        return each(process)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """Aware datetimes in UTC."""
        return self._loaded(dialect, coltype, in_utc)


class MappedNumber(_Mapped):
    """A decimal in such a column, whatever its type makes of it otherwise."""

    impl = sa.Numeric

    def __init__(self, given: sa.Numeric[Any], scale: int | None) -> None:
        exact = given.copy()
        exact.asdecimal = True
        super().__init__(exact)
        self.scale = scale

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """With the digits of its scale; without one, with no more than it needs."""
        if self.scale:
            return super().result_processor(dialect, coltype)
        return self._loaded(dialect, coltype, plain_decimal)


class MappedFloat(_Mapped):
    """A float in such a column, be it one of decimals."""

    impl = sa.Numeric

    def __init__(self, given: sa.Numeric[Any]) -> None:
        inexact = given.copy()
        inexact.asdecimal = False
        super().__init__(inexact)

    def bind_processor(self, dialect: Dialect) -> Processor:
        """The decimal that a float is written as, not the one that it is."""
        if dialect_of(dialect).exact_decimals:
            return each(lambda value: Decimal(repr(value)) if abs(value) < _LARGE else value)
        return self.load_dialect_impl(dialect).dialect_impl(dialect).bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """SQLite makes ints of whole numbers."""
        return self._loaded(dialect, coltype, float)


class ShownFloat(_Mapped):
    """A float in a column of 4-byte ones of which an engine shows some digits."""

    impl = sa.Float


class MappedUuid(_Mapped):
    """A UUID in such a column."""

    impl = sa.Uuid

    def __init__(self, given: sa.Uuid[Any]) -> None:
        super().__init__(sa.Uuid(native_uuid=given.native_uuid))

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """A plain UUID."""
        load = dialect_of(dialect).load_uuid
        if load is None:
            return super().result_processor(dialect, coltype)
        return self._loaded(dialect, coltype, load)


class MappedMember(_Mapped):
    """A member of an enum in such a column, stored under the name that its type gives it."""

    impl = sa.String

    def __init__(self, given: sa.Enum, pairs: tuple[tuple[str, Enum], ...]) -> None:
        super().__init__(given)
        self.pairs = pairs

    @property
    def members(self) -> Mapping[str, Enum]:
        """The members by their names in the column."""
        return dict(self.pairs)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """The name: the mapper makes a member of it, and knows the row if there is none."""
        return None


class MappedJson(JsonText):
    """JSON in such a column."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:  # noqa: ARG002  # SQLAlchemy's signature
        """As text, also where the engine has made a number of it."""
        return each(lambda value: value if isinstance(value, str) else repr(value))


class Padded(_Mapped):
    """Text in such a column of one width, of an engine that shows what it has filled up."""

    impl = sa.String

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """Without the spaces at the end."""
        return self._loaded(dialect, coltype, lambda text: text.rstrip(" "))
