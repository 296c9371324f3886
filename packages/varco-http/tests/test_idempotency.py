"""A key is somebody's, for some time, and of one request at once."""

import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from varco_domain.auth import AuthContext
from varco_http import HttpResource, Idempotency, IdempotencyRecord

pytestmark = pytest.mark.anyio
BODY = {"key": "A", "name": "A"}


class Clock:
    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def code(answer):
    return answer.status, json.loads(answer.body).get("code")


async def test_a_key_is_of_a_caller_a_path_and_a_method(client):
    for ctx, name in ((AuthContext("ann"), "A"), (AuthContext("bob"), "B")):
        body = {"key": name, "name": "x"}
        made = await client("POST", "/projects", body, ctx=ctx, idempotency_key="k")
        assert (made.status, made.header("idempotency-replayed")) == (201, None)
    for number in (1, 2):
        path = f"/projects/{number}"
        changed = await client("PATCH", path, {"name": "y"}, idempotency_key="k")
        assert (changed.status, changed.header("idempotency-replayed")) == (200, None)


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "ä", "k" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(client, key):
    assert (await client("POST", "/projects", BODY, idempotency_key=key)).status == 400


async def test_who_is_not_known_has_no_keys(client):
    answer = await client("POST", "/projects", BODY, ctx=AuthContext(), idempotency_key="k")
    assert code(answer) == (400, "http.invalid_request")


async def test_an_answer_is_kept_for_its_time(tracker, store, clock):
    idempotency = Idempotency(store, ttl=60, clock=clock, required=True)
    projects = HttpResource(tracker.Projects, "/projects", idempotency=idempotency)
    services = {tracker.Projects: tracker.Projects(store, tracker.Everything())}
    client = tracker.Client(services, projects)
    assert (await client("POST", "/projects", BODY)).status == 400
    assert (await client("POST", "/projects", BODY, idempotency_key="k")).status == 201
    clock.now += timedelta(seconds=59)
    again = await client("POST", "/projects", BODY, idempotency_key="k")
    assert again.header("idempotency-replayed") == "true"
    clock.now += timedelta(seconds=2)
    body = {"key": "B", "name": "B"}
    anew = await client("POST", "/projects", body, idempotency_key="k")
    assert (anew.status, anew.header("idempotency-replayed")) == (201, None)
    again = await client("POST", "/projects", body, idempotency_key="k")
    assert again.header("location") == anew.header("location") == "/projects/2"
    assert await idempotency.purge() == 0
    clock.now += timedelta(seconds=61)
    assert await idempotency.purge() == 1
    assert await store.get_repository(IdempotencyRecord).count() == 0


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [({}, (409, 422)), ({"in_flight_status": 425, "mismatch_status": 409}, (425, 409))],
)
async def test_the_first_request_is_waited_for_by_the_client(tracker, store, statuses, expected):
    began, goes_on = anyio.Event(), anyio.Event()

    class Slow(tracker.Projects):
        async def _after_write(self, uow, ctx, changes):
            await super()._after_write(uow, ctx, changes)
            began.set()
            await goes_on.wait()

    idempotency = Idempotency(store, **statuses)
    projects = HttpResource(Slow, "/projects", idempotency=idempotency)
    client = tracker.Client({Slow: Slow(store, tracker.Everything())}, projects)
    answers = []

    async def first():
        answers.append(await client("POST", "/projects", BODY, idempotency_key="k"))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await began.wait()
        second = await client("POST", "/projects", BODY, idempotency_key="k")
        assert code(second) == (expected[0], "http.idempotency_in_flight")
        assert second.header("retry-after") == "1"
        third = await client("POST", "/projects", {"key": "B", "name": ""}, idempotency_key="k")
        assert code(third) == (expected[1], "http.idempotency_mismatch")
        goes_on.set()
    assert answers[0].status == 201
    again = await client("POST", "/projects", BODY, idempotency_key="k")
    assert again.body == answers[0].body
