"""What a service raises.

DomainError
└── ServiceException                   FASTREST_500
    ├── ServiceNotFoundError           FASTREST_001  missing or not to be seen
    ├── ServiceAuthorizationError      FASTREST_002  readable, but not for this action
    ├── ServiceConflictError           FASTREST_003  a unique value is taken
    │   └── StaleEntityError           FASTREST_005  changed since it was read (see _repository)
    └── ServiceValidationError         FASTREST_004  values that break a rule
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from varco_domain._errors import DomainError, ValidationError
from varco_domain.exception._codes import FastrestErrorCodes


class ServiceException(DomainError):  # noqa: N818 - the specification's name
    """Base of the errors of the service layer."""

    code: ClassVar[str] = FastrestErrorCodes.INTERNAL_ERROR.code
    http_status: ClassVar[int] = FastrestErrorCodes.INTERNAL_ERROR.http_status


class ServiceNotFoundError(ServiceException):
    """There is no such entity, or none that the caller may see: the two look the same.

    Attributes:
        entity_id: The key that was asked for.
        entity_cls: The model.
    """

    code: ClassVar[str] = FastrestErrorCodes.NOT_FOUND.code
    http_status: ClassVar[int] = FastrestErrorCodes.NOT_FOUND.http_status

    def __init__(self, entity_id: Any, entity_cls: type) -> None:
        super().__init__(f"{entity_cls.__name__} with key {entity_id!r} not found")
        self.entity_id: Any = entity_id
        self.entity_cls: type | None = entity_cls


class ServiceAuthorizationError(ServiceException):
    """The caller may not do this.

    Attributes:
        operation: The action.
        entity_cls: The model, if there is one.
        resource: The key that a grant of the action would have to name.
        reason: Why, for logs; not part of the safe message.
    """

    code: ClassVar[str] = FastrestErrorCodes.UNAUTHORIZED.code
    http_status: ClassVar[int] = FastrestErrorCodes.UNAUTHORIZED.http_status

    def __init__(
        self,
        operation: str,
        entity_cls: type | None = None,
        *,
        reason: str | None = None,
        resource: str | None = None,
    ) -> None:
        super().__init__(operation, entity_cls)
        self.operation = operation
        self.entity_cls = entity_cls
        self.resource = resource
        self.reason = reason

    def __str__(self) -> str:
        return self.safe_message + (f": {self.reason}" if self.reason else "")

    @property
    def safe_message(self) -> str:
        """The message without the reason."""
        on = "" if self.entity_cls is None else f" on {self.entity_cls.__name__}"
        key = "" if self.resource is None else f" (resource {self.resource!r})"
        return f"not allowed to {self.operation}{on}{key}"


class ServiceConflictError(ServiceException):
    """The change contradicts what is stored."""

    code: ClassVar[str] = FastrestErrorCodes.CONFLICT.code
    http_status: ClassVar[int] = FastrestErrorCodes.CONFLICT.http_status

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ServiceValidationError(ServiceException):
    """Values break rules.

    Attributes:
        detail: All rules that were broken, joined.
        field: The first field concerned, if any.
        errors: The single errors, at least one; in bulk operations each carries its index.
    """

    code: ClassVar[str] = FastrestErrorCodes.VALIDATION_ERROR.code
    http_status: ClassVar[int] = FastrestErrorCodes.VALIDATION_ERROR.http_status

    def __init__(
        self,
        detail: str,
        field: str | None = None,
        *,
        errors: Sequence[ValidationError] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.errors: tuple[ValidationError, ...] = tuple(errors) or (
            ValidationError(detail, field),
        )
