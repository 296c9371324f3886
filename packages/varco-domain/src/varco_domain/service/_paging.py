"""From what a caller asks for to what a repository is asked."""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from varco_domain._fields import FieldKind
from varco_domain.dto import PagedReadDTO
from varco_domain.dto._pagination import page_cursor
from varco_domain.exception import ServiceValidationError
from varco_query import (
    AndNode,
    ComparisonNode,
    CursorCodec,
    CursorKeyError,
    InvalidNodeError,
    Operation,
    QueryLimitError,
    QueryParams,
    QuerySchema,
    SortField,
    SortOrder,
    TransformerNode,
    Value,
    keyset_node,
)

_log = logging.getLogger("varco_domain.service")

_PROCESS_KEY: Final = secrets.token_bytes(32)
_OPPOSITE: Final = {SortOrder.ASC: SortOrder.DESC, SortOrder.DESC: SortOrder.ASC}
# Marks the cursor of a page before; no base64 text has it.
_BACKWARD: Final = "~"


class Pager:
    """Checks and completes the queries of one service; immutable.

    Callers filter and sort by fields that they get to see, so that a filter cannot spell out a
    value that the read DTO leaves out.
    """

    def __init__(self, service_cls: Any, assembler: Any) -> None:
        self._meta = service_cls._meta  # noqa: SLF001 - of the service it belongs to
        self._max_limit: int = service_cls.max_limit
        self._default_limit: int = min(service_cls.default_limit, service_cls.max_limit)
        self._service_cls = service_cls
        self._codec = CursorCodec(service_cls.cursor_key or _PROCESS_KEY)
        self._nullable = frozenset(n for n, f in self._meta.fields.items() if f.nullable)
        self._ties = tuple(SortField(name) for name in self._meta.pk_fields)
        self._schema = _schema(service_cls, assembler)

    def query(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """The query of one list: limited, and sorted down to the key."""
        node, sort = self._checked(params)
        return QueryParams(_both(node, where), sort, self._limited(params), params.offset)

    def unlimited(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """The query of all rows, unsorted."""
        return QueryParams(_both(self._checked(params)[0], where))

    def stream(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """The query of a stream: sorted down to the key, limited only when asked to.

        Raises:
            InvalidNodeError: A cursor is given.
        """
        if params.cursor is not None:
            raise InvalidNodeError("a stream has no pages and takes no cursor")
        node, sort = self._checked(params)
        return QueryParams(_both(node, where), sort, params.limit, params.offset)

    def page(
        self, params: QueryParams, where: TransformerNode | None, tenant: str | None
    ) -> "Page":
        """The queries of one page.

        Raises:
            CursorError: The cursor is not of this query.
            InvalidNodeError: Both a cursor and an offset are given.
        """
        if params.offset is not None and params.cursor is not None:
            raise InvalidNodeError("give a cursor or an offset, not both")
        node, sort = self._checked(params)
        limit = self._limited(params)
        text = params.cursor
        backward = text is not None and text.startswith(_BACKWARD)
        seen = AndNode(
            ComparisonNode("table", Operation.EQUAL, self._meta.table),
            ComparisonNode("tenant", Operation.EQUAL, tenant),
            *(() if node is None else (node,)),
        )
        here = everything = _both(node, where)
        walked = _reversed(sort) if backward else sort
        if text is not None:
            cursor = text.removeprefix(_BACKWARD)
            values = self._read(QueryParams(seen, walked, cursor=cursor))
            here = _both(everything, keyset_node(walked, values, nullable=self._nullable))
        # One row more than asked for tells whether there is another page.
        return Page(
            QueryParams(here, walked, limit + 1 if limit else 0, params.offset),
            QueryParams(everything),
            Walk(self._codec, seen, sort, limit, backward, continued=text is not None),
        )

    def _read(self, params: QueryParams) -> tuple[Value, ...]:
        try:
            return self._codec.values(params)
        except CursorKeyError:
            if self._service_cls.cursor_key is None:
                _told_to_share_a_key(self._service_cls)
            raise

    def check_bulk(self, count: int) -> None:
        """Raise if a bulk operation names too many rows."""
        if count > self._max_limit:
            raise ServiceValidationError(f"at most {self._max_limit} at once, got {count}")

    def _limited(self, params: QueryParams) -> int:
        if params.limit is None:
            return self._default_limit
        if params.limit > self._max_limit:
            raise QueryLimitError("max_limit", self._max_limit, params.limit)
        return params.limit

    def _checked(self, params: QueryParams) -> tuple[TransformerNode | None, tuple[SortField, ...]]:
        node = None if params.node is None else self._schema.coerce(params.node)
        if not params.sort:
            return node, self._ties
        sort = self._schema.coerce_sort(params.sort)
        named = {field.field for field in sort}
        return node, (*sort, *(tie for tie in self._ties if tie.field not in named))


@lru_cache(128)
def _told_to_share_a_key(service_cls: Any) -> None:
    """Say once of a service that it is met by cursors of other processes."""
    _log.warning(
        "%s was sent a cursor that another process signed, or this one before it was started "
        "anew: set cursor_key, of 16 secret bytes or more, to the same in all of them",
        service_cls.__name__,
    )


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a page by cursor is in its query."""

    codec: CursorCodec
    seen: TransformerNode
    sort: tuple[SortField, ...]
    limit: int
    backward: bool
    continued: bool

    def rows[E](self, found: Sequence[E]) -> list[E]:
        """The rows of the page in its order, without the one asked for beyond."""
        shown = list(found[: self.limit])
        if self.backward:
            shown.reverse()
        return shown

    def after(self, row: object) -> str:
        """The cursor of the page after a row."""
        return self.codec.after(QueryParams(self.seen, self.sort), row)

    def before(self, row: object) -> str:
        """The cursor of the page before a row."""
        return _BACKWARD + self.codec.after(QueryParams(self.seen, _reversed(self.sort)), row)


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what selects its rows, and what selects all rows that it is a page of."""

    query: QueryParams
    all_rows: QueryParams
    walk: Walk

    def respond[E, T](
        self,
        found: Sequence[E],
        to_read: Callable[[E], T],
        total: int | None,
        raw_query: str | None,
    ) -> PagedReadDTO[T]:
        """The page."""
        walk, offset = self.walk, self.query.offset
        rows = walk.rows(found)
        results = [to_read(row) for row in rows]
        following = previous = None
        more = len(found) > walk.limit
        asked = QueryParams(None, walk.sort, walk.limit)
        if offset is not None:
            if rows and more:
                following = page_cursor(asked, offset=offset + len(rows), raw_query=raw_query)
        elif rows:
            if more or walk.backward:
                following = page_cursor(asked, cursor=walk.after(rows[-1]), raw_query=raw_query)
            if walk.continued and (more or not walk.backward):
                previous = page_cursor(asked, cursor=walk.before(rows[0]), raw_query=raw_query)
        return PagedReadDTO(
            results=results,
            count=len(results),
            total_count=total,
            next=following,
            previous=previous,
        )


def _schema(service_cls: Any, assembler: Any) -> QuerySchema:
    read: Any = getattr(assembler, "read_cls", None) or service_cls.types.read
    seen = getattr(read, "model_fields", None)
    fields: dict[str, Any] = {}
    for name, field in service_cls._meta.fields.items():  # noqa: SLF001 - as above
        comparable = field.kind not in {FieldKind.JSON, FieldKind.BYTES}
        if comparable and (seen is None or name in seen):
            fields[name] = field.annotation
    return QuerySchema(fields)


def _reversed(sort: tuple[SortField, ...]) -> tuple[SortField, ...]:
    return tuple(SortField(field.field, _OPPOSITE[field.order]) for field in sort)


def _both(first: TransformerNode | None, second: TransformerNode | None) -> TransformerNode | None:
    if first is None:
        return second
    return first if second is None else AndNode(first, second)
