"""Nothing that a query or a value brings becomes an operator, a path or an expression."""

import pytest

from varco_beanie._collections import build_collection
from varco_domain.exception import FieldNotFound
from varco_domain.testing import QUERY_MODELS
from varco_domain.testing._models import Kept, Label
from varco_query import (
    ComparisonNode,
    Operation,
    QueryError,
    QueryLimitError,
    QueryParams,
    QueryParser,
)

pytestmark = pytest.mark.anyio

OPERATORS = [
    {"$ne": None},
    {"$gt": ""},
    {"$where": "true"},
    {"$regex": ".*"},
    {"$expr": {"$eq": [1, 1]}},
    {"$function": {"body": "function() { return true }", "args": [], "lang": "js"}},
    ["$ne", None],
]
TEXTS = ["$where", "$text", "$$NOW", "a.b", ".*", "^", "a|b", "\\", "x" * 200]


@pytest.fixture
async def backend(server):
    async with server.backend(Label, Kept) as opened:
        async with opened.uow_provider.make_uow() as uow:
            await uow.repository(Label).save_many(
                [Label(pk="a", text="a"), Label(pk="b", text="b")]
            )
        yield opened


@pytest.mark.parametrize("value", OPERATORS, ids=repr)
async def test_a_document_as_a_value_selects_nothing(backend, value):
    repo = backend.uow_provider.get_repository(Label)
    assert await repo.find_by_id(value) is None
    assert not await repo.exists(value)
    for op in (Operation.EQUAL, Operation.GREATER_EQUAL, Operation.LESS_THAN, Operation.NOT_EQUAL):
        try:
            node = ComparisonNode("text", op, value)
        except QueryError:
            continue
        assert await repo.find_by_query(QueryParams(node)) == []
        assert await repo.update_many_by_query(QueryParams(node), {"text": "hit"}) == 0
    try:
        node = ComparisonNode("text", Operation.IN, [value])
    except QueryError:
        return
    assert await repo.count(QueryParams(node)) == 0


@pytest.mark.parametrize("text", TEXTS, ids=repr)
async def test_text_is_text(backend, text):
    repo = backend.uow_provider.get_repository(Label)
    assert await repo.find_by_id(text) is None
    for op in (Operation.EQUAL, Operation.CONTAINS, Operation.STARTSWITH):
        assert await repo.count(QueryParams(ComparisonNode("text", op, text))) == 0
    assert await repo.count(QueryParams(ComparisonNode("text", Operation.NOT_IN, [text]))) == 2
    below = await repo.count(QueryParams(ComparisonNode("text", Operation.LESS_THAN, text)))
    above = await repo.count(QueryParams(ComparisonNode("text", Operation.GREATER_THAN, text)))
    assert (below, above) == (sum(each < text for each in "ab"), sum(each > text for each in "ab"))


@pytest.mark.parametrize("name", ["$where", "text.$ne", "text.0", "_id", "varco:held", "", "$expr"])
async def test_a_name_that_is_no_field_is_refused(backend, name):
    repo = backend.uow_provider.get_repository(Label)
    try:
        node = ComparisonNode(name, Operation.EQUAL, 1)
    except QueryError:
        return
    with pytest.raises(FieldNotFound):
        await repo.find_by_query(QueryParams(node))
    with pytest.raises(FieldNotFound):
        await repo.update_many_by_query(QueryParams(), {name: "x"})


@pytest.mark.parametrize("value", OPERATORS, ids=repr)
async def test_operators_in_json_are_data(backend, value):
    repo = backend.uow_provider.get_repository(Kept)
    saved = await repo.save(Kept(anything=value))
    assert (await repo.find_by_id(saved.pk)).anything == value
    saved.anything = {"was": value, "a.b": 1, "": {"$set": {"text": "hit"}}}
    changed = await repo.save(saved)
    found = await repo.find_by_id(saved.pk)
    assert (found.anything, found.text) == (changed.anything, None)
    assert await repo.update_many_by_query(QueryParams(), {"anything": value}) >= 1
    assert (await repo.find_by_id(saved.pk)).anything == value


@pytest.mark.parametrize(
    "key", ["\x00", "\ud800", 2**70, 1.5, None, b"a", [], float("nan")], ids=repr
)
async def test_a_key_that_no_row_can_have_finds_none(backend, key):
    for model in (Label, Kept):
        repo = backend.uow_provider.get_repository(model)
        assert await repo.find_by_id(key) is None
        assert not await repo.exists(key)


def test_a_pattern_that_is_too_long_for_mongodb_is_refused():
    thing = build_collection(QUERY_MODELS[0])
    thing.filters.compile(ComparisonNode("text", Operation.ILIKE, "a" * 7_000))
    with pytest.raises(QueryLimitError, match="max_length is 32000"):
        thing.filters.compile(ComparisonNode("text", Operation.ILIKE, "a" * 9_000))


def test_every_literal_stands_behind_an_operator():
    thing = build_collection(QUERY_MODELS[0])
    text = "text = '$x' OR NOT (text LIKE '$%' AND number > 1.5) OR text IN ('$a', '{$ne: 1}')"
    assert thing.filters.compile(QueryParser().parse_node(text)) == {
        "$or": [
            {"text": {"$eq": "$x"}},
            {"text": {"$not": {"$regex": r"\A(?s:\$.*(?!.))"}, "$ne": None}},
            {"number": {"$lte": 1}},
            {"text": {"$in": ["$a", "{$ne: 1}"]}},
        ]
    }
