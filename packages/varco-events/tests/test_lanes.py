"""How what a process has in hand is begun."""

import asyncio
import logging
from dataclasses import dataclass

import pytest

from varco_events import Event, EventEnvelope, InHand, JsonEventSerializer, Lanes, Workers
from varco_events import TransportUpstream as Upstream
from varco_events._dispatch import Dispatcher

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """Those of a broker run on asyncio."""
    return "asyncio"


class Line(Event):
    __event_type__ = "varco.test.line"
    number: int


@dataclass(slots=True, eq=False, kw_only=True)
class Taken(InHand):
    origin = "test"
    poison = RuntimeError
    event_: Line

    def _read(self):
        return EventEnvelope.of(self.event_)


class Settings:
    prefetch = 10_000
    concurrency = 4
    max_attempts = 3
    retry_delay = max_retry_delay = 0.0


class Bench:
    """Lanes of one process, and what its handler was called with."""

    def __init__(self, handle):
        dispatcher = Dispatcher()
        dispatcher.subscribe(Line, handle, channel="*")
        self.errors = []
        logger = logging.getLogger(f"test.lanes.{id(self)}")
        logger.addHandler(self)
        self.workers = Workers(dispatcher, Settings(), JsonEventSerializer(), logger)
        self.lanes = Lanes(Upstream(self.workers, None, "g"), self.workers)

    level = logging.ERROR

    def handle(self, record):
        self.errors.append(record)

    def take(self, numbers, key=b""):
        self.lanes.admit_all(
            Taken(stream="s", number=n, channel="c", key=key, counted=True, event_=Line(number=n))
            for n in numbers
        )

    async def done(self):
        async with asyncio.timeout(60):
            while self.lanes.in_hand:
                await asyncio.sleep(0)
        assert not self.errors


async def test_a_key_of_any_length_is_handled_by_handlers_that_never_wait():
    got = []
    bench = Bench(lambda event: got.append(event.number))
    bench.take(range(3000), key=b"k")
    await bench.done()
    assert got == list(range(3000))


async def test_others_have_their_turn_while_handlers_that_never_wait_are_at_work(monkeypatch):
    monkeypatch.setattr("varco_events._workers._TURN", 0)
    got, seen = [], []
    bench = Bench(lambda event: got.append(event.number))
    bench.take(range(200))
    while len(got) < 200:
        seen.append(len(got))
        await asyncio.sleep(0)
    assert len(seen) > 5
    await bench.done()


async def test_no_more_run_at_once_than_there_is_room_for():
    running, most, go = 0, 0, asyncio.Event()

    async def handle(event):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    bench = Bench(handle)
    bench.take(range(20))
    await asyncio.sleep(0)
    assert most == Settings.concurrency
    go.set()
    await bench.done()
    assert most == Settings.concurrency


async def test_what_is_due_when_the_bus_stops_is_left_to_others(monkeypatch):
    monkeypatch.setattr("varco_events._workers._TURN", 0)
    got = []
    bench = Bench(lambda event: got.append(event.number))
    bench.take(range(200))
    begun = len(got)
    assert 0 < begun < 200
    await bench.workers.drain(None)
    assert len(got) == begun
    assert bench.lanes.unclaimed
    assert not bench.lanes.in_hand
