"""Which row an entity stands for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from varco_domain._errors import ModelValueError
from varco_domain._limits import INT_LIMIT
from varco_domain.exception import StillReferencedError
from varco_domain.meta import ParsedMeta
from varco_domain.model import DomainModel


def row_key(meta: ParsedMeta, entity: DomainModel) -> Any:
    """The key of the row that an entity stands for: the one it was loaded with.

    Of an entity that did not come from a store it is the entity's own; of a composite key, a tuple.

    Raises:
        ModelValueError: The entity has another key by now, or does not say where it is from.
    """
    key, now = entity.stored_key, entity.pk
    if (key is not None and key == now) or not entity.is_persisted():
        return now
    raise ModelValueError(
        meta.entity_cls.__name__,
        meta.pk_fields[0],
        "it is stored, but not known under which key: load it again"
        if key is None
        else f"the key of a stored entity does not change: it was {key!r} and is {now!r}; "
        "save a new entity and delete this one",
    )


def no_more_keys(meta: ParsedMeta) -> ModelValueError:
    """The error of a row that is to get a counted key when the last one is given."""
    message = f"counted keys end with {INT_LIMIT - 1:,}, which is given"
    return ModelValueError(meta.entity_cls.__name__, meta.pk_fields[0], message)


def check_distinct(meta: ParsedMeta, entities: Iterable[DomainModel]) -> None:
    """Refuse a bulk call that names a stored row twice: which of the two is meant is not known.

    Raises:
        ModelValueError: A key appears twice, or was changed.
    """
    seen: set[Any] = set()
    for entity in entities:
        if entity.is_persisted():
            key = row_key(meta, entity)
            if key in seen:
                raise ModelValueError(
                    meta.entity_cls.__name__,
                    meta.pk_fields[0],
                    f"the row with key {key!r} is named twice in one call",
                )
            seen.add(key)


def children_first[E: DomainModel](meta: ParsedMeta, entities: Sequence[E]) -> Sequence[E]:
    """Entities in an order in which they can be removed one after the other.

    Raises:
        StillReferencedError: Some refer to each other in a circle.
    """
    keys = [
        (field, meta.pk_fields[0] if key.field == "pk" else key.field)
        for field, key in meta.foreign_keys.items()
        if key.table == meta.table and key.on_delete != "SET NULL"
    ]
    if not keys or len(entities) < 2:  # noqa: PLR2004 - one has no order
        return entities
    parents: list[set[int]] = [set() for _ in entities]
    for field, referenced in keys:
        places = {getattr(each, referenced): place for place, each in enumerate(entities)}
        for place, each in enumerate(entities):
            value = getattr(each, field)
            parent = None if value is None else places.get(value)
            if parent is not None and parent != place:
                parents[place].add(parent)
    waiting = Counter(parent for each in parents for parent in each)
    order = [place for place in range(len(entities)) if not waiting[place]]
    for place in order:
        for parent in parents[place]:
            waiting[parent] -= 1
            if not waiting[parent]:
                order.append(parent)
    if len(order) < len(entities):
        raise StillReferencedError(meta.entity_cls)
    return [entities[place] for place in order]
