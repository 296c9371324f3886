"""A smaller tree that selects the same rows."""

from typing import Final, cast

from varco_query._evaluate import NEGATED
from varco_query._node import (
    AndNode,
    ComparisonNode,
    NotNode,
    OrNode,
    TransformerNode,
    trusted_comparison,
)
from varco_query._operation import Operation
from varco_query._value import Scalar

type _Kind = type[AndNode | OrNode]

# The operations that a list of values can stand for, in OR and in AND.
_MERGED: Final[dict[_Kind, tuple[Operation, Operation]]] = {
    OrNode: (Operation.EQUAL, Operation.IN),
    AndNode: (Operation.NOT_EQUAL, Operation.NOT_IN),
}


def optimize(node: TransformerNode) -> TransformerNode:
    """The tree with negations at the comparisons, nothing nested, twice or constant.

    True, false and unknown stay what they are for every row, so it may stand inside another tree.
    `a = 1 OR a = 2` becomes `a IN (1, 2)`; a tree that is always true becomes `AndNode()`, one that
    is always false `OrNode()`.
    """
    done: list[TransformerNode] = []
    # A node, whether it is negated, and the kind it stands in; or a kind that is complete, with
    # the place in `done` where its children begin.
    todo: list[tuple[TransformerNode, bool, _Kind | None] | tuple[_Kind, int]] = [
        (node, False, None)
    ]
    while todo:
        item = todo.pop()
        if len(item) == 2:  # noqa: PLR2004  # the complete kind
            kind, start = item
            children = done[start:]
            done[start:] = [_simplify(kind, children)]
            continue
        each, negated, around = item
        if isinstance(each, ComparisonNode):
            done.append(_comparison(each, negated=negated))
        elif isinstance(each, NotNode):
            todo.append((each.child, not negated, around))
        elif len(each.children) == 1:
            todo.append((each.children[0], negated, around))
        else:
            kind = AndNode if isinstance(each, AndNode) is not negated else OrNode
            if kind is not around:
                todo.append((kind, len(done)))
            todo.extend((child, negated, kind) for child in reversed(each.children))
    return done[0]


def _comparison(node: ComparisonNode, *, negated: bool) -> TransformerNode:
    op, value = node.op, node.value
    if negated:
        if op not in NEGATED:
            return NotNode(node)
        op = NEGATED[op]
    if op is Operation.IN or op is Operation.NOT_IN:
        values = _distinct(cast("tuple[Scalar, ...]", value))
        if not values:
            return OrNode() if op is Operation.IN else AndNode()
        if len(values) == 1:
            op = Operation.EQUAL if op is Operation.IN else Operation.NOT_EQUAL
            return trusted_comparison(node.field, op, values[0])
        value = values
    if op is node.op and value is node.value:
        return node
    return trusted_comparison(node.field, op, value)


def _distinct(values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    # By type as well: 1, 1.0 and true are three values.
    return tuple({(type(value), value): value for value in values}.values())


def _simplify(kind: _Kind, children: list[TransformerNode]) -> TransformerNode:
    other: _Kind = OrNode if kind is AndNode else AndNode
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


def _spliced(kind: _Kind, children: list[TransformerNode]) -> list[TransformerNode]:
    if not any(isinstance(child, kind) for child in children):
        return children
    spliced: list[TransformerNode] = []
    for child in children:
        spliced.extend(child.children if isinstance(child, kind) else (child,))
    return spliced
