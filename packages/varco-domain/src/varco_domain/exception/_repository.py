"""What a repository raises; never with SQL or another row's values in it.

RepositoryException                        domain.repository
├── EntityNotFound                         also a ServiceNotFoundError
├── FieldNotFound                          also varco_query's UnknownFieldError
├── StaleEntityError                       also a ServiceConflictError
├── UniqueViolationError                   also a ServiceConflictError
├── ReferenceViolationError                also a ServiceValidationError
│   └── StillReferencedError               also a ServiceConflictError
├── CheckViolationError                    also a ServiceValidationError
├── StoredValueError                       domain.stored_value
├── StorageUnavailableError                domain.unavailable; safe to retry
└── RepositoryClassCreationFailed          domain.repository_class
"""

from typing import Any, ClassVar

from varco_domain._errors import DomainError, ValidationError
from varco_domain.exception._codes import FastrestErrorCodes
from varco_domain.exception._service import (
    ServiceConflictError,
    ServiceException,
    ServiceNotFoundError,
    ServiceValidationError,
)
from varco_query import UnknownFieldError


class RepositoryException(DomainError):  # noqa: N818 - the specification's name
    """Base of the errors of repositories."""

    code = "domain.repository"


class EntityNotFound(RepositoryException, ServiceNotFoundError):  # noqa: N818 - likewise
    """The row that was to be written is gone, or belongs to another tenant.

    Attributes:
        entity_id: The key.
        entity_cls: The model, or None where only the table was named.
        table: The table's name, or what the model is called.
    """

    code: ClassVar[str] = FastrestErrorCodes.NOT_FOUND.code
    http_status: ClassVar[int] = FastrestErrorCodes.NOT_FOUND.http_status

    def __init__(self, entity_id: Any, table: type | str) -> None:
        name = table if isinstance(table, str) else table.__name__
        ServiceException.__init__(self, f"{name} with key {entity_id!r} not found")
        self.entity_id = entity_id
        self.entity_cls: type | None = None if isinstance(table, str) else table
        self.table: str = name


class FieldNotFound(RepositoryException, UnknownFieldError):  # noqa: N818 - the specification's name
    """A query or an update names a field that the model does not have or does not let be set.

    What an UnknownFieldError is to a parser or a schema, this is to a store: whoever catches the
    one has both, with one code.

    Attributes:
        field: The name.
        table: The table.
    """

    code: ClassVar[str] = UnknownFieldError.code
    http_status: ClassVar[int] = UnknownFieldError.http_status

    def __init__(self, field: str, table: str) -> None:
        UnknownFieldError.__init__(self, field)
        self.message: str = f"{table} has no field {field!r} for this use"
        self.args: tuple[Any, ...] = (self.message,)
        self.table: str = table


class StaleEntityError(RepositoryException, ServiceConflictError):
    """The row changed (or went) after it was read: read it again and decide anew.

    Attributes:
        entity_cls: The model.
        expected_version: The version that the write was based on.
        actual_version: The version found, when the statement told.
    """

    code: ClassVar[str] = FastrestErrorCodes.STALE.code
    http_status: ClassVar[int] = FastrestErrorCodes.STALE.http_status

    def __init__(
        self, entity_cls: type, expected_version: int, actual_version: int | None = None
    ) -> None:
        found = "" if actual_version is None else f", found {actual_version}"
        detail = (
            f"{entity_cls.__name__} changed meanwhile: expected version {expected_version}{found}"
        )
        super().__init__(detail)
        self.entity_cls = entity_cls
        self.expected_version = expected_version
        self.actual_version = actual_version


class UniqueViolationError(RepositoryException, ServiceConflictError):
    """Another row has the same key or the same unique values.

    Attributes:
        entity_cls: The model.
        fields: The fields that have to be unique together.
    """

    code: ClassVar[str] = FastrestErrorCodes.CONFLICT.code
    http_status: ClassVar[int] = FastrestErrorCodes.CONFLICT.http_status

    def __init__(self, entity_cls: type, fields: tuple[str, ...]) -> None:
        super().__init__(f"{entity_cls.__name__} with the same {', '.join(fields) or 'key'} exists")
        self.entity_cls = entity_cls
        self.fields = fields


class ReferenceViolationError(RepositoryException, ServiceValidationError):
    """A foreign key points to no row, or to none that the caller sees: the two look the same.

    Attributes:
        entity_cls: The model.
        field: The foreign key, if the backend told which.
    """

    code: ClassVar[str] = FastrestErrorCodes.VALIDATION_ERROR.code
    http_status: ClassVar[int] = FastrestErrorCodes.VALIDATION_ERROR.http_status

    def __init__(self, entity_cls: type, field: str | None = None) -> None:
        super().__init__(
            f"{field or 'a foreign key'} of {entity_cls.__name__} refers to nothing", field
        )
        self.entity_cls = entity_cls


class StillReferencedError(ReferenceViolationError, ServiceConflictError):
    """A row is removed that others refer to.

    Attributes:
        entity_cls: The model.
    """

    code: ClassVar[str] = FastrestErrorCodes.CONFLICT.code
    http_status: ClassVar[int] = FastrestErrorCodes.CONFLICT.http_status

    def __init__(self, entity_cls: type) -> None:
        ServiceConflictError.__init__(self, f"{entity_cls.__name__} is still referred to")
        self.entity_cls = entity_cls
        self.field: str | None = None
        self.errors: tuple[ValidationError, ...] = ()


class CheckViolationError(RepositoryException, ServiceValidationError):
    """A value breaks a check constraint, a length or a null rule of the table.

    Attributes:
        entity_cls: The model.
        field: The field, if the backend told which.
        rule: The name or condition of the constraint, if the backend told.
    """

    code: ClassVar[str] = FastrestErrorCodes.VALIDATION_ERROR.code
    http_status: ClassVar[int] = FastrestErrorCodes.VALIDATION_ERROR.http_status

    def __init__(self, entity_cls: type, field: str | None = None, rule: str | None = None) -> None:
        what = field or "a value"
        super().__init__(
            f"{what} of {entity_cls.__name__} breaks {rule or 'a rule of the table'}", field
        )
        self.entity_cls = entity_cls
        self.rule = rule


class StoredValueError(RepositoryException):
    """A row holds a value that its field does not have any more, such as a member since removed.

    Attributes:
        entity_cls: The model.
        pk: The key of the row.
        field: The field.
    """

    code = "domain.stored_value"

    def __init__(self, entity_cls: type, pk: object, field: str) -> None:
        super().__init__(
            f"the row of {entity_cls.__name__} with key {pk!r} holds a value in {field!r} that the "
            "field's type does not have; migrate it, or give the type what it lacks"
        )
        self.entity_cls = entity_cls
        self.pk = pk
        self.field = field


class StorageUnavailableError(RepositoryException):
    """The store could not be reached, or broke the connection; trying again may help."""

    code = "domain.unavailable"
    http_status = 503


class RepositoryClassCreationFailed(RepositoryException):
    """A backend cannot make storage for a model.

    Attributes:
        repository_cls: The class concerned.
    """

    code = "domain.repository_class"

    def __init__(self, message: str, repository_cls: type) -> None:
        super().__init__(message)
        self.repository_cls = repository_cls
