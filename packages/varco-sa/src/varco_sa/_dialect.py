"""What is different about engines: one object that is asked, and does what most of them do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from varco_query.compile import Pattern, Token, Wildcard

# A function of a value that is not null; None for "as it comes".
type Convert = Callable[[Any], Any] | None

# The words of patterns; every other character stands for itself.
_LIKE: Final[dict[Token, str]] = {
    Wildcard.ANY: "%",
    Wildcard.ONE: "_",
    **{each: f"\\{each}" for each in "%_\\"},
}


class Dialect(ABC):
    """An engine that does what most do; the subclasses say in what theirs differs.

    Has no state; there is one object for each engine.
    """

    embedded: ClassVar[bool] = False
    """It is a file that this process opens, with one lock for all who write."""
    schemas: ClassVar[bool] = False
    """A database holds schemas."""
    notifies: ClassVar[bool] = False
    """A commit can wake who listens."""
    exact_decimals: ClassVar[bool] = True
    """It has a type of exact decimals; otherwise they are text that sorts as they do."""
    arrays: ClassVar[bool] = False
    """A parameter may be a list; its driver then decodes JSON, too, and counts no rows of many
    statements."""
    null_smallest: ClassVar[bool] = True
    """Sorts null before every value without being told."""
    partial_indexes: ClassVar[bool] = True
    """An index may hold some of the rows, and INSERT names the conflict that it expects."""
    keys_in_order: ClassVar[bool] = True
    """RETURNING says which of many rows got which key."""
    aborts_on_error: ClassVar[bool] = False
    """A statement that fails takes the transaction with it."""
    collation: ClassVar[str] = "BINARY"
    """What compares text by code point."""
    keeps_zones: ClassVar[bool] = False
    """A timestamp may have a time zone."""
    one_result: ClassVar[bool] = False
    """A connection has one result at a time."""
    row_by_row: ClassVar[bool] = False
    """Its driver sends a statement for many rows once for each, and waits each time."""
    locks_gaps: ClassVar[bool] = False
    """Locks what lies between rows unless a transaction is READ COMMITTED."""
    ranges_in_subqueries: ClassVar[bool] = True
    """A subquery finds a range of an index by a value of the query around it."""
    sorts_to_group: ClassVar[bool] = False
    """Sorts all rows, whole, when they are grouped in an order that no index has."""
    lists_to_group: ClassVar[bool] = False
    """Sooner lists the values of a group than it groups by them in an order that no index has."""
    rows_in_order: ClassVar[bool] = False
    """Finds the row before (a, b, c) in an index of the three."""
    frees_itself: ClassVar[bool] = True
    """A row that refers to itself may be deleted."""
    strict_types: ClassVar[bool] = True
    """Holds values to the lengths and ranges of their columns' types."""
    pads: ClassVar[bool] = False
    """Shows the spaces with which it has filled a CHAR."""
    intervals: ClassVar[bool] = False
    """It has a type of durations."""
    single_digits: ClassVar[int | None] = None
    """How many digits it shows of a float of 4 bytes, if not all."""
    row_bytes: ClassVar[int | None] = None
    """What a row may take of its columns' `width`, where that is bounded."""
    key_bytes: ClassVar[int | None] = None
    """Likewise a key."""
    key_name: ClassVar[str | None] = None
    """What every primary key is called, if that cannot be chosen."""

    def behind_pooler(self, driver: str) -> dict[str, Any] | None:  # noqa: ARG002  # for engines that have some
        """What makes connections of a driver keep nothing between two transactions, if anything."""
        return None

    def begin_write(self, connection: sa.Connection) -> None:  # noqa: B027  # most have no such lock
        """Take the lock of all who write now, where there is one."""

    def reads_uncommitted(self, connection: sa.Connection) -> bool:  # noqa: ARG002  # most never do
        """Whether its transactions see what others may still undo."""
        return False

    def wait_for_locks(self, driver: Any) -> None:  # noqa: B027  # most do
        """Have the transactions of a driver's connection wait for what others lock."""

    @contextmanager
    def creating(self, connection: sa.Connection) -> Generator[None]:
        """Keep others of us from creating tables until this transaction, or the block, ends."""
        self.begin_write(connection)
        yield

    @contextmanager
    def listing(self, _connection: sa.Connection) -> Generator[None]:
        """Have lists of values come whole in the block."""
        yield

    def isolates_statements(self, _connection: sa.Connection) -> bool:
        """Whether reading outside of a transaction means the same, and saves two round trips."""
        return False

    @abstractmethod
    def insert(self, table: sa.Table) -> tuple[Any, Any]:
        """An INSERT that may meet a row that is there, and the columns of what it brings."""

    def insert_or_ignore(self, table: sa.Table) -> Any:
        """An INSERT that does nothing when the row is there."""
        return self.insert(table)[0].on_conflict_do_nothing()

    def last_key(
        self, table: sa.Table, name: str
    ) -> sa.ColumnElement[int]:  # for those that cannot say
        """The largest key that was given in a table, where `keys_in_order` is false.

        Keys of deleted rows are included if the table counts them.
        """
        raise NotImplementedError

    def follow_key(  # noqa: B027  # most look at the table
        self, connection: sa.Connection, table: sa.Table, name: str, key: int
    ) -> None:
        """Count on from a key that was given, not counted, and that a row is about to have."""

    def through(self, statement: Any, table: sa.Table, index: str) -> Any:  # noqa: ARG002  # likewise
        """The statement, which reads a table through an index whatever is known of its rows."""
        return statement

    def text(self, length: int | None, *, in_key: bool) -> TypeEngine[Any]:  # noqa: ARG002  # for engines that need it
        """Text that is compared by code point, of at most `length` characters."""
        return sa.VARCHAR(length) if length else sa.TEXT()

    def text_length(self, length: int | None, *, in_key: bool) -> int | None:  # noqa: ARG002  # likewise
        """How many characters the type of such a text holds."""
        return length

    def pattern(self, pattern: Pattern) -> str:
        """The pattern as `like` takes it: for LIKE, with a backslash as the escape."""
        return "".join([_LIKE.get(token) or str(token) for token in pattern.tokens])

    def like(
        self, text: sa.ColumnElement[Any], pattern: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        """Whether text matches; letters are told apart by case."""
        return text.like(pattern, escape="\\")

    def among(
        self, column: sa.ColumnElement[Any], kind: TypeEngine[Any], bind: Callable[..., Any]
    ) -> sa.ColumnElement[bool]:
        """Whether a column is one of the values of the parameter that `bind` makes."""
        return column.in_(bind(kind, expanding=True))

    def width(self, type_: TypeEngine[Any]) -> int:  # noqa: ARG002  # for engines that bound it
        """The bytes that a column may take of its row and of a key."""
        return 0

    @abstractmethod
    def folded(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Text as `varco_query` folds it, to be compared without regard to case."""

    def integer(self) -> TypeEngine[Any]:
        """A whole number of 64 bits, also as a key that counts."""
        return sa.BigInteger()

    def binary(self, length: int | None, *, in_key: bool) -> TypeEngine[Any]:  # noqa: ARG002  # likewise
        """Bytes."""
        return sa.LargeBinary()

    def decimal(self, precision: int | None, scale: int | None) -> TypeEngine[Any]:
        """An exact decimal; without limits, of any size."""
        return sa.Numeric(precision, scale)

    def decimal_limits(
        self, precision: int | None, scale: int | None
    ) -> tuple[int | None, int | None]:
        """How many digits a decimal column holds, and how many of them behind the point.

        Of one without a scale as many as the engine can.
        """
        return (None, None) if scale is None else (precision, scale)

    def moment(self) -> TypeEngine[Any]:
        """A point in time, to the microsecond."""
        return sa.TIMESTAMP(timezone=True)

    def second_digits(self, moment: TypeEngine[Any]) -> int:  # noqa: ARG002  # for engines that round
        """How many digits of a second a column of this type keeps."""
        return 6

    def integer_range(self, type_: Any) -> tuple[int, int] | None:
        """The least and the greatest of a column of integers; None for all of 64 bits."""
        bits = 16 if isinstance(type_, sa.SmallInteger) else 32
        return (
            None if isinstance(type_, sa.BigInteger) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )

    def float_bits(self, type_: Any) -> int:
        """How many binary digits a column of floats keeps."""
        if isinstance(type_, sa.REAL):
            return 24
        return type_.precision or 53

    def decimal_column(self, type_: Any) -> tuple[int | None, int | None]:
        """How many digits a column of decimals keeps, and how many of them behind the point."""
        return type_.precision, type_.scale if type_.precision is None else type_.scale or 0

    def now(self) -> sa.ColumnElement[Any]:
        """The time of the engine when the statement runs, as a moment is stored."""
        return sa.func.clock_timestamp()

    def store_moment(self, value: datetime) -> Any:
        """What is stored of a datetime in UTC."""
        return value

    load_moment: Convert = None
    """What makes a datetime in UTC of what is stored."""

    def uuid(self) -> TypeEngine[Any]:
        """A UUID, of the engine's own type where it takes every one."""
        return sa.Uuid()

    load_uuid: Convert = None
    """What makes a plain UUID of what the driver gives, where SQLAlchemy does not."""

    def clock_time(self) -> TypeEngine[Any]:
        """A time of day, to the microsecond."""
        return sa.Time()

    def json(self) -> TypeEngine[Any]:
        """JSON."""
        return sa.JSON()
