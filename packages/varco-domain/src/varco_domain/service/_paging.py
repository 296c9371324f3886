"""From what a caller asks for to what a repository is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from varco_domain.dto import PagedReadDTO, paged_response
from varco_domain.exception import FieldNotFound, ServiceValidationError
from varco_query import AndNode, QueryParams, SortField, TransformerNode, walk


class Pager:
    """Checks and completes the queries of one service; immutable.

    Callers filter and sort by fields that they get to see, so that a filter cannot spell out a
    value that the read DTO leaves out.
    """

    def __init__(self, service_cls: Any, assembler: Any) -> None:
        self._meta = service_cls._meta  # noqa: SLF001 - of the service it belongs to
        self._max_limit: int = service_cls.max_limit
        self._default_limit: int = min(service_cls.default_limit, service_cls.max_limit)
        self._fields = _seen_fields(service_cls, assembler)

    def query(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """Return the query of one list: limited, and sorted down to the key."""
        self._check(params)
        node, sort = _both(params.node, where), self._sorted(params)
        return QueryParams(node, sort, self._limited(params), params.offset)

    def unlimited(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """Return the query of all rows, unsorted."""
        self._check(params)
        return QueryParams(_both(params.node, where))

    def stream(self, params: QueryParams, where: TransformerNode | None) -> QueryParams:
        """Return the query of a stream: sorted down to the key, limited only when asked to."""
        self._check(params)
        node, sort = _both(params.node, where), self._sorted(params)
        return QueryParams(node, sort, params.limit, params.offset)

    def page(self, params: QueryParams, where: TransformerNode | None) -> "Page":
        """Return the queries of one page."""
        query = self.query(params, where)
        return Page(params, query, QueryParams(query.node))

    def check_bulk(self, count: int) -> None:
        """Raise if a bulk operation names too many rows."""
        if count > self._max_limit:
            raise ServiceValidationError(f"at most {self._max_limit} at once, got {count}")

    def _limited(self, params: QueryParams) -> int:
        if params.limit is None:
            return self._default_limit
        if params.limit > self._max_limit:
            raise ServiceValidationError(
                f"limit is at most {self._max_limit}, got {params.limit}", "limit"
            )
        return params.limit

    def _sorted(self, params: QueryParams) -> tuple[SortField, ...]:
        named = {field.field for field in params.sort}
        ties = (SortField(name) for name in self._meta.pk_fields if name not in named)
        return (*params.sort, *ties)

    def _check(self, params: QueryParams) -> None:
        if params.node is not None:
            for comparison in walk(params.node):
                if comparison.field not in self._fields:
                    raise FieldNotFound(comparison.field, self._meta.table)
        for field in params.sort:
            if field.field not in self._fields:
                raise FieldNotFound(field.field, self._meta.table)


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what selects its rows, and what selects all rows that it is a page of."""

    params: QueryParams
    query: QueryParams
    all_rows: QueryParams

    def respond[E, T](
        self, rows: Sequence[E], to_read: Callable[[E], T], total: int, raw_query: str | None
    ) -> PagedReadDTO[T]:
        """Return the page with its rows."""
        results = [to_read(row) for row in rows]
        return paged_response(results, params=self.query, total_count=total, raw_query=raw_query)


def _seen_fields(service_cls: Any, assembler: Any) -> frozenset[str]:
    read: Any = getattr(assembler, "read_cls", None) or service_cls._type_arguments[3]  # noqa: SLF001 - of the service it belongs to
    seen = getattr(read, "model_fields", None)
    fields = frozenset(service_cls._meta.fields)  # noqa: SLF001 - as above
    return fields if seen is None else fields & frozenset(seen)


def _both(first: TransformerNode | None, second: TransformerNode | None) -> TransformerNode | None:
    if first is None:
        return second
    return first if second is None else AndNode(first, second)
