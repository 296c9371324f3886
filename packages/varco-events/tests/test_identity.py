"""Whom a dead letter, an inbox and a deduplicator mean by a name."""

from functools import partial, wraps
from types import ModuleType

import anyio
import pytest

from varco_events import (
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryDeduplicator,
    InMemoryEventBus,
    InMemoryInboxRepository,
    listen,
)

pytestmark = pytest.mark.anyio


class Told(Event):
    number: int = 0


@pytest.fixture
def bus():
    return InMemoryEventBus()


def once(kind):
    if kind == "inbox":
        return {"inbox": InMemoryInboxRepository()}
    return {"deduplicator": InMemoryDeduplicator()}


SOURCE = """
from varco_events import EventConsumer, listen

class Consumer(EventConsumer):
    got = ()

    @listen(Told, **options)
    async def on_told(self, event):
        if broken():
            raise ValueError("no")
        self.got += (event,)
"""


def consumer_in(module, options, broken=lambda: False):
    namespace = ModuleType(module).__dict__
    namespace.update(Told=Told, options=options, broken=broken)
    exec(SOURCE, namespace)  # a module, without a file
    return namespace["Consumer"]()


@pytest.mark.parametrize("kind", ["inbox", "deduplicator"])
async def test_classes_of_one_name_in_two_modules_share_what_recognizes_repetitions(bus, kind):
    options = once(kind)
    consumers = [consumer_in(module, options) for module in ("shop.orders", "shop.billing")]
    for consumer in consumers:
        consumer.register_to(bus)
    event = Told()
    for _ in range(2):
        await bus.publish(event)
    assert [consumer.got for consumer in consumers] == [(event,), (event,)]


@pytest.mark.parametrize("kind", ["inbox", "deduplicator"])
async def test_subclasses_share_a_method_and_each_gets_the_event(bus, kind):
    class Base(EventConsumer):
        def __init__(self):
            self.got = []

        @listen(Told, **once(kind))
        async def on_told(self, event):
            self.got.append(event)

    class First(Base):
        pass

    class Second(Base):
        pass

    consumers = [First(), Second()]
    names = [consumer.register_to(bus)[0].name for consumer in consumers]
    assert len(set(names)) == 2
    await bus.publish(Told())
    assert [len(consumer.got) for consumer in consumers] == [1, 1]


async def test_a_dead_letter_goes_back_to_its_module(bus):
    dlq, broken = InMemoryDeadLetterQueue(), True
    failing = consumer_in("shop.orders", {"dlq": dlq}, lambda: broken)
    sound = consumer_in("shop.billing", {"dlq": dlq})
    for consumer in (failing, sound):
        consumer.register_to(bus)
    await bus.publish(Told())
    (entry,) = await dlq.peek()
    assert entry.handler_name == "shop.orders.Consumer.on_told"
    broken = False
    assert await dlq.redrive(bus) == 1
    assert (len(failing.got), len(sound.got)) == (1, 1)


async def test_a_handler_that_is_wrapped_under_its_full_name_is_found(bus):
    got = []

    def handle(event):
        pass

    @wraps(handle)
    async def wrapped(event):
        got.append("wrapped")

    plain = InMemoryEventBus().subscribe(Told, handle)
    bus.subscribe(Told, wrapped)
    await bus.deliver(Told(), handler=plain.name)
    assert got == ["wrapped"]


async def test_names_of_what_is_no_method(bus):
    class Called:
        def __call__(self, event):
            pass

    def function(event):
        pass

    async def placed(place, event):
        pass

    handlers = [function, Called(), partial(placed, 1), [].append]
    names = [bus.subscribe(Told, handler).name for handler in handlers]
    here = f"{__name__}.test_names_of_what_is_no_method.<locals>"
    assert names == [f"{here}.function", f"{here}.Called", f"{here}.placed", "list.append"]


async def test_a_method_that_publishes_its_event_again_does_not_wait_for_itself(bus):
    calls = []

    class Forwarder(EventConsumer):
        @listen(Told, deduplicator=InMemoryDeduplicator())
        async def forward(self, event):
            calls.append(event)
            await bus.publish(event, channel="audit")

    Forwarder().register_to(bus)
    with anyio.fail_after(30):
        await bus.publish(Told())
    assert len(calls) == 1


async def test_a_redrive_gives_back_what_it_has_no_time_for():
    class Leases(InMemoryDeadLetterQueue):
        batches = ()

        async def pop_batch(self, **options):
            batch = await super().pop_batch(**options)
            self.batches += (len(batch),)
            return batch

    bus, dlq, got, broken = InMemoryEventBus(), Leases(), [], True

    class Consumer(EventConsumer):
        @listen(Told, dlq=dlq)
        async def on_told(self, event):
            if broken:
                raise ValueError("no")
            await anyio.sleep(0.02)
            got.append(event.number)

    Consumer().register_to(bus)
    for number in range(5):
        await bus.publish(Told(number=number))
    broken = False
    assert await dlq.redrive(bus, lease=0.02) == 5
    assert got == list(range(5))
    assert dlq.batches == (5, 4, 3, 2, 1)
    assert await dlq.count() == 0
