"""Cancelled in the round of the loop in which a time is over, everything still ends."""

import asyncio
import time

import anyio
import anyio.lowlevel
import pytest

from varco_events import (
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    OutboxRepository,
    _handling,
    listen,
)
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


class Awaited(Event):
    pass


class Hanging:
    """Begins and never ends, but for being cancelled."""

    def __init__(self):
        self.began = asyncio.Event()

    async def __call__(self, *args, **kwargs):
        self.began.set()
        await anyio.sleep_forever()


async def begun(work):
    """The task of what hangs; another where a busy machine let the time be over before it began."""
    while True:
        hang = Hanging()
        task, began = asyncio.create_task(work(hang)), asyncio.create_task(hang.began.wait())
        await asyncio.wait([task, began], return_when=asyncio.FIRST_COMPLETED)
        if hang.began.is_set():
            return task
        began.cancel()


async def waiting_for_work(hang):
    hang.began.set()
    await InMemoryOutboxRepository().wait_for_work(0.02)


async def relaying(hang, *, bus, lease, **options):
    outbox = InMemoryOutboxRepository()
    await outbox.save(OutboxEntry.from_event(Awaited()))
    policy = RetryPolicy(max_attempts=1)
    await OutboxRelay(
        outbox=outbox, bus=bus, lease=lease, retry_policy=policy, **options
    ).run_once()


async def delivering(hang):
    bus = InMemoryEventBus()
    bus.subscribe(Awaited, hang)
    await relaying(hang, bus=bus, lease=0.02 / 0.9)


async def giving_up(hang):
    bus, dlq = InMemoryEventBus(), InMemoryDeadLetterQueue()
    bus.subscribe(Awaited, failing)
    dlq.push = hang
    await relaying(hang, bus=bus, lease=0.2, dlq=dlq)


async def writing_down(hang):
    outbox = InMemoryOutboxRepository()
    outbox.delete_many = hang
    await outbox.save(OutboxEntry.from_event(Awaited()))
    await OutboxRelay(outbox=outbox, bus=InMemoryEventBus(), lease=0.2).run_once()


async def dead_lettering(hang):
    bus, dlq = InMemoryEventBus(), InMemoryDeadLetterQueue()
    dlq.push = hang

    class Consumer(EventConsumer):
        @listen(Awaited, dlq=dlq)
        async def on_awaited(self, event):
            failing(event)

    Consumer().register_to(bus)
    await bus.publish(Awaited())


async def stopping_a_bus(hang):
    bus = InMemoryEventBus()
    bus.subscribe(Awaited, hang)
    async with asyncio.TaskGroup() as group:
        handling = group.create_task(bus.publish(Awaited()))
        await hang.began.wait()
        try:
            await bus.stop(timeout=0.02)
        finally:
            handling.cancel()


async def stopping_a_relay(hang):
    outbox = InMemoryOutboxRepository()
    outbox.claim = hang
    relay = OutboxRelay(outbox=outbox, bus=InMemoryEventBus())
    await relay.start()
    await hang.began.wait()
    try:
        await relay.stop(timeout=0.02)
    finally:
        await relay.stop(timeout=0)


def failing(event):
    raise ValueError("no")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("outer_comes", [0.01, 0.03], ids=["first", "last"])
@pytest.mark.parametrize(
    "work",
    [
        waiting_for_work,
        delivering,
        giving_up,
        writing_down,
        dead_lettering,
        stopping_a_bus,
        stopping_a_relay,
    ],
)
async def test_the_end_of_a_time_swallows_no_cancellation(work, outer_comes, monkeypatch):
    monkeypatch.setattr(_handling, "_PATIENCE", 0.02)
    task = await begun(work)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(outer_comes, task.cancel)
    time.sleep(0.05)  # both are due in the next round of the loop
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


class Gate(OutboxRepository):
    """The first deletion waits for `go`, does `first` and goes on in that very step."""

    def __init__(self, first):
        self.go = anyio.Event()
        self.first = first

    async def save(self, entry):
        """Nothing is saved here."""

    async def get_pending(self, *, limit=100):
        return []

    async def delete(self, entry_id):
        await self.go.wait()
        self.first()


async def rounds(count=5):
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_a_relay_that_is_cancelled_while_it_waits_for_its_turn_keeps_no_other_from_it():
    waits = anyio.CancelScope()
    outbox = Gate(waits.cancel)

    async def delete_twice():
        for _ in range(2):  # the one who waits has not seen yet that it is cancelled
            await outbox.delete_many([OutboxEntry().entry_id])

    async def wait():
        with waits:
            await outbox.claim()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(delete_twice)
            await rounds()
            group.start_soon(wait)
            await rounds()
            outbox.go.set()
    assert waits.cancelled_caught


@pytest.mark.parametrize("later", range(4))
async def test_one_that_is_cancelled_as_its_turn_comes_hands_it_on(later):
    outbox = Gate(lambda: None)
    scopes = [anyio.CancelScope() for _ in range(3)]
    ended = []

    async def work(number):
        with scopes[number]:
            if number:
                await outbox.claim()
            else:
                await outbox.delete_many([OutboxEntry().entry_id])
            ended.append(number)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(work, number)
                await rounds()
            outbox.go.set()
            await rounds(later)
            scopes[1].cancel()
    assert ended in ([0, 2], [0, 1, 2])
