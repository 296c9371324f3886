"""A page of results and the way to the next one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from varco_query import SortOrder

if TYPE_CHECKING:
    from varco_query import QueryParams


class SortCursorField(BaseModel):
    """One key of a sort."""

    field: str
    order: SortOrder


class PageCursor(BaseModel):
    """Where another page begins: by an opaque `cursor`, or by `offset`."""

    limit: int = Field(ge=1)
    cursor: str | None = None
    offset: int | None = Field(default=None, ge=0)
    sort: list[SortCursorField] = []
    query: str | None = None


class PagedReadDTO[T](BaseModel):
    """A page: its results, how many they are, how many there are in all, and its neighbours."""

    results: list[T]
    count: int = Field(ge=0)
    total_count: int | None = Field(default=None, ge=0)
    next: PageCursor | None = None
    previous: PageCursor | None = None


def paged_response[T](
    results: Sequence[T],
    *,
    params: "QueryParams",
    total_count: int | None = None,
    raw_query: str | None = None,
) -> PagedReadDTO[T]:
    """Make a page out of results that were selected by limit and offset.

    There is a next page when the total says so or, without a total, when the page is full.
    """
    count = len(results)
    following = None
    if params.limit is not None and params.limit > 0:
        end = (params.offset or 0) + count
        more = count == params.limit if total_count is None else end < total_count
        if more and count:
            following = page_cursor(params, offset=end, raw_query=raw_query)
    return PagedReadDTO(results=list(results), count=count, total_count=total_count, next=following)


def page_cursor(
    params: "QueryParams",
    *,
    offset: int | None = None,
    cursor: str | None = None,
    raw_query: str | None = None,
) -> PageCursor:
    """Describe another page of the same query."""
    return PageCursor(
        limit=params.limit or 1,
        cursor=cursor,
        offset=offset,
        sort=[SortCursorField(field=s.field, order=s.order) for s in params.sort],
        query=raw_query,
    )
