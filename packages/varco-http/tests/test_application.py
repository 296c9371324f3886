"""What the operations of one application share, and what surrounds a request."""

import json
from contextlib import asynccontextmanager

import anyio.lowlevel
import pytest

from varco_domain import AsyncService, AuthContext, CreateDTO, DomainModel, ReadDTO, UpdateDTO
from varco_http import (
    ApiKeys,
    Callers,
    HttpApplication,
    HttpConfigError,
    HttpResource,
    RequestContext,
    Verb,
    current_request_id,
)

pytestmark = pytest.mark.anyio


class Base:
    pass


class Service(Base):
    pass


class Note(DomainModel):
    text: str


class Notes(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


def test_services_are_found_by_the_class_they_were_added_for():
    application = HttpApplication(Callers(), services=[Service()])
    assert isinstance(application.service(Service), Service)
    with pytest.raises(HttpConfigError, match="no Base was added"):
        application.service(Base)
    application.add(Service(), as_=Base)
    assert isinstance(application.service(Base), Service)
    with pytest.raises(HttpConfigError, match="str is no Base"):
        application.add("x", as_=Base)


async def test_parts_start_in_order_and_stop_in_the_opposite_one():
    done = []

    def part(name, *, fails=False):
        @asynccontextmanager
        async def run(application):
            assert isinstance(application, HttpApplication)
            if fails:
                raise RuntimeError(name)
            done.append(f"+{name}")
            try:
                yield
            finally:
                done.append(f"-{name}")

        return run

    application = HttpApplication(Callers())
    made = part("b")(application)  # a context manager does as well as a function that makes one
    async with application.running([part("a"), made]):
        assert done == ["+a", "+b"]
    assert done == ["+a", "+b", "-b", "-a"]
    done.clear()
    with pytest.raises(RuntimeError, match="c"):
        async with application.running([part("a"), part("c", fails=True)]):
            raise AssertionError("not reached")
    assert done == ["+a", "-a"]


async def test_who_calls_is_found_out_before_the_body_is_read():
    async def find(key):
        return AuthContext(key) if key == "ann" else None

    application = HttpApplication(Callers(ApiKeys(find)))
    read = []

    async def body():
        read.append(True)
        return b'{"text": "x"}'

    scope = {
        "method": "POST",
        "path": "/notes",
        "path_params": {},
        "query_string": b"",
        "headers": [(b"x-api-key", b"bob")],
    }
    endpoint = HttpResource(Notes, "/notes").endpoint(Verb.CREATE)
    refused = await application.answer(endpoint, scope, body)
    assert (refused.status, read) == (401, [])
    broken = await application.answer(endpoint, scope | {"query_string": b"%ff=1"}, body)
    assert json.loads(broken.body)["code"] == "http.unauthenticated"
    known = scope | {"headers": [(b"x-api-key", b"ann")], "query_string": b"a=%ff"}
    assert json.loads((await application.answer(endpoint, known, body)).body)["status"] == 400
    typed = [*known["headers"], (b"content-type", b"application/json")]
    with pytest.raises(HttpConfigError, match="was added"):  # nobody's fault outside
        await application.answer(endpoint, known | {"query_string": b"", "headers": typed}, body)


async def test_requests_at_once_have_their_own_ids():
    seen = {}

    async def app(scope, receive, send):
        before = current_request_id()
        await anyio.lowlevel.checkpoint()
        seen[scope["path"]] = (before, current_request_id())
        await send({"type": "http.response.start", "status": 204})

    sent = []

    async def send(message):
        sent.append(dict(message["headers"])[b"x-request-id"])

    async def request(number):
        scope = {"type": "http", "path": number, "headers": [(b"x-request-id", b"r%d" % number)]}
        await RequestContext(app)(scope, None, send)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(request, number)
    assert seen == {number: (f"r{number}", f"r{number}") for number in range(20)}
    assert sorted(sent) == sorted(b"r%d" % number for number in range(20))
    assert current_request_id() is None


async def test_what_is_no_request_passes_as_it_is():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, current_request_id()))

    await RequestContext(app)({"type": "lifespan"}, None, None)
    assert seen == [({"type": "lifespan"}, None)]


async def test_a_part_that_can_be_asked_is_asked_while_it_runs():
    class Store:
        health_name = "store"
        answers = True

        async def check_health(self):
            return self.answers

        async def __aenter__(self):
            return self

        async def __aexit__(self, *error):
            pass

    application, store = HttpApplication(Callers(anonymous=True)), Store()

    async def parts():
        return json.loads((await application.health.ready()).body)["parts"]

    async with application.running([store]):
        assert await parts() == {"store": "ready"}
        store.answers = False
        assert await parts() == {"store": "failed"}
    assert await parts() == {}
    async with application.running([lambda _: store]):
        assert await parts() == {"store": "failed"}
    with pytest.raises(HttpConfigError, match="store"):
        async with application.running([store, Store()]):
            pass
    assert await parts() == {}
