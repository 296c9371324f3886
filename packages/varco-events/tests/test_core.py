"""The parts that everything else stands on, once through."""

import anyio
import pytest

from varco_events import (
    Event,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    JsonEventSerializer,
    OutboxEntry,
    OutboxRelay,
    OutboxRepository,
)

pytestmark = pytest.mark.anyio


class CoreHappened(Event):
    order_id: int

    def event_key(self):
        return str(self.order_id)


class MinimalOutbox(OutboxRepository):
    def __init__(self):
        self.rows = []

    async def save(self, entry):
        self.rows.append(entry)

    async def get_pending(self, *, limit=100):
        return self.rows[:limit]

    async def delete(self, entry_id):
        self.rows = [row for row in self.rows if row.entry_id != entry_id]


async def test_a_handler_gets_what_was_published():
    bus = InMemoryEventBus()
    got = []
    bus.subscribe(CoreHappened, got.append, channel="orders")
    event = CoreHappened(order_id=1)
    assert await bus.publish(event, channel="orders") is None
    assert await bus.publish(event, channel="other") is None
    assert got == [event]


async def test_an_event_survives_its_serializer():
    event = CoreHappened(order_id=1)
    serializer = JsonEventSerializer()
    assert serializer.deserialize(serializer.serialize(event)) == event


@pytest.mark.parametrize("make", [MinimalOutbox, InMemoryOutboxRepository])
async def test_the_relay_brings_events_to_the_bus(make):
    outbox, bus, got = make(), InMemoryEventBus(), []
    done = anyio.Event()

    @bus.on(CoreHappened, channel="orders")
    async def handle(event):
        got.append(event.order_id)
        if len(got) == 250:
            done.set()

    for number in range(250):
        entry = OutboxEntry.from_event(CoreHappened(order_id=number), channel="orders")
        assert entry.event_type == "CoreHappened"
        assert entry.key == str(number)
        await outbox.save(entry)
    async with OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.01):
        with anyio.fail_after(30):
            await done.wait()
    assert got == list(range(250))
    assert await outbox.get_pending() == []
