"""Aggregations as pipelines: the groups are made by the server, and arranged as in memory."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from varco_beanie._collections import KEY, EntityCollection
from varco_domain.backend import FieldKind, FieldMeta, value_class
from varco_query import (
    AggregationExpression,
    AggregationFunc,
    AggregationQuery,
    InvalidNodeError,
    TransformerNode,
)
from varco_query import compile as kit

if TYPE_CHECKING:
    from varco_beanie._mapper import Document

# Names in pipelines are numbers: none comes from a query.
_KEY: Final = "k"
_VALUE: Final = "v"
_COUNT: Final = "n"
_BELOW: Final = "us"
_VALUED: Final = frozenset({FieldKind.ENUM, FieldKind.LITERAL})
# Their order in MongoDB is not that of their values.
_UNORDERED: Final = frozenset({FieldKind.JSON, FieldKind.BYTES})

type Reader = Callable[[Mapping[str, Any]], Any]


class Aggregation:
    """One aggregation of a model: its pipeline, and what its groups are read as.

    Sums of whole numbers and decimals are exact to 34 digits.

    Raises:
        FieldNotFound: The model has no such field.
        InvalidNodeError: A sum or average of what is no number, or groups or an order of what has
            none.
    """

    def __init__(
        self, entity: EntityCollection, query: AggregationQuery, node: TransformerNode | None
    ) -> None:
        self._entity = entity
        self._query = query
        keys: Document = {}
        computed: Document = {}
        self._readers: dict[str, Reader] = {}
        for at, name in enumerate(query.group_by):
            self._readers[name] = self._key(name, f"{_KEY}{at}", keys)
        for at, each in enumerate(query.aggregations):
            self._readers[each.alias] = self._function(each, str(at), computed)
        self.pipeline: list[Document] = [{"$group": {KEY: keys, **computed}}]
        if node is not None:
            self.pipeline.insert(0, {"$match": entity.filters.compile(node)})

    def read(self, documents: list["Document"]) -> list[dict[str, Any]]:
        """The groups that were asked for, of all that the server made."""
        if not documents and not self._query.group_by:
            documents = [{}]  # of no rows there is one group all the same
        groups = [
            {name: read(document) for name, read in self._readers.items()} for document in documents
        ]
        return kit.arranged(groups, self._query)

    def _field(self, name: str) -> FieldMeta:
        self._entity.filters.stored(name)
        return self._entity.meta.fields[name]

    def _key(self, name: str, place: str, keys: "Document") -> Reader:
        field = self._field(name)
        if field.kind is FieldKind.JSON:
            raise InvalidNodeError(f"cannot group by {name}: it holds documents")
        # Null is a value, and the same as nothing.
        keys[place] = {"$ifNull": [self._path(name), None]}
        below = self._entity.finer.get(name)
        if below is not None:
            keys[f"{place}{_BELOW}"] = {"$ifNull": [f"${below}", 0]}
        read = self._read(name)

        def of_key(document: Mapping[str, Any]) -> Any:
            key = document[KEY]
            return read(key[place], key.get(f"{place}{_BELOW}"))

        return of_key

    def _path(self, name: str) -> str:
        return f"${self._entity.paths[name]}"

    def _read(self, name: str) -> Callable[[Any, int | None], Any]:
        """Reads what a document holds of a field, and below its millisecond."""
        codec = self._entity.codecs[name]

        def read(value: Any, below: int | None) -> Any:
            if value is None:
                return None
            found: Any = value if value.__class__ is codec.exact else codec.read(value)
            return found.replace(microsecond=found.microsecond + below) if below else found

        return read

    def _function(self, each: AggregationExpression, at: str, computed: "Document") -> Reader:
        value, count = f"{_VALUE}{at}", f"{_COUNT}{at}"
        if each.field is None:
            computed[count] = {"$sum": 1}
            return lambda document: document.get(count, 0)
        field = self._field(each.field)
        path = self._path(each.field)
        there = {"$gt": [path, None]}
        match each.func:
            case AggregationFunc.COUNT:
                computed[count] = {"$sum": {"$cond": [there, 1, 0]}}
                return lambda document: document.get(count, 0)
            case AggregationFunc.MIN | AggregationFunc.MAX:
                word = f"${each.func.lower()}"
                return self._extreme(each, field, word, value, computed)
            case AggregationFunc.SUM | AggregationFunc.AVG:
                number = _number(field)
                if number is None:
                    raise InvalidNodeError(
                        f"{each.func} of {each.field!r} is not possible: it holds "
                        f"{field.python_type.__name__}"
                    )
                # 64 bits do not hold every sum of such numbers.
                summed = path if number is float else {"$toDecimal": path}
                computed[value] = {"$sum": {"$cond": [there, summed, 0]}}
                computed[count] = {"$sum": {"$cond": [there, 1, 0]}}

                def total(document: Mapping[str, Any]) -> Any:
                    found = document.get(count, 0)
                    if not found:
                        return None
                    result: Any = _python(document[value], number)
                    return float(result / found) if each.func is AggregationFunc.AVG else result

                return total

    def _extreme(
        self,
        each: AggregationExpression,
        field: FieldMeta,
        word: str,
        value: str,
        computed: "Document",
    ) -> Reader:
        if field.kind in _UNORDERED:
            raise InvalidNodeError(f"{each.func} of {each.field!r} is not possible: no order")
        path, below = self._path(field.name), self._entity.finer.get(field.name)
        read = self._read(field.name)
        if below is None:
            computed[value] = {word: path}
            if field.kind in _VALUED:  # what is compared are the values
                return lambda document: document.get(value)
            return lambda document: read(document.get(value), None)
        pair = [path, {"$ifNull": [f"${below}", 0]}]
        computed[value] = {word: {"$cond": [{"$gt": [path, None]}, pair, None]}}

        def of_pair(document: Mapping[str, Any]) -> Any:
            found = document.get(value)
            return None if found is None else read(*found)

        return of_pair


def _number(field: FieldMeta) -> type | None:
    """Which numbers a field holds; None if it holds none."""
    held = value_class(field) if field.kind in _VALUED else field.python_type
    kinds = {FieldKind.INT, FieldKind.FLOAT, FieldKind.DECIMAL} | _VALUED
    return held if field.kind in kinds and held in {int, float, Decimal} else None


def _python(total: Any, number: type) -> Any:
    """A sum as a number of its kind; the server's type may be another, such as of no sum at all."""
    if number is float:
        return float(total)
    found = total.to_decimal() if hasattr(total, "to_decimal") else Decimal(total)
    return int(found) if number is int else found
