"""Sorting in memory, and the rows after a row in a sort."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date
from typing import Any

from varco_query._compare import midnight, plain
from varco_query._errors import InvalidNodeError
from varco_query._node import AndNode, ComparisonNode, OrNode, TransformerNode
from varco_query._operation import Operation
from varco_query._params import SortField, SortOrder
from varco_query._rows import Reader, reader


def sort_rows[R](rows: Iterable[R], sort: Sequence[SortField]) -> list[R]:
    """The rows in order, equal ones as they came; null is the smallest value.

    Raises:
        UnknownFieldError: A row's class maps no such field.
        InvalidNodeError: A field holds values of kinds that have no order among them.
    """
    ordered = list(rows)
    for field in reversed(sort):
        try:
            ordered.sort(key=_key(reader(field.field)), reverse=_descends(field))
        except (ArithmeticError, TypeError) as error:
            raise InvalidNodeError(f"cannot sort by {field.field!r}: {error}") from None
    return ordered


def _descends(field: SortField) -> bool:
    return field.order is SortOrder.DESC


def _key(read: Reader) -> Callable[[object], tuple[bool, Any]]:
    def key(row: object) -> tuple[bool, Any]:
        value = plain(read(row))
        if isinstance(value, date):
            value = midnight(value)
        return value is not None, value

    return key


def keyset_node(
    sort: Sequence[SortField],
    values: Sequence[object],
    *,
    nullable: Collection[str] | None = None,
) -> TransformerNode:
    """The filter that selects the rows after the one with these values of the sort fields.

    The sort has to tell all rows apart: end it with the primary key.

    Args:
        sort: The sort keys; null is the smallest value.
        values: The last row's values of those keys.
        nullable: The fields that can be null, for a shorter filter; all of them by default.

    Raises:
        InvalidNodeError: There is no sort, or not one value for each key.
    """
    if not sort or len(sort) != len(values):
        raise InvalidNodeError(
            f"a keyset needs a sort and one value for each key, not {len(values)} for {len(sort)}"
        )
    after: TransformerNode | None = None
    for field, value in zip(reversed(sort), reversed(values), strict=True):
        can_be_null = nullable is None or field.field in nullable
        after = _after(field, value, after, can_be_null=can_be_null)
    return OrNode() if after is None else after


def _after(
    field: SortField, value: object, rest: TransformerNode | None, *, can_be_null: bool
) -> TransformerNode:
    """Beyond the value in the field, or at the value and in the rest."""
    name = field.field
    is_null = ComparisonNode(name, Operation.IS_NULL)
    if value is None:
        beyond = OrNode() if _descends(field) else ComparisonNode(name, Operation.IS_NOT_NULL)
        if rest is None:
            return beyond
        tied = AndNode(is_null, rest)
        return tied if _descends(field) else OrNode(beyond, tied)
    if not _descends(field):
        beyond = ComparisonNode(name, Operation.GREATER_THAN, value)
        if rest is None:
            return beyond
        # `a >= 1 AND (a > 1 OR rest)` rather than `a > 1 OR a = 1 AND rest`: an index can use it.
        from_here = ComparisonNode(name, Operation.GREATER_EQUAL, value)
        return AndNode(from_here, OrNode(beyond, rest))
    beyond = ComparisonNode(name, Operation.LESS_THAN, value)
    nulls = (is_null,) if can_be_null else ()
    if rest is None:
        return OrNode(beyond, *nulls) if nulls else beyond
    from_here = ComparisonNode(name, Operation.LESS_EQUAL, value)
    if not nulls:
        return AndNode(from_here, OrNode(beyond, rest))
    return OrNode(AndNode(from_here, OrNode(beyond, rest)), is_null)
