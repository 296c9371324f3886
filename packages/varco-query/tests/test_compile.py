"""What compilers are made from: nothing that one does not know gets past it."""

import re
from decimal import Decimal
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import (
    AndNode,
    ComparisonNode,
    F,
    NotNode,
    Operation,
    OperationNotSupportedError,
    OrNode,
    QueryLimitError,
    QueryParser,
    QuerySchema,
    compile_predicate,
    optimize,
    postorder,
    render,
)
from varco_query.compile import (
    OPERATORS,
    Leaves,
    Nesting,
    Pattern,
    Placed,
    Takes,
    Wildcard,
    fold_case,
    integers,
    normalize,
    operator_of,
    shallow,
)
from varco_query.testing import CASES, ROWS, SCHEMA, nodes, patterns, texts

CLIENTS = (compile_predicate, optimize, render, normalize)


def of(op):
    """A comparison with an operation, made before its record is removed."""
    values = {Takes.LIST: (1, 2), Takes.PAIR: (1, 2), Takes.NOTHING: None, Takes.VALUE: 1}
    return ComparisonNode("a", op, values.get(operator_of(op).takes, "text"))


@pytest.mark.parametrize("client", CLIENTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("op", Operation)
def test_an_operation_without_a_record_is_refused(client, op, monkeypatch):
    node = of(op)
    other = of(Operation.IN if op is not Operation.IN else Operation.IS_NULL)
    monkeypatch.delitem(OPERATORS, op)
    for tree in (node, node & other, ~(other | node)):
        with pytest.raises(OperationNotSupportedError):
            client(tree)
    with pytest.raises(OperationNotSupportedError):
        QuerySchema({"a": str}).comparison("a", op, node.value)
    with pytest.raises(OperationNotSupportedError):
        ComparisonNode("a", op, object())


@pytest.mark.parametrize("leaf", ["relation", "members", "null", "between", "text"])
def test_a_leaf_that_is_missing_is_no_compiler(leaf):
    supplied = {name: lambda *_, **__: None for name in Leaves.__abstractmethods__ - {leaf}}
    with pytest.raises(TypeError, match=leaf):
        type("Incomplete", (Leaves,), supplied)()


def test_every_operation_has_a_record_that_fits_it():
    assert set(OPERATORS) == set(Operation)
    for op, each in OPERATORS.items():
        assert (each.test is not None) is (each.takes is Takes.VALUE)
        assert (each.tokens is not None) is (each.takes in {Takes.TEXT, Takes.PATTERN})
        if each.negation is not None:
            opposite = operator_of(each.negation)
            assert opposite.negation is op
            assert opposite.takes is each.takes
        # What is in the language is said in its words.
        text = render(of(op))
        assert QueryParser().parse_node(text) == of(op)


@given(nodes())
def test_the_normal_form(node):
    normal = normalize(node)
    if any(not each.children and not isinstance(each, ComparisonNode) for each in postorder(node)):
        return
    assert normalize(normal) == normal
    for each in postorder(normal):
        if isinstance(each, NotNode):
            assert operator_of(each.child.op).negation is None
        elif not isinstance(each, ComparisonNode):
            assert len(each.children) != 1
            assert not any(child.__class__ is each.__class__ for child in each.children)


NESTINGS = st.builds(
    Nesting,
    limit=st.integers(32, 40),
    level=st.integers(0, 1),
    parenthesis=st.just(1),
    word=st.integers(0, 2),
)


def depth_of(node, nesting):
    if isinstance(node, ComparisonNode | NotNode):
        return -1
    return nesting.of(
        node.__class__, sorted((depth_of(each, nesting) for each in node.children), reverse=True)
    )


def nested(node, leaves):
    """The node within as many levels as there are leaves, right, left and in turn."""
    for number, leaf in enumerate(leaves):
        kind = (AndNode, OrNode)[number % 2]
        node = kind(leaf, node) if number % 3 else kind(node, leaf)
        node = NotNode(node) if number % 5 == 4 else node
    return node


LEAVES = st.sampled_from([QueryParser(SCHEMA).parse_node(text) for text, _ in CASES])


@given(LEAVES, st.lists(LEAVES, min_size=8, max_size=90), NESTINGS)
def test_what_is_made_shallow_keeps_its_meaning(node, leaves, nesting):
    deep = normalize(nested(node, leaves))
    flat = shallow(deep, nesting, 20_000)
    assert depth_of(flat, nesting) <= nesting.limit
    selects, wanted = compile_predicate(flat), compile_predicate(deep)
    assert [selects(row) for row in ROWS] == [wanted(row) for row in ROWS]


def test_what_cannot_be_made_shallow_says_so():
    deep = normalize(nested(F.a == 1, [F.b == number for number in range(200)]))
    with pytest.raises(QueryLimitError) as caught:
        shallow(deep, Nesting(limit=4), 100_000)
    assert caught.value.name == "max_depth"
    with pytest.raises(QueryLimitError):
        shallow(deep, Nesting(limit=20), 100)


def pattern(text, *, folds=False):
    tokens = OPERATORS[Operation.LIKE].tokens
    return Pattern(tokens(fold_case(text) if folds else text), folds)


@given(patterns(), texts() | st.text("aAbB%_é\n\\"), st.booleans())
def test_the_expression_of_a_pattern_matches_the_same(like, text, folds):
    each = pattern(like, folds=folds)
    assert (re.search(each.regex(), text) is not None) is each.matcher()(text)


def test_letter_case_of_an_expression_needs_no_option():
    for text in ("ΣΊΣΥΦΟΣ", "İIıi", "Straße", "ǅ", "K"):
        assert re.search(pattern(text, folds=True).regex(), fold_case(text))
        assert re.search(pattern(fold_case(text), folds=True).regex(), text)
    assert not re.search(pattern("ς", folds=True).regex(), "σ")


def test_wildcards():
    assert OPERATORS[Operation.LIKE].tokens(r"%%a_\%") == [
        Wildcard.ANY,
        "a",
        Wildcard.ONE,
        "%",
    ]


@pytest.mark.parametrize(
    ("literal", "placed"),
    [
        (Decimal("1E+400"), Placed(7, exact=False)),
        (Decimal("-1E+400"), Placed(None, exact=False)),
        (Decimal("2.5"), Placed(2, exact=False)),
        (Decimal("Infinity"), None),
        (inf, None),
        (True, None),
    ],
)
def test_where_a_literal_lies_among_whole_numbers(literal, placed):
    assert integers(-8, 7).place(literal) == placed
