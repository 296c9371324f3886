import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import Limits, QueryLimitError, QueryParser, from_json, render, to_json
from varco_query.testing import nodes

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
