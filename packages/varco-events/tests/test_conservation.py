"""published = handled + dead-lettered + pending, whatever fails and whenever it is cancelled."""

from collections import Counter

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_events import (
    DispatchMode,
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryDeduplicator,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    RetryMiddleware,
    listen,
)
from varco_resilience import RetryPolicy

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


def awaiting(cls, *names):
    """A subclass whose methods can be cancelled before and after what they do."""

    def wrap(name):
        async def method(self, *args, **kwargs):
            await self.tick()
            result = await getattr(cls, name)(self, *args, **kwargs)
            await self.tick()
            return result

        return method

    return type(cls.__name__, (cls,), {name: wrap(name) for name in names})


Outbox = awaiting(
    InMemoryOutboxRepository, "claim", "delete_many", "delete", "release", "park", "save"
)
Queue = awaiting(InMemoryDeadLetterQueue, "pop_batch", "ack", "nack")
Seen = awaiting(InMemoryDeduplicator, "is_duplicate", "mark_seen")
Inbox = awaiting(InMemoryInboxRepository, "save", "mark_processed", "is_processed")


class FlakyQueue(Queue):
    def __init__(self, tick, *, fails=(), **options):
        super().__init__(**options)
        self.tick = tick
        self.fails = list(fails)

    async def push(self, entry):
        await self.tick()
        if self.fails and self.fails.pop(0):
            raise ConnectionError("no queue")
        await super().push(entry)
        await self.tick()


class World:
    """An outbox, a relay, a bus, a consumer with a dead letter queue, and one for the relay."""

    def __init__(self, *, push_fails=(), max_size=1000, with_inbox=False, attempts=3):
        self.tick = Interrupt()
        self.now = 0.0
        self.outbox = Outbox(clock=self.clock)
        self.seen = Seen()
        self.inbox = Inbox() if with_inbox else None
        for part in (self.outbox, self.seen, self.inbox):
            if part is not None:
                part.tick = self.tick
        self.queue = FlakyQueue(self.tick, fails=push_fails, max_size=max_size)
        self.parked = FlakyQueue(self.tick)
        self.bus = InMemoryEventBus(middleware=[RetryMiddleware(max_attempts=2, base_delay=0)])
        self.handled = Counter()
        self.failures = Counter()
        self.sent = []
        world = self

        class Consumer(EventConsumer):
            @listen(
                Sent,
                filter=self.condition,
                retry_policy=RetryPolicy(max_attempts=2, base_delay=0, retryable_on=(ValueError,)),
                dlq=self.queue,
                deduplicator=None if with_inbox else self.seen,
                inbox=self.inbox,
            )
            async def on_sent(self, event):
                await world.tick()
                world.fail(event)
                world.handled[event.event_id] += 1

        Consumer().register_to(self.bus)
        self.passed_over = set()
        self.relay = OutboxRelay(
            outbox=self.outbox,
            bus=self.bus,
            dlq=self.parked,
            batch_size=3,
            retry_policy=RetryPolicy(max_attempts=attempts, base_delay=1, jitter=False),
            clock=self.clock,
        )

    def clock(self):
        from datetime import UTC, datetime, timedelta

        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def condition(self, event):
        if event.fate == "filter fails":
            raise LookupError(event.fate)
        if event.fate == "passed over":
            self.passed_over.add(event.event_id)
        return event.fate != "passed over"

    def fail(self, event):
        self.failures[event.event_id] += 1
        if event.fate == "poison" or (event.fate == "flaky" and self.failures[event.event_id] == 1):
            raise ValueError(event.fate)
        if event.fate == "hopeless":
            raise KeyError(event.fate)

    async def send(self, fates):
        for number, fate in enumerate(fates):
            event = Sent(name=f"key {number % 3}" if number % 4 else None, fate=fate)
            entry = OutboxEntry.from_event(event)
            if fate == "unknown":
                payload = entry.payload.replace(b'"Sent"', b'"Gone"')
                entry = OutboxEntry(event_type="Gone", payload=payload, key=entry.key)
            if fate == "unreadable":
                payload = entry.payload.replace(b'"fate"', b'"fade"')
                entry = OutboxEntry.of(entry.envelope.replace(payload=payload))
            self.sent.append(event.event_id)
            await self.outbox.save(entry)

    async def places(self):
        """Where every event is."""
        found = Counter(self.handled)
        for queue in (self.queue, self.parked):
            found.update(entry.event.event_id for entry in await queue.peek(limit=10_000))
        waiting = await self.outbox.get_pending(limit=10_000)
        found.update(entry.envelope.event_id for entry in waiting)
        # Whoever was passed over is gone, unless its delivery was cut off and comes again.
        found.update(self.passed_over.difference(found))
        return found

    async def check(self):
        assert await self.places() == Counter(self.sent)

    async def turn(self, after=None):
        self.now += 100
        try:
            return await self.tick.run(self.relay.run_once, after)
        except ConnectionError:
            return True


FATES = st.lists(
    st.sampled_from(
        [
            *("fine", "fine", "flaky", "poison", "hopeless", "unknown"),
            *("unreadable", "passed over", "filter fails"),
        ]
    ),
    max_size=8,
)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    fates=FATES,
    push_fails=st.lists(st.booleans(), max_size=6),
    max_size=st.integers(1, 10),
    cancels=st.lists(st.none() | st.integers(1, 40), max_size=5),
    with_inbox=st.booleans(),
)
def test_nothing_is_lost_or_doubled(backend, fates, push_fails, max_size, cancels, with_inbox):
    async def run():
        world = World(push_fails=push_fails, max_size=max_size, with_inbox=with_inbox)
        await world.send(fates)
        await world.check()
        for after in cancels:
            await world.turn(after)
            await world.check()
        for _ in range(12):
            await world.turn()
        await world.check()
        left = await world.outbox.get_pending(limit=100)
        assert not left or not_taken(world, max_size)

    anyio.run(run, backend=backend)


def not_taken(world, max_size):
    """What is left must have found a full queue, and then the relay's queue takes it."""
    return len(world.queue._entries) == max_size


MIX = ["fine", "poison", "flaky", "unknown", "fine", "hopeless", "fine", "poison"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("with_inbox", [False, True])
def test_cancelling_the_relay_at_every_await(backend, with_inbox):
    async def run(at):
        # A relay that is cut off while it claims one entry may have begun with it, for all anybody
        # knows: that counts an attempt.
        world = World(with_inbox=with_inbox, push_fails=[False, True], attempts=6)
        await world.send(MIX)
        ended = True
        for _ in range(4):
            ended = await world.turn(at) and ended
            await world.check()
        for _ in range(12):
            await world.turn()
        await world.check()
        assert await world.outbox.get_pending() == []
        assert sum(world.handled.values()) == 4
        return ended

    at, ended = 0, False
    while not ended:
        at += 1
        ended = anyio.run(run, at, backend=backend)
    assert at > 15


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_a_redrive_at_every_await(backend):
    async def run(at):
        world = World()
        await world.send(["hopeless"] * 6)
        for _ in range(3):
            await world.turn()
        assert await world.queue.count() == 6
        world.fail = lambda event: None
        ended = await world.tick.run(lambda: world.queue.redrive(world.bus, limit=4), at)
        await world.check()
        world.queue._leased_until.clear()
        await world.queue.redrive(world.bus)
        await world.check()
        assert list(world.handled) == world.sent
        return ended

    at, ended = 0, False
    while not ended:
        at += 1
        ended = anyio.run(run, at, backend=backend)
    assert at > 10


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
