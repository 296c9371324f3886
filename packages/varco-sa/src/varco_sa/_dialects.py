"""The engines: in what each differs from most, and which one is meant by a name."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import TypeEngine

from varco_query import QueryLimitError
from varco_query.compile import CASE_EXCEPTIONS, Pattern, Token, Wildcard
from varco_sa._dialect import Dialect

# Options of tables and indexes, of which SQLAlchemy takes those of the engine at hand.
COUNTED: Final[dict[str, Any]] = {"sqlite_autoincrement": True}
"""Of a table: a key that was given is never given again, although its row was deleted."""
SHORT_CHANNEL: Final[dict[str, Any]] = {
    name: {"channel": 40} for name in ("mysql_length", "mariadb_length")
}
"""Of an index: it holds the beginning of a channel, for a key with all of it would be too long."""

# What an index of InnoDB holds at most of utf8mb4, shared by the columns of a key.
_KEY_CHARACTERS: Final = 255
# What MariaDB keeps of a row beside its long texts, and of one key; in bytes, of which a character
# takes four.
_ROW_BYTES: Final = 65_535
_KEY_BYTES: Final = 3_072
_CHARACTER_BYTES: Final = 4
_OTHER_BYTES: Final = 32
# The longest that PostgreSQL declares; more is text of any length.
_VARCHAR_CHARACTERS: Final = 10_485_760
# Reserved by PostgreSQL 15 to 18 or by SQLite, and not known to SQLAlchemy.
_RESERVED: Final = frozenset(
    {"collation", "concurrently", "lateral", "system_user", "tablesample", "nothing", "returning"}
)
# Any number and name that nobody else is likely to lock.
_CREATING: Final = 0x7661_7263_6F
_CREATING_NAME: Final = "varco_create_tables"
_CREATING_SECONDS: Final = 60
_LIST_BYTES: Final = 2**30
# The words of patterns; every other character stands for itself.
_GLOB: Final[dict[Token, str]] = {
    Wildcard.ANY: "*",
    Wildcard.ONE: "?",
    **{each: f"[{each}]" for each in "*?["},
}
_LOCKING: Final = "IMMEDIATE"
# SQLite refuses longer patterns; in bytes.
_MAX_PATTERN: Final = 50_000


def identifier(name: str) -> str:
    """A name of a table or column, quoted where an engine would take it for one of its words."""
    return quoted_name(name, quote=True) if name in _RESERVED else name


def index_of(condition: sa.ColumnElement[bool]) -> dict[str, Any]:
    """Of an index: it holds the rows of which the condition is true."""
    return {"sqlite_where": condition, "postgresql_where": condition}


class Named(Protocol):
    """SQLAlchemy's own dialects."""

    name: str


# Nothing for a key that is not ahead, or that no sequence counts.
_FOLLOW: Final = sa.text(
    "SELECT setval(counter, :key) FROM (SELECT CAST(pg_get_serial_sequence(:table, :column) AS "
    "regclass) AS counter) AS found "
    "WHERE counter IS NOT NULL AND coalesce(pg_sequence_last_value(counter), 0) < :key"
).bindparams(sa.bindparam("key", type_=sa.BigInteger()))


def _plain_uuid(value: Any) -> UUID:
    return UUID(bytes=value.bytes)


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


class _SQLite(Dialect):
    strict_types = False
    embedded = True
    sorts_to_group = True
    lists_to_group = True
    exact_decimals = False
    keys_in_order = False

    def begin_write(self, connection: sa.Connection) -> None:
        """Begin the transaction, which the driver otherwise leaves to the first write."""
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def wait_for_locks(self, driver: Any) -> None:
        """Take the write lock when a transaction begins to write.

        One that is taken later, after a read, fails at once where this one waits.
        """
        if driver.isolation_level != _LOCKING:
            driver.isolation_level = _LOCKING

    def insert(self, table: sa.Table) -> tuple[Any, Any]:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415  # loaded when met

        insert = sqlite.insert(table)
        return insert, insert.excluded

    def pattern(self, pattern: Pattern) -> str:
        """For GLOB: LIKE does not tell letters apart by case."""
        text = "".join([_GLOB.get(token) or str(token) for token in pattern.tokens])
        if len(text) * 4 > _MAX_PATTERN < (size := len(text.encode())):
            raise QueryLimitError("max_length", _MAX_PATTERN, size)
        return text

    def like(
        self, text: sa.ColumnElement[Any], pattern: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        return text.op("GLOB", is_comparison=True)(pattern)

    def folded(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.varco_fold(text, type_=sa.Text())

    def last_key(self, table: sa.Table, name: str) -> sa.ColumnElement[int]:
        largest = sa.select(sa.func.max(table.c[name])).scalar_subquery()
        if not table.dialect_options["sqlite"]["autoincrement"]:
            return sa.func.ifnull(largest, 0)
        counters = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
        given = sa.select(counters.c.seq).where(counters.c.name == table.name).scalar_subquery()
        return sa.func.max(sa.func.ifnull(largest, 0), sa.func.ifnull(given, 0))

    def integer(self) -> TypeEngine[Any]:
        """Counts keys only in a column of type INTEGER."""
        return sa.Integer()

    def decimal(self, precision: int | None, scale: int | None) -> TypeEngine[Any]:  # noqa: ARG002  # as text
        return sa.TEXT()

    def integer_range(self, type_: Any) -> tuple[int, int] | None:  # noqa: ARG002  # all are of 64 bits
        return None

    def float_bits(self, type_: Any) -> int:  # noqa: ARG002  # all are doubles
        return 53

    def decimal_column(self, type_: Any) -> tuple[int | None, int | None]:
        """SQLAlchemy shows ten digits unless it is told."""
        if type_.decimal_return_scale is not None:
            return None, type_.decimal_return_scale
        return None, 10 if type_.scale is None else type_.scale

    def json(self) -> TypeEngine[Any]:
        """As text: in a column called JSON, a number would become one of SQLite's."""
        return sa.TEXT()

    def moment(self) -> TypeEngine[Any]:
        return sa.VARCHAR(32)

    def now(self) -> sa.ColumnElement[Any]:
        return sa.func.strftime("%Y-%m-%d %H:%M:%f000+00:00", "now")

    def store_moment(self, value: datetime) -> Any:
        """Text of one width, which sorts as the moments do."""
        return value.isoformat(" ", "microseconds")

    load_moment = staticmethod(datetime.fromisoformat)


class _PostgreSQL(Dialect):
    pads = True
    intervals = True
    collation = '"C"'
    keeps_zones = True
    schemas = True
    notifies = True
    rows_in_order = True
    arrays = True
    null_smallest = False
    aborts_on_error = True

    def behind_pooler(self, driver: str) -> dict[str, Any] | None:
        if driver != POOLED:
            return None
        return {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            # A name that another client of the same server process has prepared is an error.
            "prepared_statement_name_func": lambda: f"__varco_{uuid4().hex}__",
        }

    @contextmanager
    def creating(self, connection: sa.Connection) -> Generator[None]:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
        yield

    def isolates_statements(self, connection: sa.Connection) -> bool:
        dialect = connection.dialect
        if dialect.driver != "asyncpg" or dialect.default_isolation_level != "READ COMMITTED":
            return False
        adapted: Any = connection.connection.dbapi_connection
        return adapted.isolation_level is None

    def insert(self, table: sa.Table) -> tuple[Any, Any]:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # loaded when met

        insert = postgresql.insert(table)
        return insert, insert.excluded

    def text(self, length: int | None, *, in_key: bool) -> TypeEngine[Any]:  # noqa: ARG002  # any text fits
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # loaded when met

        if length is not None and length > _VARCHAR_CHARACTERS:
            length = None
        return postgresql.VARCHAR(length, collation="C")

    def folded(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        special, plain_ones = "".join(CASE_EXCEPTIONS), "".join(CASE_EXCEPTIONS.values())
        plain = sa.func.translate(text, special, plain_ones, type_=sa.Text())
        return sa.func.lower(plain.collate("und-x-icu"), type_=sa.Text()).collate("C")

    def among(
        self, column: sa.ColumnElement[Any], kind: TypeEngine[Any], bind: Callable[..., Any]
    ) -> sa.ColumnElement[bool]:
        """One statement, whatever the length of the list."""
        return column == sa.any_(bind(sa.ARRAY(kind)))

    load_uuid = staticmethod(_plain_uuid)

    def follow_key(self, connection: sa.Connection, table: sa.Table, name: str, key: int) -> None:
        """Move the sequence, before others get the key: it does not look at the table."""
        moved: Any = connection.get_execution_options().get("schema_translate_map") or {}
        schema: str | None = moved.get(table.schema, table.schema)
        quote = connection.dialect.identifier_preparer.quote_identifier
        named = ".".join(quote(each) for each in (schema, table.name) if each)
        connection.execute(_FOLLOW, {"table": named, "column": table.c[name].name, "key": key})

    def json(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # loaded when met

        return postgresql.JSONB()

    def second_digits(self, moment: TypeEngine[Any]) -> int:
        digits: int | None = getattr(moment, "precision", None)
        return 6 if digits is None else digits


class _MySQL(Dialect):
    partial_indexes = False
    lists_to_group = True
    one_result = True
    row_by_row = True
    locks_gaps = True
    ranges_in_subqueries = False
    frees_itself = False
    row_bytes = _ROW_BYTES
    single_digits = 6
    key_bytes = _KEY_BYTES
    key_name = "PRIMARY"
    collation = "utf8mb4_0900_bin"

    @contextmanager
    def creating(self, connection: sa.Connection) -> Generator[None]:
        """A statement that creates a table commits, and ends no lock of this kind."""
        connection.execute(sa.select(sa.func.get_lock(_CREATING_NAME, _CREATING_SECONDS)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(_CREATING_NAME)))

    @contextmanager
    def listing(self, connection: sa.Connection) -> Generator[None]:
        """Whole lists: it cuts one off at a megabyte, and says nothing."""
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {_LIST_BYTES}")
        try:
            yield
        finally:
            connection.exec_driver_sql("SET SESSION group_concat_max_len = DEFAULT")

    def reads_uncommitted(self, connection: sa.Connection) -> bool:
        return connection.get_isolation_level() == "READ UNCOMMITTED"

    def insert(self, table: sa.Table) -> tuple[Any, Any]:
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        insert = mysql.insert(table)
        return insert, insert.inserted

    def insert_or_ignore(self, table: sa.Table) -> Any:
        return table.insert().prefix_with("IGNORE")

    def through(self, statement: Any, table: sa.Table, index: str) -> Any:
        """It would rather read what has one value in common, and sort it."""
        hint = f"FORCE INDEX ({index})"
        for name in ("mysql", "mariadb"):
            statement = statement.with_hint(table, hint, name)
        return statement

    def folded(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        for special, replacement in CASE_EXCEPTIONS.items():
            text = sa.func.replace(text, special, replacement, type_=sa.Text())
        return sa.func.lower(text, type_=sa.Text())

    def text(self, length: int | None, *, in_key: bool) -> TypeEngine[Any]:
        """A binary collation that pads nothing; long texts lie outside of the row."""
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        length = self.text_length(length, in_key=in_key)
        if length is None or (length > _KEY_CHARACTERS and not in_key):
            return mysql.LONGTEXT(charset="utf8mb4", collation=self.collation)
        return mysql.VARCHAR(length, charset="utf8mb4", collation=self.collation)

    def text_length(self, length: int | None, *, in_key: bool) -> int | None:
        return length or (_KEY_CHARACTERS if in_key else None)

    def binary(self, length: int | None, *, in_key: bool) -> TypeEngine[Any]:
        """Indexes bytes only up to a length."""
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        length = length or (_KEY_CHARACTERS if in_key else None)
        if length is None or (length > _KEY_CHARACTERS and not in_key):
            return mysql.LONGBLOB()
        return mysql.VARBINARY(length)

    def width(self, type_: TypeEngine[Any]) -> int:
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        if isinstance(type_, mysql.VARCHAR):
            return _CHARACTER_BYTES * (type_.length or 0) + 2
        if isinstance(type_, mysql.VARBINARY):
            return (type_.length or 0) + 2
        return _OTHER_BYTES

    def decimal_limits(
        self, precision: int | None, scale: int | None
    ) -> tuple[int | None, int | None]:
        """The most that DECIMAL holds, of a column that names none."""
        return (65, 30) if scale is None else (precision or 65, scale)

    def moment(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        return mysql.DATETIME(fsp=6)

    def second_digits(self, moment: TypeEngine[Any]) -> int:
        return getattr(moment, "fsp", None) or 0

    def integer_range(self, type_: Any) -> tuple[int, int] | None:
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        named = {mysql.TINYINT: 8, sa.SmallInteger: 16, mysql.MEDIUMINT: 24, sa.BigInteger: 64}
        bits = next((bits for each, bits in named.items() if isinstance(type_, each)), 32)
        if getattr(type_, "unsigned", False):
            return 0, 2**bits - 1
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def float_bits(self, type_: Any) -> int:
        """FLOAT is of 4 bytes, and REAL of 8."""
        double = isinstance(type_, sa.Double | sa.REAL)
        return 53 if double else type_.precision or 24

    def decimal_column(self, type_: Any) -> tuple[int | None, int | None]:
        return type_.precision or 10, type_.scale or 0

    def now(self) -> sa.ColumnElement[Any]:
        return sa.func.utc_timestamp(6)

    def store_moment(self, value: datetime) -> Any:
        return value.replace(tzinfo=None)

    load_moment = staticmethod(_in_utc)

    def uuid(self) -> TypeEngine[Any]:
        """As text: MariaDB's own type refuses some, and sorts them in another order."""
        return sa.Uuid(native_uuid=False)

    def clock_time(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # loaded when met

        return mysql.TIME(fsp=6)


class _MariaDB(_MySQL):
    collation = "utf8mb4_nopad_bin"


EMBEDDED: Final = "sqlite"
"""The engine where none is named."""
_MYSQL: Final = _MySQL()
_MARIADB: Final = _MariaDB()
_SQLITE: Final = _SQLite()
_DIALECTS: Final[dict[str, Dialect]] = {
    "sqlite": _SQLITE,
    "postgresql": _PostgreSQL(),
    "mysql": _MYSQL,
    "mariadb": _MARIADB,
}
DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
}
"""What a URL without a driver stands for."""
POOLED: Final = DRIVERS["postgresql"]
"""The driver that can be told that each transaction may meet another server process."""


def dialect_named(name: str) -> Dialect:
    """The dialect of an engine by the name that SQLAlchemy gives it.

    Raises:
        ValueError: There is none of this name.
    """
    try:
        return _DIALECTS[name]
    except KeyError:
        known = ", ".join(_DIALECTS)
        raise ValueError(f"varco-sa knows no engine {name!r}, only {known}") from None


def may_be_one(name: str, other: str) -> bool:
    """Whether two names may be of one engine: MariaDB has its own only once it is connected."""
    one, another = dialect_named(name), dialect_named(other)
    return isinstance(one, type(another)) or isinstance(another, type(one))


def dialect_of(dialect: Named) -> Dialect:
    """The dialect of an engine by SQLAlchemy's, which knows MariaDB once it is connected."""
    if dialect.name == "default":
        return _SQLITE  # of no engine: SQLAlchemy shows a statement, and this has the plain types
    found = dialect_named(dialect.name)
    return _MARIADB if found is _MYSQL and getattr(dialect, "is_mariadb", False) else found


def begin_write(connection: sa.Connection) -> None:
    """Take the lock of all who write now, where there is one instead of locks of rows."""
    dialect_of(connection.dialect).begin_write(connection)
