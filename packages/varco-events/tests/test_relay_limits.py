"""The relay in unusual trouble: foreign cancellation, endless work, long queues of one key."""

import asyncio
import time
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from varco_events import (
    BusStoppedError,
    ChannelUnavailableError,
    Event,
    InboxEntry,
    InboxPoller,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    OutboxRepository,
)
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


class Stepped(Event):
    number: int
    name: str = ""

    def event_key(self):
        return self.name or None


async def filled(*events, outbox=None):
    outbox = InMemoryOutboxRepository() if outbox is None else outbox
    await outbox.save_many([OutboxEntry.from_event(event) for event in events])
    return outbox


async def until(condition):
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.001)


def what_was_cancelled(anyio_backend_name):
    """Awaiting it raises a CancelledError although nobody cancelled the one who awaits."""
    if anyio_backend_name == "trio":
        pytest.skip("nothing of the kind on trio")
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


async def test_a_handler_whose_own_task_was_cancelled_ends_no_relay(anyio_backend_name):
    bus, got, cancelled = InMemoryEventBus(), [], what_was_cancelled(anyio_backend_name)

    @bus.on(Stepped)
    async def handle(event):
        if event.number == 1:
            await cancelled
        got.append(event.number)

    dlq = InMemoryDeadLetterQueue()
    outbox = await filled(*(Stepped(number=n, name=str(n)) for n in range(3)))
    policy = RetryPolicy(max_attempts=1)
    relay = OutboxRelay(outbox=outbox, bus=bus, dlq=dlq, poll_interval=0.01, retry_policy=policy)
    async with relay:
        await until(lambda: len(got) == 2)
        await filled(Stepped(number=3), outbox=outbox)
        await until(lambda: len(got) == 3)
    assert got == [0, 2, 3]
    # Neither acknowledged nor dead-lettered.
    (left,) = await outbox.get_pending()
    assert (left.attempts, await dlq.count()) == (0, 0)


async def test_a_cancelled_relay_is_cancelled(anyio_backend_name):
    bus, began = InMemoryEventBus(), anyio.Event()

    @bus.on(Stepped)
    async def handle(event):
        began.set()
        await anyio.sleep_forever()

    outbox = await filled(Stepped(number=1))
    relay = OutboxRelay(outbox=outbox, bus=bus)
    async with anyio.create_task_group() as group:
        group.start_soon(relay.run)
        await began.wait()
        group.cancel_scope.cancel()
    assert len(await outbox.claim()) == 1  # released
    if anyio_backend_name == "asyncio":
        task = asyncio.create_task(relay.run())
        await anyio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_stop_after_somebody_cancelled_the_task_cancels_nobody_else(anyio_backend_name):
    if anyio_backend_name == "trio":
        pytest.skip("start() is for asyncio")
    relay = OutboxRelay(outbox=InMemoryOutboxRepository(), bus=InMemoryEventBus())
    before = asyncio.all_tasks()
    await relay.start()
    await anyio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await relay.stop()
    await relay.start()
    await relay.stop()


@pytest.mark.parametrize("kind", ["relay", "poller"])
async def test_a_backlog_lets_others_run_and_can_be_cancelled(kind):
    bus, got = InMemoryEventBus(), []
    bus.subscribe(Stepped, got.append)
    events = [Stepped(number=number) for number in range(1000)]
    if kind == "relay":
        runner = OutboxRelay(outbox=await filled(*events), bus=bus, batch_size=10)
    else:
        inbox = InMemoryInboxRepository()
        for event in events:
            await inbox.save(InboxEntry.from_event(event))
        runner = InboxPoller(inbox=inbox, bus=bus, batch_size=10)
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run)
        while not got:
            await anyio.sleep(0)
        group.cancel_scope.cancel()
    assert len(got) < 1000


async def test_handlers_that_block_the_loop_cannot_outlast_the_lease():
    outbox, bus, got = await filled(*(Stepped(number=n) for n in range(10))), InMemoryEventBus(), []

    @bus.on(Stepped)
    def block(event):
        time.sleep(0.05)
        got.append(event.number)

    relay = OutboxRelay(outbox=outbox, bus=bus, lease=0.2)
    await relay.run_once()
    assert 1 <= len(got) < 10
    # The rest was given back and counts no attempt.
    assert [entry.attempts for entry in await outbox.claim(lease=60)] == [0] * (10 - len(got))


async def test_an_entry_that_had_its_time_fails_alone():
    outbox, bus, got = await filled(*(Stepped(number=n) for n in range(5))), InMemoryEventBus(), []

    @bus.on(Stepped)
    async def slow(event):
        got.append(event.number)
        await anyio.sleep_forever()

    relay = OutboxRelay(outbox=outbox, bus=bus, lease=0.2, retry_policy=RetryPolicy(max_attempts=1))
    await relay.run_once()
    assert got == [0]
    assert [entry.attempts for entry in await outbox.get_parked()] == [1]
    assert [entry.attempts for entry in await outbox.get_pending()] == [0] * 4


async def test_a_handler_whose_own_bus_is_down_holds_back_its_key_alone(clock):
    bus, got = InMemoryEventBus(), []

    @bus.on(Stepped)
    async def forward(event):
        if event.name == "a":
            raise BusStoppedError("Forwarded")
        got.append(event.number)

    events = [Stepped(number=n, name=name) for n, name in enumerate("abab")]
    outbox = await filled(*events, outbox=InMemoryOutboxRepository(clock=clock))
    relay = OutboxRelay(
        outbox=outbox, bus=bus, clock=clock, retry_policy=RetryPolicy(max_attempts=1)
    )
    for _ in range(5):
        clock.seconds += 10
        await relay.run_once()
    assert got == [1, 3]
    assert [entry.attempts for entry in await outbox.get_pending()] == [0, 0]


async def test_several_errors_deserve_another_attempt_when_one_does():
    bus = InMemoryEventBus()

    def fail(event):
        raise ConnectionError

    def fail_for_good(event):
        raise KeyError

    bus.subscribe(Stepped, fail)
    bus.subscribe(Stepped, fail_for_good)
    outbox = await filled(Stepped(number=1))
    policy = RetryPolicy(max_attempts=3, retryable_on=(ConnectionError,))
    await OutboxRelay(outbox=outbox, bus=bus, retry_policy=policy).run_once()
    assert [entry.attempts for entry in await outbox.get_pending()] == [1]


class Slow(OutboxRepository):
    """The three methods of the reference over something that takes its time."""

    def __init__(self):
        self.rows = []

    async def save(self, entry):
        self.rows.append(entry)

    async def get_pending(self, *, limit=100):
        rows = self.rows[:limit]
        await anyio.sleep(0.001)
        return rows

    async def delete(self, entry_id):
        await anyio.lowlevel.checkpoint()
        self.rows = [row for row in self.rows if row.entry_id != entry_id]


async def test_a_long_queue_behind_poison_hides_no_other_key_in_a_minimal_outbox():
    outbox, bus, got = Slow(), InMemoryEventBus(), []

    @bus.on(Stepped)
    async def handle(event):
        if event.name == "poison":
            raise ValueError("poison")
        got.append(event.number)

    await filled(*(Stepped(number=n, name="poison") for n in range(50)), outbox=outbox)
    await filled(*(Stepped(number=n, name="other") for n in range(3)), outbox=outbox)
    relay = OutboxRelay(outbox=outbox, bus=bus, batch_size=4)
    for _ in range(2):
        await relay.run_once()
    assert got == [0, 1, 2]


async def test_relays_of_one_process_share_a_minimal_outbox_that_takes_its_time():
    outbox, bus, got = Slow(), InMemoryEventBus(), []

    @bus.on(Stepped)
    async def handle(event):
        await anyio.lowlevel.checkpoint()
        got.append(event.number)

    @asynccontextmanager
    async def relays():
        options = {"outbox": outbox, "bus": bus, "poll_interval": 0.001, "batch_size": 3}
        async with OutboxRelay(**options), OutboxRelay(**options), OutboxRelay(**options):
            yield

    await filled(*(Stepped(number=n, name=str(n % 7)) for n in range(100)), outbox=outbox)
    async with relays():
        await until(lambda: not outbox.rows)
    assert sorted(got) == list(range(100))
    for key in range(7):
        numbers = [number for number in got if number % 7 == key]
        assert numbers == sorted(numbers)


async def test_a_rest_that_fails_in_any_way_is_slept_over(anyio_backend_name, monkeypatch):
    cancelled = what_was_cancelled(anyio_backend_name)
    outbox, bus, got = InMemoryOutboxRepository(), InMemoryEventBus(), []
    bus.subscribe(Stepped, got.append)
    naps, sleep = [], anyio.sleep

    async def wait_for_work(timeout):
        await cancelled

    async def short(seconds):
        naps.append(seconds)
        await sleep(0.001)

    outbox.wait_for_work = wait_for_work
    async with OutboxRelay(outbox=outbox, bus=bus):
        monkeypatch.setattr(anyio, "sleep", short)
        await filled(Stepped(number=1), outbox=outbox)
        await until(lambda: 1 in naps and len(got) == 1)


class Full(InMemoryEventBus):
    """Takes nothing on one channel."""

    async def deliver(self, event, *, channel="default", handler=None):
        if channel == "full":
            raise ChannelUnavailableError(channel, "it is full")
        await super().deliver(event, channel=channel, handler=handler)


async def test_many_of_a_channel_that_takes_nothing_leave_turns_to_others(clock):
    """More of them than come to their turn before the first are tried again."""
    outbox, bus, got = InMemoryOutboxRepository(clock=clock), Full(), []
    bus.subscribe(Stepped, got.append)
    many = [OutboxEntry.from_event(Stepped(number=n), channel="full") for n in range(60)]
    await outbox.save_many([*many, OutboxEntry.from_event(Stepped(number=-1), channel="open")])
    relay = OutboxRelay(outbox=outbox, bus=bus, batch_size=10, poll_interval=1.0)
    for _ in range(40):
        await relay.run_once()
        clock.seconds += 0.25
    assert [event.number for event in got] == [-1]
    waits = {(one.available_at - clock()).total_seconds() for one in await outbox.get_pending()}
    assert len(waits) > 1
    assert max(waits) <= 60
