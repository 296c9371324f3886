from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import (
    F,
    InvalidNodeError,
    QueryParams,
    QueryParser,
    QuerySyntaxError,
    SortField,
    SortOrder,
    UnknownFieldError,
    compile_predicate,
    keyset_node,
    parse_sort,
    sort_rows,
)
from varco_query.testing import samples

ASC, DESC = SortOrder.ASC, SortOrder.DESC
NAMES = ("title", "count", "ratio", "price", "published", "created_at", "born", "uid")


def test_sort_strings():
    assert parse_sort("-created_at, title") == (
        SortField("created_at", DESC),
        SortField("title"),
    )
    assert parse_sort("") == parse_sort("  ") == ()
    assert F.author.name.desc() == parse_sort("-author.name")[0]
    assert QueryParser().parse(sort="-pk").sort == (F.pk.desc(),)
    assert QueryParser().parse(sort=[F.pk.asc()]).sort == (F.pk.asc(),)


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", "-", "a,-", "a,a", "a,-a"])
def test_what_is_no_sort(text):
    with pytest.raises(QuerySyntaxError):
        parse_sort(text)


@pytest.mark.parametrize("text", ["--a", "a b", "a;b", "__class__", "+a"])
def test_what_is_no_field_of_a_sort(text):
    with pytest.raises(UnknownFieldError):
        parse_sort(text)


def test_params_are_values():
    params = QueryParams(F.a == 1, [SortField("a")], 20, 0)
    assert params.sort == (SortField("a"),)
    assert params == QueryParams(F.a == 1, (SortField("a", "ASC"),), 20, 0)
    assert hash(params) == hash(QueryParams(F.a == 1, (SortField("a"),), 20, 0))
    assert QueryParams() == QueryParams(None, (), None, None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": "a = 1"},
        {"sort": "a"},
        {"sort": ["a"]},
        {"sort": 1},
        {"limit": -1},
        {"limit": "1"},
        {"offset": 1.0},
        {"cursor": 1},
    ],
)
def test_params_are_checked(wrong):
    with pytest.raises(InvalidNodeError):
        QueryParams(**wrong)


def test_an_order_is_asc_or_desc():
    with pytest.raises(InvalidNodeError, match="DESC"):
        SortField("a", "up")


def test_null_is_the_smallest_value_and_ties_keep_their_order():
    rows = [{"a": 2, "n": 1}, {"a": None, "n": 2}, {"a": 1, "n": 3}, {"a": 2, "n": 4}]
    assert [row["n"] for row in sort_rows(rows, [F.a.asc()])] == [2, 3, 1, 4]
    assert [row["n"] for row in sort_rows(rows, [F.a.desc()])] == [1, 4, 3, 2]
    assert [row["n"] for row in sort_rows(rows, [F.a.desc(), F.n.desc()])] == [4, 1, 3, 2]
    assert sort_rows(rows, []) == rows


def test_what_has_no_order():
    with pytest.raises(InvalidNodeError, match="'a'"):
        sort_rows([{"a": 1}, {"a": "x"}], [F.a.asc()])
    with pytest.raises(InvalidNodeError, match="'a'"):
        sort_rows([{"a": 1}, {"a": Decimal("NaN")}], [F.a.asc()])


sorts = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(SortOrder)),
    max_size=3,
    unique_by=lambda key: key[0],
).flatmap(
    lambda keys: st.sampled_from(SortOrder).map(
        lambda last: [*(SortField(*key) for key in keys), SortField("pk", last)]
    )
)


@given(sorts, samples(), st.data())
def test_a_keyset_is_the_rest_of_the_sort(sort, rows, data):
    ordered = sort_rows(rows, sort)
    if not ordered:
        return
    place = data.draw(st.integers(0, len(ordered) - 1))
    values = [getattr(ordered[place], field.field) for field in sort]
    after = compile_predicate(keyset_node(sort, values))
    assert [row for row in ordered if after(row)] == ordered[place + 1 :]


@given(sorts, samples(), st.data())
def test_a_keyset_of_fields_that_are_never_null(sort, rows, data):
    rows = [row for row in rows if all(getattr(row, field.field) is not None for field in sort)]
    ordered = sort_rows(rows, sort)
    if not ordered:
        return
    place = data.draw(st.integers(0, len(ordered) - 1))
    values = [getattr(ordered[place], field.field) for field in sort]
    after = compile_predicate(keyset_node(sort, values, nullable=()))
    assert [row for row in ordered if after(row)] == ordered[place + 1 :]


def test_a_keyset_begins_with_what_an_index_can_use():
    node = keyset_node([F.a.asc(), F.pk.asc()], [1, 2])
    assert node == (F.a >= 1) & ((F.a > 1) | (F.pk > 2))


@pytest.mark.parametrize(("sort", "values"), [([], []), ([F.a.asc()], []), ([F.a.asc()], [1, 2])])
def test_a_keyset_needs_a_value_for_each_key(sort, values):
    with pytest.raises(InvalidNodeError, match="one value for each key"):
        keyset_node(sort, values)
