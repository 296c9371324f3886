"""What to select: filter, order and page."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from varco_query._errors import InvalidNodeError, shorten
from varco_query._node import TransformerNode
from varco_query._value import check_field

# No store has more rows, nor takes a larger number.
_MOST = 2**63 - 1


class SortOrder(StrEnum):
    """The direction of a sort. Null is the smallest value: first in ASC, last in DESC."""

    ASC = "ASC"
    DESC = "DESC"


@dataclass(frozen=True, slots=True)
class SortField:
    """One key of a sort.

    Raises:
        UnknownFieldError: The field is no path of identifiers.
        InvalidNodeError: The order is no order.
    """

    field: str
    order: SortOrder = SortOrder.ASC

    def __post_init__(self) -> None:
        check_field(self.field)
        if type(self.order) is not SortOrder:
            try:
                object.__setattr__(self, "order", SortOrder(self.order))
            except ValueError:
                raise InvalidNodeError(
                    f"sort order {shorten(self.order)} is neither ASC nor DESC"
                ) from None


@dataclass(frozen=True, slots=True)
class QueryParams:
    """A filter, a sort and a page.

    Attributes:
        node: The filter; None selects everything.
        sort: The sort keys, the most significant first. Any iterable is taken and kept as a tuple.
        limit: The most rows to give; None for all.
        offset: How many rows to skip; None for none.
        cursor: Where the page begins, an opaque string of `CursorCodec`.

    Raises:
        InvalidNodeError: A part is of another type, or a number is negative or above 64 bits.
    """

    node: TransformerNode | None = None
    sort: tuple[SortField, ...] = ()
    limit: int | None = None
    offset: int | None = None
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.node is not None and not isinstance(cast("object", self.node), TransformerNode):
            raise InvalidNodeError(f"{shorten(self.node)} is no query node; call build() first")
        if self.sort != ():
            object.__setattr__(self, "sort", sort_keys(self.sort))
        if self.limit is not None:
            _check_count("limit", self.limit)
        if self.offset is not None:
            _check_count("offset", self.offset)
        if self.cursor is not None and not isinstance(cast("object", self.cursor), str):
            raise InvalidNodeError(f"cursor {shorten(self.cursor)} is no string")


def sort_keys(sort: object) -> tuple[SortField, ...]:
    """The keys of a sort.

    Raises:
        InvalidNodeError: It is something else.
    """
    if isinstance(sort, str) or not isinstance(sort, Iterable):
        raise InvalidNodeError(f"sort {shorten(sort)} is no list of SortField; see parse_sort")
    keys = tuple(cast("Iterable[object]", sort))
    for key in keys:
        if not isinstance(key, SortField):
            raise InvalidNodeError(f"{shorten(key)} is no SortField; parse_sort makes some")
    return cast("tuple[SortField, ...]", keys)


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise InvalidNodeError(f"{name} {shorten(value)} is no whole number from 0")
    if value > _MOST:
        raise InvalidNodeError(f"{name} is at most {_MOST}, not {shorten(value)}")
