"""Errors with stable codes, and what a web layer answers for them."""

from varco_domain._errors import DomainError, ModelDefinitionError, ModelValueError
from varco_domain.exception._codes import ErrorCode, FastrestErrorCodes
from varco_domain.exception._http import (
    PROBLEM_MEDIA_TYPE,
    ErrorMessage,
    error_code_for,
    error_message_for,
    problem_for,
    register_error_code,
)
from varco_domain.exception._repository import (
    CheckViolationError,
    EntityNotFound,
    FieldNotFound,
    ReferenceViolationError,
    RepositoryClassCreationFailed,
    RepositoryException,
    StaleEntityError,
    StillReferencedError,
    StorageUnavailableError,
    StoredValueError,
    UniqueViolationError,
)
from varco_domain.exception._service import (
    ServiceAuthorizationError,
    ServiceConflictError,
    ServiceException,
    ServiceNotFoundError,
    ServiceValidationError,
)

__all__ = (
    "PROBLEM_MEDIA_TYPE",
    "CheckViolationError",
    "DomainError",
    "EntityNotFound",
    "ErrorCode",
    "ErrorMessage",
    "FastrestErrorCodes",
    "FieldNotFound",
    "ModelDefinitionError",
    "ModelValueError",
    "ReferenceViolationError",
    "RepositoryClassCreationFailed",
    "RepositoryException",
    "ServiceAuthorizationError",
    "ServiceConflictError",
    "ServiceException",
    "ServiceNotFoundError",
    "ServiceValidationError",
    "StaleEntityError",
    "StillReferencedError",
    "StorageUnavailableError",
    "StoredValueError",
    "UniqueViolationError",
    "error_code_for",
    "error_message_for",
    "problem_for",
    "register_error_code",
)
