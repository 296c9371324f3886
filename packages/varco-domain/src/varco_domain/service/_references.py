"""What rows may refer to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from varco_domain._tenancy import tenant_node
from varco_domain.meta import ForeignKey, ParsedMeta
from varco_domain.model import DomainModel
from varco_domain.uow import AsyncUnitOfWork
from varco_query import AndNode, ComparisonNode, Operation, TransformerNode


def new_references[D: DomainModel](
    meta: ParsedMeta, field: str, entities: Sequence[D], befores: Sequence[D | None]
) -> Mapping[str | None, set[Any]]:
    """The values of a foreign key that writes add, by the tenants of the entities.

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
    """The model that a foreign key refers to; None for a table of no known model."""
    return key.reference if isinstance(key.reference, type) else models_of(uow).get(key.table)


def models_of(owner: object) -> Mapping[str, type[DomainModel]]:
    """The models that a unit of work or a provider knows, one of another kind included."""
    models: object = getattr(owner, "models_by_table", None)
    return models if isinstance(models, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] # as its class says


def live_rows(
    target: ParsedMeta, key: ForeignKey, values: Iterable[Any], tenant: str | None
) -> TransformerNode:
    """The condition of the rows with these values that one may refer to."""
    nodes: list[TransformerNode] = [
        ComparisonNode(referenced_field(target, key), Operation.IN, list(values))
    ]
    if tenant is not None and target.tenant_field is not None:
        nodes.append(tenant_node(target.tenant_field, tenant))
    return AndNode(*nodes, *live(target))


def referenced_field(target: ParsedMeta, key: ForeignKey) -> str:
    """The field that a foreign key refers to."""
    return target.pk_fields[0] if key.field == "pk" else key.field


def live(meta: ParsedMeta) -> tuple[TransformerNode, ...]:
    """The condition of the rows that bear no deletion mark; none without such a field."""
    field = meta.deleted_at_field
    return () if field is None else (ComparisonNode(field, Operation.IS_NULL),)
