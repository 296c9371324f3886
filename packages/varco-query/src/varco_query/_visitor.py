"""Visitors that do not recurse."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from varco_query._errors import InvalidNodeError
from varco_query._node import (
    AndNode,
    ComparisonNode,
    NotNode,
    OrNode,
    TransformerNode,
    postorder,
    rebuild,
)


class ASTVisitor[T](ABC):
    """Computes a result for a tree from the bottom up, without recursion.

    `args` are the results of the children, in their order. Has no state of its own: one visitor
    may serve several threads unless the subclass keeps state.
    """

    def visit(self, node: TransformerNode) -> T:
        """The result for the whole tree."""
        results: list[T] = []
        for each in postorder(node):
            if isinstance(each, ComparisonNode):
                results.append(self.visit_comparison(each))
                continue
            split = len(results) - len(each.children)
            args = results[split:]
            del results[split:]
            if isinstance(each, AndNode):
                results.append(self.visit_and(each, args))
            elif isinstance(each, OrNode):
                results.append(self.visit_or(each, args))
            elif isinstance(each, NotNode):
                results.append(self.visit_not(each, args[0]))
            else:
                results.append(self.generic_visit(each))
        return results[0]

    def generic_visit(self, node: TransformerNode) -> T:
        """The result for a node that is none of these kinds; override it for your own.

        Raises:
            InvalidNodeError: Always, unless overridden.
        """
        raise InvalidNodeError(
            f"{type(self).__name__} knows no {type(node).__name__}; override generic_visit"
        )

    @abstractmethod
    def visit_comparison(self, node: ComparisonNode) -> T:
        """The result for a comparison."""

    @abstractmethod
    def visit_and(self, node: AndNode, args: Sequence[T]) -> T:
        """The result for an AND."""

    @abstractmethod
    def visit_or(self, node: OrNode, args: Sequence[T]) -> T:
        """The result for an OR."""

    @abstractmethod
    def visit_not(self, node: NotNode, arg: T) -> T:
        """The result for a NOT."""


class ASTTransformer(ASTVisitor[TransformerNode]):
    """A visitor that gives a tree; override what should change.

    A subtree in which nothing changed is kept as the object it was.
    """

    def visit_comparison(self, node: ComparisonNode) -> TransformerNode:
        """The comparison as it is."""
        return node

    def visit_and(self, node: AndNode, args: Sequence[TransformerNode]) -> TransformerNode:
        """The AND of the children's results."""
        return _replace(node, args)

    def visit_or(self, node: OrNode, args: Sequence[TransformerNode]) -> TransformerNode:
        """The OR of the children's results."""
        return _replace(node, args)

    def visit_not(self, node: NotNode, arg: TransformerNode) -> TransformerNode:
        """The NOT of the child's result."""
        return _replace(node, (arg,))


def _replace(node: TransformerNode, args: Sequence[TransformerNode]) -> TransformerNode:
    if all(new is old for new, old in zip(args, node.children, strict=True)):
        return node
    return rebuild(node.type, tuple(args))
