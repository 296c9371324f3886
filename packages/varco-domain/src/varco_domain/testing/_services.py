"""The services that the contract suite calls."""

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, Resource
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.service import SoftDeleteService, TenantAwareService
from varco_domain.testing._models import Document, Remark


class DocumentService(
    TenantAwareService[Document, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Document, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """A service with tenants, versions and soft deletion."""


class RemarkService(TenantAwareService[Remark, int, CreateDTO, ReadDTO, UpdateDTO]):
    """A service whose rows refer to documents."""


class RowByRow(AbstractAuthorizer):
    """Decides as another authorizer does, without a condition."""

    def __init__(self, inner: AbstractAuthorizer) -> None:
        self._inner = inner

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Ask the other one."""
        await self._inner.authorize(ctx, action, resource)
