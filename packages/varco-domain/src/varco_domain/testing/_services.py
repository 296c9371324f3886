"""The services that the contract suite calls."""

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, Resource
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.service import SoftDeleteService, TenantAwareService
from varco_domain.testing._models import Document, File, Folder, Hold, Link, Remark, Sheet


class DocumentService(
    TenantAwareService[Document, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Document, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """A service with tenants, versions and soft deletion."""


class RemarkService(TenantAwareService[Remark, int, CreateDTO, ReadDTO, UpdateDTO]):
    """A service whose rows refer to documents."""


class FolderService(
    TenantAwareService[Folder, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Folder, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Rows that others refer to."""


class FileService(
    TenantAwareService[File, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[File, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Rows that are marked with their folder."""


class SheetService(
    TenantAwareService[Sheet, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Sheet, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Rows that are marked with their file."""


class LinkService(
    TenantAwareService[Link, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Rows that forget their folder."""


class HoldService(
    TenantAwareService[Hold, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Rows that hold their folder."""


class RowByRow(AbstractAuthorizer):
    """Decides as another authorizer does, without a condition."""

    def __init__(self, inner: AbstractAuthorizer) -> None:
        self._inner = inner

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Ask the other one."""
        await self._inner.authorize(ctx, action, resource)
