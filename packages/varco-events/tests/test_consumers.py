"""Consumers: retries, dead letters, deduplication, inbox, correlation."""

import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from varco_events import (
    BusUnavailableError,
    CorrelationIdFilter,
    CorrelationMiddleware,
    DeadLetterFailedError,
    Event,
    EventConsumer,
    EventEnvelope,
    InboxEntry,
    InboxPoller,
    InboxRepository,
    InMemoryDeadLetterQueue,
    InMemoryDeduplicator,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    LoggingMiddleware,
    OutboxEntry,
    OutboxRelay,
    RetryMiddleware,
    correlation_context,
    current_causation_id,
    current_correlation_id,
    generate_correlation_id,
    listen,
)
from varco_resilience import CircuitOpenError, RetryExhaustedError, RetryPolicy

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(max_attempts=3, base_delay=0, retryable_on=(ValueError,))


class Ordered(Event):
    number: int = 0


class Paid(Event):
    pass


@pytest.fixture
def bus():
    return InMemoryEventBus()


async def test_methods_listen_with_channel_filter_and_priority(bus):
    class Consumer(EventConsumer):
        def __init__(self, channel):
            self.channel = channel
            self.got = []

        @listen(Ordered, Paid, channel=lambda self: self.channel)
        async def first(self, event):
            self.got.append("first")

        @listen(Ordered, priority=1, filter=lambda event: event.number > 0)
        @listen("Paid", channel="other")
        def second(self, event):
            self.got.append("second")

    consumer = Consumer("orders")
    subscriptions = bus.register_consumer(consumer)
    assert len(subscriptions) == 4
    assert consumer.register_to(bus) == subscriptions
    await bus.publish(Ordered(), channel="orders")
    await bus.publish(Ordered(number=1), channel="orders")
    await bus.publish(Paid(), channel="other")
    assert consumer.got == ["first", "second", "first", "second"]


async def test_overriding_keeps_listening_unless_it_says_otherwise(bus):
    class Base(EventConsumer):
        @listen(Ordered)
        async def handle(self, event):
            raise AssertionError("overridden")

        @listen(Ordered)
        async def moved(self, event):
            raise AssertionError("overridden")

    class Derived(Base):
        got = ()

        async def handle(self, event):
            self.got += (event,)

        @listen(Paid)
        async def moved(self, event):
            self.got += (event,)

    consumer = Derived()
    consumer.register_to(bus)
    await bus.publish(Ordered())
    await bus.publish(Paid())
    assert [type(event) for event in consumer.got] == [Ordered, Paid]


@pytest.mark.parametrize("wrong", [(), (print,), (Ordered(),)])
async def test_listen_wants_event_types(wrong):
    with pytest.raises(TypeError, match="event classes and type names"):
        listen(*wrong)


async def test_stop_unsubscribes_and_waits_and_start_subscribes_again(bus):
    began, go_on = anyio.Event(), anyio.Event()

    class Consumer(EventConsumer):
        handled = 0

        @listen(Ordered)
        async def handle(self, event):
            began.set()
            await go_on.wait()
            self.handled += 1

    consumer = Consumer()
    consumer.register_to(bus)
    async with anyio.create_task_group() as group:
        group.start_soon(bus.publish, Ordered())
        await began.wait()
        group.start_soon(consumer.stop)
        await anyio.wait_all_tasks_blocked()
        assert consumer.handled == 0
        go_on.set()
    assert consumer.handled == 1
    await bus.publish(Ordered())
    assert consumer.handled == 1
    await consumer.start()
    await consumer.start()
    await bus.publish(Ordered())
    assert consumer.handled == 2


def consumer_of(handle, **options):
    class Consumer(EventConsumer):
        @listen(Ordered, **options)
        async def on_ordered(self, event):
            await handle(event)

    return Consumer()


async def test_retries_then_the_dead_letter_queue(bus):
    dlq, calls = InMemoryDeadLetterQueue(), []

    async def fail(event):
        calls.append(event)
        raise ValueError(f"attempt {len(calls)}")

    consumer = consumer_of(fail, retry_policy=SOON, dlq=dlq)
    (subscription,) = consumer.register_to(bus)
    event = Ordered()
    await bus.publish(event, channel="orders")
    assert len(calls) == 3
    (entry,) = await dlq.pop_batch()
    assert entry.event == event
    assert entry.channel == "orders"
    assert entry.handler_name == subscription.name
    assert entry.handler_name.endswith("Consumer.on_ordered")
    assert (entry.error_type, entry.error_message) == ("ValueError", "attempt 3")
    assert entry.attempts == 3
    assert entry.first_failed_at <= entry.last_failed_at


async def test_an_error_that_is_not_retryable_goes_to_the_queue_at_once(bus):
    dlq, calls = InMemoryDeadLetterQueue(), []

    async def fail(event):
        calls.append(event)
        raise KeyError("no")

    consumer_of(fail, retry_policy=SOON, dlq=dlq).register_to(bus)
    await bus.publish(Ordered())
    assert len(calls) == 1
    (entry,) = await dlq.pop_batch()
    assert (entry.error_type, entry.attempts) == ("KeyError", 1)


async def test_without_a_queue_the_error_reaches_the_publisher(bus):
    async def fail(event):
        raise ValueError("no")

    consumer_of(fail, retry_policy=SOON).register_to(bus)
    with pytest.raises(RetryExhaustedError):
        await bus.publish(Ordered())


async def test_a_failing_queue_leaves_the_event_unacknowledged(bus):
    async def fail(event):
        raise ValueError("no")

    dlq = InMemoryDeadLetterQueue(max_size=1)
    consumer_of(fail, dlq=lambda self: dlq).register_to(bus)
    await bus.publish(Ordered())
    with pytest.raises(DeadLetterFailedError, match="not acknowledged") as caught:
        await bus.publish(Ordered())
    assert isinstance(caught.value.__cause__, ValueError)
    assert await dlq.count() == 1


async def test_a_cancelled_handler_is_neither_acknowledged_nor_dead_lettered(bus):
    dlq, seen, began = InMemoryDeadLetterQueue(), InMemoryDeduplicator(), anyio.Event()
    outcome = []

    async def endless(event):
        began.set()
        await anyio.sleep_forever()

    consumer_of(endless, dlq=dlq, deduplicator=seen, retry_policy=SOON).register_to(bus)

    async def publish():
        await bus.deliver(Ordered())
        outcome.append("acknowledged")

    async with anyio.create_task_group() as group:
        group.start_soon(publish)
        await began.wait()
        group.cancel_scope.cancel()
    assert outcome == []
    assert await dlq.count() == 0
    assert seen._seen == {}


async def test_redriving_reaches_the_method_that_failed(bus):
    dlq, broken, got = InMemoryDeadLetterQueue(), True, []

    async def handle(event):
        if broken:
            raise ValueError("no")
        got.append(event.number)

    consumer_of(handle, dlq=dlq).register_to(bus)
    bus.subscribe(Ordered, lambda event: got.append("other"))
    for number in range(3):
        await bus.publish(Ordered(number=number))
    assert got == ["other"] * 3
    assert await dlq.redrive(bus) == 3  # taken, and dead-lettered again, each once
    assert await dlq.count() == 3
    broken = False
    assert await dlq.redrive(bus) == 3
    assert got == ["other"] * 3 + [0, 1, 2]
    assert await dlq.count() == 0


@pytest.mark.parametrize("with_inbox", [False, True])
async def test_a_dead_letter_is_no_repetition_when_it_is_redriven(bus, with_inbox):
    class WithoutDiscard(InMemoryInboxRepository):
        discard = InboxRepository.discard

    dlq, broken, got = InMemoryDeadLetterQueue(), True, []

    async def handle(event):
        if broken:
            raise ValueError("no")
        got.append(event)

    once = {"inbox": WithoutDiscard()} if with_inbox else {"deduplicator": InMemoryDeduplicator()}
    consumer_of(handle, dlq=dlq, **once).register_to(bus)
    event = Ordered()
    await bus.publish(event)
    broken = False
    (entry,) = await dlq.peek()
    assert await dlq.redrive(bus) == 1
    assert got == [event]
    await dlq.push(entry)  # as if its acknowledgement had been lost
    assert await dlq.redrive(bus) == 1
    assert got == [event]


async def test_what_comes_again_after_it_was_dead_lettered_is_one_dead_letter(bus):
    dlq, event = InMemoryDeadLetterQueue(), Ordered()

    async def handle(event):
        raise ValueError("no")

    consumer_of(handle, dlq=dlq).register_to(bus)
    for _ in range(2):  # as after a kill before it was acknowledged
        await bus.publish(event, channel="a")
    await bus.publish(event, channel="b")
    first, second = await dlq.peek()
    assert (first.channel, second.channel) == ("a", "b")
    # Driven again it fails again, which is another failure than the one that is acknowledged then.
    assert await dlq.redrive(bus) == 2
    again = await dlq.peek()
    assert len(again) == 2
    assert not {one.entry_id for one in again} & {first.entry_id, second.entry_id}


@pytest.mark.parametrize(
    "rejection", [BusUnavailableError("down"), CircuitOpenError("x", 1.0, 1.0)]
)
async def test_what_was_rejected_comes_again_and_is_no_dead_letter(bus, rejection):
    dlq, outbox, got = InMemoryDeadLetterQueue(), InMemoryOutboxRepository(), []

    async def handle(event):
        if rejection:
            raise rejection
        got.append(event)

    consumer_of(handle, dlq=dlq, retry_policy=SOON).register_to(bus)
    await outbox.save(OutboxEntry.from_event(Ordered()))
    relay = OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.001)
    await relay.run_once()
    (waiting,) = await outbox.get_pending()
    assert (waiting.attempts, await dlq.count()) == (0, 0)
    await bus.publish(Ordered())  # nobody would send this one again
    assert await dlq.count() == 1
    rejection = None
    with anyio.fail_after(30):
        while not got:
            await relay.run_once()


async def test_what_was_handled_is_not_handled_again_with_the_dead_letter_of_another(bus):
    dlq, outbox, inbox, got = (
        InMemoryDeadLetterQueue(),
        InMemoryOutboxRepository(),
        InMemoryInboxRepository(),
        [],
    )

    def process(*, broken):
        bus = InMemoryEventBus()

        async def handle(event):
            got.append("handled")

        async def other(event):
            if broken:
                raise ValueError("no")
            got.append("other")

        consumer_of(handle, inbox=inbox).register_to(bus)
        bus.subscribe(Ordered, other)
        return bus

    await outbox.save(OutboxEntry.from_event(Ordered()))
    policy = RetryPolicy(max_attempts=1)
    relay = OutboxRelay(outbox=outbox, bus=process(broken=True), dlq=dlq, retry_policy=policy)
    await relay.run_once()
    assert await dlq.redrive(process(broken=False)) == 1  # after a restart
    assert got == ["handled", "other"]


async def test_what_was_handled_after_it_was_dead_lettered_is_not_handled_when_that_is_redriven():
    """Another handler had failed too, so the event came again, after a restart."""
    dlq, outbox, got = InMemoryDeadLetterQueue(), InMemoryOutboxRepository(), []
    inbox, broken = InMemoryInboxRepository(), True

    def relay():
        bus = InMemoryEventBus()

        async def handle(event):
            if broken:
                raise ValueError("no")
            got.append("handled")

        async def other(event):
            if broken:
                raise ValueError("no")
            got.append("other")

        consumer_of(handle, inbox=inbox, dlq=dlq).register_to(bus)
        bus.subscribe(Ordered, other)
        policy = RetryPolicy(max_attempts=2, base_delay=0, max_delay=0)
        return OutboxRelay(outbox=outbox, bus=bus, retry_policy=policy), bus

    await outbox.save(OutboxEntry.from_event(Ordered()))
    await relay()[0].run_once()
    broken = False
    again, bus = relay()
    await again.run_once()
    assert sorted(got) == ["handled", "other"]
    assert await dlq.redrive(bus) == 1
    assert sorted(got) == ["handled", "other"]


async def test_groups_that_share_an_inbox_handle_an_event_each():
    inbox, dispatchers, got = InMemoryInboxRepository(), [], []
    for group in ("mailers", "audit"):
        bus = InMemoryEventBus()
        bus._dispatcher.group = group

        async def handle(event):
            got.append(event)

        consumer_of(handle, inbox=inbox).register_to(bus)
        dispatchers.append(bus._dispatcher)
    envelope = EventEnvelope.of(Ordered())
    for _ in range(2):
        for dispatcher in dispatchers:
            assert (await dispatcher.dispatch(envelope)).is_done
    assert len(got) == 2


async def test_a_shared_deduplicator_tells_handlers_apart(bus):
    seen, got = InMemoryDeduplicator(), []

    class Consumer(EventConsumer):
        @listen(Ordered, deduplicator=seen)
        async def one(self, event):
            got.append("one")

        @listen(Ordered, deduplicator=seen)
        async def other(self, event):
            got.append("other")

    Consumer().register_to(bus)
    event = Ordered()
    for _ in range(3):
        await bus.publish(event)
    assert got == ["one", "other"]
    await bus.publish(Ordered())
    assert got == ["one", "other"] * 2


async def test_a_failed_event_is_no_duplicate(bus):
    calls = []

    async def handle(event):
        calls.append(event)
        if len(calls) == 1:
            raise ValueError("once")

    consumer_of(handle, deduplicator=InMemoryDeduplicator()).register_to(bus)
    event = Ordered()
    with pytest.raises(ValueError, match="once"):
        await bus.publish(event)
    await bus.publish(event)
    await bus.publish(event)
    assert len(calls) == 2


async def test_a_duplicate_that_comes_at_the_same_time_waits_for_the_outcome(bus):
    calls, go_on = [], anyio.Event()

    async def handle(event):
        calls.append(event)
        await go_on.wait()
        if len(calls) == 1:
            raise ValueError("the first fails")

    consumer_of(handle, deduplicator=InMemoryDeduplicator()).register_to(bus)
    event, failures = Ordered(), []

    async def publish():
        try:
            await bus.publish(event)
        except ValueError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(publish)
        await anyio.wait_all_tasks_blocked()
        assert len(calls) == 1
        go_on.set()
    assert (len(calls), len(failures)) == (2, 1)


async def test_the_deduplicator_forgets_the_oldest():
    seen = InMemoryDeduplicator(max_size=2)
    ids = [Ordered().event_id for _ in range(3)]
    for one in ids:
        await seen.mark_seen(one)
    assert [await seen.is_duplicate(one) for one in ids] == [False, True, True]
    with pytest.raises(ValueError, match="max_size"):
        InMemoryDeduplicator(max_size=0)


async def test_the_inbox_handles_effectively_once(bus):
    inbox, calls = InMemoryInboxRepository(), []

    async def handle(event):
        calls.append(event)
        if len(calls) == 1:
            raise ValueError("once")

    consumer_of(handle, inbox=inbox).register_to(bus)
    event = Ordered()
    with pytest.raises(ValueError, match="once"):
        await bus.publish(event)
    (waiting,) = await inbox.get_unprocessed()
    assert waiting.handler_name.endswith("on_ordered")
    await bus.publish(event)
    await bus.publish(event)
    assert len(calls) == 2
    assert await inbox.get_unprocessed() == []


async def test_what_is_dead_lettered_does_not_wait_in_the_inbox(bus):
    inbox, dlq = InMemoryInboxRepository(), InMemoryDeadLetterQueue()

    async def fail(event):
        raise ValueError("no")

    consumer_of(fail, inbox=inbox, dlq=dlq).register_to(bus)
    await bus.publish(Ordered())
    assert await dlq.count() == 1
    assert await inbox.get_unprocessed() == []


async def test_every_attempt_has_a_transaction_of_its_own(bus):
    log = []

    class Transactional(InMemoryInboxRepository):
        @asynccontextmanager
        async def handling(self, entry):
            log.append("begin")
            try:
                yield True
            except BaseException:
                log.append("rollback")
                raise
            log.append("commit")

    async def handle(event):
        log.append("effect")
        if log.count("effect") < 3:
            raise ValueError("again")

    consumer_of(handle, inbox=Transactional(), retry_policy=SOON).register_to(bus)
    await bus.publish(Ordered())
    assert log == ["begin", "effect", "rollback"] * 2 + ["begin", "effect", "commit"]


async def test_the_poller_delivers_what_was_received_and_what_was_abandoned(bus, clock):
    inbox, got, broken = InMemoryInboxRepository(clock=clock), [], True

    async def handle(event):
        if broken:
            raise ValueError("no")
        got.append(event.number)

    consumer_of(handle, inbox=inbox).register_to(bus)
    poller = InboxPoller(inbox=inbox, bus=bus)
    with pytest.raises(ValueError, match="no"):
        await bus.publish(Ordered(number=1), channel="c")
    (abandoned,) = await inbox.get_unprocessed()
    await inbox.save(InboxEntry.from_event(Ordered(number=2)))
    clock.seconds = (abandoned.received_at - clock.start).total_seconds() + 59
    assert await poller.run_once() == 0  # 1 is in hand for all we know, 2 fails
    clock.seconds += 2
    broken = False
    assert await poller.run_once() == 3  # 2 twice: as received, and as begun by its handler
    assert got == [1, 2]
    assert await inbox.get_unprocessed() == []
    assert await poller.run_once() == 0


async def test_the_poller_runs_in_the_background(bus):
    inbox, got = InMemoryInboxRepository(), []
    done = anyio.Event()
    bus.subscribe(Ordered, lambda event: (got.append(event), done.set()))
    await inbox.save(InboxEntry.from_event(Ordered(), channel="c"))
    async with InboxPoller(inbox=inbox, bus=bus, poll_interval=0.01):
        with anyio.fail_after(30):
            await done.wait()
    assert len(got) == 1
    with pytest.raises(ValueError, match="poll_interval"):
        InboxPoller(inbox=inbox, bus=bus, poll_interval=0)


async def test_ids_travel_with_events(bus):
    chain = []

    class Consumer(EventConsumer):
        @listen(Ordered)
        async def on_ordered(self, event):
            chain.append((event, current_correlation_id(), current_causation_id()))
            if event.number < 2:
                await bus.publish(Ordered(number=event.number + 1))

    Consumer().register_to(bus)
    async with correlation_context("request-1") as correlation_id:
        assert correlation_id == current_correlation_id() == "request-1"
        await bus.publish(Ordered())
    assert current_correlation_id() is None
    first, second, third = (event for event, _, _ in chain)
    assert {event.correlation_id for event in (first, second, third)} == {"request-1"}
    assert first.causation_id is None
    assert (second.causation_id, third.causation_id) == (first.event_id, second.event_id)
    assert [cause for _, _, cause in chain] == [first.event_id, second.event_id, third.event_id]

    chain.clear()
    await bus.publish(Ordered(number=1))
    (root, inside, _), (child, _, _) = chain
    assert root.correlation_id is None
    assert inside == child.correlation_id == str(root.event_id)


async def test_the_correlation_middleware_does_it_for_every_handler():
    bus, got = InMemoryEventBus(middleware=[CorrelationMiddleware()]), []
    bus.subscribe(Ordered, lambda event: got.append(CorrelationMiddleware.current_id()))
    with correlation_context("c"):
        event = Ordered()
    await bus.publish(event)
    assert got == ["c"]
    assert generate_correlation_id() != generate_correlation_id()


async def test_log_records_carry_the_correlation_id():
    record = logging.makeLogRecord({})
    log_filter = CorrelationIdFilter()
    assert log_filter.filter(record)
    assert record.correlation_id == "-"
    with correlation_context("c"):
        log_filter.filter(record)
    assert record.correlation_id == "c"


async def test_the_retry_middleware_repeats_the_handler_that_failed_alone():
    bus = InMemoryEventBus(middleware=[RetryMiddleware(base_delay=0)])
    calls = []

    async def flaky(event):
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise ValueError("again")

    bus.subscribe(Ordered, lambda event: calls.append("sound"))
    bus.subscribe(Ordered, flaky)
    await bus.publish(Ordered())
    assert calls == ["sound", "flaky", "flaky", "flaky"]


async def test_the_logging_middleware_logs_both_ways(caplog):
    bus = InMemoryEventBus(middleware=[LoggingMiddleware(level=logging.WARNING)])
    bus.subscribe(Ordered, lambda event: 1 / event.number)
    await bus.publish(Ordered(number=1), channel="c")
    with pytest.raises(ZeroDivisionError):
        await bus.publish(Ordered(), channel="c")
    assert "Ordered" in caplog.text
    assert " on c took " in caplog.text
    assert " on c failed after " in caplog.text


async def test_what_was_stopped_or_cancelled_is_registered_again(bus):
    got = []

    async def handle(event):
        got.append(event)

    consumer = consumer_of(handle)
    first = consumer.register_to(bus)
    assert consumer.register_to(bus) == first
    await consumer.stop()
    again = consumer.register_to(bus)
    assert [one.is_cancelled for one in again] == [False]
    await bus.publish(Ordered())
    assert len(got) == 1
    again[0].cancel()
    assert [one.is_cancelled for one in consumer.register_to(bus)] == [False]
    await bus.publish(Ordered())
    assert len(got) == 2


async def test_pollers_share_an_inbox_and_look_past_what_is_in_hand(clock):
    inbox, got = InMemoryInboxRepository(clock=clock), []

    def poller():
        bus = InMemoryEventBus()

        @bus.on(Ordered)
        async def handle(event):
            await anyio.lowlevel.checkpoint()
            got.append(event.event_id)

        return InboxPoller(inbox=inbox, bus=bus, batch_size=3)

    for _ in range(10):
        entry = InboxEntry.from_event(Ordered())
        await inbox.save(replace(entry, handler_name="in.hand", received_at=clock()))
    for _ in range(20):
        await inbox.save(InboxEntry.from_event(Ordered()))
    async with anyio.create_task_group() as group:
        for one in [poller() for _ in range(8)]:
            group.start_soon(one.run_once)
    assert len(got) == len(set(got)) == 20


async def test_a_poller_gives_up_what_cannot_be_read_or_done(clock):
    inbox, bus, dlq = (
        InMemoryInboxRepository(clock=clock),
        InMemoryEventBus(),
        InMemoryDeadLetterQueue(),
    )

    @bus.on(Ordered)
    def fail(event):
        raise ValueError("never")

    entries = [
        InboxEntry(event_type="tests.nobody.knows", payload=b"\xff"),
        InboxEntry(event_type=Ordered.event_type_name(), payload=b"\xff"),
        InboxEntry.from_event(Ordered()),
    ]
    for entry in entries:
        await inbox.save(entry)
    policy = RetryPolicy(max_attempts=2, base_delay=1, jitter=False)
    poller = InboxPoller(inbox=inbox, bus=bus, dlq=dlq, retry_policy=policy)
    for _ in range(4):
        await poller.run_once()
        clock.seconds += 10
    assert await inbox.get_unprocessed() == []
    letters = await dlq.peek()
    assert [one.envelope for one in letters] == [entry.envelope for entry in entries]
    assert [one.attempts for one in letters] == [2, 2, 2]
