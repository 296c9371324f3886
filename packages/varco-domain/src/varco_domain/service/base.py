"""The service: what stands between callers and the rows of one model."""

import builtins
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from typing import Any, Generic, Self

from varco_domain._hooks import default, untouched
from varco_domain._lookup import able
from varco_domain.auth import ANONYMOUS, Action, AuthContext, Resource
from varco_domain.auth._base import ask, condition_for, permits
from varco_domain.dto._check import may_have
from varco_domain.dto._declared import EXPECTED_VERSION
from varco_domain.exception import (
    ReferenceViolationError,
    ServiceValidationError,
    StaleEntityError,
)
from varco_domain.meta import MetaReader
from varco_domain.providers import IUoWProvider
from varco_domain.service._audience import audience_of
from varco_domain.service._reader import EntityReader
from varco_domain.service._references import live_rows, new_references, target_of
from varco_domain.service._ripple import Ripple
from varco_domain.service._setup import check_assembled, check_update, snapshot
from varco_domain.service._types import PK, C, ChangeKind, D, EntityChange, R, U
from varco_domain.uow import AsyncUnitOfWork, on_commit, repository_of
from varco_domain.validation import VALID, ValidationResult
from varco_query import AndNode, QueryParams

__all__ = ("AsyncService", "ChangeKind", "EntityChange", "IUoWProvider")

type Observer = Callable[[AuthContext, Sequence[EntityChange]], Awaitable[None]]
type Witness = Callable[[AsyncUnitOfWork, AuthContext, Sequence[EntityChange]], Awaitable[None]]


class AsyncService(EntityReader[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Reads and writes entities of one model on behalf of callers.

    Every call is one unit of work, closed on every path. Reads see exactly the rows that the
    authorizer lets the caller READ; a row that is missing, another tenant's, deleted or unreadable
    raises the same ServiceNotFoundError. Writes ask for the action on the row as it is, and on the
    row as it will be. Safe to use from several tasks: it keeps no state of a call.

    Subclasses and mixins extend the hooks `_scope`, `_prepare_new`, `_validate`,
    `_check_references`,
    `_check_writes`, `_remove`, `_after_write` and `_after_commit`; each calls `super()`.
    """

    _observers: tuple[Observer, ...] = ()
    _witnesses: tuple[Witness, ...] = ()

    def observe(self, observer: Observer) -> None:
        """Have an async function called with (ctx, changes) after each commit of this service.

        Views of the service that are made later call it too. It hears as well of rows that are
        marked, restored, removed or cleared with one of another model (`on_delete`), by a service
        on the same provider. What it raises becomes part of an AfterCommitError.
        """
        self._observers = (*self._observers, observer)
        audience_of(self._uow_provider).observed(self)

    def witnessed(self, witness: Witness) -> Self:
        """A view of this service whose writes call an async function before they commit.

        It is called with (uow, ctx, changes) within the transaction, after the rows are written:
        what it writes through `uow` is committed with them, and what it raises undoes all.
        """
        view = copy(self)
        view._witnesses = (*self._witnesses, witness)  # noqa: SLF001 - a view of this service
        return view

    def _prepare_new(self, entity: D, ctx: AuthContext) -> D:
        """An entity that is about to be created, completed."""
        del ctx
        return entity

    async def _validate(self, entity: D, ctx: AuthContext) -> ValidationResult:
        """The rules that an entity about to be written breaks."""
        del entity, ctx
        return VALID

    async def _check_writes(
        self, uow: AsyncUnitOfWork, entities: Sequence[D], befores: Sequence[D | None]
    ) -> None:
        """Raise if entities may not be written for a reason that only the store knows."""

    async def _check_references(
        self,
        uow: AsyncUnitOfWork,
        ctx: AuthContext,
        entities: Sequence[D],
        befores: Sequence[D | None],
    ) -> None:
        """Raise if entities refer to rows that the caller does not see, however that comes.

        One statement for each foreign key.
        """
        for field, key in self._meta.foreign_keys.items():
            wanted = new_references(self._meta, field, entities, befores)
            target = target_of(uow, key) if wanted else None
            if target is None:
                continue
            seen = (
                condition_for(self._authorizer, ctx, Action.READ, target)
                if key.check_read
                else AndNode()
            )
            for tenant, values in wanted.items():
                rows = live_rows(MetaReader.read(target), key, values, tenant)
                repository = repository_of(uow, target)
                if seen is None:
                    found = await able(repository, "find_by_query").find_by_query(QueryParams(rows))
                    number = sum([await permits(self._authorizer, ctx, row) for row in found])
                else:
                    number = await repository.count(QueryParams(AndNode(rows, seen)))
                if number != len(values):
                    raise ReferenceViolationError(self._entity_cls, field)

    async def _remove(self, uow: AsyncUnitOfWork, entity: D) -> D | None:
        """Remove an entity; return what is left of it."""
        await self._get_repo(uow).delete(entity)
        return None

    async def _remove_many(self, uow: AsyncUnitOfWork, entities: Sequence[D]) -> Sequence[D | None]:
        """Remove several entities; return what is left of each."""
        await self._able(uow, "delete_many").delete_many(entities)
        return [None] * len(entities)

    @default
    async def _after_write(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        """Run inside the transaction, after the rows are written."""

    @default
    async def _after_commit(self, ctx: AuthContext, changes: Sequence[EntityChange]) -> None:
        """Run after the commit has succeeded."""

    async def create(self, dto: C, ctx: AuthContext = ANONYMOUS) -> R:
        """Create an entity.

        Raises:
            ServiceAuthorizationError: The caller may not create it.
            ServiceValidationError: It breaks rules; all of them are named.
            ServiceConflictError: Its key or a unique value is taken.
        """
        entity = self._prepare_new(check_assembled(self._assembler.to_domain(dto)), ctx)
        await ask(self._authorizer, ctx, Action.CREATE, Resource(self._entity_cls, entity))
        plain = self._is_plain()
        if not plain:
            (await self._validate(entity, ctx)).raise_if_invalid()
        async with self._uow_provider.make_uow() as uow:
            if not plain:
                await self._check_references(uow, ctx, [entity], [None])
                await self._check_writes(uow, [entity], [None])
            saved = await self._get_repo(uow).save(entity)
            if not plain or self._observers:
                await self._announce(uow, ctx, ChangeKind.CREATED, [None], [saved])
            return self._assembler.to_read_dto(saved)

    async def create_many(
        self, dtos: Sequence[C], ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """Create several entities, all or none; validation errors name the index."""
        self._pager.check_bulk(len(dtos))
        to_domain = self._assembler.to_domain
        entities = [self._prepare_new(check_assembled(to_domain(dto)), ctx) for dto in dtos]
        for entity in entities:
            await ask(self._authorizer, ctx, Action.CREATE, Resource(self._entity_cls, entity))
        await self._validate_many(entities, ctx)
        async with self._uow_provider.make_uow() as uow:
            await self._check_references(uow, ctx, entities, [None] * len(entities))
            await self._check_writes(uow, entities, [None] * len(entities))
            saved = await self._able(uow, "save_many").save_many(entities)
            await self._announce(uow, ctx, ChangeKind.CREATED, [None] * len(saved), saved)
            return [self._assembler.to_read_dto(entity) for entity in saved]

    async def update(self, pk: PK, dto: U, ctx: AuthContext = ANONYMOUS) -> R:
        """Change an entity.

        Raises:
            ServiceNotFoundError: There is none that the caller may read.
            ServiceAuthorizationError: The caller may read it, but not change it, or not to this.
            ServiceValidationError: The result breaks rules; all of them are named.
            StaleEntityError: It is not at the expected version, or changed meanwhile.
        """
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            entity = await self._changed(before, dto, ctx)
            plain = self._is_plain()
            if not plain:
                (await self._validate(entity, ctx)).raise_if_invalid()
                await self._check_references(uow, ctx, [entity], [before])
                await self._check_writes(uow, [entity], [before])
            saved = await self._get_repo(uow).save(entity)
            if not plain or self._observers:
                await self._announce(uow, ctx, ChangeKind.UPDATED, [before], [saved])
            return self._assembler.to_read_dto(saved)

    async def patch(self, pk: PK, dto: U, ctx: AuthContext = ANONYMOUS) -> R:
        """Change the fields that the DTO sets: the same as `update` for DTOs that know unset."""
        return await self.update(pk, dto, ctx)

    async def update_many(
        self, updates: Sequence[tuple[PK, U]], ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[R]:
        """Change several entities, each given as (key, DTO), all or none.

        Raises what `update` raises; validation errors name the index.
        """
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            pks = [pk for pk, _ in updates]
            befores = await self._find_many(uow, pks, ctx, where, by_row=by_row)
            entities = [
                await self._changed(before, dto, ctx)
                for before, (_, dto) in zip(befores, updates, strict=True)
            ]
            await self._validate_many(entities, ctx)
            await self._check_references(uow, ctx, entities, befores)
            await self._check_writes(uow, entities, befores)
            saved = await self._able(uow, "save_many").save_many(entities)
            await self._announce(uow, ctx, ChangeKind.UPDATED, befores, saved)
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
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            before = await self._find(uow, pk, ctx, where, by_row=by_row)
            await ask(self._authorizer, ctx, Action.DELETE, Resource(self._entity_cls, before))
            if expected_version is not None:
                self._check_version(before, expected_version)

            async def remove() -> Sequence[D | None]:
                return [await self._remove(uow, before)]

            await self._take_away(uow, ctx, [before], remove)

    async def delete_many(self, pks: Sequence[PK], ctx: AuthContext = ANONYMOUS) -> None:
        """Remove several entities, all or none."""
        where, by_row = self.visibility(ctx)
        async with self._uow_provider.make_uow() as uow:
            befores = await self._find_many(uow, pks, ctx, where, by_row=by_row)
            for before in befores:
                resource = Resource(self._entity_cls, before)
                await ask(self._authorizer, ctx, Action.DELETE, resource)
            remove = partial(self._remove_many, uow, befores)
            await self._take_away(uow, ctx, befores, remove)

    async def _take_away(
        self,
        uow: AsyncUnitOfWork,
        ctx: AuthContext,
        befores: Sequence[D],
        remove: Callable[[], Awaitable[Sequence[D | None]]],
        kind: ChangeKind = ChangeKind.DELETED,
    ) -> None:
        """Remove or mark entities with what refers to them, and announce it."""
        ripple = self._ripple(uow, ctx)
        marks = self._hides_deleted and kind is ChangeKind.DELETED
        others = () if marks else await ripple.removing(self._meta, befores)
        afters = await remove()
        if self._meta.deleted_at_field is not None:
            left = [after for after in afters if after is not None]
            await ripple.mark(self._meta, left)
        await ripple.removed(others)
        await self._announce(uow, ctx, kind, befores, afters)

    def _ripple(self, uow: AsyncUnitOfWork, ctx: AuthContext) -> Ripple:
        return Ripple(self, audience_of(self._uow_provider), uow, ctx)

    async def _changed(self, before: D, dto: U, ctx: AuthContext) -> D:
        """The entity with the DTO's changes, if the caller may make them."""
        resource = Resource(self._entity_cls, before)
        await ask(self._authorizer, ctx, Action.UPDATE, resource)
        cls: Any = dto.__class__
        if may_have(cls, EXPECTED_VERSION) or EXPECTED_VERSION in dto.__dict__:
            expected: int | None = getattr(dto, EXPECTED_VERSION, None)
            if expected is not None:
                self._check_version(before, expected)
        if untouched(self._assembler.apply_update):
            entity = self._assembler.apply_update(before, dto)
        else:
            entity = self._assembler.apply_update(snapshot(self._meta, before), dto)
            check_update(self._meta, before, entity)
        # What it becomes has to be the caller's to change as well, or a row could be given away.
        await ask(self._authorizer, ctx, Action.UPDATE, Resource(self._entity_cls, entity))
        return entity

    def _check_version(self, entity: D, expected: int) -> None:
        field = self._meta.version_field
        if field is None:
            message = f"{self._entity_cls.__name__} has no version"
            raise ServiceValidationError(message, "expected_version")
        if getattr(entity, field) != expected:
            raise StaleEntityError(self._entity_cls, expected, getattr(entity, field))

    async def _validate_many(self, entities: Sequence[D], ctx: AuthContext) -> None:
        result = VALID
        for index, entity in enumerate(entities):
            found = await self._validate(entity, ctx)
            if not found.is_valid:
                result += found.at(index)
        result.raise_if_invalid()

    def _changes(
        self, kind: ChangeKind, befores: Sequence[D | None], afters: Sequence[D | None]
    ) -> builtins.list[EntityChange]:
        return [self._change(kind, b, a) for b, a in zip(befores, afters, strict=True)]

    def _change(self, kind: ChangeKind, before: D | None, after: D | None) -> EntityChange:
        entity = after if after is not None else before
        field = self._meta.tenant_field
        tenant = None if field is None else getattr(entity, field)
        pk = None if entity is None else entity.pk
        return EntityChange(kind, self._entity_cls, pk, before, after, tenant)

    def _is_followed(self) -> bool:
        """Tell whether anybody hears of writes: an observer, a witness or a hook."""
        return bool(
            self._observers
            or self._witnesses
            or not untouched(self._after_write)
            or not untouched(self._after_commit)
        )

    def _is_plain(self) -> bool:
        """Tell whether nothing stands around a write: no reference, and no hook of somebody's.

        It is asked in each call: what was patched or set since the service was made counts.
        """
        cls = type(self)
        hooks = (
            cls._validate,
            cls._check_references,
            cls._check_writes,
            cls._after_write,
            cls._after_commit,
        )
        return (
            hooks == _HOOKS
            and not self._meta.foreign_keys
            and not self._observers
            and not self._witnesses
            and _SET_HOOKS.isdisjoint(self.__dict__)
        )

    async def _announce(
        self,
        uow: AsyncUnitOfWork,
        ctx: AuthContext,
        kind: ChangeKind,
        befores: Sequence[D | None],
        afters: Sequence[D | None],
    ) -> None:
        """Run the hooks after a write, and leave to the commit what comes after it."""
        if not befores or not self._is_followed():
            return
        changes = self._changes(kind, befores, afters)
        await self._announce_changes(uow, ctx, changes)
        for witness in self._witnesses:
            await witness(uow, ctx, changes)

    async def _announce_changes(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        await self._after_write(uow, ctx, changes)
        last = () if untouched(self._after_commit) else (self._after_commit,)
        for observer in (*self._observers, *last):
            on_commit(uow, partial(observer, ctx, changes))


_HOOK_NAMES = ("_validate", "_check_references", "_check_writes", "_after_write", "_after_commit")
# As they are when nobody has overridden or patched them.
_HOOKS = tuple(AsyncService.__dict__[name] for name in _HOOK_NAMES)
_SET_HOOKS = frozenset(_HOOK_NAMES)
