"""Liveness touches nothing; readiness asks every part, within its time."""

import json

import anyio
import pytest

from varco_http import Health, HttpConfigError

pytestmark = pytest.mark.anyio


async def test_parts_are_asked_at_once_and_the_slow_and_the_broken_are_named():
    health = Health(timeout=30)
    running = 0
    together = anyio.Event()

    async def good():
        nonlocal running
        running += 1
        if running == 2:
            together.set()
        await together.wait()

    async def broken():
        raise ConnectionError("postgres://secret@inside")

    async def refuses():
        return False

    health.register("a", good)
    health.register("b", good)
    answer = await health.ready()
    assert (answer.status, json.loads(answer.body)["parts"]) == (200, {"a": "ready", "b": "ready"})

    health.register("database", broken)
    health.register("bus", refuses)
    health.register("slow", anyio.sleep_forever, timeout=0.01)
    running = 1
    answer = await health.ready()
    assert answer.status == 503
    assert b"secret" not in answer.body
    assert json.loads(answer.body) == {
        "type": "urn:varco:error:http.not_ready",
        "title": "Service Unavailable",
        "status": 503,
        "code": "http.not_ready",
        "parts": {
            "a": "ready",
            "b": "ready",
            "database": "failed",
            "bus": "failed",
            "slow": "timed out",
        },
    }
    assert health.live().status == 200
    for name in ("database", "bus", "slow"):
        health.unregister(name)
    health.unregister("slow")
    with pytest.raises(HttpConfigError, match="'a'"):
        health.register("a", good)
    assert (await health.ready()).status == 200
    assert (await Health().ready()).status == 200
