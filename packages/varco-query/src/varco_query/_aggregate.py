"""Aggregation: count, sum, average and extremes, by group."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any, Final, cast

from varco_query._compare import kind, plain
from varco_query._errors import (
    InvalidNodeError,
    OperationNotSupportedError,
    UnknownFieldError,
    shorten,
)
from varco_query._evaluate import compile_predicate
from varco_query._node import TransformerNode, walk
from varco_query._params import SortField
from varco_query._rows import reader
from varco_query._schema import QueryField, QuerySchema
from varco_query._sort import sort_rows
from varco_query._value import check_field


class AggregationFunc(StrEnum):
    """What can be computed of a group. Null is not counted and not summed.

    COUNT of no field counts rows. SUM keeps the type, AVG is a float; of no values, all but COUNT
    are null.
    """

    COUNT = "COUNT"
    SUM = "SUM"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"


@dataclass(frozen=True, slots=True)
class AggregationExpression:
    """A function of a field, under a name of its own.

    Raises:
        InvalidNodeError: A function other than COUNT has no field.
        UnknownFieldError: The field or alias is no path of identifiers.
    """

    func: AggregationFunc
    field: str | None
    alias: str

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "func", AggregationFunc(self.func))
        except ValueError:
            raise InvalidNodeError(
                f"{shorten(self.func)} is no aggregation; use {', '.join(AggregationFunc)}"
            ) from None
        if self.field is not None:
            check_field(self.field)
        elif self.func is not AggregationFunc.COUNT:
            raise InvalidNodeError(f"{self.func} needs a field; only COUNT can do without")
        check_field(self.alias)


@dataclass(frozen=True, slots=True)
class AggregationQuery:
    """What to compute, by which groups, and which groups to give.

    Attributes:
        group_by: The fields whose values make a group; null is a value. Without any, all rows are
            one group, also when there are none.
        aggregations: What to compute of each group.
        having: A filter of the groups, over the aliases and the fields of `group_by`.
        limit: The most groups to give.
        offset: How many groups to skip.
        sort: The order of the groups, over the same names; by default that of `group_by`.

    Raises:
        InvalidNodeError: Nothing is asked, a name is there twice, or a number is negative.
        UnknownFieldError: `having` or `sort` name what is not there.
    """

    group_by: tuple[str, ...] = ()
    aggregations: tuple[AggregationExpression, ...] = ()
    having: TransformerNode | None = None
    limit: int | None = None
    offset: int = 0
    sort: tuple[SortField, ...] = ()

    def __post_init__(self) -> None:
        for name in ("group_by", "aggregations", "sort"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = (*map(check_field, self.group_by), *(each.alias for each in self.aggregations))
        if not names or len(set(names)) < len(names):
            raise InvalidNodeError(f"an aggregation needs names that differ, not {names}")
        used = [each.field for each in self.sort]
        if self.having is not None:
            used += [each.field for each in walk(self.having)]
        for name in used:
            if name not in names:
                raise UnknownFieldError(name, names)
        for name, number in (("limit", self.limit), ("offset", self.offset)):
            if number is not None and (type(number) is not int or number < 0):
                raise InvalidNodeError(f"{name} {shorten(number)} is no whole number from 0")


def aggregate(
    rows: Iterable[object], query: AggregationQuery, node: TransformerNode | None = None
) -> list[dict[str, Any]]:
    """The groups of the rows that the filter selects, as dicts by field and alias.

    Raises:
        InvalidNodeError: SUM or AVG of what is no number, or MIN or MAX of what has no order.
        UnknownFieldError: A row's class maps no such field.
    """
    selects = compile_predicate(node)
    group_readers = [reader(field) for field in query.group_by]
    value_readers = [
        None if each.field is None else reader(each.field) for each in query.aggregations
    ]
    groups: dict[object, tuple[list[Any], list[list[Any]]]] = {}
    if not query.group_by:
        groups[()] = ([], [[] for _ in query.aggregations])
    for row in rows:
        if not selects(row):
            continue
        key = [read(row) for read in group_readers]
        # True and 1 are one key of a dict, but two values.
        identity = tuple([(kind(value), value) for value in map(plain, key)])
        try:
            columns = groups.setdefault(identity, (key, [[] for _ in query.aggregations]))[1]
        except TypeError as error:
            names = ", ".join(query.group_by)
            raise InvalidNodeError(f"cannot group by {names}: {error}") from None
        for column, read in zip(columns, value_readers, strict=True):
            column.append(True if read is None else read(row))
    return arranged([_group(query, *group) for group in groups.values()], query)


def arranged(groups: Iterable[dict[str, Any]], query: AggregationQuery) -> list[dict[str, Any]]:
    """The groups that an aggregation gives, of all that there are: filtered, sorted and cut.

    Args:
        groups: Dicts by field and alias, in any order.
        query: What of them to give.
    """
    keeps = compile_predicate(query.having)
    sort = query.sort or [SortField(field) for field in query.group_by]
    ordered = sort_rows([group for group in groups if keeps(group)], sort)
    end = None if query.limit is None else query.offset + query.limit
    return ordered[query.offset : end]


def coerce_aggregation(query: AggregationQuery, schema: QuerySchema) -> AggregationQuery:
    """The aggregation with the fields' own names, allowed functions and coerced `having`.

    Raises:
        UnknownFieldError: The schema has no such field.
        OperationNotSupportedError: The function is not for fields of this type.
        QueryError: As for `QuerySchema.coerce`, of `having`.
    """
    results = {name: schema.field(name) for name in query.group_by}
    aggregations: list[AggregationExpression] = []
    for each in query.aggregations:
        field = None if each.field is None else schema.field(each.field)
        results[each.alias] = QueryField(_result_type(each, field))
        name = None if field is None else field.name
        aggregations.append(AggregationExpression(each.func, name, each.alias))
    of_results = QuerySchema(results)
    return replace(
        query,
        group_by=tuple([schema.field(name).name or name for name in query.group_by]),
        aggregations=tuple(aggregations),
        having=None if query.having is None else of_results.coerce(query.having),
        sort=of_results.coerce_sort(query.sort),
    )


def _result_type(expression: AggregationExpression, field: QueryField | None) -> type:
    func = expression.func
    if field is None or func is AggregationFunc.COUNT:
        return int
    numeric = field.type in {int, float, Decimal}
    if func in {AggregationFunc.SUM, AggregationFunc.AVG} and not numeric:
        raise OperationNotSupportedError(func, expression.field, ("COUNT", "MIN", "MAX"))
    return float if func is AggregationFunc.AVG else field.type


def _group(
    query: AggregationQuery, key: Sequence[Any], columns: Sequence[list[Any]]
) -> dict[str, Any]:
    group = dict(zip(query.group_by, key, strict=True))
    for each, column in zip(query.aggregations, columns, strict=True):
        values = [plain(value) for value in column if value is not None]
        try:
            group[each.alias] = _FUNCTIONS[each.func](values)
        except (ArithmeticError, TypeError):
            raise InvalidNodeError(
                f"{each.func} of {each.field!r} is not possible: it holds "
                f"{', '.join(sorted({type(value).__name__ for value in values}))}"
            ) from None
    return group


def _sum(values: list[Any]) -> Any:
    if not all(kind(value) is int for value in values):
        raise TypeError
    if not values:
        return None
    if any(isinstance(value, float) for value in values):
        return math.fsum(values)
    if not any(isinstance(value, Decimal) for value in values):
        return sum(values)
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, value)
    return total


def _average(values: list[Any]) -> float | None:
    total = _sum(values)
    if total is None:
        return None
    return float(total / len(values))


def _least(values: list[Any]) -> Any:
    return min(values, default=None)


def _greatest(values: list[Any]) -> Any:
    return max(values, default=None)


# The default context would round sums to 28 digits.
_EXACT: Final = Context(prec=1_000)
_FUNCTIONS: Final = cast(
    "dict[AggregationFunc, Callable[[list[Any]], Any]]",
    {
        AggregationFunc.COUNT: len,
        AggregationFunc.SUM: _sum,
        AggregationFunc.AVG: _average,
        AggregationFunc.MIN: _least,
        AggregationFunc.MAX: _greatest,
    },
)
