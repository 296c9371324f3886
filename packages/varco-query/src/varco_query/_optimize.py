"""A smaller tree that selects the same rows."""

from typing import Final, cast

from varco_query._node import (
    AndNode,
    ComparisonNode,
    OrNode,
    TransformerNode,
    trusted_comparison,
)
from varco_query._normal import Junction, fold, literal_node
from varco_query._operation import Operation, Takes, operator_of
from varco_query._value import Scalar

# The operations that a list of values can stand for, in OR and in AND.
_MERGED: Final[dict[Junction, tuple[Operation, Operation]]] = {
    OrNode: (Operation.EQUAL, Operation.IN),
    AndNode: (Operation.NOT_EQUAL, Operation.NOT_IN),
}


def optimize(node: TransformerNode) -> TransformerNode:
    """The tree with negations at the comparisons, nothing nested, twice or constant.

    True, false and unknown stay what they are for every row, so it may stand inside another tree.
    `a = 1 OR a = 2` becomes `a IN (1, 2)`; a tree that is always true becomes `AndNode()`, one that
    is always false `OrNode()`.
    """
    return fold(node, _literal, _simplify)


def _literal(node: ComparisonNode, negated: bool) -> TransformerNode:  # see `fold`
    literal = literal_node(node, negated)
    if not isinstance(literal, ComparisonNode) or operator_of(literal.op).takes is not Takes.LIST:
        return literal
    wanted = operator_of(literal.op).wanted
    given = cast("tuple[Scalar, ...]", literal.value)
    values = _distinct(given)
    if not values:
        return OrNode() if wanted else AndNode()
    if len(values) == 1:
        op = Operation.EQUAL if wanted else Operation.NOT_EQUAL
        return trusted_comparison(literal.field, op, values[0])
    return trusted_comparison(literal.field, literal.op, values)


def _distinct(values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    # By type as well: 1, 1.0 and true are three values.
    return tuple({(type(value), value): value for value in values}.values())


def _simplify(kind: Junction, children: list[TransformerNode]) -> TransformerNode:
    other: Junction = OrNode if kind is AndNode else AndNode
    single, listed = _MERGED[kind]
    # The children, each once, in their order; a field's merged values stand where the first was.
    kept: dict[object, TransformerNode] = {}
    values: dict[str, list[Scalar]] = {}
    for child in _spliced(kind, children):
        if isinstance(child, other) and not child.children:
            return child
        if isinstance(child, ComparisonNode) and child.op in {single, listed}:
            of_field = values.setdefault(child.field, [])
            if child.op is single:
                of_field.append(cast("Scalar", child.value))
            else:
                of_field.extend(cast("tuple[Scalar, ...]", child.value))
            kept.setdefault(child.field, child)
        else:
            kept.setdefault(child, child)
    for field, merged in values.items():
        distinct = _distinct(tuple(merged))
        if len(distinct) > 1:
            kept[field] = trusted_comparison(field, listed, distinct)
    result = list(kept.values())
    return result[0] if len(result) == 1 else kind(*result)


def _spliced(kind: Junction, children: list[TransformerNode]) -> list[TransformerNode]:
    if not any(isinstance(child, kind) for child in children):
        return children
    spliced: list[TransformerNode] = []
    for child in children:
        spliced.extend(child.children if isinstance(child, kind) else (child,))
    return spliced
