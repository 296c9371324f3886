"""The services that the contract suite calls."""

from datetime import datetime
from typing import Any

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, Resource
from varco_domain.dto import ReadDTO
from varco_domain.service import AsyncService, SoftDeleteService, TenantAwareService
from varco_domain.testing._models import Document, File, Folder, Hold, Link, Remark, Sheet


class DocumentRead(ReadDTO, model=Document):
    """All of a document, the tenant too."""

    pk: int
    tenant_id: str
    title: str
    owner_id: str | None
    rank: int | None
    slug: str | None
    deleted_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class RemarkRead(ReadDTO, model=Remark):
    """All of a remark, the tenant too."""

    pk: int
    tenant_id: str
    document: int
    text: str


class DocumentService(
    TenantAwareService, SoftDeleteService, AsyncService[Document, int, Any, DocumentRead, Any]
):
    """A service with tenants, versions and soft deletion."""


class RemarkService(TenantAwareService, AsyncService[Remark, int, Any, RemarkRead, Any]):
    """A service whose rows refer to documents."""


class FolderService(TenantAwareService, SoftDeleteService, AsyncService[Folder]):
    """Rows that others refer to."""


class FileService(TenantAwareService, SoftDeleteService, AsyncService[File]):
    """Rows that are marked with their folder."""


class SheetService(TenantAwareService, SoftDeleteService, AsyncService[Sheet]):
    """Rows that are marked with their file."""


class LinkService(TenantAwareService, AsyncService[Link]):
    """Rows that forget their folder."""


class HoldService(TenantAwareService, AsyncService[Hold]):
    """Rows that hold their folder."""


class RowByRow(AbstractAuthorizer):
    """Decides as another authorizer does, without a condition."""

    def __init__(self, inner: AbstractAuthorizer) -> None:
        self._inner = inner

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Ask the other one."""
        await self._inner.authorize(ctx, action, resource)
