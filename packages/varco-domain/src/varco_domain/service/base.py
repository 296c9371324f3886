"""The service: what stands between callers and the rows of one model."""

import builtins
from abc import ABC
from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, Generic

from providify import Inject

from varco_domain._generics import type_arguments
from varco_domain._streams import closing
from varco_domain._tenancy import current_tenant
from varco_domain.assembler import AbstractDTOAssembler
from varco_domain.auth import ANONYMOUS, AbstractAuthorizer, Action, AuthContext, Resource
from varco_domain.dto import PagedReadDTO
from varco_domain.exception import (
    ServiceAuthorizationError,
    ServiceNotFoundError,
    ServiceValidationError,
    StaleEntityError,
)
from varco_domain.meta import MetaReader, ParsedMeta
from varco_domain.model import DomainModel
from varco_domain.providers import IUoWProvider
from varco_domain.repository import AsyncRepository
from varco_domain.service._bulk import key_conditions
from varco_domain.service._paging import Pager
from varco_domain.service._resolve import make_injectable, overrides
from varco_domain.service._setup import (
    assembler_for,
    check_assembled,
    check_service,
    check_update,
    snapshot,
)
from varco_domain.service._types import PK, C, ChangeKind, D, EntityChange, R, U
from varco_domain.uow import AsyncUnitOfWork
from varco_domain.validation import VALID, ValidationResult
from varco_query import AndNode, QueryParams, TransformerNode

__all__ = ("AsyncService", "ChangeKind", "EntityChange", "IUoWProvider")

_EVERYTHING = QueryParams()

# Stands in a scope for an authorizer that cannot be expressed as a condition: true of every row.
_ROW_BY_ROW = AndNode()


class AsyncService(ABC, Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Reads and writes entities of one model on behalf of callers.

    Every call is one unit of work, closed on every path. Reads see exactly the rows that the
    authorizer lets the caller READ; a row that is missing, another tenant's, deleted or unreadable
    raises the same ServiceNotFoundError. Writes ask for the action on the row as it is, and on the
    row as it will be. Safe to use from several tasks: it keeps no state of a call.

    Subclasses and mixins extend the hooks ``_scope``, ``_prepare_new``, ``_validate``,
    ``_check_write``, ``_remove``, ``_after_write`` and ``_after_commit``; each calls ``super()``.
    """

    default_limit: ClassVar[int] = 100
    """How many rows a list has when the caller does not say."""
    max_limit: ClassVar[int] = 1000
    """How many rows a caller may ask for in one page or name in one bulk operation."""
    cursor_key: ClassVar[bytes | None] = None
    """Signs cursors; by default a key of this process. Processes that share traffic share a key."""

    _entity_cls: type[D]
    _meta: ParsedMeta
    _observes_writes: ClassVar[bool] = False
    _observes_commits: ClassVar[bool] = False
    _hides_deleted: ClassVar[bool] = False
    _validates: ClassVar[bool] = False
    _checks_writes: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments = type_arguments(cls, AsyncService)
        model = arguments[0] if arguments else None
        if isinstance(model, type) and issubclass(model, DomainModel):
            cls._entity_cls = model  # type: ignore[assignment] # the class's own model
            cls._meta = MetaReader.read(model)
            cls._type_arguments = arguments
            make_injectable(cls, AsyncService, arguments)
        cls._observes_writes = overrides(cls, AsyncService, "_after_write")
        cls._observes_commits = overrides(cls, AsyncService, "_after_commit")
        cls._validates = overrides(cls, AsyncService, "_validate")
        cls._checks_writes = overrides(cls, AsyncService, "_check_write")

    _type_arguments: ClassVar[tuple[Any, ...]] = ()

    def __init__(
        self,
        uow_provider: Inject[IUoWProvider],
        authorizer: Inject[AbstractAuthorizer],
        assembler: AbstractDTOAssembler[D, C, R, U] | None = None,
    ) -> None:
        self._uow_provider = uow_provider
        self._authorizer = authorizer
        check_service(type(self))
        chosen, self._assembler_is_pure = assembler_for(type(self), assembler)
        self._assembler: AbstractDTOAssembler[D, C, R, U] = chosen
        self._pager: Pager = Pager(type(self), self._assembler)

    # What subclasses say

    def _get_repo(self, uow: AsyncUnitOfWork) -> AsyncRepository[D, PK]:
        """Return the repository to use; the model's own by default."""
        return uow.repository(self._entity_cls)

    def _scope(self, ctx: AuthContext) -> tuple[TransformerNode, ...]:
        """Return the conditions that a row has to satisfy for the caller to see it."""
        node = self._authorizer.compile(ctx, Action.READ, self._entity_cls)
        return (_ROW_BY_ROW if node is None else node,)

    def _prepare_new(self, entity: D, ctx: AuthContext) -> D:
        """Return an entity that is about to be created, completed."""
        del ctx
        return entity

    async def _validate(self, entity: D, ctx: AuthContext) -> ValidationResult:
        """Return the rules that an entity about to be written breaks."""
        del entity, ctx
        return VALID

    async def _check_write(self, uow: AsyncUnitOfWork, entity: D, before: D | None) -> None:
        """Raise if the entity may not be written for a reason that only the store knows."""

    async def _remove(self, uow: AsyncUnitOfWork, entity: D) -> D | None:
        """Remove an entity; return what is left of it."""
        await self._get_repo(uow).delete(entity)
        return None

    async def _remove_many(self, uow: AsyncUnitOfWork, entities: Sequence[D]) -> Sequence[D | None]:
        """Remove several entities; return what is left of each."""
        await self._get_repo(uow).delete_many(entities)
        return [None] * len(entities)

    async def _after_write(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        """Run inside the transaction, after the rows are written."""

    async def _after_commit(self, ctx: AuthContext, changes: Sequence[EntityChange]) -> None:
        """Run after the commit has succeeded."""

    # Reading

    async def get(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> R:
        """Return one entity.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
        """
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            entity = await self._find(uow, pk, ctx, where, by_row=by_row)
            return self._assembler.to_read_dto(entity)

    async def exists(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> bool:
        """Tell whether ``get`` would return an entity."""
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            if by_row:
                try:
                    await self._find(uow, pk, ctx, where, by_row=True)
                except ServiceNotFoundError:
                    return False
                return True
            return await self._get_repo(uow).exists(pk, where=where)

    async def list(
        self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """Return the entities that a query selects among those that the caller may read."""
        where, by_row = self._visible(ctx)
        if params.cursor is not None:
            page = self._pager.page(params, where, current_tenant())
            async with self._uow_provider.make_uow() as uow:
                rows = await self._select(uow, page.query, ctx, by_row=by_row)
                return [self._assembler.to_read_dto(entity) for entity in page.rows(rows)]
        query = self._pager.query(params, where)
        to_read = self._assembler.to_read_dto
        async with self._uow_provider.make_uow() as uow:
            rows = await self._select(uow, query, ctx, by_row=by_row)
            return [to_read(entity) for entity in rows]

    async def count(self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS) -> int:
        """Count the entities that a query selects among those that the caller may read."""
        where, by_row = self._visible(ctx)
        query = self._pager.unlimited(params, where)
        async with self._uow_provider.make_uow() as uow:
            return await self._count(uow, query, ctx, by_row=by_row)

    async def paged_list(
        self,
        params: QueryParams = _EVERYTHING,
        ctx: AuthContext = ANONYMOUS,
        *,
        raw_query: str | None = None,
    ) -> PagedReadDTO[R]:
        """Return a page, the total, and the way to the pages beside it.

        Without an ``offset``, pages are told apart by signed cursors: pass ``page.next.cursor`` as
        ``params.cursor`` with the same filter and sort. With an ``offset`` they are counted.

        Raises:
            CursorError: The cursor was not made by this service for this query and tenant.
        """
        where, by_row = self._visible(ctx)
        page = self._pager.page(params, where, current_tenant())
        to_read = self._assembler.to_read_dto
        async with self._uow_provider.make_uow() as uow:
            rows = await self._select(uow, page.query, ctx, by_row=by_row)
            total = await self._count(uow, page.all_rows, ctx, by_row=by_row)
            return page.respond(rows, to_read, total, raw_query)

    def stream(
        self,
        params: QueryParams = _EVERYTHING,
        ctx: AuthContext = ANONYMOUS,
    ) -> AsyncGenerator[R]:
        """Iterate over all entities that a query selects among those that the caller may read.

        The unit of work is open while the stream is: leave it with ``contextlib.aclosing`` when you
        may stop early. The tenant is the one in context when ``stream`` is called.
        """
        where, by_row = self._visible(ctx)
        query = self._pager.stream(params, where)
        uow = self._uow_provider.make_uow()
        uow.bind_tenancy()
        return self._stream(uow, query, ctx, by_row=by_row)

    async def _stream(
        self, uow: AsyncUnitOfWork, query: QueryParams, ctx: AuthContext, *, by_row: bool
    ) -> AsyncGenerator[R]:
        to_read = self._assembler.to_read_dto
        left, skip = query.limit, query.offset or 0
        if by_row:
            query = QueryParams(query.node, query.sort)
        async with uow, closing(self._get_repo(uow).stream_by_query(query)) as stream:
            async for entity in stream:
                if by_row:
                    if left == 0:
                        return
                    if not await self._permits(ctx, Action.READ, entity):
                        continue
                    if skip:
                        skip -= 1
                        continue
                    left = None if left is None else left - 1
                yield to_read(entity)

    # Writing

    async def create(self, dto: C, ctx: AuthContext = ANONYMOUS) -> R:
        """Create an entity.

        Raises:
            ServiceAuthorizationError: The caller may not create it.
            ServiceValidationError: It breaks rules; all of them are named.
            ServiceConflictError: Its key or a unique value is taken.
        """
        entity = self._prepare_new(check_assembled(self._assembler.to_domain(dto)), ctx)
        await self._authorizer.authorize(ctx, Action.CREATE, Resource(self._entity_cls, entity))
        if self._validates:
            (await self._validate(entity, ctx)).raise_if_invalid()
        async with self._uow_provider.make_uow() as uow:
            if self._checks_writes:
                await self._check_write(uow, entity, None)
            saved = await self._get_repo(uow).save(entity)
            if self._observes_writes or self._observes_commits:
                await self._announce(uow, ctx, [self._change(ChangeKind.CREATED, None, saved)])
            return self._assembler.to_read_dto(saved)

    async def create_many(
        self, dtos: Sequence[C], ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """Create several entities, all or none; errors name the index."""
        self._pager.check_bulk(len(dtos))
        to_domain = self._assembler.to_domain
        entities = [self._prepare_new(check_assembled(to_domain(dto)), ctx) for dto in dtos]
        for entity in entities:
            await self._authorizer.authorize(ctx, Action.CREATE, Resource(self._entity_cls, entity))
        await self._validate_many(entities, ctx)
        async with self._uow_provider.make_uow() as uow:
            if self._checks_writes:
                for entity in entities:
                    await self._check_write(uow, entity, None)
            saved = await self._get_repo(uow).save_many(entities)
            if self._observes_writes or self._observes_commits:
                changes = [self._change(ChangeKind.CREATED, None, entity) for entity in saved]
                await self._announce(uow, ctx, changes)
            return [self._assembler.to_read_dto(entity) for entity in saved]

    async def update(self, pk: PK, dto: U, ctx: AuthContext = ANONYMOUS) -> R:
        """Change an entity.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
            ServiceAuthorizationError: The caller may read it, but not change it, or not to this.
            ServiceValidationError: The result breaks rules; all of them are named.
            StaleEntityError: It is not at the expected version, or changed meanwhile.
        """
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            entity = await self._changed(before, dto, ctx)
            if self._validates:
                (await self._validate(entity, ctx)).raise_if_invalid()
            if self._checks_writes:
                await self._check_write(uow, entity, before)
            saved = await self._get_repo(uow).save(entity)
            if self._observes_writes or self._observes_commits:
                await self._announce(uow, ctx, [self._change(ChangeKind.UPDATED, before, saved)])
            return self._assembler.to_read_dto(saved)

    async def patch(self, pk: PK, dto: U, ctx: AuthContext = ANONYMOUS) -> R:
        """Change the fields that the DTO sets: the same as ``update`` for DTOs that know unset."""
        return await self.update(pk, dto, ctx)

    async def update_many(
        self, updates: Sequence[tuple[PK, U]], ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """Change several entities, each given as (key, DTO), all or none; errors name the index."""
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            pks = [pk for pk, _ in updates]
            befores = await self._find_many(uow, pks, ctx, where, by_row=by_row)
            entities = [
                await self._changed(before, dto, ctx)
                for before, (_, dto) in zip(befores, updates, strict=True)
            ]
            await self._validate_many(entities, ctx)
            if self._checks_writes:
                for entity, before in zip(entities, befores, strict=True):
                    await self._check_write(uow, entity, before)
            saved = await self._get_repo(uow).save_many(entities)
            if self._observes_writes or self._observes_commits:
                pairs = zip(befores, saved, strict=True)
                changes = [self._change(ChangeKind.UPDATED, b, s) for b, s in pairs]
                await self._announce(uow, ctx, changes)
            return [self._assembler.to_read_dto(entity) for entity in saved]

    async def delete(
        self, pk: PK, ctx: AuthContext = ANONYMOUS, *, expected_version: int | None = None
    ) -> None:
        """Remove an entity.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
            ServiceAuthorizationError: The caller may read it, but not remove it.
            StaleEntityError: It is not at the expected version, or changed meanwhile.
        """
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            await self._authorizer.authorize(ctx, Action.DELETE, Resource(self._entity_cls, before))
            if expected_version is not None:
                self._check_version(before, expected_version)
            after = await self._remove(uow, before)
            if self._observes_writes or self._observes_commits:
                await self._announce(uow, ctx, [self._change(ChangeKind.DELETED, before, after)])

    async def delete_many(self, pks: Sequence[PK], ctx: AuthContext = ANONYMOUS) -> None:
        """Remove several entities, all or none."""
        where, by_row = self._visible(ctx)
        async with self._uow_provider.make_uow() as uow:
            befores = await self._find_many(uow, pks, ctx, where, by_row=by_row)
            for before in befores:
                resource = Resource(self._entity_cls, before)
                await self._authorizer.authorize(ctx, Action.DELETE, resource)
            afters = await self._remove_many(uow, befores)
            if self._observes_writes or self._observes_commits:
                pairs = zip(befores, afters, strict=True)
                changes = [self._change(ChangeKind.DELETED, b, a) for b, a in pairs]
                await self._announce(uow, ctx, changes)

    # Inside

    def _visible(self, ctx: AuthContext) -> tuple[TransformerNode | None, bool]:
        """Return the condition of the rows that the caller sees, and whether to ask about each."""
        by_row = False
        nodes: builtins.list[TransformerNode] = []
        for node in self._scope(ctx):
            if node is _ROW_BY_ROW:
                by_row = True
            elif node.__class__ is not AndNode or node.children:
                nodes.append(node)
        if not nodes:
            return None, by_row
        return (nodes[0] if len(nodes) == 1 else AndNode(*nodes)), by_row

    async def _permits(self, ctx: AuthContext, action: Action, entity: D) -> bool:
        try:
            await self._authorizer.authorize(ctx, action, Resource(self._entity_cls, entity))
        except ServiceAuthorizationError:
            return False
        return True

    async def _find(
        self,
        uow: AsyncUnitOfWork,
        pk: PK,
        ctx: AuthContext,
        where: TransformerNode | None,
        *,
        by_row: bool,
    ) -> D:
        entity = await self._get_repo(uow).find_by_id(pk, where=where)
        if entity is None or (by_row and not await self._permits(ctx, Action.READ, entity)):
            raise ServiceNotFoundError(pk, self._entity_cls)
        return entity

    async def _find_many(
        self,
        uow: AsyncUnitOfWork,
        pks: Sequence[PK],
        ctx: AuthContext,
        where: TransformerNode | None,
        *,
        by_row: bool,
    ) -> builtins.list[D]:
        self._pager.check_bulk(len(pks))
        if not pks:
            return []
        wanted = key_conditions(self._meta, pks)
        node = wanted if where is None else AndNode(wanted, where)
        rows = await self._get_repo(uow).find_by_query(QueryParams(node))
        found = {row.pk: row for row in rows}
        entities: builtins.list[D] = []
        for pk in pks:
            entity = found.get(pk)
            if entity is None or (by_row and not await self._permits(ctx, Action.READ, entity)):
                raise ServiceNotFoundError(pk, self._entity_cls)
            entities.append(entity)
        return entities

    async def _select(
        self, uow: AsyncUnitOfWork, query: QueryParams, ctx: AuthContext, *, by_row: bool
    ) -> builtins.list[D]:
        if not by_row:
            return await self._get_repo(uow).find_by_query(query)
        rows: builtins.list[D] = []
        skip = query.offset or 0
        if query.limit == 0:
            return rows
        everything = QueryParams(query.node, query.sort)
        async with closing(self._get_repo(uow).stream_by_query(everything)) as stream:
            async for entity in stream:
                if not await self._permits(ctx, Action.READ, entity):
                    continue
                if skip:
                    skip -= 1
                    continue
                rows.append(entity)
                if query.limit is not None and len(rows) >= query.limit:
                    break
        return rows

    async def _count(
        self, uow: AsyncUnitOfWork, query: QueryParams, ctx: AuthContext, *, by_row: bool
    ) -> int:
        if by_row:
            return len(await self._select(uow, query, ctx, by_row=True))
        return await self._get_repo(uow).count(query)

    async def _changed(self, before: D, dto: U, ctx: AuthContext) -> D:
        """Return the entity with the DTO's changes, if the caller may make them."""
        resource = Resource(self._entity_cls, before)
        await self._authorizer.authorize(ctx, Action.UPDATE, resource)
        expected = getattr(dto, "expected_version", None)
        if expected is not None:
            self._check_version(before, expected)
        if self._assembler_is_pure:
            entity = self._assembler.apply_update(before, dto)
        else:
            entity = self._assembler.apply_update(snapshot(self._meta, before), dto)
            check_update(self._meta, before, entity)
        # What it becomes has to be the caller's to change as well, or a row could be given away.
        await self._authorizer.authorize(ctx, Action.UPDATE, Resource(self._entity_cls, entity))
        return entity

    def _check_version(self, entity: D, expected: int) -> None:
        field = self._meta.version_field
        if field is None:
            message = f"{self._entity_cls.__name__} has no version"
            raise ServiceValidationError(message, "expected_version")
        if getattr(entity, field) != expected:
            raise StaleEntityError(self._entity_cls, expected, getattr(entity, field))

    async def _validate_many(self, entities: Sequence[D], ctx: AuthContext) -> None:
        if self._validates:
            result = VALID
            for index, entity in enumerate(entities):
                result += (await self._validate(entity, ctx)).at(index)
            result.raise_if_invalid()

    def _change(self, kind: ChangeKind, before: D | None, after: D | None) -> EntityChange:
        entity = after if after is not None else before
        field = self._meta.tenant_field
        tenant = None if field is None else getattr(entity, field)
        pk = None if entity is None else entity.pk
        return EntityChange(kind, self._entity_cls, pk, before, after, tenant)

    async def _announce(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        if not changes:
            return
        if self._observes_writes:
            await self._after_write(uow, ctx, changes)
        if self._observes_commits:
            uow.on_commit(lambda: self._after_commit(ctx, changes))
