import pytest

from varco_query import (
    AndNode,
    F,
    InvalidNodeError,
    QueryError,
    QueryLimitError,
    from_json,
    to_json,
)


def test_it_is_a_list_in_postfix():
    node = AndNode(F.pk > 10, F.published == True)  # noqa: E712  # builds a node
    assert to_json(node) == '[["pk",">",10],["published","=",true],["AND",2]]'
    assert from_json(to_json(node)) == node


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1",
        "null",
        "[]",
        "[1]",
        "[[]]",
        '["AND"]',
        '[["AND",1]]',
        '[["NOT",0]]',
        '[["AND",-1]]',
        '[["AND",true]]',
        '[["AND",1.5]]',
        '[["XOR",0]]',
        '[["a","=",1],["b","=",2]]',
        '[["a","=",1],["b","=",2],["NOT",2]]',
        '[["a","~",1]]',
        '[["__class__","=",1]]',
        '[["a","=",{}]]',
        '[["a","=",{"decimal":1}]]',
        '[["a","=",{"decimal":"x"}]]',
        '[["a","=",{"decimal":"NaN"}]]',
        '[["a","=",{"uuid":"x"}]]',
        '[["a","=",{"date":"2026-02-30"}]]',
        '[["a","=",[1]]]',
        '[["a","=",NaN]]',
        '[["a","=",Infinity]]',
        '[["a","=",1e400]]',
        '[["a","=","\\ud800"]]',
        '[["a","=","\\u0000"]]',
        '[["a","=",' + "9" * 5000 + "]]",
        "[" * 50_000,
        '[["a","=",1' + "]" * 50_000,
        "\ufeff[]",
        b"\xff",
    ],
)
def test_what_is_no_tree(text):
    with pytest.raises(QueryError):
        from_json(text)


def test_limits_hold_for_json():
    with pytest.raises(QueryLimitError, match="max_length"):
        from_json("[" + " " * 100_000 + "]")
    with pytest.raises(QueryLimitError, match="max_terms"):
        from_json("[" + '["a","=",1],' * 1_001 + '["AND",1001]]')
    with pytest.raises(QueryLimitError, match="max_depth"):
        from_json('[["a","=",1]' + ',["NOT",1]' * 65 + "]")
    with pytest.raises(QueryLimitError, match="max_items"):
        from_json('[["a","IN",[' + "1," * 1_000 + "1]]]")


def test_a_place_in_json_is_shown():
    with pytest.raises(QueryError) as caught:
        from_json('[["a",]]')
    assert (caught.value.line, caught.value.column) in {(1, 6), (1, 7)}


def test_an_object_is_no_value():
    with pytest.raises(InvalidNodeError, match="decimal"):
        from_json('[["a","=",{"x":"y"}]]')
