import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import (
    F,
    InvalidNodeError,
    Limits,
    QueryLimitError,
    QueryParser,
    QuerySyntaxError,
    from_json,
    render,
    to_json,
)
from varco_query._literals import literal
from varco_query.testing import nodes, scalars, texts

LIMITS = Limits(max_length=10**9, max_depth=10**6, max_terms=10**6, max_digits=4_200)
parser = QueryParser(limits=LIMITS)


@given(nodes())
def test_text(node):
    text = render(node)
    again = parser.parse_node(text)
    assert again == node
    assert hash(again) == hash(node)
    assert render(again) == text


@given(nodes())
def test_json_and_pickle(node):
    assert from_json(to_json(node), LIMITS) == node
    assert pickle.loads(pickle.dumps(node)) == node
    assert copy.deepcopy(node) is node
    assert repr(pickle.loads(pickle.dumps(node))) == repr(node)


@pytest.mark.parametrize("digits", [4_000, 4_001, 4_184, 4_186, 4_200])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_is_too_large_for_text_where_it_is_for_a_node(digits, sign):
    number = f"{sign}{'9' * (digits - len(sign))}"
    try:
        node = F.a == int(number)
    except InvalidNodeError as error:
        assert digits > 4_184  # what always fits
        with pytest.raises(InvalidNodeError, match=str(error)):
            parser.parse_node(f"a = {number}")
    else:
        assert parser.parse_node(f"a = {number}") == node
        assert parser.parse_node(f"a IN ({number}, {number})") == F.a.in_([node.value] * 2)


@given(nodes(), st.integers(0, 4))
def test_the_depth_of_a_tree_is_that_of_its_text(node, depth):
    limits = replace(LIMITS, max_depth=depth)
    text = render(node)
    try:
        limits.check(node)
    except QueryLimitError:
        with pytest.raises(QueryLimitError, match="max_depth"):
            QueryParser(limits=limits).parse_node(text)
    else:
        assert QueryParser(limits=limits).parse_node(text) == node


@given(scalars(), scalars(), st.integers(0, 3), st.sampled_from(("", " ", "\n")))
def test_parentheses_around_values(low, high, number, space):
    def within(value):
        return f"({space}" * number + literal(value) + f"{space})" * number

    assert parser.parse_node(f"x = {within(low)}") == (F.x == low)
    assert parser.parse_node(f"x>{within(low)} OR x = 1") == (F.x > low) | (F.x == 1)
    text = f"NOT x IN ({within(low)}, {within(high)})"
    assert parser.parse_node(text) == ~F.x.in_([low, high])
    text = f"x BETWEEN {within(low)} AND {within(high)}"
    assert parser.parse_node(text) == F.x.between(low, high)


@given(texts().map(lambda text: text.replace("\\", "")), st.sampled_from("'\""))
def test_a_doubled_quote_never_means_something_else(text, quote):
    text += quote
    with pytest.raises(QuerySyntaxError, match="is written") as caught:
        parser.parse_node(f"x = {quote}{text.replace(quote, quote * 2)}{quote} OR y = 1")
    assert caught.value.column is not None
