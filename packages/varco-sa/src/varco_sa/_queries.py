"""The SELECT statements of one model, made once for each shape of a query."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

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
from varco_sa._dialect import Dialect
from varco_sa._filters import Filters, Shape
from varco_sa._tables import EntityTable
from varco_sa._types import JsonText

_KEPT: Final = 500

type Lock = tuple[bool, bool] | None
type Prepared = tuple[Any, dict[str, Any]]


class Queries:
    """Statements for queries; a query of a shape that was seen before only brings its values.

    Safe to share between tasks and threads: at worst a race makes a statement twice.
    """

    def __init__(self, entity: EntityTable, dialect: Dialect) -> None:
        self.entity = entity
        self.filters: Filters = Filters(entity.meta, entity.columns, dialect)
        self._dialect = dialect
        self._columns = [self._selected(name) for name in entity.meta.fields]
        self._key = [entity.columns[name] for name in entity.meta.pk_fields]
        self._key_fields = [self.filters.fields[name] for name in entity.meta.pk_fields]
        self._key_names = [f"k{number}" for number in range(len(self._key))]
        # Filled by whoever comes first with a shape; dropped as a whole when it is full.
        self._made: dict[Any, Any] = {}

    def _selected(self, name: str) -> Any:
        column = self.entity.columns[name]
        if self._dialect.arrays and isinstance(column.type, JsonText):
            # Its driver would give objects, and what was loaded has to stay what it was.
            return sa.cast(column, sa.Text()).label(name)
        return column

    def by_key(self, pk: Any, where: TransformerNode | None, lock: Lock) -> Prepared:
        """The row with a key, if it satisfies the condition."""
        return self._with_key("row", pk, where, lock)

    def has_key(self, pk: Any, where: TransformerNode | None) -> Prepared:
        """Whether there is a row with a key that satisfies the condition."""
        return self._with_key("exists", pk, where, None)

    def _with_key(self, kind: str, pk: Any, where: TransformerNode | None, lock: Lock) -> Prepared:
        shape, values = self._shape(where)
        given = [
            field.key(value)
            for field, value in zip(self._key_fields, self.entity.meta.pk_values(pk), strict=True)
        ]
        if None in given:
            return self._never(kind), {}
        key = (kind, shape, lock)
        made = self._made.get(key)
        if made is None:
            chosen: list[Any] = self._columns if kind == "row" else [sa.literal_column("1")]
            statement: Any = self._filtered(
                sa.select(*chosen).select_from(self.entity.table), shape
            )
            for name, column, field in zip(
                self._key_names, self._key, self._key_fields, strict=True
            ):
                statement = statement.where(column == sa.bindparam(name, type_=field.type))
            made = self._keep(key, _locked(statement, lock))
        values.update(zip(self._key_names, given, strict=True))
        return made, values

    def _never(self, kind: str) -> Any:
        """No row: the key is of a kind or a size that the column cannot hold."""
        chosen: list[Any] = self._columns if kind == "row" else [sa.literal_column("1")]
        return sa.select(*chosen).select_from(self.entity.table).where(sa.false())

    def rows(self, params: QueryParams, lock: Lock) -> Prepared:
        """The rows of a query in its order, ties in the order of the key."""
        if params.cursor is not None:
            raise InvalidNodeError("a cursor is for a service; a repository takes limit and offset")
        shape, values = self._shape(params.node)
        limit, offset = params.limit, params.offset or None
        sort = tuple((each.field, each.order is SortOrder.DESC) for each in params.sort)
        key = ("rows", shape, sort, limit is None, offset is None, lock)
        made = self._made.get(key)
        if made is None:
            statement = self._filtered(sa.select(*self._columns), shape)
            statement = statement.order_by(*self._order(params.sort))
            if limit is not None:
                statement = statement.limit(sa.bindparam("limit", type_=sa.BigInteger()))
            if offset is not None:
                statement = statement.offset(sa.bindparam("offset", type_=sa.BigInteger()))
            made = self._keep(key, _locked(statement, lock))
        if limit is not None:
            values["limit"] = limit
        if offset is not None:
            values["offset"] = offset
        return made, values

    def count(self, node: TransformerNode | None, up_to: int | None = None) -> Prepared:
        """How many rows satisfy a condition, counted no further than a number."""
        shape, values = self._shape(node)
        key = ("count", shape, up_to is None)
        made = self._made.get(key)
        if made is None:
            counted: Any = self.entity.table
            if up_to is not None:
                one = sa.select(sa.literal(1)).select_from(counted)
                some = sa.bindparam("limit", type_=sa.BigInteger())
                counted = self._filtered(one, shape).limit(some).subquery()
            statement = sa.select(sa.func.count()).select_from(counted)
            whole = self._filtered(statement, shape) if up_to is None else statement
            made = self._keep(key, whole)
        if up_to is not None:
            values["limit"] = up_to
        return made, values

    def condition(self, node: TransformerNode | None) -> tuple[Any, dict[str, Any]]:
        """A condition for a statement of another kind, and its values."""
        shape, values = self._shape(node)
        return (self.filters.expression(shape) if shape else None), values

    def _shape(self, node: TransformerNode | None) -> tuple[Shape, dict[str, Any]]:
        if node is None:
            return (), {}
        shape, values = self.filters.shape(node)
        return shape, {f"p{number}": value for number, value in enumerate(values)}

    def _filtered(self, statement: Any, shape: Shape) -> Any:
        return statement.where(self.filters.expression(shape)) if shape else statement

    def _keep(self, key: Any, statement: Any) -> Any:
        if len(self._made) >= _KEPT:
            self._made.clear()
        self._made[key] = statement
        return statement

    def _order(self, sort: Sequence[SortField]) -> list[sa.ColumnElement[Any]]:
        named = {each.field for each in sort}
        order = [self._sorted(each) for each in sort]
        return order + [c for c in self._key if c.key not in named]

    def _sorted(self, sort: SortField) -> sa.ColumnElement[Any]:
        meta = self.entity.meta.fields.get(sort.field)
        if meta is None:
            raise FieldNotFound(sort.field, self.entity.meta.table)
        if meta.kind is FieldKind.JSON:
            raise OperationNotSupportedError("sort", sort.field)
        column = self.filters.fields[sort.field].column
        descends = sort.order is SortOrder.DESC
        ordered = column.desc() if descends else column.asc()
        # Null is the smallest value; some have to be told, and only where there can be one.
        if meta.nullable and not self._dialect.null_smallest:
            return ordered.nulls_last() if descends else ordered.nulls_first()
        return ordered


def _locked(statement: Any, lock: Lock) -> Any:
    if lock is None:
        return statement
    nowait, skip_locked = lock
    return statement.with_for_update(nowait=nowait, skip_locked=skip_locked)
