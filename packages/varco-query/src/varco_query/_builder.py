"""A fluent way to write a query."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from varco_query._errors import InvalidNodeError
from varco_query._node import AndNode, ComparisonNode, NotNode, OrNode, TransformerNode
from varco_query._operation import Operation


class _Step(NamedTuple):
    # A chain that builders share: each adds a step and leaves the earlier ones alone.
    before: "_Step | None"
    node: TransformerNode
    starts_group: bool


_AND: Final = "and"
_OR: Final = "or"


class QueryBuilder:
    """Builds a query term by term.

    Immutable: every call gives a new builder, so one can be kept and shared between threads.

    `and_()` and `or_()` without an argument join like the words in text, AND binding tighter than
    OR; terms without a word between them are joined by AND. `and_(other)` and `or_(other)` join two
    whole queries, as if both stood in parentheses. `not_()` negates the next term at the beginning
    and after `and_()` and `or_()`, otherwise everything so far.
    """

    __slots__ = ("_last", "_negate", "_word")

    def __init__(self, node: TransformerNode | None = None) -> None:
        self._last = None if node is None else _Step(None, node, starts_group=True)
        self._word: str | None = None
        self._negate = False

    def where(self, field: str, op: Operation, value: object = None) -> "QueryBuilder":
        """Add a comparison."""
        return self._add(ComparisonNode(field, op, value))

    def eq(self, field: str, value: object) -> "QueryBuilder":
        """Add `field = value`; None asks whether it is null."""
        return self._add(ComparisonNode(field, Operation.EQUAL, value))

    def ne(self, field: str, value: object) -> "QueryBuilder":
        """Add `field != value`; None asks whether it is not null."""
        return self._add(ComparisonNode(field, Operation.NOT_EQUAL, value))

    def gt(self, field: str, value: object) -> "QueryBuilder":
        """Add `field > value`."""
        return self._add(ComparisonNode(field, Operation.GREATER_THAN, value))

    def gte(self, field: str, value: object) -> "QueryBuilder":
        """Add `field >= value`."""
        return self._add(ComparisonNode(field, Operation.GREATER_EQUAL, value))

    def lt(self, field: str, value: object) -> "QueryBuilder":
        """Add `field < value`."""
        return self._add(ComparisonNode(field, Operation.LESS_THAN, value))

    def lte(self, field: str, value: object) -> "QueryBuilder":
        """Add `field <= value`."""
        return self._add(ComparisonNode(field, Operation.LESS_EQUAL, value))

    def like(self, field: str, value: str) -> "QueryBuilder":
        """Add `field LIKE value`: `%` any text, `_` one character, a backslash escapes."""
        return self._add(ComparisonNode(field, Operation.LIKE, value))

    def ilike(self, field: str, value: str) -> "QueryBuilder":
        """Add `field ILIKE value`, LIKE without regard to case."""
        return self._add(ComparisonNode(field, Operation.ILIKE, value))

    def contains(self, field: str, value: str) -> "QueryBuilder":
        """Add `field CONTAINS value`; no character of it is special."""
        return self._add(ComparisonNode(field, Operation.CONTAINS, value))

    def startswith(self, field: str, value: str) -> "QueryBuilder":
        """Add `field STARTSWITH value`; no character of it is special."""
        return self._add(ComparisonNode(field, Operation.STARTSWITH, value))

    def endswith(self, field: str, value: str) -> "QueryBuilder":
        """Add `field ENDSWITH value`; no character of it is special."""
        return self._add(ComparisonNode(field, Operation.ENDSWITH, value))

    def in_(self, field: str, values: Iterable[object]) -> "QueryBuilder":
        """Add `field IN values`; of no values, it selects nothing."""
        return self._add(ComparisonNode(field, Operation.IN, values))

    def not_in(self, field: str, values: Iterable[object]) -> "QueryBuilder":
        """Add `field NOT IN values`; of no values, it selects everything."""
        return self._add(ComparisonNode(field, Operation.NOT_IN, values))

    def between(self, field: str, low: object, high: object) -> "QueryBuilder":
        """Add `field BETWEEN low AND high`, both included."""
        return self._add(ComparisonNode(field, Operation.BETWEEN, (low, high)))

    def is_null(self, field: str) -> "QueryBuilder":
        """Add `field IS NULL`."""
        return self._add(ComparisonNode(field, Operation.IS_NULL))

    def is_not_null(self, field: str) -> "QueryBuilder":
        """Add `field IS NOT NULL`."""
        return self._add(ComparisonNode(field, Operation.IS_NOT_NULL))

    def and_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Join the next term, or another whole query, by AND."""
        return self._say(_AND) if other is None else self._join(AndNode, other)

    def or_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Join the next term, or another whole query, by OR."""
        return self._say(_OR) if other is None else self._join(OrNode, other)

    def not_(self, other: "QueryBuilder | TransformerNode | None" = None) -> "QueryBuilder":
        """Negate the next term, everything so far, or add the negation of another query."""
        if other is not None:
            return self._add(NotNode(_whole(other)))
        if self._last is None or self._word is not None:
            return self._copy(self._last, self._word, negate=not self._negate)
        return QueryBuilder(NotNode(_whole(self)))

    def build(self) -> TransformerNode | None:
        """The query; None when nothing was added.

        Raises:
            InvalidNodeError: An `and_()`, `or_()` or `not_()` has no term after it.
        """
        if self._word is not None or self._negate:
            raise InvalidNodeError(f"{self._word or 'not'}_() at the end has no term after it")
        groups: list[TransformerNode] = []
        group: list[TransformerNode] = []
        step = self._last
        while step is not None:
            group.append(step.node)
            if step.starts_group:
                group.reverse()
                groups.append(group[0] if len(group) == 1 else AndNode(*group))
                group = []
            step = step.before
        if not groups:
            return None
        groups.reverse()
        return groups[0] if len(groups) == 1 else OrNode(*groups)

    def _add(self, node: TransformerNode) -> "QueryBuilder":
        if self._negate:
            node = NotNode(node)
        last = self._last
        return self._copy(
            _Step(last, node, starts_group=last is None or self._word == _OR), None, negate=False
        )

    def _say(self, word: str) -> "QueryBuilder":
        if self._last is None or self._word is not None or self._negate:
            raise InvalidNodeError(f"{word}_() has no term before it to join")
        return self._copy(self._last, word, negate=False)

    def _join(
        self, kind: type[AndNode | OrNode], other: "QueryBuilder | TransformerNode"
    ) -> "QueryBuilder":
        whole = _whole(other)
        if self._last is None and self._word is None and not self._negate:
            return QueryBuilder(whole)
        return QueryBuilder(kind(_whole(self), whole))

    @classmethod
    def _copy(cls, last: _Step | None, word: str | None, *, negate: bool) -> "QueryBuilder":
        self = cls.__new__(cls)
        self._last = last
        self._word = word
        self._negate = negate
        return self


def _whole(query: QueryBuilder | TransformerNode) -> TransformerNode:
    if isinstance(query, TransformerNode):
        return query
    node = query.build()
    if node is None:
        raise InvalidNodeError("an empty builder cannot be joined or negated; add a term first")
    return node
