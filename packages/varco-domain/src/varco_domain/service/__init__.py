"""Services: base, tenants, soft deletion, validation."""

from varco_domain.service.base import AsyncService, ChangeKind, EntityChange, IUoWProvider
from varco_domain.service.mixin import ServiceMixin
from varco_domain.service.owned import OwnedService
from varco_domain.service.soft_delete import SoftDeleteService
from varco_domain.service.tenant import (
    CrossTenantError,
    TenantAwareService,
    TenantRequiredError,
    TenantUoWProvider,
    UnknownTenantError,
    cross_tenant_access,
    current_tenant,
    tenant_context,
)
from varco_domain.service.types import Assembler, ServiceProtocol
from varco_domain.service.validation import ValidatorServiceMixin

__all__ = (
    "Assembler",
    "AsyncService",
    "ChangeKind",
    "CrossTenantError",
    "EntityChange",
    "IUoWProvider",
    "OwnedService",
    "ServiceMixin",
    "ServiceProtocol",
    "SoftDeleteService",
    "TenantAwareService",
    "TenantRequiredError",
    "TenantUoWProvider",
    "UnknownTenantError",
    "ValidatorServiceMixin",
    "cross_tenant_access",
    "current_tenant",
    "tenant_context",
)
