"""What the removal or the deletion mark of a row does to those that refer to it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any, NamedTuple

from varco_domain._errors import ModelDefinitionError
from varco_domain._lookup import able, count_rows
from varco_domain.auth import AuthContext
from varco_domain.exception import StillReferencedError
from varco_domain.meta import ForeignKey, MetaReader, ParsedMeta
from varco_domain.model import DomainModel
from varco_domain.service._audience import Audience
from varco_domain.service._bulk import key_conditions
from varco_domain.service._references import (
    live,
    live_rows,
    models_of,
    referenced_field,
    target_of,
)
from varco_domain.service._types import ChangeKind
from varco_domain.uow import AsyncUnitOfWork, repository_of
from varco_query import AndNode, ComparisonNode, Operation, QueryParams, TransformerNode

# How many keys one statement names: engines have limits.
_BATCH = 500


class Child(NamedTuple):
    """A foreign key that refers to a model, and what happens here when that row goes."""

    model: type[DomainModel]
    meta: ParsedMeta
    field: str
    key: ForeignKey
    action: str


def children_of(target: ParsedMeta, models: Iterable[type[DomainModel]]) -> Iterator[Child]:
    """Iterate over the foreign keys of models that the deletion mark of another concerns.

    Raises:
        ModelDefinitionError: Rows would have to be marked that have no mark.
    """
    for model in models:
        meta = MetaReader.read(model)
        for field, key in meta.foreign_keys.items():
            action = key.on_soft_delete or key.on_delete or "RESTRICT"
            if key.table != target.table or action == "KEEP":
                continue
            if action == "CASCADE" and meta.deleted_at_field is None:
                raise ModelDefinitionError(
                    model.__name__,
                    field,
                    f"it goes with its {target.entity_cls.__name__}, which is marked deleted, and "
                    "has no mark itself: derive it from SoftDeleteMixin, or say "
                    "on_soft_delete='RESTRICT', 'SET NULL' or 'KEEP'",
                )
            yield Child(model, meta, field, key, action)


def _removed_with(target: ParsedMeta, models: Iterable[type[DomainModel]]) -> Iterator[Child]:
    """Iterate over the foreign keys through which the store itself removes or clears."""
    for model in models:
        meta = MetaReader.read(model)
        for field, key in meta.foreign_keys.items():
            if key.table == target.table and key.on_delete in {"CASCADE", "SET NULL"}:
                yield Child(model, meta, field, key, key.on_delete)


@dataclass(frozen=True, slots=True)
class Ripple:
    """What one write of a service does to rows of other models, and who is told of it.

    Attributes:
        service: Whose write it is.
        audience: Who hears of the other models.
        uow: The unit of work of the write.
        ctx: On whose behalf it is.
    """

    service: Any
    audience: Audience
    uow: AsyncUnitOfWork
    ctx: AuthContext

    async def mark(self, meta: ParsedMeta, entities: Iterable[DomainModel]) -> None:
        """Do to the rows that refer to entities just marked what their foreign keys say.

        Raises:
            StillReferencedError: One refers to them that has to be gone before.
        """
        models = models_of(self.uow).values()
        for mark, marked in _by_mark(meta, entities).items():
            waiting: list[tuple[ParsedMeta, Sequence[DomainModel]]] = [(meta, marked)]
            while waiting:
                target, gone = waiting.pop()
                for child in children_of(target, models):
                    for rows in _referring(child, target, gone, live(child.meta)):
                        if child.action == "RESTRICT":
                            if await count_rows(repository_of(self.uow, child.model), rows, 1):
                                raise StillReferencedError(target.entity_cls)
                        elif child.action == "SET NULL":
                            await self._change(child, rows, {child.field: None}, ChangeKind.UPDATED)
                        else:
                            changes = {str(child.meta.deleted_at_field): mark}
                            found = await self._change(child, rows, changes, ChangeKind.DELETED)
                            waiting.append((child.meta, found))

    async def restore(self, meta: ParsedMeta, entities: Iterable[DomainModel]) -> None:
        """Take the mark off the rows that were marked together with entities just restored.

        Those that refer to yet another row that is marked keep theirs.

        Args:
            meta: Their model.
            entities: As they were, with their marks.
        """
        models = models_of(self.uow).values()
        for mark, marked in _by_mark(meta, entities).items():
            waiting: list[tuple[ParsedMeta, Sequence[DomainModel]]] = [(meta, marked)]
            while waiting:
                target, back = waiting.pop()
                for child in children_of(target, models):
                    if child.action != "CASCADE":
                        continue
                    deleted_at = str(child.meta.deleted_at_field)
                    together = (ComparisonNode(deleted_at, Operation.EQUAL, mark),)
                    for referring in _referring(child, target, back, together):
                        for rows in await self._free(child, referring):
                            changes = {deleted_at: None}
                            found = await self._change(child, rows, changes, ChangeKind.RESTORED)
                            waiting.append((child.meta, found))

    async def removing(
        self, meta: ParsedMeta, entities: Sequence[DomainModel]
    ) -> Sequence[tuple[Child, Sequence[DomainModel]]]:
        """The rows that the store will remove or clear with others, where somebody hears."""
        models = tuple(models_of(self.uow).values())
        seen = {(meta.entity_cls, entity.pk) for entity in entities}
        waiting = [(meta, entities)]
        found: list[tuple[Child, Sequence[DomainModel]]] = []
        while waiting:
            target, gone = waiting.pop()
            for child in _removed_with(target, models):
                if not self._concerns(child, models):
                    continue
                repository = repository_of(self.uow, child.model)
                befores: list[DomainModel] = []
                for rows in _referring(child, target, gone, ()):
                    befores += await repository.find_by_query(rows)
                befores = [row for row in befores if (child.model, row.pk) not in seen]
                if not befores:
                    continue
                if child.action == "CASCADE":
                    seen.update((child.model, row.pk) for row in befores)
                    waiting.append((child.meta, befores))
                found.append((child, befores))
        return [(child, _left(child, befores, seen)) for child, befores in found]

    async def removed(self, found: Sequence[tuple[Child, Sequence[DomainModel]]]) -> None:
        """Tell what the store did to the rows that `removing` found."""
        for child, befores in found:
            afters: Sequence[DomainModel | None] = [None] * len(befores)
            kind = ChangeKind.DELETED if child.meta.deleted_at_field is None else ChangeKind.PURGED
            if child.action != "CASCADE":
                kind, afters = ChangeKind.UPDATED, await self._now(child, befores)
            await self._tell(child, kind, befores, afters)

    async def _free(self, child: Child, rows: QueryParams) -> Sequence[QueryParams]:
        """Narrow rows to those whose other references lead to no marked row."""
        others = list(_others(self.uow, child))
        if not others:
            return (rows,)
        found = await repository_of(self.uow, child.model).find_by_query(rows)
        free: list[QueryParams] = []
        for some in batched(found, _BATCH):
            left: Sequence[DomainModel] = some
            for field, key, target in others:
                wanted = {getattr(row, field) for row in left} - {None}
                if wanted:
                    model: type[DomainModel] = target.entity_cls
                    repository = repository_of(self.uow, model)
                    params = QueryParams(live_rows(target, key, wanted, None))
                    name = referenced_field(target, key)
                    there = {getattr(row, name) for row in await repository.find_by_query(params)}
                    left = [row for row in left if getattr(row, field) in {None, *there}]
            if left:
                free.append(QueryParams(key_conditions(child.meta, [row.pk for row in left])))
        return free

    async def _change(
        self, child: Child, rows: QueryParams, changes: dict[str, Any], kind: ChangeKind
    ) -> Sequence[DomainModel]:
        """Change rows; return them as they were, where what refers to them or listens needs it."""
        repository = repository_of(self.uow, child.model)
        heard = self.audience.hears(child.model, self.service)
        befores: Sequence[DomainModel] = ()
        if heard or any(children_of(child.meta, models_of(self.uow).values())):
            befores = await repository.find_by_query(rows)
            if not befores:
                return ()
        await able(repository, "update_many_by_query").update_many_by_query(rows, changes)
        if heard:
            await self._tell(child, kind, befores, await self._now(child, befores))
        return befores

    async def _now(
        self, child: Child, befores: Sequence[DomainModel]
    ) -> Sequence[DomainModel | None]:
        """Rows as they are by now."""
        repository = repository_of(self.uow, child.model)
        found: dict[Any, DomainModel] = {}
        for some in batched(befores, _BATCH):
            rows = QueryParams(key_conditions(child.meta, [row.pk for row in some]))
            found.update((row.pk, row) for row in await repository.find_by_query(rows))
        return [found.get(row.pk) for row in befores]

    async def _tell(
        self,
        child: Child,
        kind: ChangeKind,
        befores: Sequence[DomainModel],
        afters: Sequence[DomainModel | None],
    ) -> None:
        await self.audience.tell(
            self.service, self.uow, self.ctx, child.model, kind, befores, afters
        )

    def _concerns(self, child: Child, models: Sequence[type[DomainModel]]) -> bool:
        """Tell whether anybody hears of a model, or of one whose rows go with its rows."""
        seen = {child.model}
        waiting = [child]
        while waiting:
            each = waiting.pop()
            if self.audience.hears(each.model, self.service):
                return True
            if each.action == "CASCADE":
                for further in _removed_with(each.meta, models):
                    if further.model not in seen:
                        seen.add(further.model)
                        waiting.append(further)
        return False


def _left(
    child: Child, rows: Sequence[DomainModel], removed: Collection[tuple[type[DomainModel], Any]]
) -> Sequence[DomainModel]:
    """The rows of which there is something to tell: none is cleared that is removed as well."""
    if child.action == "CASCADE":
        return rows
    return [row for row in rows if (child.model, row.pk) not in removed]


def _others(uow: AsyncUnitOfWork, child: Child) -> Iterator[tuple[str, ForeignKey, ParsedMeta]]:
    """Iterate over the other foreign keys of a model whose rows may be marked."""
    for field, key in child.meta.foreign_keys.items():
        target = target_of(uow, key)
        if field == child.field or key.on_soft_delete == "KEEP" or target is None:
            continue
        meta = MetaReader.read(target)
        if meta.deleted_at_field is not None:
            yield field, key, meta


def _by_mark(
    meta: ParsedMeta, entities: Iterable[DomainModel]
) -> Mapping[datetime, list[DomainModel]]:
    groups: dict[datetime, list[DomainModel]] = {}
    for entity in entities:
        mark: datetime | None = getattr(entity, str(meta.deleted_at_field))
        if mark is not None:
            groups.setdefault(mark, []).append(entity)
    return groups


def _referring(
    child: Child,
    target: ParsedMeta,
    entities: Sequence[DomainModel],
    also: Sequence[TransformerNode],
) -> Iterator[QueryParams]:
    name = referenced_field(target, child.key)
    for some in batched(entities, _BATCH):
        values = [getattr(entity, name) for entity in some]
        yield QueryParams(AndNode(ComparisonNode(child.field, Operation.IN, values), *also))
