"""What every compiler of filters has in common; one is made by supplying the leaves."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, cast

from varco_query._errors import OperationNotSupportedError
from varco_query._fold import fold_case
from varco_query._node import AndNode, ComparisonNode, OrNode, TransformerNode
from varco_query._normal import Junction, Nesting, fold, normalize, shallow
from varco_query._operation import Operation, Operator, Takes, operator_of, taking
from varco_query._pattern import Pattern
from varco_query._place import Placed, Stored, rounding_to

_MOST: Final = 32_000


class Leaves[T](ABC):
    """What a comparison, or its negation, comes to: one method for each kind of value.

    Every result is to be true exactly where the comparison is; where it is false or unknown, so is
    the result. Unknown is what is asked of null, or of a value of another kind, negated or not.
    """

    def literal(self, node: ComparisonNode, negated: bool = False) -> T:  # see `fold`
        """The result of a comparison, or of its negation.

        Raises:
            OperationNotSupportedError: The operation has no record.
        """
        field, op, value = node.field, node.op, cast("Any", node.value)
        operator = operator_of(op)
        wanted = operator.wanted is not negated
        match operator.takes:
            case Takes.VALUE:
                return self.relation(field, _negation(op, operator) if negated else op, value)
            case Takes.LIST:
                return self.members(field, value, wanted=wanted)
            case Takes.NOTHING:
                return self.null(field, wanted=wanted)
            case Takes.PAIR:
                return self.between(field, *value, wanted=wanted)
            case Takes.TEXT | Takes.PATTERN:
                return self.text(field, pattern_of(op, operator, value), wanted=wanted)

    @abstractmethod
    def relation(self, field: str, op: Operation, value: Any) -> T:
        """`field op value`."""
        raise NotImplementedError

    @abstractmethod
    def members(self, field: str, values: tuple[Any, ...], *, wanted: bool) -> T:
        """The field is one of the values; not wanted: it is none."""
        raise NotImplementedError

    @abstractmethod
    def null(self, field: str, *, wanted: bool) -> T:
        """The field is null; not wanted: it is not null."""
        raise NotImplementedError

    @abstractmethod
    def between(self, field: str, low: Any, high: Any, *, wanted: bool) -> T:
        """The field is from `low` to `high`; not wanted: it is less or greater."""
        raise NotImplementedError

    @abstractmethod
    def text(self, field: str, pattern: Pattern, *, wanted: bool) -> T:
        """The field is text that matches; not wanted: it is text that does not."""
        raise NotImplementedError


def pattern_of(op: Operation, operator: Operator, text: str) -> Pattern:
    """What an operation on text asks of the text of a field."""
    if operator.tokens is None:
        raise OperationNotSupportedError(op, None, taking(Takes.TEXT, Takes.PATTERN))
    return Pattern(operator.tokens(fold_case(text) if operator.folds else text), operator.folds)


def _negation(op: Operation, operator: Operator) -> Operation:
    if operator.negation is None:
        raise OperationNotSupportedError(f"NOT {op}", None, taking(Takes.VALUE))
    return operator.negation


class Compiler[T](Leaves[T]):
    """Compiles filters for an engine that stores each field in one type.

    A subclass says how its fields are stored, and supplies `compare`, `contains`, `matches`, `null`
    and `join`. They are asked only for what the field can hold: literals are placed among its
    values before. What they keep is theirs to protect.

    Attributes:
        nesting: How deep the engine lets groups nest; None for any depth.
        most: How many comparisons `shallow` may make.
    """

    nesting: ClassVar[Nesting | None] = None
    most: ClassVar[int] = _MOST

    def compile(self, node: TransformerNode) -> T:
        """What a filter comes to. Never recurses on the depth of the filter.

        Raises:
            OperationNotSupportedError: A field does not allow an operation, or nobody knows it.
            QueryLimitError: The filter nests too deep for the engine and cannot be made shallow.
        """
        nesting = self.nesting
        if nesting is None or isinstance(node, ComparisonNode):
            return fold(node, self.literal, self.join)
        depth, result = fold(node, self._measured, self._join_measured)
        if depth <= nesting.limit:
            return result
        node = shallow(normalize(node), nesting, self.most)
        return fold(node, self._measured, self._join_measured)[1]

    def _measured(self, node: ComparisonNode, negated: bool) -> tuple[int, T]:  # see `fold`
        return -1, self.literal(node, negated)

    def _join_measured(self, kind: Junction, parts: list[tuple[int, T]]) -> tuple[int, T]:
        depths = [depth for depth, _ in parts]
        if max(depths, default=-1) >= 0:
            # The deepest first: a parser has nothing open then but the parentheses around it.
            parts.sort(key=_by_depth, reverse=True)
            depths.sort(reverse=True)
        nesting = cast("Nesting", self.nesting)
        return nesting.of(kind, depths), self.join(kind, [result for _, result in parts])

    @abstractmethod
    def stored(self, field: str) -> Stored:
        """How the values of a field are stored; raises for a field that there is not."""
        raise NotImplementedError

    @abstractmethod
    def compare(self, field: str, op: Operation, value: Any) -> T:
        """`field op value` of a value that the field can hold; `op` is one of the six relations."""
        raise NotImplementedError

    @abstractmethod
    def contains(self, field: str, values: Sequence[Any], *, wanted: bool) -> T:
        """Whether the field is among different values, at least one, all of which it can hold.

        Not wanted: it is not null and not among them.
        """
        raise NotImplementedError

    @abstractmethod
    def matches(self, field: str, pattern: Pattern, *, wanted: bool) -> T:
        """Whether a field of text matches; not wanted: it is not null and does not match."""
        raise NotImplementedError

    @abstractmethod
    def join(self, kind: Junction, parts: list[T]) -> T:
        """All of the parts (`AndNode`) or one of them (`OrNode`); of no parts, true or false."""
        raise NotImplementedError

    def literal(self, node: ComparisonNode, negated: bool = False) -> T:  # see `fold`
        """The result of a comparison, or of its negation.

        Raises:
            OperationNotSupportedError: Nobody knows the operation, or the field does not allow it.
        """
        if not self.stored(node.field).comparable and node.op not in taking(Takes.NOTHING):
            raise OperationNotSupportedError(node.op, node.field, taking(Takes.NOTHING))
        return super().literal(node, negated)

    def relation(self, field: str, op: Operation, value: Any) -> T:
        """`compare`, with the literal placed among the values of the field."""
        stored = self.stored(field)
        if stored.decimal and isinstance(value, float):
            return self._relation_to_float(field, op, value)
        placed = stored.place(value)
        if placed is None:
            return self.join(OrNode, [])
        if placed.exact:
            return self.compare(field, op, placed.value)
        return self._relation_above(field, op, placed)

    def _relation_above(self, field: str, op: Operation, below: Placed) -> T:
        """A relation to what is right above a value that the field can hold."""
        if op is Operation.EQUAL:
            return self.join(OrNode, [])
        if op is Operation.NOT_EQUAL:
            return self.null(field, wanted=False)
        greater = op in _GREATER
        if below.value is None:
            return self.null(field, wanted=False) if greater else self.join(OrNode, [])
        nearest = Operation.GREATER_THAN if greater else Operation.LESS_EQUAL
        return self.compare(field, nearest, below.value)

    def _relation_to_float(self, field: str, op: Operation, value: float) -> T:
        low, high, both = rounding_to(value)
        from_low, to_high = _INCLUDED if both else _EXCLUDED
        below, above = (_negation(each, operator_of(each)) for each in (from_low, to_high))
        match op:
            case Operation.EQUAL:
                ends = [self.relation(field, from_low, low), self.relation(field, to_high, high)]
                return self.join(AndNode, ends)
            case Operation.NOT_EQUAL:
                ends = [self.relation(field, below, low), self.relation(field, above, high)]
                return self.join(OrNode, ends)
            case Operation.LESS_THAN:
                return self.relation(field, below, low)
            case Operation.LESS_EQUAL:
                return self.relation(field, to_high, high)
            case Operation.GREATER_THAN:
                return self.relation(field, above, high)
            case _:
                return self.relation(field, from_low, low)

    def between(self, field: str, low: Any, high: Any, *, wanted: bool) -> T:
        """Two relations."""
        ops, kind = (_INCLUDED, AndNode) if wanted else (_OUTSIDE, OrNode)
        return self.join(
            kind, [self.relation(field, ops[0], low), self.relation(field, ops[1], high)]
        )

    def members(self, field: str, values: tuple[Any, ...], *, wanted: bool) -> T:
        """`contains`, of those of the values that the field can hold."""
        if not values:
            return self.join(OrNode if wanted else AndNode, [])
        stored = self.stored(field)
        floats: list[float] = []
        found: list[Placed] = []
        for value in values:
            if stored.decimal and isinstance(value, float):
                floats.append(value)
            elif (placed := stored.place(value)) is not None:
                found.append(placed)
        strange = len(found) + len(floats) < len(values)
        if (strange and not wanted) or not (found or floats):
            # What compares with nothing is not known to be absent either.
            return self.join(OrNode, [])
        exact = list(dict.fromkeys([each.value for each in found if each.exact]))
        if not exact and not floats:
            return self.join(OrNode, []) if wanted else self.null(field, wanted=False)
        parts = [self.contains(field, exact, wanted=wanted)] if exact else []
        op = Operation.EQUAL if wanted else Operation.NOT_EQUAL
        parts += [self._relation_to_float(field, op, each) for each in floats]
        return parts[0] if len(parts) == 1 else self.join(OrNode if wanted else AndNode, parts)

    def text(self, field: str, pattern: Pattern, *, wanted: bool) -> T:
        """`matches`, of a field that holds text."""
        if not self.stored(field).text:
            return self.join(OrNode, [])
        return self.matches(field, pattern, wanted=wanted)


# The ends of what is between two values, both with them and both without, and of what is not.
_INCLUDED: Final = (Operation.GREATER_EQUAL, Operation.LESS_EQUAL)
_EXCLUDED: Final = (Operation.GREATER_THAN, Operation.LESS_THAN)
_OUTSIDE: Final = (Operation.LESS_THAN, Operation.GREATER_THAN)
_GREATER: Final = frozenset({Operation.GREATER_THAN, Operation.GREATER_EQUAL})


def _by_depth(part: tuple[int, Any]) -> int:
    return part[0]
