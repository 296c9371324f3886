"""What one model's collection is asked."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from varco_beanie._collections import KEY, EntityCollection
from varco_beanie._filters import Filter
from varco_domain.backend import FieldKind
from varco_domain.exception import FieldNotFound
from varco_query import (
    InvalidNodeError,
    OperationNotSupportedError,
    QueryParams,
    SortField,
    SortOrder,
    TransformerNode,
)
from varco_query.compile import Placed

# Their order in MongoDB is not that of their values.
_UNSORTED: Final = frozenset({FieldKind.JSON, FieldKind.BYTES})


class Queries:
    """Filters and sorts of one model. Safe to share between tasks and threads."""

    def __init__(self, entity: EntityCollection) -> None:
        self.entity = entity
        self._meta = entity.meta

    def condition(self, node: TransformerNode | None) -> Filter:
        """What rows satisfy."""
        return {} if node is None else self.entity.filters.compile(node)

    def by_key(self, pk: Any, where: TransformerNode | None) -> Filter | None:
        """The row with a key, if it satisfies a condition; None when no row can have the key."""
        meta, key = self._meta, {}
        for name, value in zip(meta.pk_fields, meta.pk_values(pk), strict=True):
            codec = self.entity.codecs[name]
            written = _key_value(meta.fields[name].kind, codec.stored.place, value)
            if written is None:
                return None
            key[name] = codec.literal(written)
        found: Filter = {KEY: key if meta.is_composite_pk else key[meta.pk_fields[0]]}
        return found if where is None else {"$and": [found, self.condition(where)]}

    def order(self, params: QueryParams) -> list[tuple[str, int]]:
        """The sort of a query, ties in the order of the key."""
        if params.cursor is not None:
            raise InvalidNodeError("a cursor is for a service; a repository takes limit and offset")
        named = {each.field for each in params.sort}
        keys = self._sorted(params.sort)
        ties = [name for name in self._meta.pk_fields if name not in named]
        return keys + self.entity.sort_keys(ties)

    def _sorted(self, sort: Sequence[SortField]) -> list[tuple[str, int]]:
        keys: list[tuple[str, int]] = []
        for each in sort:
            field = self._meta.fields.get(each.field)
            if field is None:
                raise FieldNotFound(each.field, self._meta.table)
            if field.kind in _UNSORTED:
                raise OperationNotSupportedError("sort", each.field)
            direction = DESCENDING if each.order is SortOrder.DESC else ASCENDING
            keys += self.entity.sort_keys((each.field,), direction)
        return keys


def _key_value(kind: FieldKind, place: Callable[[Any], Placed | None], value: Any) -> Any:
    """The value as one that a key can hold; None when none can."""
    if isinstance(value, Enum):
        value = value.value
    if kind is FieldKind.BYTES:
        return value if isinstance(value, bytes) else None
    if isinstance(value, str) and not _encodes(value):
        return None
    placed = place(value)
    return None if placed is None or not placed.exact else placed.value


def _encodes(text: str) -> bool:
    """Whether text has no half of a surrogate pair, which no document can hold."""
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)
