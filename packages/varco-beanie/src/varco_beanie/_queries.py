"""What one model's collection is asked."""

from collections.abc import Sequence
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from varco_beanie._collections import KEY, EntityCollection
from varco_beanie._filters import Filter
from varco_domain.backend import FieldKind, as_key
from varco_domain.exception import FieldNotFound
from varco_query import (
    InvalidNodeError,
    OperationNotSupportedError,
    QueryParams,
    SortField,
    SortOrder,
    TransformerNode,
)

# Their order in MongoDB is not that of their values.
_UNSORTED: Final = frozenset({FieldKind.JSON, FieldKind.BYTES})


class Queries:
    """Filters and sorts of one model. Safe to share between tasks and threads."""

    def __init__(self, entity: EntityCollection) -> None:
        self.entity = entity
        self._meta = entity.meta
        self._keys = [
            (name, as_key(entity.meta.fields[name], entity.codecs[name].stored))
            for name in entity.meta.pk_fields
        ]

    def condition(self, node: TransformerNode | None) -> Filter:
        """What rows satisfy."""
        return {} if node is None else self.entity.filters.compile(node)

    def by_key(self, pk: Any, where: TransformerNode | None) -> Filter | None:
        """The row with a key, if it satisfies a condition; None when no row can have the key."""
        meta, key = self._meta, {}
        for (name, find), value in zip(self._keys, meta.pk_values(pk), strict=True):
            written = find(value)
            if written is None:
                return None
            key[name] = self.entity.codecs[name].literal(written)
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
