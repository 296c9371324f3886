"""The relay: failures, poison, stopping, waking, cancellation."""

from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from varco_events import (
    BusUnavailableError,
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryDeduplicator,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    LifecycleError,
    NoopEventBus,
    OutboxEntry,
    OutboxRelay,
    RawEvent,
    listen,
)
from varco_resilience import CircuitOpenError, RetryPolicy

pytestmark = pytest.mark.anyio

POLICY = RetryPolicy(max_attempts=3, base_delay=1.0, jitter=False)


class Moved(Event):
    number: int
    name: str = ""

    def event_key(self):
        return self.name or None


class Setting:
    """An outbox with a clock, a bus, and what its handler got."""

    def __init__(self, clock, **options):
        self.clock = clock
        self.outbox = InMemoryOutboxRepository(clock=clock)
        self.bus = InMemoryEventBus()
        self.got = []
        self.fail = lambda event: False
        self.bus.subscribe(Moved, self.handle)
        options = {"retry_policy": POLICY, "clock": clock, **options}
        self.relay = OutboxRelay(outbox=self.outbox, bus=self.bus, **options)

    async def handle(self, event):
        await anyio.lowlevel.checkpoint()
        if self.fail(event):
            raise ValueError(f"{event.number} fails")
        self.got.append(event.number)

    async def save(self, *numbers, name=""):
        events = [Moved(number=number, name=name) for number in numbers]
        await self.outbox.save_many([OutboxEntry.from_event(event) for event in events])

    async def turn(self, seconds=0.0):
        self.clock.seconds += seconds
        return await self.relay.run_once()

    async def pending(self):
        return await self.outbox.get_pending(limit=1000)


async def test_a_failing_entry_holds_back_its_key_alone_and_is_tried_again(clock):
    one = Setting(clock)
    one.fail = lambda event: event.number == 1
    await one.save(1, 2, name="a")
    await one.save(3, 4, name="b")
    await one.save(5)
    assert await one.turn() == 5
    assert one.got == [3, 4, 5]
    first, second = await one.pending()
    assert (first.attempts, first.last_error) == (1, "ValueError: 1 fails")
    assert first.available_at == clock() + timedelta(seconds=1)
    assert (second.attempts, second.available_at) == (0, None)
    assert await one.turn() == 0
    one.fail = lambda event: False
    assert await one.turn(seconds=1) == 2
    assert one.got == [3, 4, 5, 1, 2]
    assert await one.pending() == []


async def test_poison_goes_to_the_dead_letters_and_its_key_goes_on(clock):
    dlq = InMemoryDeadLetterQueue()
    one = Setting(clock, dlq=dlq)
    one.fail = lambda event: event.number == 1
    await one.save(1, 2, name="a")
    for _ in range(4):
        await one.turn(seconds=10)
    assert one.got == [2]
    assert await one.pending() == []
    (entry,) = await dlq.peek()
    assert (entry.event.number, entry.attempts, entry.error_type) == (1, 3, "ValueError")
    one.fail = lambda event: False
    assert await dlq.redrive(one.bus) == 1
    assert one.got == [2, 1]


async def test_poison_is_parked_where_there_is_no_queue(clock):
    one = Setting(clock)
    one.fail = lambda event: event.number == 1
    await one.save(1, 2, name="a")
    for _ in range(4):
        await one.turn(seconds=10)
    assert one.got == [2]
    (parked,) = await one.outbox.get_parked()
    assert (parked.attempts, parked.last_error) == (3, "ValueError: 1 fails")


async def test_an_error_that_is_not_retryable_is_given_up_at_once(clock):
    policy = RetryPolicy(max_attempts=3, retryable_on=(KeyError,))
    one = Setting(clock, retry_policy=policy)
    one.fail = lambda event: True
    await one.save(1)
    await one.turn()
    (parked,) = await one.outbox.get_parked()
    assert parked.attempts == 1


async def test_a_full_queue_keeps_the_entry(clock):
    dlq = InMemoryDeadLetterQueue(max_size=1)
    one = Setting(clock, dlq=dlq)
    one.fail = lambda event: True
    await one.save(1, 2)
    for _ in range(5):
        await one.turn(seconds=100)
    assert await dlq.count() == 1
    assert [entry.attempts for entry in await one.pending()] == [5]


async def test_an_unknown_type_is_never_deleted(clock):
    dlq = InMemoryDeadLetterQueue()
    one = Setting(clock, dlq=dlq)
    payload = b'{"type":"from.elsewhere","version":1,"data":{"a":1}}'
    await one.outbox.save(OutboxEntry(event_type="from.elsewhere", payload=payload))
    garbage = OutboxEntry(event_type="garbage", payload=b"\xff")
    await one.outbox.save(garbage)
    await one.turn()
    assert len(await one.pending()) == 2
    for _ in range(2):
        await one.turn(seconds=10)
    entries = await dlq.peek()
    assert [entry.event.payload for entry in entries] == [payload, b"\xff"]
    assert [entry.event.raw_type for entry in entries] == ["from.elsewhere", "garbage"]
    assert all(isinstance(entry.event, RawEvent) for entry in entries)
    got = []
    one.bus.subscribe("from.elsewhere", got.append)
    await one.outbox.save(OutboxEntry(event_type="from.elsewhere", payload=payload))
    await one.turn(seconds=1)
    assert got[0].payload == payload


async def test_an_outage_counts_no_attempts(clock):
    class Down(NoopEventBus):
        down = True

        async def publish(self, event, *, channel="default"):
            if self.down:
                raise BusUnavailableError("no broker")

    one, bus = Setting(clock), Down()
    relay = OutboxRelay(outbox=one.outbox, bus=bus, retry_policy=POLICY, clock=clock)
    await one.save(1, 2, name="a")
    await one.save(3)
    for _ in range(20):
        clock.seconds += 10
        await relay.run_once()
    assert [entry.attempts for entry in await one.pending()] == [0, 0, 0]
    assert {entry.last_error for entry in await one.pending()} == {"BusUnavailableError: no broker"}
    bus.down = False
    clock.seconds += 10
    await relay.run_once()
    assert await one.pending() == []


async def test_an_open_circuit_counts_no_attempt(clock):
    one = Setting(clock)

    class Rejecting(NoopEventBus):
        async def publish(self, event, *, channel="default"):
            raise CircuitOpenError("payments", 0.0, 30.0)

    relay = OutboxRelay(outbox=one.outbox, bus=Rejecting(), retry_policy=POLICY, clock=clock)
    await one.save(1)
    for _ in range(5):
        clock.seconds += 10
        await relay.run_once()
    assert [entry.attempts for entry in await one.pending()] == [0]


async def test_poison_delays_other_keys_by_no_poll(clock):
    one = Setting(clock, batch_size=10)
    one.fail = lambda event: event.name == "poison"
    await one.save(*range(100), name="poison")
    for number in range(100, 150):
        await one.save(number, name=f"key {number}")
    turns = 0
    while await one.turn():
        turns += 1
    assert one.got == list(range(100, 150))
    assert turns == 6


async def test_the_relay_wakes_when_entries_are_saved(clock):
    one = Setting(clock, poll_interval=3600.0)
    async with one.relay:
        await anyio.wait_all_tasks_blocked()
        for number in range(3):
            await one.save(number)
            with anyio.fail_after(30):
                while len(one.got) <= number:
                    await anyio.sleep(0)


async def test_it_drains_without_sleeping(clock):
    one = Setting(clock, poll_interval=3600.0, batch_size=7)
    await one.save(*range(100))
    async with one.relay:
        with anyio.fail_after(30):
            while len(one.got) < 100:
                await anyio.sleep(0)


async def test_stop_finishes_the_entry_in_hand_and_releases_the_rest(clock):
    one = Setting(clock)
    began, go_on = anyio.Event(), anyio.Event()

    async def slow(event):
        began.set()
        await go_on.wait()

    one.bus.subscribe(Moved, slow)
    await one.save(1, 2, 3)
    async with anyio.create_task_group() as group:
        group.start_soon(one.relay.run)
        await began.wait()
        group.start_soon(one.relay.stop)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert one.got == [1]
    assert [entry.leased_until for entry in await one.pending()] == [None, None]
    await one.relay.stop()


async def test_stop_cancels_after_its_timeout(clock):
    one = Setting(clock)
    began = anyio.Event()

    async def endless(event):
        began.set()
        await anyio.sleep_forever()

    one.bus.subscribe(Moved, endless)
    await one.save(1, 2)
    async with anyio.create_task_group() as group:
        group.start_soon(one.relay.run)
        await began.wait()
        await one.relay.stop(timeout=0.01)
    entries = await one.pending()
    assert [entry.leased_until for entry in entries] == [None, None]
    assert [entry.attempts for entry in entries] == [0, 0]


async def test_a_delivery_is_cut_off_before_its_lease_ends(clock):
    one = Setting(clock, lease=0.05)

    async def endless(event):
        if event.number == 1:
            await anyio.sleep_forever()

    one.bus.subscribe(Moved, endless)
    await one.save(1, name="a")
    await one.save(2, name="b")
    await one.turn()
    first, second = await one.pending()
    assert first.attempts == 1
    assert first.last_error.startswith("TimeoutError: the delivery was cut off")
    assert second.attempts == 0
    await one.turn()
    assert one.got[-1] == 2


async def test_start_and_stop_own_a_task_on_asyncio(clock, anyio_backend_name):
    one = Setting(clock)
    await one.save(1)
    if anyio_backend_name == "trio":
        with pytest.raises(LifecycleError, match="async with"):
            await one.relay.start()
        return
    await one.relay.start()
    with pytest.raises(LifecycleError, match="running already"):
        await one.relay.start()
    with pytest.raises(LifecycleError, match="running already"):
        await one.relay.run()
    with anyio.fail_after(30):
        while not one.got:
            await anyio.sleep(0)
    await one.relay.stop()
    await one.relay.start()
    await one.relay.stop()
    await one.relay.stop()
    assert one.got == [1]


async def test_it_survives_an_outbox_that_fails(clock, caplog):
    one = Setting(clock, poll_interval=0.001)
    sound, calls = one.outbox.claim, []

    async def claim(**options):
        calls.append(options)
        if len(calls) < 3:
            raise ConnectionError("no database")
        return await sound(**options)

    one.outbox.claim = claim
    await one.save(1)
    async with one.relay:
        with anyio.fail_after(30):
            while not one.got:
                await anyio.sleep(0.001)
    assert caplog.text.count("goes on after an error") == 2


async def test_a_partial_failure_repeats_only_what_failed(clock):
    one = Setting(clock)
    others = []
    one.bus.subscribe(Moved, lambda event: others.append(event.number))
    one.fail = lambda event: len(others) < 1 or clock.seconds < 5
    await one.save(1)
    await one.turn()
    await one.turn(seconds=10)
    assert (one.got, others) == ([1], [1])


@pytest.mark.parametrize("wrong", [{"poll_interval": 0}, {"batch_size": 0}, {"lease": -1}])
async def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="OutboxRelay needs"):
        OutboxRelay(outbox=InMemoryOutboxRepository(), bus=InMemoryEventBus(), **wrong)


async def test_an_entry_that_was_changed_meanwhile_is_not_brought_back(clock):
    outbox = InMemoryOutboxRepository(clock=clock)
    entry = OutboxEntry.from_event(Moved(number=1))
    await outbox.save(entry)
    (claimed,) = await outbox.claim(lease=10)
    await outbox.delete(entry.entry_id)
    await outbox.release([claimed])
    await outbox.park(replace(claimed, attempts=3))
    assert await outbox.get_pending() == []
    assert await outbox.get_parked() == []


async def test_a_consumer_behind_a_relay(clock):
    one, seen, got = Setting(clock), InMemoryDeduplicator(), []

    class Consumer(EventConsumer):
        @listen(Moved, deduplicator=seen)
        async def on_moved(self, event):
            got.append(event.number)

    Consumer().register_to(one.bus)
    await one.save(1, 2)
    await one.turn()
    assert got == [1, 2]
