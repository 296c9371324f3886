"""What kills its process, what outlives its lease, and whose time counts."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import anyio
import pytest
from pydantic import BaseModel, Field, PlainSerializer, SecretStr

from varco_events import (
    Event,
    EventFieldError,
    InboxEntry,
    InboxPoller,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    JsonEventSerializer,
    OutboxEntry,
    OutboxRelay,
    in_thread,
)
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


class Deadly(Event):
    number: int


async def until(condition):
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.001)


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
@pytest.mark.parametrize("where", [0, 3, 6])
async def test_what_kills_its_process_is_given_up_and_nothing_else_is(clock, max_attempts, where):
    """A process dies as one that is never heard of again: its leases run out."""
    outbox, dlq = InMemoryOutboxRepository(clock=clock), InMemoryDeadLetterQueue()
    events = [Deadly(number=number) for number in range(7)]
    await outbox.save_many([OutboxEntry.from_event(event) for event in events])
    handled, begun = [], []
    policy = RetryPolicy(max_attempts=max_attempts)

    def process():
        bus = InMemoryEventBus()

        @bus.on(Deadly)
        def handle(event):
            if event.number == where:
                begun.append(event)
                raise SystemExit
            handled.append(event.number)

        return OutboxRelay(outbox=outbox, bus=bus, dlq=dlq, retry_policy=policy, batch_size=4)

    async def nothing(*_):
        return None

    relay = process()
    for _ in range(40):
        kept = outbox.delete_many, outbox.release
        if relay is None:
            relay = process()
        try:
            # A process that dies writes nothing down.
            relay._settle, settle = nothing, relay._settle
            relay._send, send = _then(relay, relay._send, settle), relay._send
            await relay.run_once()
        except SystemExit:
            relay = None
        else:
            relay._settle, relay._send = settle, send
        outbox.delete_many, outbox.release = kept
        clock.seconds += 60
    assert [letter.event.number for letter in await dlq.peek()] == [where]
    assert (await dlq.peek())[0].error_type == "DeadlyEventError"
    assert set(handled) == set(range(7)) - {where}
    # Once more than counted when it was first among others: nobody knew which of them it was.
    assert max_attempts <= len(begun) <= max_attempts + 1
    assert await outbox.get_pending() == []


def _then(relay, send, settle):
    async def alive(batch):
        await send(batch)
        await settle(batch)

    return alive


async def test_a_thread_that_outlives_the_lease_keeps_it_by_renewal():
    side_by_side, most, go_on = [], [], threading.Event()

    def work(event):
        side_by_side.append(event)
        most.append(len(side_by_side))
        go_on.wait(30)
        side_by_side.pop()

    class Renewed(InMemoryOutboxRepository):
        renewals = 0

        async def renew(self, entries, *, lease=30.0):
            self.renewals += 1
            await super().renew(entries, lease=lease)

    outbox = Renewed()
    await outbox.save(OutboxEntry.from_event(Deadly(number=1)))

    def relay():
        bus = InMemoryEventBus()
        bus.subscribe(Deadly, in_thread(work))
        return OutboxRelay(outbox=outbox, bus=bus, lease=0.15, poll_interval=0.01)

    async with relay(), relay():
        await until(lambda: outbox.renewals >= 8)  # more than two leases
        go_on.set()
        while await outbox.get_pending():  # there is nothing to wait for
            await anyio.sleep(0.01)
    assert most == [1]


async def test_hosts_whose_clocks_are_days_apart_share_an_outbox(clock):
    outbox, bus, got = InMemoryOutboxRepository(clock=clock), InMemoryEventBus(), []

    @bus.on(Deadly)
    def handle(event):
        got.append(event.number)
        if len(got) == 1:
            raise ValueError("once")

    def host(days):
        return OutboxRelay(
            outbox=outbox,
            bus=bus,
            clock=lambda: datetime.now(UTC) + timedelta(days=days),
            retry_policy=RetryPolicy(max_attempts=3, base_delay=1, jitter=False),
        )

    ahead, behind = host(1), host(-1)
    await outbox.save(OutboxEntry.from_event(Deadly(number=1)))
    await ahead.run_once()
    assert await behind.run_once() == 0  # not yet
    clock.seconds += 1
    assert await behind.run_once() == 1
    assert (got, await outbox.get_pending()) == ([1, 1], [])


class Page[T](Event):
    item: T


class Item(BaseModel):
    price: int


OtherItem = type("Item", (BaseModel,), {"__module__": "elsewhere", "__annotations__": {"of": str}})


def test_parametrizations_of_namesakes_are_two_events():
    ours, others = Page[Item], Page[OtherItem]
    assert ours.event_type_name() != others.event_type_name()
    read, write = JsonEventSerializer().deserialize, JsonEventSerializer().serialize
    for event in (ours(item=Item(price=1)), others(item=OtherItem(of="x"))):
        assert read(write(event)) == event


async def test_a_parametrization_that_nobody_made_here_is_read():
    bus, got = InMemoryEventBus(), []
    bus.subscribe(Page, got.append)
    outbox = InMemoryOutboxRepository()
    payload = b'{"type":"Page[app.Order]","version":1,"data":{"item":{"number":1}}}'
    await outbox.save(OutboxEntry(event_type="Page[app.Order]", payload=payload))
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert [event.item for event in got] == [{"number": 1}]


class HoldsSecret(BaseModel):
    password: SecretStr


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (SecretStr, ...),
        (list[SecretStr] | None, None),
        (HoldsSecret, ...),
        (dict[str, HoldsSecret], ...),
        (Annotated[int, Field(exclude=True)], ...),
    ],
)
def test_a_field_that_would_not_come_back_is_refused(annotation, default):
    body = {"__annotations__": {"field": annotation}}
    if default is not ...:
        body["field"] = default
    with pytest.raises(EventFieldError, match="field"):
        type(Event)("Refused", (Event,), {**body, "__qualname__": "f.<locals>.Refused"})


def test_a_field_that_comes_back_is_taken():
    class Taken(Event):
        password: Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value())]
        cached: int = Field(default=0, exclude=True)

    event = Taken(password="x")
    again = JsonEventSerializer().deserialize(JsonEventSerializer().serialize(event))
    assert again.password.get_secret_value() == "x"


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_what_kills_the_process_of_a_poller_is_given_up_and_nothing_else_is(
    clock, max_attempts
):
    inbox, dlq = InMemoryInboxRepository(clock=clock), InMemoryDeadLetterQueue()
    for number in range(5):
        await inbox.save(InboxEntry.from_event(Deadly(number=number)))
    begun, handled = [], []

    class Died(BaseException):
        pass

    class Seen(InMemoryInboxRepository):
        """As a process sees it that writes nothing down any more once it is dead."""

        def __init__(self):
            vars(self).update(vars(inbox))

        async def release(self, entry, *, delay=0.0):
            if self.alive:
                await super().release(entry, delay=delay)

        alive = True

    for _ in range(30):
        seen, bus = Seen(), InMemoryEventBus()

        @bus.on(Deadly)
        def handle(event, seen=seen):
            begun.append(event.number)
            if event.number == 2:
                seen.alive = False
                raise Died
            handled.append(event.number)

        poller = InboxPoller(
            inbox=seen, bus=bus, dlq=dlq, retry_policy=RetryPolicy(max_attempts=max_attempts)
        )
        with suppress(Died):
            await poller.run_once()
        vars(inbox).update({"_held_entries": vars(seen).get("_held_entries", {})})
        clock.seconds += 100
    assert begun.count(2) == max_attempts
    assert sorted(handled) == [0, 1, 3, 4]
    (letter,) = await dlq.peek()
    assert (letter.event.number, letter.error_type) == (2, "DeadlyEventError")
    assert await inbox.get_unprocessed() == []
