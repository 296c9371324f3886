"""Every event is accounted for, whatever fails and whenever it is cancelled or killed."""

from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_events import (
    DispatchMode,
    Event,
    InboxRepository,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
)
from varco_events.testing import ConservationContract, EventStores


class TestMemory(ConservationContract):
    lease = 60.0

    @pytest.fixture(autouse=True)
    def _with_clock(self):
        self.seconds = 0.0

    def clock(self):
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def advance(self, seconds):
        self.seconds += seconds

    @asynccontextmanager
    async def open_stores(self):
        yield EventStores(
            outbox=InMemoryOutboxRepository(clock=self.clock),
            dead_letters=InMemoryDeadLetterQueue(clock=lambda: self.seconds),
            inbox=InMemoryInboxRepository(clock=self.clock),
        )


class InboxThatMarks(InMemoryInboxRepository):
    """Takes a dead letter for something handled, as one with the least methods does."""

    discard = InboxRepository.discard


class TestMemoryWithTheLeastInbox(TestMemory):
    share = 0.3

    @asynccontextmanager
    async def open_stores(self):
        async with super().open_stores() as stores:
            yield EventStores(
                outbox=stores.outbox,
                dead_letters=stores.dead_letters,
                inbox=InboxThatMarks(clock=self.clock),
            )


BACKENDS = ("asyncio", "trio")


class Sent(Event):
    name: str | None
    fate: str

    def event_key(self):
        return self.name


class Interrupt:
    """Cancels a scope at the n-th await."""

    def __init__(self):
        self.scope = None
        self.left = None

    async def __call__(self):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()
        await anyio.lowlevel.checkpoint()

    async def run(self, work, after):
        """Do `work`, cancelled at await number `after`; whether it ended by itself."""
        with anyio.CancelScope() as self.scope:
            self.left = after
            await work()
        self.left = None
        return not self.scope.cancelled_caught


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", list(DispatchMode))
@given(
    waits=st.lists(st.integers(0, 4), max_size=8),
    depth=st.integers(0, 3),
    stop_after=st.integers(0, 12),
    patience=st.sampled_from([None, 0.0]),
)
def test_stopping_in_mid_flight_accounts_for_every_event(
    backend, mode, waits, depth, stop_after, patience
):
    async def run():
        published, refused, failed, handled = Counter(), Counter(), Counter(), Counter()
        async with InMemoryEventBus(dispatch_mode=mode) as bus:

            async def publish(event):
                published[event.event_id] += 1
                try:
                    await bus.publish(event)
                except Exception:
                    refused[event.event_id] += 1

            async def handle(event):
                for _ in range(int(event.fate)):
                    await anyio.lowlevel.checkpoint()
                if event.name:
                    name = event.name[1:] or None
                    await publish(Sent(name=name, fate=event.fate))
                handled[event.event_id] += 1

            bus.subscribe(Sent, handle)
            async with anyio.create_task_group() as group:
                for wait in waits:
                    event = Sent(name="x" * depth or None, fate=str(wait))
                    group.start_soon(publish, event)
                for _ in range(stop_after):
                    await anyio.lowlevel.checkpoint()
                dropped = Counter(event.event_id for event in await bus.stop(timeout=patience))
        assert published == handled + refused + dropped + failed

    anyio.run(run, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_a_publish_at_every_await(backend):
    """Handlers are called in order, each at most once, and the publisher knows it did not end."""

    async def run(at):
        bus, tick, done = InMemoryEventBus(), Interrupt(), []

        async def handle(name, event):
            await tick()
            done.append(name)
            await tick()

        for name in range(3):
            bus.subscribe(Sent, lambda event, name=name: handle(name, event))
        ended = await tick.run(lambda: bus.publish(Sent(name=None, fate="")), at)
        assert done == list(range(len(done)))
        assert ended == (len(done) == 3 and at > 6)
        assert bus._running == 0
        await bus.stop()
        return ended

    at, ended = 0, False
    while not ended:
        at += 1
        ended = anyio.run(run, at, backend=backend)
    assert at == 7
