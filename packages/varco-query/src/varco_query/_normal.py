"""The normal form: AND and OR of comparisons, and of negations that no comparison stands for.

Such a tree is true exactly when it is true with "unknown" read as "false": two values suffice, and
a group is true when a part of it is replaced by what that part implies.
"""

from collections.abc import Callable
from dataclasses import dataclass

from varco_query._errors import QueryLimitError
from varco_query._limits import Limits
from varco_query._node import (
    AndNode,
    ComparisonNode,
    NotNode,
    OrNode,
    TransformerNode,
    conjunction,
    disjunction,
    postorder,
    trusted_comparison,
)
from varco_query._operation import operator_of

type Junction = type[AndNode | OrNode]
"""The class of a junction: `AndNode` or `OrNode`."""


def fold[T](
    node: TransformerNode,
    literal: Callable[[ComparisonNode, bool], T],
    join: Callable[[Junction, list[T]], T],
) -> T:
    """What the normal form of a tree comes to, from the bottom up and without recursion.

    Negations are at the comparisons; an AND holds no AND, an OR no OR, and neither a single part,
    but for what an AND or OR without parts leaves behind.

    Args:
        node: Any tree.
        literal: Gives the result of a comparison, or of its negation.
        join: Gives that of an AND or OR from those of its parts, in their order.
    """
    if isinstance(node, ComparisonNode):
        return literal(node, False)  # as the name of the parameter says
    done: list[T] = []
    # A node, whether it is negated, and the kind it stands in; or a kind that is complete, with
    # the place in `done` where its parts begin.
    todo: list[tuple[TransformerNode, bool, Junction | None] | tuple[Junction, int]] = [
        (node, False, None)
    ]
    while todo:
        item = todo.pop()
        if len(item) == 2:  # noqa: PLR2004  # the complete kind
            kind, start = item
            parts = done[start:]
            done[start:] = [join(kind, parts)]
            continue
        each, negated, around = item
        if isinstance(each, ComparisonNode):
            done.append(literal(each, negated))
        elif isinstance(each, NotNode):
            todo.append((each.child, not negated, around))
        elif len(each.children) == 1:
            todo.append((each.children[0], negated, around))
        else:
            kind = AndNode if isinstance(each, AndNode) is not negated else OrNode
            if kind is not around:
                todo.append((kind, len(done)))
            todo.extend([(child, negated, kind) for child in reversed(each.children)])
    return done[0]


def normalize(node: TransformerNode) -> TransformerNode:
    """The normal form of a tree, as a tree.

    Raises:
        OperationNotSupportedError: A comparison has an operation without a record.
    """
    return fold(node, literal_node, _junction)


def literal_node(node: ComparisonNode, negated: bool) -> TransformerNode:  # see `fold`
    """The comparison, or the one that is true exactly where it is false, or its NOT."""
    negation = operator_of(node.op).negation
    if not negated:
        return node
    if negation is None:
        return NotNode(node)
    return trusted_comparison(node.field, negation, node.value)


def _junction(kind: Junction, parts: list[TransformerNode]) -> TransformerNode:
    return conjunction(parts) if kind is AndNode else disjunction(parts)


@dataclass(frozen=True, slots=True)
class Nesting:
    """How deep an engine lets groups nest, and what it counts.

    Attributes:
        limit: The most it can take.
        level: What any group within another costs.
        parenthesis: What an OR within an AND costs besides.
        word: What a group costs besides that does not stand first among its parts.
    """

    limit: int
    level: int = 1
    parenthesis: int = 0
    word: int = 0

    def of(self, kind: Junction, depths: list[int]) -> int:
        """The depth of a group from those of its parts, deepest first; a comparison has -1."""
        around = self.level + (self.parenthesis if kind is AndNode else 0)
        worst = [depth + around for depth in depths[:1] if depth >= 0]
        worst += [depth + around + self.word for depth in depths[1:2] if depth >= 0]
        return max(worst, default=0)


def shallow(node: TransformerNode, nesting: Nesting, most: int) -> TransformerNode:
    """A tree that is true of the same rows as one in normal form, and within the nesting.

    Of a group G in a tree F, F is true where F is true without G, or G and F without asking for G:
    parts of the tree come to stand in it several times.

    Raises:
        QueryLimitError: It cannot be done with `most` comparisons.
    """
    left = most

    def split(node: TransformerNode, limit: int) -> TransformerNode:
        nonlocal left
        depths = _depths(node, nesting)
        left -= len(depths)
        depth = depths[id(node)]
        if depth <= limit:
            return node
        inner = limit - 2 * (nesting.level + nesting.word) - nesting.parenthesis
        if left < 0 or inner <= 0:
            raise QueryLimitError("max_depth", Limits().max_depth)
        path = [node]
        while depths[id(path[-1])] > depth // 2:
            path.append(max(path[-1].children, key=lambda each: depths[id(each)]))
        group = path.pop()
        without, within = _replaced(path, group, OrNode()), _replaced(path, group, AndNode())
        return OrNode(split(without, inner), AndNode(split(group, inner), split(within, inner)))

    return normalize(split(node, nesting.limit))


def _depths(node: TransformerNode, nesting: Nesting) -> dict[int, int]:
    depths: dict[int, int] = {}
    for each in postorder(node):
        if isinstance(each, ComparisonNode | NotNode):
            depths[id(each)] = -1
        else:
            kind = AndNode if isinstance(each, AndNode) else OrNode
            parts = sorted([depths[id(part)] for part in each.children], reverse=True)
            depths[id(each)] = nesting.of(kind, parts)
    return depths


def _replaced(
    path: list[TransformerNode], old: TransformerNode, new: TransformerNode
) -> TransformerNode:
    """The first of a path whose last holds `old`, with a constant in its place."""
    for each in reversed(path):
        ends = isinstance(each, AndNode) is isinstance(new, OrNode)
        rest = [part for part in each.children if part is not old]
        if not new.children and ends:
            continue_with: TransformerNode = new
        else:
            parts = rest if not new.children else [*rest, new]
            continue_with = AndNode(*parts) if isinstance(each, AndNode) else OrNode(*parts)
        old, new = each, continue_with
    return normalize(new)
