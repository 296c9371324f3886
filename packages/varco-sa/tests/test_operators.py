"""An operator that nobody knows, or a leaf that is missing, is refused: it never selects rows."""

import pytest

from varco_domain.model import DomainModel
from varco_query import ComparisonNode, Operation, OperationNotSupportedError, QueryParams
from varco_query.compile import OPERATORS, Compiler, Takes
from varco_sa import bootstrap
from varco_sa._filters import Filters

pytestmark = pytest.mark.anyio

VALUES = {Takes.LIST: ("a", "b"), Takes.PAIR: ("a", "b"), Takes.NOTHING: None}


class Post(DomainModel):
    title: str


@pytest.mark.parametrize("op", Operation)
async def test_an_operation_without_a_record_selects_nothing_but_an_error(op, monkeypatch):
    node = ComparisonNode("title", op, VALUES.get(OPERATORS[op].takes, "a"))
    async with bootstrap("sqlite+aiosqlite://", Post) as backend:
        repo = backend.uow_provider.get_repository(Post)
        await repo.save(Post(title="a"))
        await repo.count(QueryParams(node))
        monkeypatch.delitem(OPERATORS, op)
        for tree in (node, ~node, node & node):
            with pytest.raises(OperationNotSupportedError):
                await repo.count(QueryParams(tree))


@pytest.mark.parametrize("leaf", sorted(Compiler.__abstractmethods__))
def test_every_leaf_is_needed(leaf):
    supplied = {name: vars(Filters)[name] for name in Compiler.__abstractmethods__ - {leaf}}
    with pytest.raises(TypeError, match=leaf):
        type("Incomplete", (Compiler,), supplied)()
