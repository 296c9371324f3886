"""What type checkers see; mypy reads this, nothing runs it."""

from collections.abc import Callable, Sequence
from typing import Any, assert_type

from varco_query import (
    AndNode,
    ASTTransformer,
    ASTVisitor,
    ComparisonNode,
    F,
    Field,
    NotNode,
    Operation,
    OrNode,
    QueryBuilder,
    QueryParams,
    QueryParser,
    QuerySchema,
    SortField,
    TransformerNode,
    compile_predicate,
    sort_rows,
)


class Count(ASTVisitor[int]):
    def visit_comparison(self, node: ComparisonNode) -> int:
        return 1

    def visit_and(self, node: AndNode, args: Sequence[int]) -> int:
        return sum(args)

    def visit_or(self, node: OrNode, args: Sequence[int]) -> int:
        return sum(args)

    def visit_not(self, node: NotNode, arg: int) -> int:
        return arg


def check(node: TransformerNode) -> None:
    assert_type(F.title, Field[Any])
    assert_type(F.pk == 1, ComparisonNode)
    assert_type(F.pk > 1, ComparisonNode)
    assert_type(Field[int]("pk").between(1, 2), ComparisonNode)
    Field[int]("pk").between("x", 1)  # type: ignore[arg-type]
    Field[int]("pk").in_(["x"])  # type: ignore[list-item]
    assert_type(node & node, AndNode)
    assert_type(node | node, OrNode)
    assert_type(~node, NotNode)
    assert_type(Count().visit(node), int)
    assert_type(ASTTransformer().visit(node), TransformerNode)
    assert_type(QueryBuilder().eq("a", 1).and_().gt("b", 2), QueryBuilder)
    assert_type(QueryBuilder().build(), TransformerNode | None)
    assert_type(QueryParser().parse("a = 1", limit=1), QueryParams)
    assert_type(QueryParser(QuerySchema({"a": int})).parse_node("a = 1"), TransformerNode)
    assert_type(QueryParams(node).sort, tuple[SortField, ...])
    assert_type(ComparisonNode("a", Operation.EQUAL, 1), ComparisonNode)
    assert_type(compile_predicate(node), Callable[[object], bool])
    assert_type(sort_rows([1, 2], [F.a.asc()]), list[int])
