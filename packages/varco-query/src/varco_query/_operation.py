"""What a comparison can ask."""

from enum import StrEnum
from typing import Final


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


# By themselves: a plain string that equals one finds it.
RELATIONS: Final[dict[str, Operation]] = {
    op: op
    for op in (
        Operation.EQUAL,
        Operation.NOT_EQUAL,
        Operation.GREATER_THAN,
        Operation.LESS_THAN,
        Operation.GREATER_EQUAL,
        Operation.LESS_EQUAL,
    )
}
NULL_TESTS: Final = {
    Operation.EQUAL: Operation.IS_NULL,
    Operation.NOT_EQUAL: Operation.IS_NOT_NULL,
}
TEXTS: Final = frozenset(
    {
        Operation.LIKE,
        Operation.ILIKE,
        Operation.CONTAINS,
        Operation.STARTSWITH,
        Operation.ENDSWITH,
    }
)
LISTS: Final = frozenset({Operation.IN, Operation.NOT_IN, Operation.BETWEEN})
