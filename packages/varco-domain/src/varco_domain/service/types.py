"""Types for code that uses or wraps services."""

import builtins
from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from varco_domain.assembler import AbstractDTOAssembler
from varco_domain.auth import AuthContext
from varco_domain.dto import PagedReadDTO
from varco_domain.service._types import ChangeKind, EntityChange, ServiceTypes, Visibility
from varco_query import QueryParams

__all__ = (
    "Assembler",
    "ChangeKind",
    "EntityChange",
    "ServiceProtocol",
    "ServiceTypes",
    "Visibility",
)

Assembler = AbstractDTOAssembler
"""Short for AbstractDTOAssembler."""

PK_contra = TypeVar("PK_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
R = TypeVar("R")


class ServiceProtocol(Protocol[PK_contra, C_contra, R, U_contra]):
    """What a service offers, for wrappers and for stand-ins."""

    async def get(self, pk: PK_contra, ctx: AuthContext = ...) -> R:
        """One entity."""
        ...

    async def list(self, params: QueryParams = ..., ctx: AuthContext = ...) -> builtins.list[R]:
        """The entities that a query selects."""
        ...

    async def count(self, params: QueryParams = ..., ctx: AuthContext = ...) -> int:
        """Count the entities that a query selects."""
        ...

    async def paged_list(
        self,
        params: QueryParams = ...,
        ctx: AuthContext = ...,
        *,
        raw_query: str | None = None,
        total: bool | int = False,
    ) -> PagedReadDTO[R]:
        """A page."""
        ...

    async def create(self, dto: C_contra, ctx: AuthContext = ...) -> R:
        """Create an entity."""
        ...

    async def update(self, pk: PK_contra, dto: U_contra, ctx: AuthContext = ...) -> R:
        """Change an entity."""
        ...

    async def delete(self, pk: PK_contra, ctx: AuthContext = ...) -> None:
        """Remove an entity."""
        ...

    async def exists(self, pk: PK_contra, ctx: AuthContext = ...) -> bool:
        """Tell whether there is such an entity."""
        ...

    def stream(self, params: QueryParams = ..., ctx: AuthContext = ...) -> AsyncIterator[R]:
        """Iterate over the entities that a query selects."""
        ...
