"""The filter language, from text to `QueryParams`."""

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any, Final, cast

from varco_query._errors import InvalidNodeError, QueryLimitError, QuerySyntaxError, shorten
from varco_query._limits import Limits
from varco_query._node import ComparisonNode, TransformerNode, trusted_comparison
from varco_query._operation import RELATIONS, Operation, Takes, taking
from varco_query._params import QueryParams, SortField, SortOrder, sort_keys
from varco_query._parse import read
from varco_query._schema import QuerySchema, text_comparison

_CACHED_TEXTS: Final = 256
# A longer text is parsed every time, so that the cache stays within ten megabytes.
_CACHED_LENGTH: Final = 2_048
_LISTS: Final = taking(Takes.LIST)
_DEFAULT_LIMITS: Final = Limits()


class QueryParser:
    """Parses filters.

    Immutable, so that one can serve all threads; it remembers the last few hundred filters.

    Args:
        schema: The fields that a filter may use. Without one any field may be named.
        limits: How large a filter, sort and page may be.
    """

    def __init__(self, schema: QuerySchema | None = None, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.schema: Final = schema
        self.limits: Final = limits
        make = _comparison if schema is None else partial(text_comparison, schema)

        def parse_text(text: str) -> TransformerNode:
            return read(text, make, limits)

        self._parse_text: Final = parse_text
        # lru_cache does its own locking; errors are not kept.
        self._remembered: Final = lru_cache(_CACHED_TEXTS)(parse_text)

    def parse(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        sort: str | Iterable[SortField] | None = None,
        cursor: str | None = None,
    ) -> QueryParams:
        """The params of a filter, a page and a sort.

        Args:
            query: The filter; None selects everything, and so does one of white space alone, which
                is what an empty field of a form sends.
            limit: The most rows to give.
            offset: How many rows to skip.
            sort: Fields joined by commas, with a minus to descend, such as `-created_at,title`.
            cursor: Where the page begins; an empty one is that of the first page. It is not read
                here: `CursorCodec.resolve` does, which has the key.

        Raises:
            QueryError: A part is wrong, unknown or too large.
        """
        params = QueryParams(
            None if query is None else self._parse_any(query),
            () if sort is None else self.parse_sort(sort),
            limit,
            offset,
            None if cursor == "" else cursor,
        )
        if limit is not None:
            self._check("max_limit", limit)
        if offset is not None:
            self._check("max_offset", offset)
        return params

    def _parse_any(self, text: str) -> TransformerNode | None:
        if not isinstance(cast("object", text), str) or text.strip():
            return self.parse_node(text)
        self._check("max_length", len(text))
        return None

    def parse_node(self, text: str) -> TransformerNode:
        """The tree of a filter.

        Raises:
            QueryError: The text is no filter, or names what is unknown, or is too large.
        """
        if text.__class__ is not str:
            if not isinstance(cast("object", text), str):
                raise InvalidNodeError(f"a filter is a string, not {shorten(text)}")
            text = str.__str__(text)
        if len(text) > _CACHED_LENGTH:
            return self._parse_text(text)
        return self._remembered(text)

    def parse_sort(self, sort: str | Iterable[SortField]) -> tuple[SortField, ...]:
        """The keys of a sort such as `-created_at,title`; of an empty one, none.

        Raises:
            QueryError: A key is no field, unknown or there twice, or there are too many.
        """
        if isinstance(sort, str):
            # Before they are made: a long text holds a hundred thousand.
            self._check("max_length", len(sort))
            self._check("max_sort", sort.count(",") + 1 if sort.strip() else 0)
            keys = parse_sort(sort)
        else:
            keys = sort_keys(sort)
            self._check("max_sort", len(keys))
        return keys if self.schema is None else self.schema.coerce_sort(keys)

    def _check(self, name: str, actual: int) -> None:
        limit: int = getattr(self.limits, name)
        if actual > limit:
            raise QueryLimitError(name, limit, actual)


def parse_sort(text: str) -> tuple[SortField, ...]:
    """The keys of a sort such as `-created_at,title`; of an empty text, none.

    Raises:
        QuerySyntaxError: A key is empty, or there twice.
        UnknownFieldError: A key is no field.
    """
    keys: dict[str, SortField] = {}
    if not text.strip():
        return ()
    offset = 0
    for part in text.split(","):
        key = part.strip()
        descends = key.startswith("-")
        field = key.removeprefix("-")
        if not field or field in keys:
            problem = "is there twice" if field else "is missing"
            raise QuerySyntaxError(
                f"field {field!r} {problem} in a sort" if field else "a field is missing in a sort",
                expected=("a field",),
                found=shorten(key),
            ).at(text, offset)
        keys[field] = SortField(field, SortOrder.DESC if descends else SortOrder.ASC)
        offset += len(part) + 1
    return tuple(keys.values())


def _comparison(field: str, op: Operation, value: Any) -> ComparisonNode:
    # Values were checked when they were read: with a plain name, what takes any value is right.
    if field.isidentifier() and field[0] != "_" and value is not None:
        if op in RELATIONS:
            return trusted_comparison(field, op, value)
        if op in _LISTS and None not in value:
            return trusted_comparison(field, op, tuple(value))
    return ComparisonNode(field, op, value)
