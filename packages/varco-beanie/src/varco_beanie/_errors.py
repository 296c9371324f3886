"""From the errors of PyMongo to the errors of repositories.

RepositoryException
└── StorageUnavailableError           domain.unavailable; safe to retry
    ├── TransactionAbortedError       beanie.transaction_aborted; safe to retry from the beginning
    └── CommitUnknownError            beanie.commit_unknown; look before trying again
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from varco_domain.exception import (
    CheckViolationError,
    RepositoryException,
    StorageUnavailableError,
    UniqueViolationError,
)

if TYPE_CHECKING:
    from varco_beanie._collections import EntityCollection


class TransactionAbortedError(StorageUnavailableError):
    """The server gave the transaction up in favour of another one: run it again."""

    code: ClassVar[str] = "beanie.transaction_aborted"


class CommitUnknownError(StorageUnavailableError):
    """The connection broke during a commit: the changes may have been made, or not."""

    code: ClassVar[str] = "beanie.commit_unknown"

    def __init__(self) -> None:
        super().__init__(
            "the connection broke while the transaction was being committed: whether its changes "
            "were made is not known; look before you run it again"
        )


FAILED: Final = (
    "an earlier command of this transaction failed, and MongoDB has undone all of it; leave the "
    "unit of work and begin another (there are no savepoints)"
)
_UNAVAILABLE: Final = "the database cannot be reached or broke the connection; try again"
_EXHAUSTED: Final = (
    "no connection became free in time, all of the pool are in use; try again, or give the client "
    "a larger maxPoolSize"
)
_ABORTED: Final = "the database aborted the transaction in favour of another; run it again"
_STANDALONE: Final = (
    "this server has no transactions: make it a replica set, of one member if need be, or say "
    "transactions=False and read what that gives up"
)

_TRANSIENT: Final = "TransientTransactionError"
_UNKNOWN: Final = "UnknownTransactionCommitResult"
_DUPLICATE: Final = frozenset({11000, 11001, 12582})
_INVALID: Final = 121
_NO_TRANSACTIONS: Final = (20, "Transaction numbers")


def translate(error: BaseException, entity: "EntityCollection | None" = None) -> BaseException:
    """The error of a repository for one of PyMongo or of the network.

    Its message names fields and never holds documents. Any other error comes back as it is.

    Args:
        error: What was raised.
        entity: The model whose command failed, when there is one.
    """
    if isinstance(error, BulkWriteError):
        found = _of_bulk(error)
        if found is not None:
            return _of_code(found.get("code"), found, error, entity)
    if is_transient(error):
        return TransactionAbortedError(_ABORTED)
    if isinstance(error, WaitQueueTimeoutError):
        return StorageUnavailableError(_EXHAUSTED)
    if isinstance(error, ConnectionFailure | NetworkTimeout | ExecutionTimeout | OSError):
        return StorageUnavailableError(_UNAVAILABLE)
    if isinstance(error, OperationFailure):
        return _of_code(error.code, error.details or {}, error, entity)
    if isinstance(error, OverflowError | BSONError):
        return CheckViolationError(_owner(entity), None, "what a document can hold")
    return _refused(entity) if isinstance(error, PyMongoError) else error


def is_transient(error: BaseException) -> bool:
    """Whether the server undid the transaction in favour of another, or lost it."""
    return isinstance(error, PyMongoError) and error.has_error_label(_TRANSIENT)


def is_unknown_commit(error: BaseException) -> bool:
    """Whether nobody knows if a commit happened."""
    return isinstance(error, PyMongoError) and error.has_error_label(_UNKNOWN)


def cause_of(error: BaseException) -> BaseException | None:
    """What a trace may show beside the error that was translated: nothing with a document."""
    is_write = isinstance(error, OperationFailure) and error.code in {*_DUPLICATE, _INVALID}
    return None if is_write or isinstance(error, BulkWriteError | BSONError) else error


def _owner(entity: "EntityCollection | None") -> type:
    return object if entity is None else entity.model


def _of_bulk(error: BulkWriteError) -> Mapping[str, Any] | None:
    details: Mapping[str, Any] = error.details or {}
    written: list[Mapping[str, Any]] = details.get("writeErrors") or []
    return written[0] if written else None


def _of_code(
    code: object,
    details: Mapping[str, Any],
    error: PyMongoError,
    entity: "EntityCollection | None",
) -> Exception:
    if code in _DUPLICATE:
        return _unique(details, entity)
    if code == _INVALID:
        return _check(details, entity)
    number, text = _NO_TRANSACTIONS
    if code == number and text in str(details.get("errmsg")):
        return RepositoryException(_STANDALONE)
    if is_transient(error):
        return TransactionAbortedError(_ABORTED)
    return _refused(entity)


def _unique(details: Mapping[str, Any], entity: "EntityCollection | None") -> Exception:
    if entity is None:
        return UniqueViolationError(object, ())
    found = re.search(r" index: (\S+)", str(details.get("errmsg")))
    fields = entity.index_fields.get(found[1]) if found else None
    if fields is None:  # an index that others have made
        names = {path: name for name, path in entity.paths.items()}
        fields = tuple(names[path] for path in details.get("keyPattern", ()) if path in names)
    return UniqueViolationError(entity.model, fields or entity.meta.pk_fields)


def _check(details: Mapping[str, Any], entity: "EntityCollection | None") -> Exception:
    rule = None
    if entity is not None:
        info: Mapping[str, Any] = details.get("errInfo") or {}
        outcome: Mapping[str, Any] = info.get("details") or {}
        broken: list[Mapping[str, Any]] = outcome.get("clausesSatisfied") or []
        if broken:
            rule, _ = entity.checks[int(broken[0]["index"])]
    return CheckViolationError(_owner(entity), None, rule)


def _refused(entity: "EntityCollection | None") -> Exception:
    about = "" if entity is None else f" about {entity.model.__name__}"
    return RepositoryException(f"the database refused a command{about}; see the error's cause")
