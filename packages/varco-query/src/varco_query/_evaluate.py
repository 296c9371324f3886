"""Evaluation in memory."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from varco_query._compare import align, comparer, plain
from varco_query._node import AndNode, ComparisonNode, NotNode, TransformerNode
from varco_query._operation import Operation
from varco_query._pattern import like
from varco_query._rows import Reader, reader
from varco_query._value import Scalar

type Test = Callable[[Any], bool]

_ACCEPT: Final = "accept"
_REJECT: Final = "reject"


def compile_predicate(node: TransformerNode | None) -> Callable[[object], bool]:
    """A function that says whether a row is selected: mapped attributes or items are read.

    Follows SQL: a comparison with null is unknown, NOT of unknown is unknown, and only what is true
    is selected. None selects everything. The function may be shared between threads.

    Raises:
        UnknownFieldError: A row's class maps no such field; raised when a row is tested.
    """
    if node is None:
        return _accept_all
    entry = _steps(node)

    def selects(row: object) -> bool:
        step = entry
        while step is not _ACCEPT and step is not _REJECT:
            test, yes, no = step
            step = yes if test(row) else no
        return step is _ACCEPT

    return selects


def _accept_all(_row: object) -> bool:
    return True


def _steps(root: TransformerNode) -> Any:
    """The first step of the tree: a test of a row, and the next step if it holds and if not.

    Negation is pushed down to the comparisons on the way. What is left, AND and OR of comparisons
    and negated comparisons, is true exactly when it is true with "unknown" read as "false": that
    is why two-valued steps suffice.
    """
    readers: dict[str, Reader] = {}
    # One frame for each open AND or OR: its children from the last to the first, whether it is
    # negated, whether it acts as an AND, and where it goes when it is true and when it is false.
    frames: list[tuple[Iterator[TransformerNode], bool, bool, Any, Any]] = []
    node, negated, yes, no = root, False, _ACCEPT, _REJECT
    entry: Any
    while True:
        while isinstance(node, NotNode):
            node, negated = node.child, not negated
        if isinstance(node, ComparisonNode):
            read = readers.get(node.field)
            if read is None:
                read = readers[node.field] = reader(node.field)
            entry = (_test(node, read, negated=negated), yes, no)
        else:
            conjunction = isinstance(node, AndNode) is not negated
            frames.append((reversed(node.children), negated, conjunction, yes, no))
            entry = yes if conjunction else no
        while frames:
            children, negated, conjunction, yes, no = frames[-1]
            following = next(children, None)
            if following is not None:
                node = following
                yes, no = (entry, no) if conjunction else (yes, entry)
                break
            frames.pop()
        else:
            return entry


def _test(node: ComparisonNode, read: Reader, *, negated: bool) -> Test:
    """Whether the comparison is true of a row; negated, whether it is false."""
    op = node.op
    if op is Operation.IS_NULL or op is Operation.IS_NOT_NULL:
        wanted = (op is Operation.IS_NULL) is not negated
        return lambda row: (read(row) is None) is wanted
    if node.value == ():
        answer = (op is Operation.NOT_IN) is not negated
        return lambda _row: answer
    test = _value_test(NEGATED.get(op, op) if negated else op, node.value)
    if negated and op not in NEGATED:
        test = _negated_test(op, node.value, test)

    def holds(row: object) -> bool:
        value = read(row)
        try:
            return value is not None and test(value)
        except (ArithmeticError, TypeError, ValueError):
            # Not a number in decimal, a time with a zone: no order, so the answer is unknown.
            return False

    return holds


def _value_test(op: Operation, value: Any) -> Test:
    """Whether the comparison is true of a value that is not null."""
    if op in _ORDER:
        return comparer(_ORDER[op], value)
    if op in _TEXT:
        matches = _TEXT[op](value)
        return lambda given: isinstance(given := plain(given), str) and matches(given)
    if op is Operation.BETWEEN:
        above, below = comparer(operator.ge, value[0]), comparer(operator.le, value[1])
        return lambda given: above(given) and below(given)
    return _members(cast("tuple[Scalar, ...]", value), wanted=op is Operation.IN)


def _negated_test(op: Operation, value: Any, test: Test) -> Test:
    if op is Operation.BETWEEN:
        below, above = comparer(operator.lt, value[0]), comparer(operator.gt, value[1])
        return lambda given: below(given) or above(given)
    return lambda given: isinstance(plain(given), str) and not test(given)


def _members(values: tuple[Scalar, ...], *, wanted: bool) -> Test:
    by_class: dict[type, set[Any]] = {}
    literals = [plain(value) for value in values]
    for literal in literals:
        by_class.setdefault(literal.__class__, set()).add(literal)
    single = len(by_class) == 1 and next(iter(by_class))

    def test(given: Any) -> bool:
        given = plain(given)
        # A set finds a value of the literals' own type; others are compared one by one.
        if given.__class__ is single:
            return (given in by_class[given.__class__]) is wanted
        comparable = True
        for literal in literals:
            pair = align(given, literal)
            if pair is None:
                comparable = False
            elif pair[0] == pair[1]:
                return wanted
        return comparable and not wanted

    return test


def _contains(part: str) -> Callable[[str], bool]:
    return lambda text: part in text


def _starts(part: str) -> Callable[[str], bool]:
    return lambda text: text.startswith(part)


def _ends(part: str) -> Callable[[str], bool]:
    return lambda text: text.endswith(part)


def _ilike(pattern: str) -> Callable[[str], bool]:
    return like(pattern, ignore_case=True)


_ORDER: Final[dict[Operation, Callable[[Any, Any], bool]]] = {
    Operation.EQUAL: operator.eq,
    Operation.NOT_EQUAL: operator.ne,
    Operation.GREATER_THAN: operator.gt,
    Operation.GREATER_EQUAL: operator.ge,
    Operation.LESS_THAN: operator.lt,
    Operation.LESS_EQUAL: operator.le,
}
_TEXT: Final[dict[Operation, Callable[[str], Callable[[str], bool]]]] = {
    Operation.LIKE: like,
    Operation.ILIKE: _ilike,
    Operation.CONTAINS: _contains,
    Operation.STARTSWITH: _starts,
    Operation.ENDSWITH: _ends,
}
# The comparison that is true exactly when another is false; unknown stays unknown.
NEGATED: Final = {
    Operation.EQUAL: Operation.NOT_EQUAL,
    Operation.NOT_EQUAL: Operation.EQUAL,
    Operation.GREATER_THAN: Operation.LESS_EQUAL,
    Operation.GREATER_EQUAL: Operation.LESS_THAN,
    Operation.LESS_THAN: Operation.GREATER_EQUAL,
    Operation.LESS_EQUAL: Operation.GREATER_THAN,
    Operation.IN: Operation.NOT_IN,
    Operation.NOT_IN: Operation.IN,
    Operation.IS_NULL: Operation.IS_NOT_NULL,
    Operation.IS_NOT_NULL: Operation.IS_NULL,
}
