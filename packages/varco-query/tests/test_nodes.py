import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum

import pytest
from hypothesis import given

from varco_query import (
    AndNode,
    ASTTransformer,
    ASTVisitor,
    ComparisonNode,
    CursorCodec,
    F,
    InvalidNodeError,
    Limits,
    NotNode,
    Operation,
    OperationNotSupportedError,
    OrNode,
    QueryParams,
    QueryParser,
    QuerySchema,
    UnknownFieldError,
    compile_predicate,
    from_json,
    optimize,
    render,
    to_json,
    walk,
)
from varco_query.testing import nodes

EQ = Operation.EQUAL
A, B = F.a == 1, F.b == 2


def test_nodes_are_values():
    assert ComparisonNode("a", EQ, 1) == A
    assert AndNode(A, B) != AndNode(B, A) != OrNode(B, A)
    assert {AndNode(A, B), AndNode(A, B), OrNode(A, B)} == {AndNode(A, B), OrNode(A, B)}
    assert A != "a = 1"
    match NotNode(A):
        case NotNode(ComparisonNode(field, op, value)):
            assert (field, op, value) == ("a", EQ, 1)


def test_true_one_and_one_point_nought_differ():
    values = (1, True, 1.0, Decimal(1))
    assert len({ComparisonNode("a", EQ, value) for value in values}) == 4
    assert len({ComparisonNode("a", Operation.IN, [value]) for value in values}) == 4


@pytest.mark.parametrize("node", [A, AndNode(A), NotNode(A)])
def test_nodes_are_immutable(node):
    for name in ("field", "children", "other", "_hash"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(node, name, ())
        with pytest.raises(AttributeError, match="immutable"):
            delattr(node, name)


def test_a_list_that_changes_later_does_not_change_the_node():
    values = [1, 2]
    node = F.a.in_(values)
    values.append(3)
    assert node.value == (1, 2)


def test_and_or_of_operators_stay_flat():
    assert AndNode(A, B, A) == A & B & A
    assert OrNode(A, B, A) == A | B | A
    assert NotNode(A) == ~A
    with pytest.raises(TypeError):
        A & 1
    with pytest.raises(TypeError):
        A | None


def test_a_node_has_no_truth_value():
    with pytest.raises(TypeError, match="use &"):
        bool(A)


class Color(Enum):
    RED = "red"


class Word(StrEnum):
    X = "x"


class Level(IntEnum):
    LOW = 1


def test_values_are_kept_in_their_plain_form():
    plus_two = timezone(timedelta(hours=2))
    for given_, kept in [
        (Color.RED, "red"),
        (Word.X, "x"),
        (Level.LOW, 1),
        (type("Text", (str,), {})("t"), "t"),
        (datetime(2026, 1, 1, 2, tzinfo=plus_two), datetime(2026, 1, 1, tzinfo=UTC)),
    ]:
        value = ComparisonNode("a", EQ, given_).value
        assert (value, type(value)) == (kept, type(kept))
    assert ComparisonNode("a", Operation.IN, {1}).value == (1,)
    assert ComparisonNode("a", Operation.IN, iter([1])).value == (1,)
    assert ComparisonNode("a", "=", 1) == A


def test_null_is_asked_for_in_one_way():
    assert (F.a == None) == ComparisonNode("a", Operation.IS_NULL)  # noqa: E711  # builds a node
    assert (F.a != None) == ComparisonNode("a", Operation.IS_NOT_NULL)  # noqa: E711  # likewise


@pytest.mark.parametrize(
    ("op", "value"),
    [
        (EQ, object()),
        (EQ, {}),
        (EQ, [1]),
        (EQ, b"x"),
        (EQ, float("nan")),
        (EQ, float("inf")),
        (EQ, Decimal("NaN")),
        (EQ, Decimal("sNaN")),
        (EQ, Decimal("-Infinity")),
        (EQ, Decimal("1e100000")),
        (EQ, Decimal("1e-100000")),
        pytest.param(EQ, 10**5000, id="5001 digits"),
        (EQ, "a\0b"),
        (EQ, "\ud800"),
        (Operation.LESS_THAN, None),
        (Operation.LIKE, 1),
        (Operation.LIKE, None),
        (Operation.LIKE, "a\\"),
        (Operation.LIKE, "a\\\\\\"),
        (Operation.CONTAINS, 1),
        (Operation.IN, "ab"),
        (Operation.IN, 1),
        (Operation.IN, None),
        (Operation.IN, [None]),
        (Operation.IN, [[1]]),
        (Operation.NOT_IN, [1, None]),
        (Operation.BETWEEN, [1]),
        (Operation.BETWEEN, [1, 2, 3]),
        (Operation.IS_NULL, 1),
        (Operation.IS_NOT_NULL, False),
    ],
)
def test_what_means_nothing_is_refused(op, value):
    with pytest.raises(InvalidNodeError):
        ComparisonNode("a", op, value)


def test_no_such_operation():
    with pytest.raises(OperationNotSupportedError, match="IS_NULL"):
        ComparisonNode("a", "~", 1)


@pytest.mark.parametrize(
    "field",
    ["", ".", "a.", ".a", "a..b", "a b", "1a", "__class__", "a.__init__.x", "a-b", "a;b", 1],
)
def test_what_is_no_field(field):
    with pytest.raises(UnknownFieldError, match="unknown field"):
        ComparisonNode(field, EQ, 1)


def test_children_are_nodes():
    for wrong in (None, 1, "a = 1"):
        with pytest.raises(InvalidNodeError, match="no query node"):
            AndNode(A, wrong)
        with pytest.raises(InvalidNodeError, match="no query node"):
            NotNode(wrong)


class Count(ASTVisitor[int]):
    def visit_comparison(self, node):
        return 1

    def visit_and(self, node, args):
        return sum(args)

    def visit_or(self, node, args):
        return sum(args)

    def visit_not(self, node, arg):
        return arg


class Prefix(ASTTransformer):
    def visit_comparison(self, node):
        return ComparisonNode(f"x.{node.field}", node.op, node.value)


def test_visitors():
    node = AndNode(A, OrNode(B, NotNode(A)), OrNode())
    assert Count().visit(node) == 3
    assert [each.field for each in walk(node)] == ["a", "b", "a"]
    assert [each.field for each in walk(Prefix().visit(node))] == ["x.a", "x.b", "x.a"]
    assert ASTTransformer().visit(node) is node


@given(nodes())
def test_visiting_sees_every_comparison_once(node):
    assert Count().visit(node) == len(list(walk(node)))


def deep(levels):
    node = A
    for level in range(levels):
        node = (NotNode(node), AndNode(node, B), OrNode(B, node), AndNode(node))[level % 4]
    return node


LIMITS = Limits(max_length=10**8, max_depth=10**6, max_terms=10**6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: deep(5_000),
        lambda: AndNode(*[ComparisonNode("a", EQ, n) for n in range(10_000)]),
        lambda: OrNode(*[ComparisonNode("a", EQ, n) for n in range(10_000)]),
    ],
    ids=["5000 levels", "AND of 10000", "OR of 10000"],
)
def test_size_costs_no_stack(make):
    node, other = make(), make()
    assert node == other
    assert hash(node) == hash(other)
    assert repr(node) == repr(other)
    assert copy.copy(node) is copy.deepcopy(node) is node
    assert copy.deepcopy([node]) == [node]
    assert pickle.loads(pickle.dumps(node)) == node
    assert from_json(to_json(node), LIMITS) == node
    assert QueryParser(limits=LIMITS).parse_node(render(node)) == node
    assert Count().visit(node) == len(list(walk(node)))
    assert len(list(walk(Prefix().visit(node)))) == Count().visit(node)
    rows = [{"a": a, "b": b} for a in (1, 0, None) for b in (2, None)]
    selects, optimized = compile_predicate(node), compile_predicate(optimize(node))
    assert list(map(selects, rows)) == list(map(optimized, rows))
    assert LIMITS.check(node) is node
    schema = QuerySchema({"a": int, "b": int})
    assert schema.coerce(node) == node
    assert QueryParser(schema, LIMITS).parse_node(render(node)) == node
    params = QueryParams(node, (F.a.asc(),))
    assert pickle.loads(pickle.dumps(params)) == params
    assert hash(copy.deepcopy(params)) == hash(params)
    assert repr(node) in repr(params)
    codec = CursorCodec(b"k" * 16)
    assert codec.resolve(replace(params, cursor=codec.after(params, {"a": 1}))).node is not None


def test_a_chain_of_operators():
    both, either = F.a == 0, F.a == 0
    for number in range(1, 5_000):
        both, either = both & (F.a == number), either | (F.a == number)
    assert [child.value for child in both.children] == list(range(5_000))
    assert both.children == either.children


def test_each_node_of_a_tree_is_hashed_once():
    # A hash that walked the whole subtree for every node would take hours.
    node = A
    for _ in range(100_000):
        node = NotNode(node)
        hash(node)
    assert hash(NotNode(node)) == hash(NotNode(node))
