"""What rows may refer to, and what the deletion mark of a row does to those that refer to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Any, NamedTuple

from varco_domain._errors import ModelDefinitionError
from varco_domain._lookup import count_rows
from varco_domain._tenancy import tenant_node
from varco_domain.exception import StillReferencedError
from varco_domain.meta import ForeignKey, MetaReader, ParsedMeta
from varco_domain.model import DomainModel
from varco_domain.uow import AsyncUnitOfWork, repository_of
from varco_query import AndNode, ComparisonNode, Operation, QueryParams, TransformerNode

# How many keys one statement names: engines have limits.
_BATCH = 500


def new_references[D: DomainModel](
    meta: ParsedMeta, field: str, entities: Sequence[D], befores: Sequence[D | None]
) -> Mapping[str | None, set[Any]]:
    """Return the values of a foreign key that writes add, by the tenants of the entities.

    What an entity refers to that is created by the same call is left out.
    """
    key = meta.foreign_keys[field]
    named = referenced_field(meta, key)
    wanted: dict[str | None, set[Any]] = {}
    created: dict[str | None, set[Any]] = {}
    for entity, before in zip(entities, befores, strict=True):
        tenant = None if meta.tenant_field is None else getattr(entity, meta.tenant_field)
        value = getattr(entity, field)
        if value is not None and (before is None or getattr(before, field) != value):
            wanted.setdefault(tenant, set()).add(value)
        if before is None and key.table == meta.table:
            created.setdefault(tenant, set()).add(getattr(entity, named))
    left = {tenant: values - created.get(tenant, set()) for tenant, values in wanted.items()}
    return {tenant: values for tenant, values in left.items() if values}


def target_of(uow: AsyncUnitOfWork, key: ForeignKey) -> type[DomainModel] | None:
    """Return the model that a foreign key refers to; None for a table of no known model."""
    return key.reference if isinstance(key.reference, type) else models_of(uow).get(key.table)


def models_of(owner: object) -> Mapping[str, type[DomainModel]]:
    """Return the models that a unit of work or a provider knows, one of another kind included."""
    models: object = getattr(owner, "models_by_table", None)
    return models if isinstance(models, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] # as its class says


def live_rows(
    target: ParsedMeta, key: ForeignKey, values: Iterable[Any], tenant: str | None
) -> TransformerNode:
    """Return the condition of the rows with these values that one may refer to."""
    nodes: list[TransformerNode] = [
        ComparisonNode(referenced_field(target, key), Operation.IN, list(values))
    ]
    if tenant is not None and target.tenant_field is not None:
        nodes.append(tenant_node(target.tenant_field, tenant))
    return AndNode(*nodes, *_live(target))


def referenced_field(target: ParsedMeta, key: ForeignKey) -> str:
    """Return the field that a foreign key refers to."""
    return target.pk_fields[0] if key.field == "pk" else key.field


class Child(NamedTuple):
    """A foreign key that refers to a model with a deletion mark, and what the mark does to it."""

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


async def mark_children(
    uow: AsyncUnitOfWork, meta: ParsedMeta, entities: Sequence[DomainModel], mark: datetime
) -> None:
    """Do to the rows that refer to entities just marked what their foreign keys say.

    Raises:
        StillReferencedError: One refers to them that has to be gone before.
    """
    models = models_of(uow)
    waiting: list[tuple[ParsedMeta, Sequence[DomainModel]]] = [(meta, entities)]
    while waiting:
        target, gone = waiting.pop()
        for child in children_of(target, models.values()):
            repository = repository_of(uow, child.model)
            for rows in _referring(child, target, gone, _live(child.meta)):
                if child.action == "RESTRICT":
                    if await count_rows(repository, rows, 1):
                        raise StillReferencedError(target.entity_cls)
                elif child.action == "SET NULL":
                    await repository.update_many_by_query(rows, {child.field: None})
                else:
                    if any(children_of(child.meta, models.values())):
                        waiting.append((child.meta, await repository.find_by_query(rows)))
                    changes = {str(child.meta.deleted_at_field): mark}
                    await repository.update_many_by_query(rows, changes)


async def restore_children(
    uow: AsyncUnitOfWork, meta: ParsedMeta, entities: Sequence[DomainModel], mark: datetime
) -> None:
    """Take the mark off the rows that were marked together with entities just restored."""
    models = models_of(uow)
    waiting: list[tuple[ParsedMeta, Sequence[DomainModel]]] = [(meta, entities)]
    while waiting:
        target, back = waiting.pop()
        for child in children_of(target, models.values()):
            if child.action != "CASCADE":
                continue
            repository = repository_of(uow, child.model)
            deleted_at = str(child.meta.deleted_at_field)
            together = (ComparisonNode(deleted_at, Operation.EQUAL, mark),)
            for rows in _referring(child, target, back, together):
                if any(children_of(child.meta, models.values())):
                    waiting.append((child.meta, await repository.find_by_query(rows)))
                await repository.update_many_by_query(rows, {deleted_at: None})


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


def _live(meta: ParsedMeta) -> tuple[TransformerNode, ...]:
    field = meta.deleted_at_field
    return () if field is None else (ComparisonNode(field, Operation.IS_NULL),)
