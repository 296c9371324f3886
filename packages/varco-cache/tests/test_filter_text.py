"""What the filter of a cached read is kept under: its meaning, and nothing that nobody knows."""

import pytest

from varco_cache._read_keys import _text
from varco_query import F, Operation, OperationNotSupportedError
from varco_query.compile import OPERATORS


def test_two_ways_to_say_the_same_have_one_text():
    assert _text(~(F.a != 1)) == _text(F.a == 1)
    assert _text((F.a == 1) | (F.a == 2)) == _text(F.a.in_([1, 2]))


def test_what_differs_has_another_text():
    like = F.a.like("x%")
    nodes = [F.a == 1, F.a == 1.0, F.a == True, F.a == "1", F.b == 1, like, ~like]  # noqa: E712  # makes a node
    nodes += [F.a.contains("x%"), like | (F.b == 1), like & (F.b == 1), like & ((F.b == 1) | like)]
    assert len(set(map(_text, nodes))) == len(nodes)


@pytest.mark.parametrize("op", [Operation.CONTAINS, Operation.EQUAL])
def test_an_operation_without_a_record_is_refused(op, monkeypatch):
    node = F.a.contains("x") if op is Operation.CONTAINS else F.a == "x"
    monkeypatch.delitem(OPERATORS, op)
    with pytest.raises(OperationNotSupportedError):
        _text(~node & (F.b > 1))


def test_depth_costs_no_stack():
    node = F.a == 1
    for number in range(5_000):
        node = (F.b != number) | (F.c == number) & node
    assert _text(node)
