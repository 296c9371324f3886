"""The tenant in context, and the repository that cannot leave it."""

import logging
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, cast

from varco_domain._errors import DomainError
from varco_domain._lookup import count_rows, find_by_key, has_key
from varco_domain.exception import FastrestErrorCodes
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel, domain_replace
from varco_domain.repository import AsyncRepository
from varco_query import (
    AggregationQuery,
    AndNode,
    ComparisonNode,
    Operation,
    QueryParams,
    TransformerNode,
)

_log = logging.getLogger("varco_domain.tenancy")


class TenantRequiredError(DomainError):
    """There is no tenant in context; nothing was read or written."""

    code: ClassVar[str] = FastrestErrorCodes.TENANT_REQUIRED.code
    http_status: ClassVar[int] = FastrestErrorCodes.TENANT_REQUIRED.http_status

    def __init__(self) -> None:
        super().__init__("no tenant in context; wrap the call in 'with tenant_context(tenant_id):'")


class CrossTenantError(DomainError):
    """An entity of one tenant was to be written in the context of another."""

    code = "domain.cross_tenant"
    http_status = 403

    def __init__(self, entity_cls: type) -> None:
        super().__init__(f"this {entity_cls.__name__} belongs to a tenant that is not in context")
        self.entity_cls = entity_cls


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Whose rows a unit of work may touch: one tenant's, everyone's, or nobody's."""

    tenant_id: str | None = None
    everyone: bool = False


NOBODY: Final = Tenancy()
_EVERYONE: Final = Tenancy(everyone=True)
_current: ContextVar[Tenancy] = ContextVar("varco_tenancy", default=NOBODY)


tenancy = _current.get
"""The tenancy in context."""


def current_tenant() -> str | None:
    """The tenant in context, or None."""
    return _current.get().tenant_id


@contextmanager
def tenant_context(tenant_id: str) -> Generator[None]:
    """Act for one tenant inside the block, in this task and in those it starts.

    Raises:
        ValueError: The tenant is empty or no string.
    """
    if not isinstance(cast("object", tenant_id), str) or not tenant_id:
        raise ValueError(f"a tenant is a non-empty string, got {tenant_id!r}")
    token = _current.set(Tenancy(tenant_id))
    try:
        yield
    finally:
        _current.reset(token)


def has_tenancy() -> bool:
    """Whether a tenant, or access to all of them, is in context."""
    return _current.get() is not NOBODY


@contextmanager
def without_tenant() -> Generator[None]:
    """Act for no tenant inside the block, whatever is in context outside of it."""
    token = _current.set(NOBODY)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def cross_tenant_access(purpose: str) -> Generator[None]:
    """Act for all tenants inside the block; the purpose is logged.

    New entities have to carry their tenant then.

    Raises:
        ValueError: The purpose is empty.
    """
    if not purpose:
        raise ValueError("say what the access across tenants is for")
    _log.info("access across tenants: %s", purpose)
    token = _current.set(_EVERYONE)
    try:
        yield
    finally:
        _current.reset(token)


@lru_cache(maxsize=1024)
def tenant_node(field: str, tenant_id: str) -> ComparisonNode:
    """The condition of one tenant's rows; the same object for the same tenant."""
    return ComparisonNode(field, Operation.EQUAL, tenant_id)


def both(first: TransformerNode | None, second: TransformerNode | None) -> TransformerNode | None:
    """AND two conditions, either of which may be missing."""
    if first is None:
        return second
    if second is None or second is first:
        return first
    return AndNode(first, second)


class TenantScopedRepository[D: DomainModel, PK](AsyncRepository[D, PK]):
    """Adds the tenant to each statement of a repository, and refuses other tenants' entities."""

    __slots__ = ("_entity_cls", "_field", "_inner", "_scope", "_tenancy")

    def __init__(
        self, inner: AsyncRepository[D, PK], entity_cls: type[D], tenancy: Tenancy | None
    ) -> None:
        self._inner = inner
        self._entity_cls = entity_cls
        self._tenancy = tenancy or NOBODY
        self._field = str(MetaReader.read(entity_cls).tenant_field)
        if self._tenancy.everyone:
            self._scope: TransformerNode | None = None
        elif self._tenancy.tenant_id is None:
            raise TenantRequiredError
        else:
            self._scope = tenant_node(self._field, self._tenancy.tenant_id)

    @property
    def inner(self) -> AsyncRepository[D, PK]:
        """The backend's repository, not scoped: a way across tenants for backend code only."""
        return self._inner

    def _where(self, node: TransformerNode | None) -> TransformerNode | None:
        if isinstance(node, AndNode) and any(child is self._scope for child in node.children):
            return node
        return both(self._scope, node)

    def _params(self, params: QueryParams | None) -> QueryParams:
        if params is None:
            return QueryParams(node=self._scope)
        node = self._where(params.node)
        if node is params.node:
            return params
        return QueryParams(node, params.sort, params.limit, params.offset, params.cursor)

    def _owned(self, entity: D) -> D:
        owner = getattr(entity, self._field)
        if self._tenancy.everyone:
            if not owner:
                raise TenantRequiredError
            return entity
        if owner == self._tenancy.tenant_id:
            return entity
        if owner or entity.is_persisted():
            raise CrossTenantError(self._entity_cls)
        return domain_replace(entity, **{self._field: self._tenancy.tenant_id})

    async def find_by_id(self, pk: PK, *, where: TransformerNode | None = None) -> D | None:
        """The tenant's entity with this key."""
        return await find_by_key(self._inner, pk, self._where(where))

    async def find_all(self) -> list[D]:
        """All entities of the tenant."""
        return await self._inner.find_by_query(QueryParams(node=self._scope))

    async def save(self, entity: D) -> D:
        """Save an entity of the tenant; a new one gets the tenant."""
        return await self._inner.save(self._owned(entity))

    async def delete(self, entity: D) -> None:
        """Remove an entity of the tenant."""
        await self._inner.delete(self._owned(entity))

    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The tenant's entities that a query selects."""
        return await self._inner.find_by_query(self._params(params))

    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the tenant's rows that a query selects."""
        return await count_rows(self._inner, self._params(params), up_to)

    async def aggregate(
        self, query: AggregationQuery, node: TransformerNode | None = None
    ) -> list[dict[str, Any]]:
        """The groups of the tenant's rows that a filter selects."""
        return await self._inner.aggregate(query, self._where(node))

    async def exists(self, pk: PK, *, where: TransformerNode | None = None) -> bool:
        """Tell whether the tenant has a row with this key."""
        return await has_key(self._inner, pk, self._where(where))

    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save the tenant's entities, all or none."""
        return await self._inner.save_many([self._owned(entity) for entity in entities])

    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove the tenant's entities, all or none."""
        await self._inner.delete_many([self._owned(entity) for entity in entities])

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert or update entities of the tenant, all or none."""
        await self._inner.upsert([self._owned(entity) for entity in entities], by=by)

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on the tenant's rows that a query selects."""
        return await self._inner.update_many_by_query(self._params(params), update)

    def stream_by_query(self, params: QueryParams) -> AsyncIterator[D]:
        """Iterate over the tenant's entities that a query selects."""
        return self._inner.stream_by_query(self._params(params))
