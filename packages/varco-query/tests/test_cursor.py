from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import (
    CursorCodec,
    CursorError,
    CursorKeyError,
    F,
    InvalidNodeError,
    QueryParams,
    QueryParser,
    SortField,
    SortOrder,
    compile_predicate,
    sort_rows,
)
from varco_query.testing import ROWS, sample_nodes, samples

codec = CursorCodec("a key of at least sixteen bytes")
FIELDS = ("title", "count", "ratio", "price", "published", "created_at", "born", "uid")


def page(rows, params, codec=codec):
    resolved = codec.resolve(params)
    selects = compile_predicate(resolved.node)
    return sort_rows([row for row in rows if selects(row)], resolved.sort)[: params.limit]


@given(
    sample_nodes(max_leaves=5),
    samples(),
    st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(SortOrder)), max_size=2),
    st.integers(1, 3),
)
def test_pages_put_together_are_the_whole(node, rows, keys, limit):
    sort = [*(SortField(*key) for key in dict(keys).items()), SortField("pk")]
    params = QueryParams(node, sort, limit)
    pages, found = [], page(rows, params)
    while found:
        pages += found
        found = page(rows, replace(params, cursor=codec.after(params, found[-1])))
    assert pages == page(rows, replace(params, limit=None))


def test_a_cursor_is_bound_to_key_filter_and_sort():
    params = QueryParams(F.count > 0, (F.title.asc(), F.pk.desc()), 2)
    cursor = codec.after(params, ROWS[0])
    assert codec.values(replace(params, cursor=cursor)) == ("alpha", 1)
    assert codec.values(replace(params, cursor=cursor, limit=50, offset=3)) == ("alpha", 1)
    for other in (
        replace(params, node=F.count > 1),
        replace(params, node=None),
        replace(params, sort=(F.title.asc(), F.pk.asc())),
        replace(params, sort=(F.title.asc(),)),
        replace(params, sort=()),
    ):
        with pytest.raises(CursorError, match="not of this query"):
            codec.resolve(replace(other, cursor=cursor))
    other = CursorCodec("another key of sixteen bytes")
    with pytest.raises(CursorKeyError, match="another key"):
        other.resolve(replace(params, cursor=cursor))
    # Of another key and another query: what is told is the key, and nothing else was looked at.
    with pytest.raises(CursorKeyError):
        other.resolve(replace(params, node=None, cursor=cursor))


def test_the_mark_of_a_key_does_not_make_a_cursor_of_it():
    params = QueryParams(F.count > 0, (F.pk.asc(),))
    ours, theirs = (
        urlsafe_b64decode(each.after(params, ROWS[0]) + "==")
        for each in (codec, CursorCodec("another key of sixteen bytes"))
    )
    forged = urlsafe_b64encode(ours[:4] + theirs[4:]).rstrip(b"=").decode()
    with pytest.raises(CursorError, match="not of this query"):
        codec.values(replace(params, cursor=forged))


@given(st.data())
def test_a_changed_cursor_is_refused(data):
    params = QueryParams(None, (F.pk.asc(),))
    cursor = codec.after(params, {"pk": 1234})
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.characters(exclude_characters=cursor[place]))
    changed = cursor[:place] + letter + cursor[place + 1 :]
    with pytest.raises(CursorError):
        codec.resolve(replace(params, cursor=changed))


@given(
    st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: urlsafe_b64encode(raw).decode())
)
def test_any_text_is_refused(text):
    with pytest.raises(CursorError):
        codec.values(QueryParams(None, (F.pk.asc(),), cursor=text))


def test_a_cursor_written_in_another_way_is_refused():
    params = QueryParams(None, (F.pk.asc(),))
    cursor = codec.after(params, {"pk": 1})
    padded = urlsafe_b64encode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))).decode() + "="
    for other in (padded, cursor + "=", cursor + "\n", f" {cursor}", "", "x" * 5000):
        with pytest.raises(CursorError):
            codec.values(replace(params, cursor=other))


def test_cursors_hold_values_as_queries_do():
    class Color(Enum):
        RED = "red"

    params = QueryParams(None, (F.color.asc(), F.pk.asc()))
    cursor = codec.after(params, {"color": Color.RED, "pk": None})
    assert codec.values(replace(params, cursor=cursor)) == ("red", None)
    with pytest.raises(InvalidNodeError):
        codec.after(params, {"color": object(), "pk": 1})
    with pytest.raises(CursorError, match="too long"):
        codec.after(params, {"color": "x" * 3000, "pk": 1})


def test_no_cursor_is_the_first_page():
    params = QueryParams(F.a == 1, (F.pk.asc(),))
    assert codec.resolve(params) is params


def test_a_cursor_needs_a_sort_and_a_key():
    with pytest.raises(InvalidNodeError, match="sort"):
        codec.after(QueryParams(), {"pk": 1})
    with pytest.raises(ValueError, match="16 bytes"):
        CursorCodec("short")


@pytest.mark.parametrize("text", ["", "  ", None])
@pytest.mark.parametrize("cursor", ["", None])
@pytest.mark.parametrize("sort", ["", " ", None])
def test_empty_fields_of_a_form_are_absent(text, cursor, sort):
    params = QueryParser().parse(text, sort=sort, cursor=cursor)
    assert params == QueryParams()
    assert codec.resolve(params) is params
