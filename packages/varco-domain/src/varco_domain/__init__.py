"""Domain models, services, authorization, tenancy, DTOs and validation, with no ORM beneath.

Everything is here and, by topic, in the submodules; what you touch is loaded when you touch it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_domain.assembler import AbstractDTOAssembler, AutoAssembler
    from varco_domain.auth import (
        ANONYMOUS,
        AbstractAuthorizer,
        Action,
        AuthContext,
        BaseAuthorizer,
        Resource,
        ResourceGrant,
        resource_key,
    )
    from varco_domain.auth.helpers import (
        AllOf,
        AnyOf,
        GrantBasedAuthorizer,
        OwnershipAuthorizer,
        RoleBasedAuthorizer,
    )
    from varco_domain.dto import (
        AuditedReadDTO,
        CreateDTO,
        DTOSet,
        PageCursor,
        PagedReadDTO,
        ReadDTO,
        SortCursorField,
        TCreateDTO,
        TReadDTO,
        TUpdateDTO,
        UpdateDTO,
        UpdateOperation,
        generate_dtos,
        paged_response,
        unset,
    )
    from varco_domain.exception import (
        PROBLEM_MEDIA_TYPE,
        CheckViolationError,
        DomainError,
        EntityNotFound,
        ErrorCode,
        ErrorMessage,
        FastrestErrorCodes,
        FieldNotFound,
        ModelDefinitionError,
        ModelValueError,
        ReferenceViolationError,
        RepositoryException,
        ServiceAuthorizationError,
        ServiceConflictError,
        ServiceException,
        ServiceNotFoundError,
        ServiceValidationError,
        StaleEntityError,
        StillReferencedError,
        StorageUnavailableError,
        StoredValueError,
        UniqueViolationError,
        error_code_for,
        error_message_for,
        problem_for,
        register_error_code,
    )
    from varco_domain.memory import (
        InMemoryRepository,
        InMemoryRepositoryProvider,
        InMemoryUnitOfWork,
    )
    from varco_domain.meta import (
        CheckConstraint,
        FieldHint,
        FieldRole,
        ForeignKey,
        ManyToMany,
        PKStrategy,
        PrimaryKey,
        Relationship,
        UniqueConstraint,
        pk_field,
    )
    from varco_domain.model import (
        AuditedDomainModel,
        DomainModel,
        SoftDeleteAuditedDomainModel,
        SoftDeleteDomainModel,
        SoftDeleteMixin,
        SoftDeleteVersionedDomainModel,
        TenantAuditedDomainModel,
        TenantDomainModel,
        TenantMixin,
        TenantSoftDeleteAuditedDomainModel,
        TenantSoftDeleteDomainModel,
        TenantSoftDeleteVersionedDomainModel,
        TenantVersionedDomainModel,
        VersionedDomainModel,
        cast_raw,
        domain_replace,
    )
    from varco_domain.providers import IUoWProvider, RepositoryProvider
    from varco_domain.registry import DomainModelRegistry, register
    from varco_domain.repository import AsyncRepository
    from varco_domain.service import (
        Assembler,
        AsyncService,
        ChangeKind,
        CrossTenantError,
        EntityChange,
        OwnedService,
        ServiceMixin,
        ServiceProtocol,
        SoftDeleteService,
        TenantAwareService,
        TenantRequiredError,
        TenantUoWProvider,
        UnknownTenantError,
        ValidatorServiceMixin,
        cross_tenant_access,
        current_tenant,
        tenant_context,
    )
    from varco_domain.uow import AfterCommitError, AsyncUnitOfWork, UnitOfWorkError
    from varco_domain.validation import (
        VALID,
        AsyncCompositeValidator,
        AsyncDomainModelValidator,
        AsyncValidator,
        CompositeValidator,
        DomainModelValidator,
        ValidationError,
        ValidationResult,
        Validator,
    )
else:
    _HOMES = {
        "assembler": "AbstractDTOAssembler AutoAssembler",
        "auth": (
            "ANONYMOUS AbstractAuthorizer Action AuthContext BaseAuthorizer Resource "
            "ResourceGrant resource_key"
        ),
        "auth.helpers": "AllOf AnyOf GrantBasedAuthorizer OwnershipAuthorizer RoleBasedAuthorizer",
        "dto": (
            "AuditedReadDTO CreateDTO DTOSet PageCursor PagedReadDTO ReadDTO "
            "SortCursorField TCreateDTO TReadDTO TUpdateDTO UpdateDTO UpdateOperation "
            "generate_dtos paged_response unset"
        ),
        "exception": (
            "CheckViolationError DomainError EntityNotFound ErrorCode ErrorMessage "
            "FastrestErrorCodes FieldNotFound ModelDefinitionError ModelValueError "
            "PROBLEM_MEDIA_TYPE ReferenceViolationError "
            "RepositoryException ServiceAuthorizationError ServiceConflictError "
            "ServiceException ServiceNotFoundError ServiceValidationError StaleEntityError "
            "StillReferencedError StorageUnavailableError StoredValueError UniqueViolationError "
            "error_code_for error_message_for problem_for register_error_code"
        ),
        "memory": "InMemoryRepository InMemoryRepositoryProvider InMemoryUnitOfWork",
        "meta": (
            "CheckConstraint FieldHint FieldRole ForeignKey ManyToMany PKStrategy PrimaryKey "
            "Relationship UniqueConstraint pk_field"
        ),
        "model": (
            "AuditedDomainModel DomainModel SoftDeleteAuditedDomainModel "
            "SoftDeleteDomainModel SoftDeleteMixin SoftDeleteVersionedDomainModel "
            "TenantAuditedDomainModel TenantDomainModel TenantMixin "
            "TenantSoftDeleteAuditedDomainModel TenantSoftDeleteDomainModel "
            "TenantSoftDeleteVersionedDomainModel TenantVersionedDomainModel "
            "VersionedDomainModel cast_raw domain_replace"
        ),
        "providers": "IUoWProvider RepositoryProvider",
        "registry": "DomainModelRegistry register",
        "repository": "AsyncRepository",
        "service": (
            "Assembler AsyncService ChangeKind CrossTenantError EntityChange OwnedService "
            "ServiceMixin ServiceProtocol SoftDeleteService TenantAwareService TenantRequiredError "
            "TenantUoWProvider UnknownTenantError ValidatorServiceMixin cross_tenant_access "
            "current_tenant tenant_context"
        ),
        "uow": "AfterCommitError AsyncUnitOfWork UnitOfWorkError",
        "validation": (
            "AsyncCompositeValidator AsyncDomainModelValidator AsyncValidator "
            "CompositeValidator DomainModelValidator VALID ValidationError ValidationResult "
            "Validator"
        ),
    }
    # What backends use is in varco_domain.backend; here it answers once, with a warning.
    _MOVED = (
        "AbstractMapper FieldKind FieldMeta MetaReader ParsedMeta RepositoryClassCreationFailed "
        "check_distinct children_first insert_values json_codec keep_values load_entity load_rows "
        "plain_decimal row_key update_values upsert_rows utc_now uuid7"
    )
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
    _HOME_OF |= dict.fromkeys(_MOVED.split(), "backend")

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if home == "backend":
            from warnings import warn  # noqa: PLC0415 - of old names only

            message = f"varco_domain.{name} is varco_domain.backend.{name} now"
            warn(message, DeprecationWarning, stacklevel=2)
        from importlib import import_module  # noqa: PLC0415 - lazy

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = (
    "ANONYMOUS",
    "PROBLEM_MEDIA_TYPE",
    "VALID",
    "AbstractAuthorizer",
    "AbstractDTOAssembler",
    "Action",
    "AfterCommitError",
    "AllOf",
    "AnyOf",
    "Assembler",
    "AsyncCompositeValidator",
    "AsyncDomainModelValidator",
    "AsyncRepository",
    "AsyncService",
    "AsyncUnitOfWork",
    "AsyncValidator",
    "AuditedDomainModel",
    "AuditedReadDTO",
    "AuthContext",
    "AutoAssembler",
    "BaseAuthorizer",
    "ChangeKind",
    "CheckConstraint",
    "CheckViolationError",
    "CompositeValidator",
    "CreateDTO",
    "CrossTenantError",
    "DTOSet",
    "DomainError",
    "DomainModel",
    "DomainModelRegistry",
    "DomainModelValidator",
    "EntityChange",
    "EntityNotFound",
    "ErrorCode",
    "ErrorMessage",
    "FastrestErrorCodes",
    "FieldHint",
    "FieldNotFound",
    "FieldRole",
    "ForeignKey",
    "GrantBasedAuthorizer",
    "IUoWProvider",
    "InMemoryRepository",
    "InMemoryRepositoryProvider",
    "InMemoryUnitOfWork",
    "ManyToMany",
    "ModelDefinitionError",
    "ModelValueError",
    "OwnedService",
    "OwnershipAuthorizer",
    "PKStrategy",
    "PageCursor",
    "PagedReadDTO",
    "PrimaryKey",
    "ReadDTO",
    "ReferenceViolationError",
    "Relationship",
    "RepositoryException",
    "RepositoryProvider",
    "Resource",
    "ResourceGrant",
    "RoleBasedAuthorizer",
    "ServiceAuthorizationError",
    "ServiceConflictError",
    "ServiceException",
    "ServiceMixin",
    "ServiceNotFoundError",
    "ServiceProtocol",
    "ServiceValidationError",
    "SoftDeleteAuditedDomainModel",
    "SoftDeleteDomainModel",
    "SoftDeleteMixin",
    "SoftDeleteService",
    "SoftDeleteVersionedDomainModel",
    "SortCursorField",
    "StaleEntityError",
    "StillReferencedError",
    "StorageUnavailableError",
    "StoredValueError",
    "TCreateDTO",
    "TReadDTO",
    "TUpdateDTO",
    "TenantAuditedDomainModel",
    "TenantAwareService",
    "TenantDomainModel",
    "TenantMixin",
    "TenantRequiredError",
    "TenantSoftDeleteAuditedDomainModel",
    "TenantSoftDeleteDomainModel",
    "TenantSoftDeleteVersionedDomainModel",
    "TenantUoWProvider",
    "TenantVersionedDomainModel",
    "UniqueConstraint",
    "UniqueViolationError",
    "UnitOfWorkError",
    "UnknownTenantError",
    "UpdateDTO",
    "UpdateOperation",
    "ValidationError",
    "ValidationResult",
    "Validator",
    "ValidatorServiceMixin",
    "VersionedDomainModel",
    "cast_raw",
    "cross_tenant_access",
    "current_tenant",
    "domain_replace",
    "error_code_for",
    "error_message_for",
    "generate_dtos",
    "paged_response",
    "pk_field",
    "problem_for",
    "register",
    "register_error_code",
    "resource_key",
    "tenant_context",
    "unset",
)
