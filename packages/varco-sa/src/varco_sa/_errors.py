"""From the errors of drivers to the errors of repositories.

RepositoryException
└── StorageUnavailableError           domain.unavailable; safe to retry
    ├── TransactionAbortedError       sa.transaction_aborted; safe to retry from the beginning
    └── CommitUnknownError            sa.commit_unknown; look before trying again
"""

import re
from typing import Any, ClassVar, Final

from sqlalchemy import exc

from varco_domain import DomainError
from varco_domain.backend import no_more_keys
from varco_domain.exception import (
    CheckViolationError,
    ReferenceViolationError,
    RepositoryException,
    StillReferencedError,
    StorageUnavailableError,
    UniqueViolationError,
)
from varco_sa._tables import EntityTable


class TransactionAbortedError(StorageUnavailableError):
    """The engine gave the transaction up in favour of another one: run it again."""

    code: ClassVar[str] = "sa.transaction_aborted"


class CommitUnknownError(StorageUnavailableError):
    """The connection broke during a commit: the changes may have been made, or not."""

    code: ClassVar[str] = "sa.commit_unknown"

    def __init__(self) -> None:
        super().__init__(
            "the connection broke while the transaction was being committed: whether its changes "
            "were made is not known; look before you run it again"
        )


_UNAVAILABLE: Final = "the database cannot be reached or broke the connection; try again"
_EXHAUSTED: Final = (
    "no connection became free in time, all of the pool are in use; try again, or give the engine "
    "a larger pool_size"
)
_ABORTED: Final = "the database aborted the transaction in favour of another; run it again"
FAILED: Final = (
    "an earlier statement of this transaction failed; leave the unit of work, "
    "or put what may fail into 'async with uow.savepoint():'"
)

_POOLED: Final = (
    "a prepared statement was lost or belongs to someone else, as behind PgBouncer in transaction "
    "mode: open the database with pgbouncer=True"
)

# SQLSTATEs: deadlock, serialization failure, lock not available.
_PG_ABORTED: Final = frozenset({"40001", "40P01", "55P03"})
_PG_UNAVAILABLE: Final = ("08", "57P", "53")
# No such prepared statement, or one of this name already.
_PG_POOLED: Final = frozenset({"26000", "42P05"})
# Of these the whole transaction is rolled back, of the other aborting ones only the statement.
_MYSQL_LOST: Final = frozenset({1213, 1020, 3960})
_MYSQL_ABORTED: Final = frozenset({1205, 1213, 1020, 3572, 3960})
_MYSQL_UNAVAILABLE: Final = frozenset({1040, 1053, 1152, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
_PG_NO_KEYS: Final = "2200H"
_MYSQL_NO_KEYS: Final = frozenset({167, 1467})
_MYSQL_UNIQUE: Final = frozenset({1062, 1586})
_MYSQL_REFERENCE: Final = frozenset({1216, 1452})
_MYSQL_REFERRED: Final = frozenset({1217, 1451})
_MYSQL_CHECK: Final = frozenset({3819, 4025})
_MYSQL_NULL: Final = frozenset({1048, 1364})
_MYSQL_VALUE: Final = frozenset({1264, 1265, 1292, 1366, 1406})


def translate(error: Exception, entity: EntityTable | None = None) -> Exception:
    """The error of a repository for one of SQLAlchemy, of a driver or of the network.

    Its message names fields and never holds SQL or values. Any other error comes back as it is.

    Args:
        error: What was raised.
        entity: The model whose statement failed, when there is one.
    """
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return StorageUnavailableError(_UNAVAILABLE)
        return _from_driver(error, entity)
    if isinstance(error, exc.StatementError):
        if isinstance(error.orig, DomainError):
            return error.orig
        return _refused(error, entity)
    if isinstance(error, exc.PendingRollbackError):
        return RepositoryException(FAILED)
    if isinstance(error, exc.TimeoutError):
        return StorageUnavailableError(_EXHAUSTED)
    if isinstance(error, exc.DisconnectionError | exc.ResourceClosedError):
        return StorageUnavailableError(_UNAVAILABLE)
    if isinstance(error, OSError | TimeoutError | EOFError):
        return StorageUnavailableError(_UNAVAILABLE)
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return CheckViolationError(_owner(entity), None, "what the column can hold")
    return error


def breaks_transaction(error: Exception) -> bool:
    """Whether PostgreSQL refuses further statements after it: it came from the server or network.

    What was found out in Python, a lost version say, left the transaction as it was.
    """
    return isinstance(error, exc.DBAPIError | OSError | TimeoutError | EOFError)


def ends_transaction(error: Exception) -> bool:
    """Whether MariaDB has undone the whole transaction, savepoints included, without a word.

    What followed would be a transaction of its own, and be committed without what came before.
    """
    first: Any = next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
    return isinstance(first, int) and first in _MYSQL_LOST


def cause_of(error: Exception) -> BaseException | None:
    """What a trace may show beside the error that was translated: nothing with SQL or values."""
    if isinstance(error, exc.IntegrityError | exc.DataError | OverflowError | UnicodeEncodeError):
        return None
    if isinstance(error, exc.OperationalError | exc.ProgrammingError | exc.InternalError):
        return error.orig
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return error.orig
    return None if isinstance(error, exc.StatementError) else error


def _owner(entity: EntityTable | None) -> type:
    return object if entity is None else entity.entity_cls


def _from_driver(error: exc.DBAPIError, entity: EntityTable | None) -> Exception:
    driver: Any = error.orig
    # MariaDB's drivers put a number first, asyncpg has a SQLSTATE, sqlite3 a name.
    first: Any = next(iter(getattr(driver, "args", ())), None)
    if isinstance(first, int):
        return _from_mysql(first, str(driver.args[-1]), error, entity)
    if type(driver.__cause__).__name__ == "ProtocolError":  # asyncpg's: another client's answer
        return RepositoryException(_POOLED)
    state = getattr(driver, "sqlstate", None)
    if isinstance(state, str):
        return _from_postgresql(state, driver, error, entity)
    return _from_sqlite(driver, error, entity)


def _from_postgresql(
    state: str, driver: Any, error: Exception, entity: EntityTable | None
) -> Exception:
    if state in _PG_ABORTED:
        return TransactionAbortedError(_ABORTED)
    if state.startswith(_PG_UNAVAILABLE):
        return StorageUnavailableError(_UNAVAILABLE)
    if state in _PG_POOLED:
        return RepositoryException(_POOLED)
    if state == "25P02":
        return RepositoryException(FAILED)
    cause: Any = driver.__cause__ or driver
    constraint = getattr(cause, "constraint_name", None)
    column = getattr(cause, "column_name", None)
    if state == "23505":
        return _unique(constraint, entity)
    if state == "23503":
        removing = "still referenced" in str(getattr(cause, "detail", ""))
        return _reference(constraint, entity, removing=removing)
    if state == "23514":
        return _check(constraint, entity)
    column = _field(column, entity)
    if state == "23502":
        return CheckViolationError(_owner(entity), column, "the rule that it is not null")
    return _value(column, entity, state) if state.startswith("22") else _refused(error, entity)


def _value(column: str | None, entity: EntityTable | None, state: str) -> Exception:
    if state == _PG_NO_KEYS and entity is not None:
        return no_more_keys(entity.meta)
    return CheckViolationError(_owner(entity), column, "what the column can hold")


def _from_mysql(number: int, text: str, error: Exception, entity: EntityTable | None) -> Exception:
    if number in _MYSQL_ABORTED:
        return TransactionAbortedError(_ABORTED)
    if number in _MYSQL_UNAVAILABLE:
        return StorageUnavailableError(_UNAVAILABLE)
    if number in _MYSQL_NO_KEYS and entity is not None:
        return no_more_keys(entity.meta)
    if number in _MYSQL_UNIQUE:
        found = re.search(r"for key '(?:[^'.]*\.)?([^']*)'$", text)
        name = found[1] if found else None
        return _unique("PRIMARY" if name is None else name, entity)
    if number in _MYSQL_REFERENCE or number in _MYSQL_REFERRED:
        found = re.search(r"CONSTRAINT `([^`]*)`", text)
        return _reference(found[1] if found else None, entity, removing=number in _MYSQL_REFERRED)
    if number in _MYSQL_CHECK:
        found = re.search(r"[Cc](?:ONSTRAINT|heck constraint) [`']([^`']*)", text)
        return _check(found[1].rpartition(".")[2] if found else None, entity)
    if number in _MYSQL_NULL or number in _MYSQL_VALUE:
        found = re.search(r"(?:[Cc]olumn|Field) '?`?(?:[^'`]*`\.`)*([^'`]+)", text)
        rule = (
            "the rule that it is not null" if number in _MYSQL_NULL else "what the column can hold"
        )
        field = _field(found[1] if found else None, entity)
        return CheckViolationError(_owner(entity), field, rule)
    return _refused(error, entity)


def _from_sqlite(driver: Any, error: Exception, entity: EntityTable | None) -> Exception:
    name: str = getattr(driver, "sqlite_errorname", "")
    text = str(driver)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TransactionAbortedError(_ABORTED)
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY")):
        return StorageUnavailableError(_UNAVAILABLE)
    after = text.rpartition(": ")[2]
    if name in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}:
        index = re.fullmatch(r"index '(.*)'", after)
        if index:
            return _unique(index[1], entity)
        fields = tuple(_field(part.rpartition(".")[2], entity) or "" for part in after.split(", "))
        return UniqueViolationError(_owner(entity), fields)
    if name == "SQLITE_CONSTRAINT_ROWID":
        return _unique("PRIMARY", entity)
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return _reference(None, entity, removing=_removes(error))
    if name == "SQLITE_CONSTRAINT_TRIGGER":
        return _reference(None, entity, removing=True)
    if name == "SQLITE_CONSTRAINT_CHECK":
        return _check(after, entity)
    if name == "SQLITE_CONSTRAINT_NOTNULL":
        field = _field(after.rpartition(".")[2], entity)
        return CheckViolationError(_owner(entity), field, "the rule that it is not null")
    return _refused(error, entity)


def _removes(error: Exception) -> bool:
    statement = getattr(error, "statement", None) or ""
    return str(statement).startswith("DELETE")


def _field(column: str | None, entity: EntityTable | None) -> str | None:
    """The field of a column that an engine named; None for a column of no field."""
    if entity is None:
        return None
    return next((name for name, each in entity.columns.items() if each.name == column), None)


def _unique(constraint: str | None, entity: EntityTable | None) -> Exception:
    if entity is None:
        return UniqueViolationError(object, ())
    fields = entity.constraints.get(constraint or "", entity.meta.pk_fields)
    return UniqueViolationError(entity.entity_cls, fields)


def _reference(constraint: str | None, entity: EntityTable | None, *, removing: bool) -> Exception:
    if removing:
        return StillReferencedError(_owner(entity))
    field: str | None = None
    if entity is not None:
        own = entity.meta.foreign_keys
        fields = entity.constraints.get(constraint or "", ())
        field = fields[0] if fields else next(iter(own)) if len(own) == 1 else None
    return ReferenceViolationError(_owner(entity), field)


def _check(constraint: str | None, entity: EntityTable | None) -> Exception:
    if entity is None or constraint is None:
        return CheckViolationError(_owner(entity), None, constraint)
    return CheckViolationError(entity.entity_cls, None, entity.checks.get(constraint, constraint))


def _refused(error: Exception, entity: EntityTable | None) -> Exception:
    driver = getattr(error, "orig", None) or error
    if isinstance(driver, OverflowError | UnicodeEncodeError):
        return CheckViolationError(_owner(entity), None, "what the column can hold")
    about = "" if entity is None else f" about {entity.entity_cls.__name__}"
    return RepositoryException(f"the database refused a statement{about}; see the error's cause")
