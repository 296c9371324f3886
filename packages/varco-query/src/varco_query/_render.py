"""From a tree to text of the language."""

import re
from typing import TYPE_CHECKING, Final, cast

from varco_query._literals import literal
from varco_query._node import AndNode, ComparisonNode, NotNode, OrNode, TransformerNode
from varco_query._operation import Takes, operator_of
from varco_query._table import TERMINALS

if TYPE_CHECKING:
    from varco_query._value import Scalar

# No field holds a back quote: one that matches needs none around it.
_BARE: Final = re.compile(TERMINALS["FIELD"])


def render(node: TransformerNode) -> str:
    """The filter that parses to the tree."""
    out: list[str] = []
    stack: list[str | tuple[TransformerNode, TransformerNode | None]] = [(node, None)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        each, parent = item
        if isinstance(each, ComparisonNode):
            out.append(_comparison(each))
        elif isinstance(each, NotNode):
            stack += [(each.child, each), "NOT "]
        else:
            word = "AND" if isinstance(each, AndNode) else "OR"
            if len(each.children) < 2:  # noqa: PLR2004  # nothing for a word to join
                opening, joint, closing = "ALL(" if word == "AND" else "ANY(", "", ")"
            elif parent is None or (word == "AND" and isinstance(parent, OrNode)):
                opening, joint, closing = "", f" {word} ", ""
            else:
                opening, joint, closing = "(", f" {word} ", ")"
            stack.append(closing)
            for index in range(len(each.children) - 1, -1, -1):
                stack.append((each.children[index], each))
                if index:
                    stack.append(joint)
            stack.append(opening)
    return "".join(out)


def _comparison(node: ComparisonNode) -> str:
    field = node.field if _BARE.fullmatch(node.field) else f"`{node.field}`"
    operator = operator_of(node.op)
    match operator.takes:
        case Takes.NOTHING:
            return f"{field} {operator.words}"
        case Takes.LIST:
            values = ", ".join(map(literal, cast("tuple[Scalar, ...]", node.value)))
            return f"{field} {operator.words} ({values})"
        case Takes.PAIR:
            low, high = map(literal, cast("tuple[Scalar, Scalar]", node.value))
            return f"{field} {operator.words} {low} AND {high}"
        case Takes.VALUE | Takes.TEXT | Takes.PATTERN:
            return f"{field} {operator.words} {literal(cast('Scalar', node.value))}"
