"""What HTTP clients see of both frameworks, over a network, with what is kept in a database."""

import asyncio
import socket
import uuid
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import httpx
import pytest
import uvicorn
from hypothesis import settings
from litestar import Litestar

from varco_fastapi import make_app
from varco_http import HttpResponse
from varco_http.testing import HttpContract
from varco_litestar import VarcoPlugin
from varco_sa import bootstrap

pytestmark = pytest.mark.anyio
DEEP = settings.get_current_profile_name() == "deep"
others = pytest.mark.skipif(not DEEP, reason="other pairs of both: HYPOTHESIS_PROFILE=deep")


# What the default run shows of each framework on one database.
FEW = {
    "test_a_row_is_created_shown_changed_and_removed",
    "test_the_same_key_has_one_effect_and_the_same_answer",
}


@contextmanager
def files(folder):
    """The URL of a SQLite file of its own."""
    yield f"sqlite+aiosqlite:///{folder / uuid.uuid4().hex}.sqlite"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def over_http(app):
    """Start a server of an application, and give what sends requests to it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="critical"))
    running = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.001)
    place = httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with httpx.AsyncClient(timeout=60) as client:

        async def send(method, target, headers=(), body=b""):
            # A server takes the blanks around a value away, and a client sends none.
            headers = [(name, value.strip(b" \t")) for name, value in headers]
            url = place.copy_with(raw_path=target.encode("ascii"))
            answer = await client.request(method, url, headers=headers, content=body)
            found = [(name.lower(), value) for name, value in answer.headers.items()]
            return HttpResponse(answer.status_code, tuple(found), answer.content)

        yield send
    server.should_exit = True
    await running


class OverHttp(HttpContract):
    """The suite, but for bytes that no server lets through to an application."""

    chains = 20
    test_any_bytes_get_an_answer_that_is_no_fault = None
    test_what_is_long_takes_time_by_its_length = None

    @pytest.fixture(autouse=True)
    def databases(self, request, tmp_path, postgresql_database):
        if not DEEP and request.node.originalname not in FEW:
            pytest.skip("the whole of the suite over a network: HYPOTHESIS_PROFILE=deep")
        self.urls = postgresql_database if self.on == "postgresql" else partial(files, tmp_path)

    @asynccontextmanager
    async def store(self, *models):
        database = self.urls()
        url = await asyncio.to_thread(database.__enter__)  # it has an event loop of its own
        try:
            async with bootstrap(url, *models) as backend:
                yield backend.uow_provider
        finally:
            await asyncio.to_thread(database.__exit__, None, None, None)


class FastApi(OverHttp):
    def client(self, application, resources, parts):
        return over_http(make_app(application, resources, parts=parts))


class OfLitestar(OverHttp):
    def client(self, application, resources, parts):
        plugin = VarcoPlugin(application, resources=resources, parts=parts)
        return over_http(Litestar(plugins=[plugin]))


class TestFastApiOnSqlite(FastApi):
    on = "sqlite"


class TestLitestarOnPostgresql(OfLitestar):
    on = "postgresql"


@others
class TestLitestarOnSqlite(OfLitestar):
    on = "sqlite"


@others
class TestFastApiOnPostgresql(FastApi):
    on = "postgresql"
