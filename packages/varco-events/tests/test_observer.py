"""Observers of events on their way."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from varco_events import (
    RELAY_HANDLER,
    Event,
    EventConsumer,
    EventEnvelope,
    EventMiddleware,
    EventObserver,
    HandlerOutcome,
    InHand,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    NoopEventBus,
    OutboxEntry,
    OutboxRelay,
    Outcome,
    add_event_observer,
    current_envelope,
    listen,
    remove_event_observer,
)
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


class Noted(Event):
    number: int = 0

    def event_key(self):
        return "one"


class Spy(EventObserver):
    def __init__(self):
        self.told = []

    @contextmanager
    def _around(self, *what):
        self.told.append(what)
        try:
            yield
        except BaseException as error:
            self.told.append((what[0], type(error).__name__))
            raise

    def sending(self, entries):
        return self._around("sending", len(entries))

    def handling(self, handler, event, channel):
        return self._around("handling", handler.rpartition(".")[2], current_envelope() is not None)

    def sent(self, entry, seconds):
        self.told.append(("sent", seconds))

    def not_sent(self, entry, error):
        self.told.append(("not sent", type(error).__name__))

    def given_up(self, envelope, handler, error, attempts):
        self.told.append(("given up", handler.rpartition(".")[2], type(error).__name__, attempts))


@pytest.fixture
def spy():
    spy = Spy()
    add_event_observer(spy)
    add_event_observer(spy)
    yield spy
    remove_event_observer(spy)
    remove_event_observer(spy)


def failing(event):
    raise ValueError


async def test_a_relay_says_how_long_entries_waited_and_handlers_are_within(spy, clock):
    outbox, bus = InMemoryOutboxRepository(clock=clock), InMemoryEventBus()

    async def handle(event):
        spy.told.append("handled")

    bus.subscribe(Noted, handle)
    await outbox.save(replace(OutboxEntry.from_event(Noted()), created_at=clock()))
    clock.seconds += 5
    await OutboxRelay(outbox=outbox, bus=bus, clock=clock).run_once()
    sending, handling, handled, (_, seconds) = spy.told
    assert (sending, handling, handled) == (
        ("sending", 1),
        ("handling", "handle", True),
        "handled",
    )
    assert seconds == pytest.approx(5, abs=0.5)


async def test_attempts_and_what_is_given_up_are_told_and_what_is_held_back_is_not(spy):
    outbox, bus, dlq = InMemoryOutboxRepository(), InMemoryEventBus(), InMemoryDeadLetterQueue()
    bus.subscribe(Noted, failing)
    await outbox.save_many([OutboxEntry.from_event(Noted(number=n)) for n in range(2)])
    policy = RetryPolicy(max_attempts=1)
    await OutboxRelay(outbox=outbox, bus=bus, dlq=dlq, retry_policy=policy).run_once()
    assert spy.told.count(("not sent", "ValueError")) == 1
    assert ("given up", RELAY_HANDLER.rpartition(".")[2], "ValueError", 1) in spy.told


async def test_a_consumer_that_gives_up_says_so(spy):
    class Consumer(EventConsumer):
        @listen(Noted, dlq=InMemoryDeadLetterQueue())
        async def on(self, event):
            raise ValueError

    bus = InMemoryEventBus()
    Consumer().register_to(bus)
    await bus.publish(Noted())
    assert spy.told == [("handling", "on", False), ("given up", "on", "ValueError", 1)]


async def test_middleware_is_within(spy):
    class Outer(EventMiddleware):
        async def __call__(self, event, channel, next):  # noqa: A002
            spy.told.append("middleware")
            await next(event, channel)

    bus = InMemoryEventBus(middleware=[Outer()])
    bus.subscribe(Noted, failing)
    with pytest.raises(ValueError):
        await bus.publish(Noted())
    assert spy.told == [
        ("handling", "failing", False),
        "middleware",
        ("handling", "ValueError"),
    ]


async def test_who_is_removed_is_told_no_more(spy):
    remove_event_observer(spy)
    outbox = InMemoryOutboxRepository()
    await outbox.save(OutboxEntry.from_event(Noted()))
    await OutboxRelay(outbox=outbox, bus=NoopEventBus()).run_once()
    assert spy.told == []


async def test_a_bus_that_dead_letters_what_it_took_says_so(spy):
    class Taken(InHand):
        origin = "test"
        poison = RuntimeError

        def _read(self):
            return EventEnvelope.of(Noted())

    taken = Taken(stream="s", number=1, channel="default", attempts=3)
    (letter,) = taken.dead_letters([HandlerOutcome("m.on", Outcome.FAILED, OSError())], "group")
    assert letter.handler_name == "m.on"
    assert spy.told == [("given up", "on", "OSError", 3)]
