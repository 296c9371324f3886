"""No tenant sees, counts or changes another's rows by any route, whatever it asks for."""

import asyncio
import json
from typing import Annotated
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from varco_domain.auth import AuthContext
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.meta import FieldHint, ForeignKey
from varco_domain.model import TenantSoftDeleteVersionedDomainModel, TenantVersionedDomainModel
from varco_domain.service import AsyncService, SoftDeleteService, TenantAwareService, tenant_context
from varco_http import (
    HttpAction,
    HttpRequest,
    HttpResource,
    Idempotency,
    IdempotencyRecord,
    Verb,
    parse_query,
)


class Board(TenantVersionedDomainModel):
    name: Annotated[str, FieldHint(max_length=50)]


class Card(TenantSoftDeleteVersionedDomainModel):
    board_id: Annotated[int, ForeignKey(Board)]
    text: Annotated[str, FieldHint(max_length=50)]


class Boards(
    TenantAwareService[Board, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Board, int, CreateDTO, ReadDTO, UpdateDTO],
):
    pass


class Cards(
    TenantAwareService[Card, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Card, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Card, int, CreateDTO, ReadDTO, UpdateDTO],
):
    async def stamp(self, pk, ctx):
        return await self.get(pk, ctx)


TENANTS = ("acme", "evil")
PK = st.integers(1, 6)
VERBS = (*Verb, "stamp")
QUERIES = (
    "",
    "total=true",
    "limit=1",
    "sort=-pk&limit=2&total=true",
    "filter=text LIKE '%' OR pk > 0",
    "filter=NOT text = 'x'&total=true",
    "filter=board_id IN (1,2,3,4,5,6)",
    "fields=pk,text",
)
STEP = st.tuples(
    st.sampled_from(TENANTS),
    st.booleans(),
    st.sampled_from(VERBS),
    PK,
    PK,
    st.sampled_from(QUERIES),
    st.sampled_from(["", "*", "1", "2"]),
    st.booleans(),
)


class World:
    def __init__(self, everything):
        store = InMemoryRepositoryProvider(Board, Card, IdempotencyRecord)
        idempotency = Idempotency(store)
        boards = HttpResource(Boards, "/boards", idempotency=idempotency)
        action = HttpAction("stamp")
        nested = HttpResource(
            Cards, "/cards", parent=boards, idempotency=idempotency, actions=[action]
        )
        flat = HttpResource(Cards, "/cards", idempotency=idempotency, actions=[action])
        self.resources = {"boards": boards, "nested": nested, "flat": flat}
        self.services = {each: each(store, everything) for each in (Boards, Cards)}
        self.cursors = []

    async def send(
        self, tenant, where, verb, board, card, *, query="", match="", keyed=False, text=None
    ):
        resource = self.resources[where]
        if verb not in {each.verb or each.action.name for each in resource.endpoints}:
            return None
        endpoint = resource.endpoint(verb)
        params = {"pk": str(card), "board_id": str(board)}
        text = text or tenant or "nobody"
        body = {"board_id": board, "text": text} if where == "flat" else {"text": text}
        body = {"name": text} if where == "boards" else body
        if verb in {Verb.SEARCH, Verb.QUERY}:
            body = {"filter": "pk > 0", "total": True}
        headers = {"content-type": "application/json"}
        if match:
            headers["if-match"] = match if match == "*" else f'"{card}.{match}"'
        if keyed:
            headers["idempotency-key"] = "the-same-for-all"
        pairs = parse_query(query.replace(" ", "%20").encode()) if verb is Verb.LIST else []
        request = HttpRequest(
            endpoint.method,
            urlsplit(endpoint.path.format(**params)).path,
            params,
            pairs,
            headers,
            json.dumps(body).encode(),
            AuthContext("ann"),  # the same user, in two tenants
            tenant,
        )
        return await endpoint.handle(request, self.services.__getitem__)

    async def rows(self, tenant):
        with tenant_context(tenant):
            boards = await self.services[Boards].list()
            cards = await self.services[Cards].with_deleted().list()
        return [each.model_dump() for each in (*boards, *cards)]


@given(st.lists(STEP, min_size=3, max_size=12))
def test_no_answer_and_no_row_crosses_tenants(tracker, steps):
    async def run():
        world = World(tracker.Everything())
        for tenant in TENANTS:
            made = await world.send(tenant, "boards", Verb.CREATE, 0, 0)
            board = json.loads(made.body)["pk"]
            assert (await world.send(tenant, "nested", Verb.CREATE, board, 0)).status == 201
        for tenant, is_nested, verb, board, card, query, match, keyed in steps:
            other = TENANTS[tenant == TENANTS[0]]
            for where in ("nested" if is_nested else "flat", "boards"):
                before = await world.rows(other)
                used = query.replace("text", "name") if where == "boards" else query
                used = "" if where == "boards" and "board_id" in used else used
                answer = await world.send(
                    tenant, where, verb, board, card, query=used, match=match, keyed=keyed
                )
                if answer is None:
                    continue
                assert answer.status < 500
                assert other.encode() not in answer.body
                assert await world.rows(other) == before
                if answer.status == 200 and b'"total_count"' in answer.body and "limit" not in used:
                    page = json.loads(answer.body)
                    assert page["total_count"] == len(page["results"])

    asyncio.run(run())


def test_a_cursor_is_of_its_tenant(tracker):
    async def run():
        world = World(tracker.Everything())
        for tenant in TENANTS:
            await world.send(tenant, "boards", Verb.CREATE, 0, 0)
            await world.send(tenant, "boards", Verb.CREATE, 0, 0)
        page = await world.send("acme", "boards", Verb.LIST, 0, 0, query="limit=1")
        cursor = json.loads(page.body)["next"]["cursor"]
        own = await world.send("acme", "boards", Verb.LIST, 0, 0, query=f"cursor={cursor}")
        assert own.status == 200
        others = await world.send("evil", "boards", Verb.LIST, 0, 0, query=f"cursor={cursor}")
        assert others.status == 400

    asyncio.run(run())


def test_a_key_is_of_its_tenant(tracker):
    async def run():
        world = World(tracker.Everything())
        for number, tenant in enumerate(TENANTS, 1):
            made = await world.send(tenant, "boards", Verb.CREATE, 0, 0, keyed=True, text="same")
            assert (made.status, made.header("location")) == (201, f"/boards/{number}")
            assert made.header("idempotency-replayed") is None

    asyncio.run(run())


def test_without_a_tenant_there_is_nothing(tracker):
    async def run():
        world = World(tracker.Everything())
        for verb in Verb:
            answer = await world.send(None, "flat", verb, 1, 1)
            assert (answer.status, json.loads(answer.body)["code"]) == (400, "FASTREST_006")

    asyncio.run(run())
