"""The reading half of a service: who sees which rows, and reading them."""

import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic

from providify import Inject

from varco_domain._errors import ModelDefinitionError
from varco_domain._generics import type_arguments
from varco_domain._hooks import default, untouched
from varco_domain._lookup import able, count_rows, find_by_key, has_key
from varco_domain._streams import closing
from varco_domain._tenancy import current_tenant
from varco_domain.assembler import AbstractDTOAssembler
from varco_domain.auth import ANONYMOUS, AbstractAuthorizer, Action, AuthContext
from varco_domain.auth._base import condition_for, permits
from varco_domain.dto import PagedReadDTO
from varco_domain.exception import ServiceNotFoundError
from varco_domain.meta import MetaReader, ParsedMeta
from varco_domain.model import DomainModel
from varco_domain.observe import Observed, ObservedKind
from varco_domain.providers import IUoWProvider
from varco_domain.repository import AsyncRepository
from varco_domain.service._audience import audience_of
from varco_domain.service._bulk import key_conditions
from varco_domain.service._paging import Pager
from varco_domain.service._resolve import make_injectable
from varco_domain.service._setup import assembler_for, check_service, service_types
from varco_domain.service._types import PK, C, D, R, ServiceTypes, U, Visibility
from varco_domain.uow import AsyncUnitOfWork, bind_tenancy, repository_of
from varco_query import AndNode, QueryParams, TransformerNode

_EVERYTHING = QueryParams()

# Stands in a scope for an authorizer that cannot be expressed as a condition: true of every row.
_ROW_BY_ROW = AndNode()
_ALL = Visibility(None, by_row=False)
_EACH = Visibility(None, by_row=True)


class EntityReader(Observed, Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Reads entities of one model on behalf of callers; the base of `AsyncService`."""

    default_limit: ClassVar[int] = 100
    """How many rows a list has when the caller does not say."""
    max_limit: ClassVar[int] = 1000
    """How many rows a caller may ask for in one page or name in one bulk operation."""
    cursor_key: ClassVar[bytes | None] = None
    """Signs cursors; by default a key of this process. Processes that share traffic share a key."""

    observed_as: ClassVar[ObservedKind] = "operation"
    """What an observer is asked for a call; see `varco_domain.observe`."""
    types: ClassVar[ServiceTypes | None] = None
    """What the service was declared with; None in a base that leaves it open."""

    _entity_cls: type[D]
    _meta: ParsedMeta
    _hides_deleted: ClassVar[bool] = False
    _scopes_tenants: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments = type_arguments(cls, EntityReader)
        model = arguments[0] if arguments else None
        if isinstance(model, type) and issubclass(model, DomainModel):
            cls._entity_cls = model  # type: ignore[assignment] # the class's own model
            cls._meta = MetaReader.read(model)
            cls.types = service_types(cls._meta, arguments)
            make_injectable(cls, EntityReader, cls.types)

    def __init__(
        self,
        uow_provider: Inject[IUoWProvider],
        authorizer: Inject[AbstractAuthorizer],
        assembler: AbstractDTOAssembler[D, C, R, U] | None = None,
        producer: Any = None,
    ) -> None:
        if producer is not None:
            self._publish_by(producer)
        self._uow_provider = uow_provider
        self._authorizer = authorizer
        check_service(type(self), uow_provider)
        self._assembler: AbstractDTOAssembler[D, C, R, U] = assembler_for(type(self), assembler)
        self._pager: Pager = Pager(type(self), self._assembler)
        audience_of(uow_provider).join(self)

    def _publish_by(self, producer: Any) -> None:
        """Take the producer that the constructor was given.

        Raises:
            ModelDefinitionError: The service publishes nothing.
        """
        del producer
        raise ModelDefinitionError(
            type(self).__name__,
            None,
            "publishes nothing, so it takes no producer; derive it from "
            "varco_events.EventServiceMixin first",
        )

    def _get_repo(self, uow: AsyncUnitOfWork) -> AsyncRepository[D, PK]:
        """The repository to use; the model's own by default."""
        return repository_of(uow, self._entity_cls)

    def _able(self, uow: AsyncUnitOfWork, method: str) -> AsyncRepository[D, PK]:
        """The repository, for a method that not every one has."""
        return able(self._get_repo(uow), method)

    def _stream_of(
        self, uow: AsyncUnitOfWork, query: QueryParams
    ) -> AbstractAsyncContextManager[AsyncIterator[D]]:
        return closing(self._able(uow, "stream_by_query").stream_by_query(query))

    def _scope(self, ctx: AuthContext) -> tuple[TransformerNode, ...]:
        """The conditions that a row has to satisfy for the caller to see it."""
        node = condition_for(self._authorizer, ctx, Action.READ, self._entity_cls)
        return (_ROW_BY_ROW if node is None else node,)

    async def get(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> R:
        """One entity.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
        """
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            entity = await self._find(uow, pk, ctx, where, by_row=by_row)
            return self._assembler.to_read_dto(entity)

    async def exists(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> bool:
        """Tell whether `get` would return an entity."""
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            if by_row:
                try:
                    await self._find(uow, pk, ctx, where, by_row=True)
                except ServiceNotFoundError:
                    return False
                return True
            return await has_key(self._get_repo(uow), pk, where)

    async def list(
        self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """The entities that a query selects among those that the caller may read."""
        where, by_row = self.visibility(ctx)
        if params.cursor is not None:
            page = self._pager.page(params, where, current_tenant())
            async with self._uow_provider.make_uow() as uow:
                rows = await self._select(uow, page.query, ctx, by_row=by_row)
                return [self._assembler.to_read_dto(entity) for entity in page.walk.rows(rows)]
        query = self._pager.query(params, where)
        to_read = self._assembler.to_read_dto
        async with self._uow_provider.make_uow() as uow:
            rows = await self._select(uow, query, ctx, by_row=by_row)
            return [to_read(entity) for entity in rows]

    async def count(self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS) -> int:
        """Count the entities that a query selects among those that the caller may read."""
        where, by_row = self.visibility(ctx)
        query = self._pager.unlimited(params, where)
        async with self._uow_provider.make_uow() as uow:
            return await self._count(uow, query, ctx, by_row=by_row)

    async def paged_list(
        self,
        params: QueryParams = _EVERYTHING,
        ctx: AuthContext = ANONYMOUS,
        *,
        raw_query: str | None = None,
        total: bool | int = False,
    ) -> PagedReadDTO[R]:
        """A page and the way to the pages beside it.

        A page costs the same however many rows there are. Counting them all does not: it is done
        with `total=True`; with a number it stops there, and `total_count` is that at most.

        Without an `offset`, pages are told apart by signed cursors: pass `page.next.cursor` as
        `params.cursor` with the same filter and sort. With an `offset` they are counted.

        Raises:
            CursorKeyError: The cursor was signed by another process, and they share no
                `cursor_key`; the log says so once.
            CursorError: The cursor was not made by this service for this query and tenant.
        """
        where, by_row = self.visibility(ctx)
        page = self._pager.page(params, where, current_tenant())
        # A number of rows is checked as a limit is.
        up_to = None if isinstance(total, bool) else QueryParams(limit=total).limit
        to_read = self._assembler.to_read_dto
        async with self._uow_provider.make_uow() as uow:
            rows = await self._select(uow, page.query, ctx, by_row=by_row)
            number = None
            if total is True or up_to is not None:
                number = await self._count(uow, page.all_rows, ctx, by_row=by_row, up_to=up_to)
            return page.respond(rows, to_read, number, raw_query)

    def stream(
        self,
        params: QueryParams = _EVERYTHING,
        ctx: AuthContext = ANONYMOUS,
    ) -> AsyncGenerator[R]:
        """Iterate over all entities that a query selects among those that the caller may read.

        The unit of work is open while the stream is: leave it with `contextlib.aclosing` when you
        may stop early. The tenant is the one in context when `stream` is called.
        """
        where, by_row = self.visibility(ctx)
        query = self._pager.stream(params, where)
        uow = self._uow_provider.make_uow()
        bind_tenancy(uow)
        return self._stream(uow, query, ctx, by_row=by_row)

    async def _stream(
        self, uow: AsyncUnitOfWork, query: QueryParams, ctx: AuthContext, *, by_row: bool
    ) -> AsyncGenerator[R]:
        to_read = self._assembler.to_read_dto
        left, skip = query.limit, query.offset or 0
        if by_row:
            query = QueryParams(query.node, query.sort)
        async with uow, self._stream_of(uow, query) as stream:
            async for entity in stream:
                if by_row:
                    if left == 0:
                        return
                    if not await self._permits(ctx, entity):
                        continue
                    if skip:
                        skip -= 1
                        continue
                    left = None if left is None else left - 1
                yield to_read(entity)

    def to_read_dto(self, entity: D) -> R:
        """What callers get to see of an entity."""
        return self._assembler.to_read_dto(entity)

    def has_own_reads(self) -> bool:
        """Tell whether reads depend on more than `visibility`: a hook was overridden or set."""
        return not (untouched(self._find) and untouched(self._select) and untouched(self._permits))

    def visibility(self, ctx: AuthContext) -> Visibility:
        """Which rows the caller sees, worked out anew by the authorizer and all mixins.

        Raises what the service raises for a caller that it does not serve.
        """
        by_row = False
        nodes: builtins.list[TransformerNode] = []
        for node in self._scope(ctx):
            if node is _ROW_BY_ROW:
                by_row = True
            elif node.__class__ is not AndNode or node.children:
                nodes.append(node)
        if not nodes:
            return _EACH if by_row else _ALL
        return Visibility(nodes[0] if len(nodes) == 1 else AndNode(*nodes), by_row)

    @default
    async def _permits(self, ctx: AuthContext, entity: D) -> bool:
        """Tell whether the authorizer lets the caller read an entity."""
        return await permits(self._authorizer, ctx, entity)

    @default
    async def _find(
        self,
        uow: AsyncUnitOfWork,
        pk: PK,
        ctx: AuthContext,
        where: TransformerNode | None,
        *,
        by_row: bool,
    ) -> D:
        repository = self._get_repo(uow)
        if where is None:
            entity = await repository.find_by_id(pk)
        else:
            entity = await find_by_key(repository, pk, where)
        if entity is None or (by_row and not await self._permits(ctx, entity)):
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
        rows = await self._able(uow, "find_by_query").find_by_query(QueryParams(node))
        found = {row.pk: row for row in rows}
        entities: builtins.list[D] = []
        for pk in pks:
            entity = found.get(pk)
            if entity is None or (by_row and not await self._permits(ctx, entity)):
                raise ServiceNotFoundError(pk, self._entity_cls)
            entities.append(entity)
        return entities

    @default
    async def _select(
        self, uow: AsyncUnitOfWork, query: QueryParams, ctx: AuthContext, *, by_row: bool
    ) -> builtins.list[D]:
        if not by_row:
            return await self._able(uow, "find_by_query").find_by_query(query)
        rows: builtins.list[D] = []
        skip = query.offset or 0
        if query.limit == 0:
            return rows
        everything = QueryParams(query.node, query.sort)
        async with self._stream_of(uow, everything) as stream:
            async for entity in stream:
                if not await self._permits(ctx, entity):
                    continue
                if skip:
                    skip -= 1
                    continue
                rows.append(entity)
                if query.limit is not None and len(rows) >= query.limit:
                    break
        return rows

    async def _count(
        self,
        uow: AsyncUnitOfWork,
        query: QueryParams,
        ctx: AuthContext,
        *,
        by_row: bool,
        up_to: int | None = None,
    ) -> int:
        if by_row:
            some = QueryParams(query.node, limit=up_to)
            return len(await self._select(uow, some, ctx, by_row=True))
        return await count_rows(self._get_repo(uow), query, up_to)
