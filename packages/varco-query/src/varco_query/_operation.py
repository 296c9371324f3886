"""The operators: all that is known of each stands in its record, and nowhere else."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

from varco_query._errors import OperationNotSupportedError
from varco_query._pattern import Tokens, around, before, behind, like


class Operation(StrEnum):
    """The operations of a comparison."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER_THAN = ">"
    LESS_THAN = "<"
    GREATER_EQUAL = ">="
    LESS_EQUAL = "<="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    CONTAINS = "CONTAINS"
    STARTSWITH = "STARTSWITH"
    ENDSWITH = "ENDSWITH"
    IN = "IN"
    NOT_IN = "NOT_IN"
    BETWEEN = "BETWEEN"
    IS_NULL = "IS_NULL"
    IS_NOT_NULL = "IS_NOT_NULL"


class NodeType(StrEnum):
    """The kinds of node."""

    COMPARISON = "COMPARISON"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"


class Takes(Enum):
    """What an operator compares a field with; a compiler has a leaf for each."""

    VALUE = "a value"
    TEXT = "text"
    PATTERN = "a pattern"
    LIST = "a list of values"
    PAIR = "a low and a high value"
    NOTHING = "nothing"


class Fields(Enum):
    """Which fields an operator makes sense for."""

    ALL = "all"
    ORDERED = "those whose values have an order"
    TEXTS = "those that hold text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """All that is known of an operator.

    Attributes:
        takes: What it compares a field with.
        words: How the language writes it.
        fields: The fields it is for.
        negation: The operation that is true exactly where this one is false, if there is one.
        of_null: The operation that it is with null for its value, if it can have that.
        wanted: Of two that negate each other and share a leaf, false for the negative one.
        test: Of one that takes a value: the test in memory, of two values of one kind.
        tokens: Of one that takes text or a pattern: what of a field's text has to match.
        folds: Whether letter case counts for nothing.
    """

    takes: Takes
    words: str
    fields: Fields = Fields.ALL
    negation: Operation | None = None
    of_null: Operation | None = None
    wanted: bool = True
    test: Callable[[Any, Any], bool] | None = None
    tokens: Callable[[str], Tokens] | None = None
    folds: bool = False


def _relation(
    words: str,
    test: Callable[[Any, Any], bool],
    negation: Operation,
    of_null: Operation | None = None,
) -> Operator:
    return Operator(
        takes=Takes.VALUE,
        words=words,
        fields=Fields.ORDERED if of_null is None else Fields.ALL,
        negation=negation,
        of_null=of_null,
        test=test,
    )


def _text(
    words: str, tokens: Callable[[str], Tokens], takes: Takes = Takes.TEXT, *, folds: bool = False
) -> Operator:
    return Operator(takes=takes, words=words, fields=Fields.TEXTS, tokens=tokens, folds=folds)


_O = Operation
OPERATORS: Final[dict[Operation, Operator]] = {
    _O.EQUAL: _relation("=", operator.eq, _O.NOT_EQUAL, _O.IS_NULL),
    _O.NOT_EQUAL: _relation("!=", operator.ne, _O.EQUAL, _O.IS_NOT_NULL),
    _O.GREATER_THAN: _relation(">", operator.gt, _O.LESS_EQUAL),
    _O.LESS_THAN: _relation("<", operator.lt, _O.GREATER_EQUAL),
    _O.GREATER_EQUAL: _relation(">=", operator.ge, _O.LESS_THAN),
    _O.LESS_EQUAL: _relation("<=", operator.le, _O.GREATER_THAN),
    _O.LIKE: _text("LIKE", like, Takes.PATTERN),
    _O.ILIKE: _text("ILIKE", like, Takes.PATTERN, folds=True),
    _O.CONTAINS: _text("CONTAINS", around),
    _O.STARTSWITH: _text("STARTSWITH", behind),
    _O.ENDSWITH: _text("ENDSWITH", before),
    _O.IN: Operator(takes=Takes.LIST, words="IN", negation=_O.NOT_IN),
    _O.NOT_IN: Operator(takes=Takes.LIST, words="NOT IN", negation=_O.IN, wanted=False),
    _O.BETWEEN: Operator(takes=Takes.PAIR, words="BETWEEN", fields=Fields.ORDERED),
    _O.IS_NULL: Operator(takes=Takes.NOTHING, words="IS NULL", negation=_O.IS_NOT_NULL),
    _O.IS_NOT_NULL: Operator(
        takes=Takes.NOTHING, words="IS NOT NULL", negation=_O.IS_NULL, wanted=False
    ),
}
"""The record of each operation."""


def operator_of(op: Operation) -> Operator:
    """The record of an operation.

    Raises:
        OperationNotSupportedError: There is none: nobody knows what the operation means.
    """
    try:
        return OPERATORS[op]
    except (KeyError, TypeError):
        raise OperationNotSupportedError(op, None, OPERATORS) from None


def taking(*kinds: Takes) -> frozenset[Operation]:
    """The operations that take one of these."""
    return frozenset(op for op, each in OPERATORS.items() if each.takes in kinds)


# By themselves: a plain string that equals one finds it.
RELATIONS: Final[dict[str, Operation]] = {op: op for op in _O if op in taking(Takes.VALUE)}
TEXTS: Final = taking(Takes.TEXT, Takes.PATTERN)
LISTS: Final = taking(Takes.LIST, Takes.PAIR)
