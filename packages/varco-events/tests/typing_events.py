"""What type checkers must see; checked by mypy, never run."""

from collections.abc import Awaitable, Sequence
from typing import Any, assert_type

from varco_events import (
    DeadLetterEntry,
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    JsonEventSerializer,
    OutboxEntry,
    OutboxRelay,
    Subscription,
    in_thread,
    listen,
)


class Placed(Event):
    order_id: int


async def handle(event: Placed) -> None:
    assert_type(event.order_id, int)


class Consumer(EventConsumer):
    @listen(Placed)
    async def on_placed(self, event: Placed) -> int:
        return event.order_id


@in_thread
def slow(event: Placed, times: int = 1) -> str:
    return str(event.order_id * times)


async def check(bus: InMemoryEventBus, dlq: InMemoryDeadLetterQueue, relay: OutboxRelay) -> None:
    event = Placed(order_id=1)
    assert_type(await bus.publish(event), Awaitable[None] | None)
    assert_type(bus.subscribe(Placed, handle), Subscription)
    assert_type(bus.subscribe("placed", lambda event: None), Subscription)
    bus.subscribe(Placed, handle, filter=lambda event: event.order_id > 1)
    assert_type(await Consumer().on_placed(event), int)
    assert_type(Consumer().register_to(bus), list[Subscription])
    assert_type(await slow(event, times=2), str)
    assert_type(await dlq.pop_batch(limit=1), list[DeadLetterEntry])
    assert_type(await dlq.redrive(bus), int)
    assert_type(await bus.stop(), Sequence[Event])
    assert_type(OutboxEntry.from_event(event), OutboxEntry)
    assert_type(JsonEventSerializer().deserialize(b""), Event)
    assert_type(await relay.run_once(), int)
    async with relay as same:
        assert_type(same, OutboxRelay)


def decorated(bus: InMemoryEventBus) -> Any:
    @bus.on(Placed)
    async def named(event: Placed) -> None: ...

    return named
