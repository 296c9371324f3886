"""Evaluation in memory."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from varco_query._compare import align, comparer, plain
from varco_query._compiler import Leaves
from varco_query._errors import OperationNotSupportedError
from varco_query._node import AndNode, ComparisonNode, NotNode, TransformerNode
from varco_query._normal import normalize
from varco_query._operation import Operation, Takes, operator_of, taking
from varco_query._pattern import Pattern
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
        OperationNotSupportedError: Nobody knows an operation.
        UnknownFieldError: A row's class maps no such field; raised when a row is tested.
    """
    if node is None:
        return _accept_all
    entry = _steps(normalize(node))

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
    """The first step of a tree in normal form.

    A step is a test of a row, with the next step if it holds and if not.
    """
    tests = _Tests()
    # One frame for each open AND or OR: its parts from the last to the first, whether it is an
    # AND, and where it goes when it is true and when it is false.
    frames: list[tuple[Iterator[TransformerNode], bool, Any, Any]] = []
    node, yes, no = root, _ACCEPT, _REJECT
    entry: Any
    while True:
        if isinstance(node, ComparisonNode):
            entry = (tests.literal(node), yes, no)
        elif isinstance(node, NotNode):
            entry = (tests.literal(cast("ComparisonNode", node.child), negated=True), yes, no)
        else:
            conjunction = isinstance(node, AndNode)
            frames.append((reversed(node.children), conjunction, yes, no))
            entry = yes if conjunction else no
        while frames:
            parts, conjunction, yes, no = frames[-1]
            following = next(parts, None)
            if following is not None:
                node = following
                yes, no = (entry, no) if conjunction else (yes, entry)
                break
            frames.pop()
        else:
            return entry


class _Tests(Leaves[Test]):
    """Tests of rows."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    def _of(self, field: str, test: Test) -> Test:
        read = self._read(field)

        def holds(row: object) -> bool:
            value = read(row)
            try:
                return value is not None and test(value)
            except (ArithmeticError, TypeError, ValueError):
                # Not a number in decimal, a time with a zone: no order, so the answer is unknown.
                return False

        return holds

    def _read(self, field: str) -> Reader:
        read = self._readers.get(field)
        if read is None:
            read = self._readers[field] = reader(field)
        return read

    def relation(self, field: str, op: Operation, value: Any) -> Test:
        compare = operator_of(op).test
        if compare is None:
            raise OperationNotSupportedError(op, field, taking(Takes.VALUE))
        return self._of(field, comparer(compare, value))

    def null(self, field: str, *, wanted: bool) -> Test:
        read = self._read(field)
        return lambda row: (read(row) is None) is wanted

    def between(self, field: str, low: Any, high: Any, *, wanted: bool) -> Test:
        if wanted:
            above, below = comparer(operator.ge, low), comparer(operator.le, high)
            return self._of(field, lambda given: above(given) and below(given))
        under, over = comparer(operator.lt, low), comparer(operator.gt, high)
        return self._of(field, lambda given: under(given) or over(given))

    def text(self, field: str, pattern: Pattern, *, wanted: bool) -> Test:
        matches = pattern.matcher()

        def test(given: Any) -> bool:
            given = plain(given)
            return isinstance(given, str) and matches(given) is wanted

        return self._of(field, test)

    def members(self, field: str, values: tuple[Any, ...], *, wanted: bool) -> Test:
        if not values:
            return lambda _row: not wanted
        return self._of(field, _members(values, wanted=wanted))


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
