"""What the parts of a filter mean: values of terminals, nodes of rules."""

import re
from collections.abc import Callable
from typing import Any, Final, cast

from varco_query._errors import QueryError, QueryLimitError, QuerySyntaxError
from varco_query._limits import Limits
from varco_query._literals import ESCAPED, EscapeError, read_scalar, unescape
from varco_query._node import (
    AndNode,
    ComparisonNode,
    NotNode,
    OrNode,
    TransformerNode,
    conjunction,
    disjunction,
)
from varco_query._operation import RELATIONS, Operation
from varco_query._table import VALUES

type MakeLeaf = Callable[[str, Operation, object], ComparisonNode]

_RELATIONS: Final = {**RELATIONS, "==": Operation.EQUAL}
_TEXTS: Final = frozenset({"STRING", "TEXT"})
_VALUES: Final = frozenset(VALUES)
_NESTING: Final = frozenset({"NOT", "LPAR", "ALL", "ANY"})
_NUMBERS: Final = frozenset({"INTEGER", "DECIMAL", "FLOAT"})
# In characters: such an integer is small enough for every node.
_SHORT_NUMBER: Final = 4_000


class Reading:
    """One reading of one text, by one thread; a method for each rule of the grammar.

    Each gets the values of the rule's parts. A conjunction or disjunction is a list while it grows,
    and a node once it is complete.

    Args:
        text: The filter.
        make: Makes the comparison of a field, operation and value, or refuses it.
        limits: What the text is held to.
    """

    def __init__(self, text: str, make: MakeLeaf, limits: Limits) -> None:
        self.text: Final = text
        self._make: Final = make
        self._limits: Final = limits
        self._short: Final = min(limits.max_digits, _SHORT_NUMBER)
        self._terms_left = limits.max_terms
        self._depth_left = limits.max_depth

    def token(self, match: re.Match[str], opens: bool) -> object:
        """The value of a token; `opens` says that it stands where a comparison may begin."""
        kind = match.lastgroup or ""
        if kind in _VALUES:
            return self.value(match)
        if kind == "FIELD":
            self._terms_left -= 1
            if self._terms_left < 0:
                raise self._too_large("max_terms", match.start(kind))
            return match[kind].strip("`"), match.start(kind)
        if kind in _NESTING and (opens or kind == "LPAR"):
            self._nest(match.start(kind))
        return match[kind]

    def comparison(self, match: re.Match[str]) -> ComparisonNode:
        """The comparison that a match holds whole."""
        self._terms_left -= 1
        if self._terms_left < 0:
            raise self._too_large("max_terms", match.start("FIELD"))
        name, relation = match.group(1, 2)  # FIELD and RELATION: numbers cost half of names
        if relation is not None:
            op, value = _RELATIONS[relation], self.value(match)
        else:
            op, value = self._word(match)
        try:
            return self._make(name.strip("`"), op, value)
        except QueryError as error:
            raise error.at(self.text, match.start("FIELD")) from None

    def _word(self, match: re.Match[str]) -> tuple[Operation, object]:
        word, negated = match.group("TEXT_WORD", "NOT")
        if word is not None:
            return Operation(word.upper()), self.value(match)
        return Operation.IS_NOT_NULL if negated else Operation.IS_NULL, None

    def value(self, match: re.Match[str]) -> object:
        """The value that a match ends in."""
        kind = match.lastgroup or ""
        text = match[kind]
        if kind == "INTEGER":
            if len(text) <= self._short:
                return int(text)
        elif kind in _TEXTS and "\\" not in text:
            return text[1:-1]
        return self._other_value(match, kind, text)

    def _other_value(self, match: re.Match[str], kind: str, text: str) -> object:
        if kind in _NUMBERS and len(text) > self._limits.max_digits:
            raise self._too_large("max_digits", match.start(kind))
        try:
            if kind in _TEXTS:
                return unescape(text[1:-1])
            return None if kind == "NULL" else read_scalar(kind, text)
        except EscapeError as error:
            raise QuerySyntaxError(
                f"{error.escape} in quotes is no character",
                expected=ESCAPED,
                found=error.escape,
            ).at(self.text, match.start(kind) + 1 + error.offset) from None
        except QueryError as error:
            raise error.at(self.text, match.start(kind)) from None

    def _leaf(self, field: tuple[str, int], op: Operation, value: object) -> ComparisonNode:
        """The comparison of a field that begins at an offset."""
        name, start = field
        if value.__class__ is list and len(cast("list[object]", value)) > self._limits.max_items:
            raise self._too_large("max_items", start)
        try:
            return self._make(name, op, value)
        except QueryError as error:
            raise error.at(self.text, start) from None

    def _nest(self, start: int) -> None:
        self._depth_left -= 1
        if self._depth_left < 0:
            raise self._too_large("max_depth", start)

    def _too_large(self, name: str, start: int) -> QueryLimitError:
        return QueryLimitError(name, getattr(self._limits, name)).at(self.text, start)

    # The rules.

    def start(self, parts: list[Any]) -> TransformerNode:
        return _finish(disjunction, parts[0])

    def alone(self, parts: list[Any]) -> TransformerNode:
        return _finish(conjunction, parts[0])

    def and_(self, parts: list[Any]) -> list[TransformerNode]:
        return _joined(parts[0], parts[2])

    def or_(self, parts: list[Any]) -> list[TransformerNode]:
        return _joined(parts[0], _finish(conjunction, parts[2]))

    def not_(self, parts: list[Any]) -> NotNode:
        self._depth_left += 1
        return NotNode(parts[1])

    def group(self, parts: list[Any]) -> TransformerNode:
        self._depth_left += 1
        return _finish(disjunction, parts[1])

    def all_(self, parts: list[Any]) -> AndNode:
        self._depth_left += 1
        return conjunction(parts[1] if len(parts) == 3 else [])  # noqa: PLR2004  # ALL( list )

    def any_(self, parts: list[Any]) -> OrNode:
        self._depth_left += 1
        return disjunction(parts[1] if len(parts) == 3 else [])  # noqa: PLR2004  # ANY( list )

    def one_query(self, parts: list[Any]) -> list[TransformerNode]:
        return [_finish(disjunction, parts[0])]

    def more_queries(self, parts: list[Any]) -> list[TransformerNode]:
        return _joined(parts[0], _finish(disjunction, parts[2]))

    def one_value(self, parts: list[Any]) -> list[object]:
        return parts

    def more_values(self, parts: list[Any]) -> list[object]:
        return _joined(parts[0], parts[2])

    def in_parentheses(self, parts: list[Any]) -> object:
        self._depth_left += 1
        return parts[1]

    def relation(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], _operation(parts[1]), parts[2])

    def not_text(self, parts: list[Any]) -> TransformerNode:
        return self._negated(self.relation([parts[0], *parts[2:]]), parts)

    def in_(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.IN, parts[2])

    def in_nothing(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.IN, [])

    def not_in(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.NOT_IN, parts[3])

    def not_in_nothing(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.NOT_IN, [])

    def between(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.BETWEEN, [parts[2], parts[4]])

    def not_between(self, parts: list[Any]) -> TransformerNode:
        return self._negated(self.between([parts[0], *parts[2:]]), parts)

    def is_null(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.IS_NULL, None)

    def is_not_null(self, parts: list[Any]) -> TransformerNode:
        return self._leaf(parts[0], Operation.IS_NOT_NULL, None)

    def _negated(self, node: TransformerNode, parts: list[Any]) -> NotNode:
        self._nest(parts[0][1])
        self._depth_left += 1
        return NotNode(node)


def _operation(text: str) -> Operation:
    return _RELATIONS.get(text) or Operation(text.upper())


def _finish(join: Callable[[list[Any]], TransformerNode], value: Any) -> TransformerNode:
    """A node of the operands that a rule has gathered in a list; one by itself stays what it is."""
    return join(value) if value.__class__ is list else value


def gathered(value: Any) -> list[Any]:
    """What a rule has gathered so far, as a list that can grow."""
    return value if value.__class__ is list else [value]


def _joined(left: Any, right: Any) -> list[Any]:
    joined = gathered(left)
    joined.append(right)
    return joined
