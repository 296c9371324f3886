"""Deletion as a mark: hidden everywhere, and undone by `restore`."""

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from enum import Enum
from typing import ClassVar, Generic, Self

from varco_domain._lookup import able
from varco_domain.auth import ANONYMOUS, Action, AuthContext, Resource
from varco_domain.auth._base import ask
from varco_domain.mapper import utc_now
from varco_domain.model import domain_replace
from varco_domain.service._marks import marks_of
from varco_domain.service._types import PK, C, ChangeKind, D, R, U
from varco_domain.service.mixin import ServiceMixin
from varco_domain.uow import AsyncUnitOfWork
from varco_query import ComparisonNode, Operation, TransformerNode

__all__ = ("SoftDeleteService",)


class _Shown(Enum):
    LIVE = "live"
    DELETED = "deleted"
    ALL = "all"


class SoftDeleteService(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Marks entities deleted instead of removing their rows.

    Deleted entities are hidden from every operation; `only_deleted()` and `with_deleted()`
    return a view of the service that shows them. `restore` and `purge` need the DELETE action.
    Rows that refer to a deleted one do what their foreign keys say (`on_soft_delete`); those that
    were marked with it, which is at the same moment, are restored with it.
    """

    _hides_deleted: ClassVar[bool] = True
    _shown: _Shown = _Shown.LIVE

    def only_deleted(self) -> Self:
        """A view of this service that sees deleted entities only."""
        return self._showing(_Shown.DELETED)

    def with_deleted(self) -> Self:
        """A view of this service that sees deleted entities too."""
        return self._showing(_Shown.ALL)

    async def restore(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> R:
        """Take the mark off a deleted entity.

        Raises:
            ServiceNotFoundError: There is no deleted one that the caller may read.
            ServiceAuthorizationError: The caller may read it, but not delete or restore it.
            ServiceConflictError: A unique value of it is taken by now.
        """
        return await self.only_deleted()._restore(pk, ctx)  # noqa: SLF001 - a view of this service

    async def _restore(self, pk: PK, ctx: AuthContext) -> R:
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            await ask(self._authorizer, ctx, Action.DELETE, Resource(self._entity_cls, before))
            entity = domain_replace(before, **{self._mark: None})
            await self._check_writes(uow, [entity], [before])
            saved = await self._get_repo(uow).save(entity)
            await self._ripple(uow, ctx).restore(self._meta, [before])
            # It refers anew: to what may be gone meanwhile, or has just come back with it.
            await self._check_references(uow, ctx, [entity], [None])
            await self._announce(uow, ctx, ChangeKind.RESTORED, [before], [saved])
            return self._assembler.to_read_dto(saved)

    async def purge(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> None:
        """Remove the row of an entity, deleted or not, for good.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
            ServiceAuthorizationError: The caller may read it, but not delete it.
        """
        await self.with_deleted()._purge(pk, ctx)  # noqa: SLF001 - a view of this service

    async def _purge(self, pk: PK, ctx: AuthContext) -> None:
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            await ask(self._authorizer, ctx, Action.DELETE, Resource(self._entity_cls, before))
            repository = self._get_repo(uow)

            async def remove() -> Sequence[D | None]:
                await repository.delete(before)
                return [None]

            await self._take_away(uow, ctx, [before], remove, ChangeKind.PURGED)

    def _now(self) -> datetime:
        """The time of the mark."""
        return utc_now()

    def _moment(self) -> datetime:
        """The time of the mark, which no other deletion has: what shares it is restored with it."""
        return marks_of(self._uow_provider).at(self._now())

    @property
    def _mark(self) -> str:
        return str(self._meta.deleted_at_field)

    def _showing(self, shown: _Shown) -> Self:
        view = copy(self)
        view._shown = shown  # noqa: SLF001 - a view of this service
        return view

    def _scope(self, ctx: AuthContext) -> tuple[TransformerNode, ...]:
        """Hide deleted entities, or the others."""
        nodes = super()._scope(ctx)
        if self._shown is _Shown.ALL:
            return nodes
        op = Operation.IS_NULL if self._shown is _Shown.LIVE else Operation.IS_NOT_NULL
        return (*nodes, ComparisonNode(self._mark, op))

    async def _remove(self, uow: AsyncUnitOfWork, entity: D) -> D | None:
        """Mark the entity; what refers to it follows."""
        return await self._get_repo(uow).save(
            domain_replace(entity, **{self._mark: self._moment()})
        )

    async def _remove_many(self, uow: AsyncUnitOfWork, entities: Sequence[D]) -> Sequence[D | None]:
        """Mark the entities, all with the same time."""
        now = self._moment()
        marked = [domain_replace(entity, **{self._mark: now}) for entity in entities]
        return await able(self._get_repo(uow), "save_many").save_many(marked)
