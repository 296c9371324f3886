"""A fluent way to write a query."""

from collections.abc import Iterable
from functools import reduce
from typing import Final, Self, cast

from varco_query._errors import InvalidNodeError, shorten
from varco_query._node import AndNode, NotNode, OrNode, TransformerNode, comparison, conjunction
from varco_query._operation import Operation

_AND: Final = "and"
_OR: Final = "or"
_NOT: Final = "not"


class QueryBuilder:
    """Builds a query term by term.

    Immutable: every call gives a new builder, so one can be kept and shared between threads.

    `and_()` and `or_()` without an argument join like the words in text, AND binding tighter than
    OR; terms without a word between them are joined by AND. `and_(other)` and `or_(other)` join two
    whole queries, as if both stood in parentheses. `not_()` negates the next term at the beginning
    and after `and_()` and `or_()`, otherwise everything so far.
    """

    __slots__ = ("_before", "_item")

    # A chain of terms and of the words between them: each builder is one, and knows the one before
    # it. Builders share chains, which never change.
    _item: TransformerNode | str | None
    _before: "QueryBuilder | None"

    def __init__(self, node: TransformerNode | None = None) -> None:
        if not isinstance(cast("object", node), TransformerNode | None):
            raise InvalidNodeError(f"{shorten(node)} is no query node; QueryParser parses text")
        self._item = node
        self._before = None

    def __repr__(self) -> str:
        return f"QueryBuilder({', '.join(map(str, self._items()))})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    # As a list: pickle would recurse on the chain.
    def __reduce__(self) -> tuple[object, ...]:
        return QueryBuilder, (), self._items()

    def __setstate__(self, items: list[TransformerNode | str]) -> None:
        if items:
            *before, self._item = items
            self._before = reduce(QueryBuilder._then, before, QueryBuilder())

    @staticmethod
    def field(field: str, op: Operation, value: object = None) -> "QueryBuilder":
        """A new builder with this comparison alone, of a builder too."""
        return QueryBuilder().where(field, op, value)

    @staticmethod
    def eq_(field: str, value: object) -> "QueryBuilder":
        """A new builder with `field = value` alone, of a builder too."""
        return QueryBuilder().eq(field, value)

    def where(self, field: str, op: Operation, value: object = None) -> "QueryBuilder":
        """Add a comparison."""
        return self._then(comparison(field, op, value))

    def eq(self, field: str, value: object) -> "QueryBuilder":
        """Add `field = value`; None asks whether it is null."""
        return self._then(comparison(field, Operation.EQUAL, value))

    def ne(self, field: str, value: object) -> "QueryBuilder":
        """Add `field != value`; None asks whether it is not null."""
        return self._then(comparison(field, Operation.NOT_EQUAL, value))

    def gt(self, field: str, value: object) -> "QueryBuilder":
        """Add `field > value`."""
        return self._then(comparison(field, Operation.GREATER_THAN, value))

    def gte(self, field: str, value: object) -> "QueryBuilder":
        """Add `field >= value`."""
        return self._then(comparison(field, Operation.GREATER_EQUAL, value))

    def lt(self, field: str, value: object) -> "QueryBuilder":
        """Add `field < value`."""
        return self._then(comparison(field, Operation.LESS_THAN, value))

    def lte(self, field: str, value: object) -> "QueryBuilder":
        """Add `field <= value`."""
        return self._then(comparison(field, Operation.LESS_EQUAL, value))

    def like(self, field: str, value: str) -> "QueryBuilder":
        """Add `field LIKE value`: `%` any text, `_` one character, a backslash escapes."""
        return self._then(comparison(field, Operation.LIKE, value))

    def ilike(self, field: str, value: str) -> "QueryBuilder":
        """Add `field ILIKE value`, LIKE without regard to case."""
        return self._then(comparison(field, Operation.ILIKE, value))

    def contains(self, field: str, value: str) -> "QueryBuilder":
        """Add `field CONTAINS value`; no character of it is special."""
        return self._then(comparison(field, Operation.CONTAINS, value))

    def startswith(self, field: str, value: str) -> "QueryBuilder":
        """Add `field STARTSWITH value`; no character of it is special."""
        return self._then(comparison(field, Operation.STARTSWITH, value))

    def endswith(self, field: str, value: str) -> "QueryBuilder":
        """Add `field ENDSWITH value`; no character of it is special."""
        return self._then(comparison(field, Operation.ENDSWITH, value))

    def in_(self, field: str, values: Iterable[object]) -> "QueryBuilder":
        """Add `field IN values`; of no values, it selects nothing."""
        return self._then(comparison(field, Operation.IN, values))

    def not_in(self, field: str, values: Iterable[object]) -> "QueryBuilder":
        """Add `field NOT IN values`; of no values, it selects everything."""
        return self._then(comparison(field, Operation.NOT_IN, values))

    def between(self, field: str, low: object, high: object) -> "QueryBuilder":
        """Add `field BETWEEN low AND high`, both included."""
        return self._then(comparison(field, Operation.BETWEEN, (low, high)))

    def is_null(self, field: str) -> "QueryBuilder":
        """Add `field IS NULL`."""
        return self._then(comparison(field, Operation.IS_NULL, None))

    def is_not_null(self, field: str) -> "QueryBuilder":
        """Add `field IS NOT NULL`."""
        return self._then(comparison(field, Operation.IS_NOT_NULL, None))

    def and_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Join the next term, or another whole query, by AND."""
        return self._say(_AND) if other is None else self._join(AndNode, other)

    def or_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Join the next term, or another whole query, by OR."""
        return self._say(_OR) if other is None else self._join(OrNode, other)

    def not_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Negate the next term, everything so far, or add the negation of another query."""
        if other is not None:
            return self._then(NotNode(_whole(other)))
        if isinstance(self._item, TransformerNode):
            return QueryBuilder(NotNode(_whole(self)))
        return self._then(_NOT)

    def build(self) -> TransformerNode | None:
        """The query; None when nothing was added.

        Raises:
            InvalidNodeError: An `and_()`, `or_()` or `not_()` has no term after it.
        """
        if isinstance(self._item, str):
            raise InvalidNodeError(f"{self._item}_() at the end has no term after it")
        groups: list[TransformerNode] = []
        group: list[TransformerNode] = []
        builder: QueryBuilder | None = self
        while builder is not None:
            item, before = builder._item, builder._before  # noqa: SLF001  # of this class
            if isinstance(item, TransformerNode):
                group.append(item)
            elif item == _NOT:
                group[-1] = NotNode(group[-1])
            elif item == _OR:
                groups.append(_conjunction(group))
                group = []
            builder = before
        if not groups:
            return _conjunction(group) if group else None
        groups.append(_conjunction(group))
        groups.reverse()
        return OrNode(*groups)

    def _then(self, item: TransformerNode | str) -> "QueryBuilder":
        # Not by the class, which would look at what is known to be right.
        builder = _new(QueryBuilder)
        builder._item = item  # noqa: SLF001  # of this class
        builder._before = self  # noqa: SLF001
        return builder

    def _items(self) -> list[TransformerNode | str]:
        items: list[TransformerNode | str] = []
        builder: QueryBuilder | None = self
        while builder is not None:
            if builder._item is not None:  # noqa: SLF001  # of this class
                items.append(builder._item)  # noqa: SLF001
            builder = builder._before  # noqa: SLF001
        items.reverse()
        return items

    def _say(self, word: str) -> "QueryBuilder":
        if not isinstance(self._item, TransformerNode):
            raise InvalidNodeError(f"{word}_() has no term before it to join")
        return self._then(word)

    def _join(
        self, kind: type[AndNode | OrNode], other: "QueryBuilder | TransformerNode"
    ) -> "QueryBuilder":
        whole = _whole(other)
        return QueryBuilder(whole if self._item is None else kind(_whole(self), whole))


_new: Final = QueryBuilder.__new__


def _conjunction(group: list[TransformerNode]) -> TransformerNode:
    group.reverse()
    return group[0] if len(group) == 1 else conjunction(group)


def _whole(query: QueryBuilder | TransformerNode) -> TransformerNode:
    if isinstance(query, TransformerNode):
        return query
    node = query.build()
    if node is None:
        raise InvalidNodeError("an empty builder cannot be joined or negated; add a term first")
    return node
