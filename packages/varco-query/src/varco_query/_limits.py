"""How large a query may be."""

from dataclasses import dataclass, fields

from varco_query._errors import InvalidNodeError, QueryLimitError
from varco_query._node import AndNode, ComparisonNode, NotNode, OrNode, TransformerNode


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query from outside may ask for at most.

    Attributes:
        max_length: Characters of a filter, and of a sort.
        max_depth: How deep parentheses and NOT may nest.
        max_terms: Comparisons in a filter.
        max_items: Values in one list.
        max_digits: Characters of a number, at most 4200.
        max_sort: Keys of a sort.
        max_limit: The largest `limit`.
        max_offset: The largest `offset`.
    """

    max_length: int = 65_536
    max_depth: int = 64
    max_terms: int = 1_000
    max_items: int = 1_000
    max_digits: int = 100
    max_sort: int = 16
    max_limit: int = 1_000
    max_offset: int = 1_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if type(value) is not int or value < 0:
                raise InvalidNodeError(f"{field.name} {value!r} is no whole number from 0")
        if self.max_digits > 4_200:  # noqa: PLR2004  # what Python itself converts
            raise InvalidNodeError(f"max_digits {self.max_digits} is over 4200")

    def check(self, node: TransformerNode) -> TransformerNode:
        """The node itself, when it is within the limits; for trees that did not come from text.

        Raises:
            QueryLimitError: It has too many terms, too long a list, or nests too deep.
        """
        terms = 0
        stack: list[tuple[TransformerNode, TransformerNode | None, int]] = [(node, None, 0)]
        while stack:
            each, parent, depth = stack.pop()
            if isinstance(each, ComparisonNode):
                terms += 1
                if terms > self.max_terms:
                    raise QueryLimitError("max_terms", self.max_terms)
                if isinstance(each.value, tuple) and len(each.value) > self.max_items:
                    raise QueryLimitError("max_items", self.max_items, len(each.value))
                continue
            depth += _nests(each, parent)
            if depth > self.max_depth:
                raise QueryLimitError("max_depth", self.max_depth)
            stack.extend((child, each, depth) for child in each.children)
        return node


def _nests(node: TransformerNode, parent: TransformerNode | None) -> bool:
    """Whether the language writes it with parentheses or NOT."""
    if isinstance(node, NotNode) or len(node.children) < 2:  # noqa: PLR2004  # ALL(a), ANY()
        return True
    return not (parent is None or (isinstance(node, AndNode) and isinstance(parent, OrNode)))
