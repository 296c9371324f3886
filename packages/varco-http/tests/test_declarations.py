"""What a declaration offers, leaves out and refuses."""

import json
from typing import Annotated
from uuid import UUID

import pytest

from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel, VersionedDomainModel
from varco_domain.service import AsyncService
from varco_http import HttpAction, HttpConfigError, HttpResource, HttpResponse, Idempotency, Verb

pytestmark = pytest.mark.anyio


class Seat(VersionedDomainModel):
    row: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED), FieldHint(max_length=5)]
    number: Annotated[int, PrimaryKey(PKStrategy.CUSTOM)]
    guest: str | None = None


class Seats(AsyncService[Seat, tuple[str, int], CreateDTO, ReadDTO, UpdateDTO]):
    async def count_all(self, ctx):
        return await self.count(ctx=ctx)

    async def seat(self, pk, names, ctx):
        return f"{names[0]} in {pk}"


class Code(DomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED), FieldHint(max_length=20)] = pk_field(
        init=True
    )
    text: str = "none"


class Codes(AsyncService[Code, str, CreateDTO, ReadDTO, UpdateDTO]):
    pass


class Thing(DomainModel):
    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()
    name: Annotated[str, FieldHint(index=True, max_length=50)]
    note: str | None = None


class Things(AsyncService[Thing, UUID, CreateDTO, ReadDTO, UpdateDTO]):
    pass


@pytest.fixture
def serve(tracker):
    store = InMemoryRepositoryProvider(Seat, Code, Thing)
    services = {each: each(store, tracker.Everything()) for each in (Seats, Codes, Things)}
    return lambda *resources: tracker.Client(services, *resources)


async def test_a_key_of_several_parts_is_as_many_parts_of_the_path(serve):
    seats = HttpResource(
        Seats,
        "/seats",
        actions=[
            HttpAction("count_all", on="collection", method="GET", returns=int),
            HttpAction("seat", body=list[str], returns=str, status=202),
        ],
    )
    client = serve(seats)
    made = await client("POST", "/seats", {"row": "A,1 %", "number": 7})
    assert (made.status, made.header("location")) == (201, "/seats/A%2C1%20%25/7")
    shown = await client("GET", made.header("location"))
    assert (shown.status, shown.body) == (200, made.body)
    tag = shown.header("etag")
    done = await client("PATCH", "/seats/A%2C1%20%25/7", {"guest": "ann"}, if_match=tag)
    assert done.status == 200
    assert (await client("GET", "/seats/A/x")).status == 404
    assert (await client("GET", "/seats/count_all")).body == b"1"
    moved = await client("PUT", "/seats/A%2C1%20%25/7", {"row": "B", "number": 7})
    assert (moved.status, json.loads(moved.body)["errors"][0]["pointer"]) == (422, "/row")
    action = await client("POST", "/seats/A%2C1%20%25/7/seat", ["bob"])
    assert (action.status, json.loads(action.body)) == (202, "bob in ('A,1 %', 7)")
    assert (await client("POST", "/seats/A%2C1%20%25/7/seat", {"a": 1})).status == 422


async def test_keys_that_callers_choose(serve):
    client = serve(HttpResource(Codes, "/codes"), HttpResource(Things, "/things"))
    made = await client("POST", "/codes", {"pk": "ä b"})
    assert made.header("location") == "/codes/%C3%A4%20b"
    assert (await client("GET", "/codes/%C3%A4%20b")).status == 200
    put = await client("PUT", "/codes/%C3%A4%20b", {"pk": "ä b", "text": "x"})
    assert (put.status, json.loads(put.body)["text"]) == (200, "x")
    thing = await client("POST", "/things", {"name": "t"})
    assert (await client("GET", thing.header("location"))).status == 200
    assert (await client("GET", "/things/nothing")).status == 404


async def test_what_is_switched_off_replaced_and_demanded(serve):
    async def own(request, services):
        return HttpResponse(200, (), b"own")

    things = HttpResource(
        Things,
        "/things",
        without={Verb.DELETE},
        handlers={Verb.LIST: own},
        require_if_match=True,
        default_limit=5,
        max_limit=10,
        over_limit="clamp",
        indexed_only=True,
        sparse=False,
    )
    client = serve(things)
    assert Verb.DELETE not in things.verbs
    with pytest.raises(HttpConfigError):
        things.endpoint(Verb.DELETE)
    assert (await client("GET", "/things")).body == b"own"
    for number in range(12):
        made = await client("POST", "/things", {"name": f"t{number}"})
    missing = await client("PATCH", made.header("location"), {"name": "x"})
    assert (missing.status, json.loads(missing.body)["code"]) == (428, "http.precondition_required")
    page = await client("POST", "/things/search", {"limit": 5000})
    assert json.loads(page.body)["count"] == 10
    assert json.loads((await client("POST", "/things/search", {})).body)["count"] == 5
    refused = await client("POST", "/things/search", {"filter": "note = 'x'"})
    assert (refused.status, json.loads(refused.body)["errors"][0]["pointer"]) == (400, "/filter")
    assert (await client("POST", "/things/search", {"filter": "name = 'x'"})).status == 200
    assert (await client("POST", "/things/search", {"total": 0})).status == 422
    assert (await client("GET", "/things/x?fields=name")).status == 400


def test_what_cannot_work_is_refused_where_it_is_declared(tracker):
    with pytest.raises(HttpConfigError, match="prefix"):
        HttpResource(Codes, "codes")
    with pytest.raises(HttpConfigError, match="serves no model"):
        HttpResource(AsyncService, "/x")
    with pytest.raises(HttpConfigError, match="no method 'close'"):
        HttpResource(Codes, "/codes", actions=[HttpAction("close")])
    with pytest.raises(HttpConfigError, match="0 foreign keys"):
        HttpResource(Codes, "/codes", parent=HttpResource(Things, "/things"))
    with pytest.raises(HttpConfigError, match="composite"):
        HttpResource(Codes, "/codes", parent=HttpResource(Seats, "/seats"))
    with pytest.raises(HttpConfigError, match="IdempotencyRecord"):
        Idempotency(InMemoryRepositoryProvider(Code))
