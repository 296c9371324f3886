"""Tenants: whose rows a call may touch, and which database they are in."""

from collections.abc import Mapping
from threading import Lock
from typing import ClassVar, Generic

from varco_domain._errors import DomainError, ModelDefinitionError
from varco_domain._tenancy import (
    CrossTenantError,
    TenantRequiredError,
    TenantScopedRepository,
    cross_tenant_access,
    current_tenant,
    has_tenancy,
    tenancy,
    tenant_context,
    tenant_node,
    without_tenant,
)
from varco_domain.auth import AuthContext
from varco_domain.model import domain_replace
from varco_domain.providers import IUoWProvider
from varco_domain.service._types import PK, C, D, R, U
from varco_domain.service.mixin import ServiceMixin
from varco_domain.uow import AsyncUnitOfWork, bind_tenancy
from varco_query import TransformerNode

__all__ = (
    "CrossTenantError",
    "TenantAwareService",
    "TenantRequiredError",
    "TenantScopedRepository",
    "TenantUoWProvider",
    "UnknownTenantError",
    "cross_tenant_access",
    "current_tenant",
    "has_tenancy",
    "tenant_context",
    "without_tenant",
)


class TenantAwareService(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Serves the tenant in context; without one, every call raises TenantRequiredError.

    References to another tenant's rows are refused like references to nothing. The model has a
    tenant field, unless each tenant has a store of its own (`TenantUoWProvider`).
    """

    _scopes_tenants: ClassVar[bool] = True

    def _tenant(self) -> str | None:
        """The tenant to serve; None inside `cross_tenant_access`."""
        current = tenancy()
        if current.tenant_id is None and not current.everyone:
            raise TenantRequiredError
        return current.tenant_id

    def _scope(self, ctx: AuthContext) -> tuple[TransformerNode, ...]:
        """Show the tenant's rows only."""
        tenant = self._tenant()
        nodes = super()._scope(ctx)
        field = self._meta.tenant_field
        if tenant is None or field is None:
            return nodes
        return (tenant_node(field, tenant), *nodes)

    def _prepare_new(self, entity: D, ctx: AuthContext) -> D:
        """Give the entity to the tenant."""
        tenant = self._tenant()
        entity = super()._prepare_new(entity, ctx)
        field = self._meta.tenant_field
        if tenant is None or field is None:
            return entity
        owner = getattr(entity, field)
        if owner == tenant:
            return entity
        if owner:
            raise CrossTenantError(self._entity_cls)
        return domain_replace(entity, **{field: tenant})


class UnknownTenantError(DomainError):
    """No database is registered for the tenant in context."""

    code = "domain.unknown_tenant"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("the tenant in context is not known")


class TenantUoWProvider(IUoWProvider):
    """Routes each unit of work to the database of the tenant in context.

    Tenants may be registered while it is in use, from any thread.
    """

    separates_tenants: ClassVar[bool] = True

    def __init__(self, providers: Mapping[str, IUoWProvider] | None = None) -> None:
        # Written under _lock; a read is one look-up in a dict.
        self._providers: dict[str, IUoWProvider] = dict(providers or {})
        self._lock = Lock()

    def register(self, tenant_id: str, provider: IUoWProvider) -> None:
        """Register the database of a tenant.

        Raises:
            ModelDefinitionError: The tenant has another one already.
        """
        if not tenant_id:
            raise ValueError("a tenant is a non-empty string")
        with self._lock:
            if self._providers.setdefault(tenant_id, provider) is not provider:
                raise ModelDefinitionError(
                    type(self).__name__, None, f"the tenant {tenant_id!r} is registered already"
                )

    def has_tenant(self, tenant_id: str) -> bool:
        """Tell whether a tenant is registered."""
        return tenant_id in self._providers

    def registered_tenants(self) -> list[str]:
        """The registered tenants, sorted."""
        with self._lock:
            return sorted(self._providers)

    def make_uow(self) -> AsyncUnitOfWork:
        """A unit of work on the database of the tenant in context.

        Raises:
            TenantRequiredError: There is no single tenant in context.
            UnknownTenantError: It is not registered.
        """
        tenant = current_tenant()
        if tenant is None:
            raise TenantRequiredError
        provider = self._providers.get(tenant)
        if provider is None:
            raise UnknownTenantError
        uow = provider.make_uow()
        bind_tenancy(uow)
        return uow
