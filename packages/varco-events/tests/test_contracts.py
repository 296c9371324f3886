"""The contract suites, run on everything in memory and on a minimal repository."""

from contextlib import asynccontextmanager

import pytest

from varco_events import (
    DispatchMode,
    InboxRepository,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    OutboxRepository,
)
from varco_events.testing import (
    BusContract,
    ConsumerStatesContract,
    DeadLetterQueueContract,
    InboxContract,
    OutboxContract,
)


class MinimalOutbox(OutboxRepository):
    """The three methods of the reference, and no constructor of its base."""

    def __init__(self):
        self.rows = []

    async def save(self, entry):
        self.rows.append(entry)

    async def get_pending(self, *, limit=100):
        return self.rows[:limit]

    async def delete(self, entry_id):
        self.rows = [row for row in self.rows if row.entry_id != entry_id]


class TestMinimalOutbox(OutboxContract):
    counts_attempts = True

    @asynccontextmanager
    async def open_outbox(self):
        yield MinimalOutbox()


class TestInMemoryOutbox(OutboxContract):
    counts_attempts = True

    @pytest.fixture(autouse=True)
    def _with_clock(self, clock):
        self.clock = clock

    @asynccontextmanager
    async def open_outbox(self):
        yield InMemoryOutboxRepository(clock=self.clock)

    async def advance(self, seconds):
        self.clock.seconds += seconds

    def now(self):
        return self.clock()


class TestInMemoryDeadLetterQueue(DeadLetterQueueContract):
    @pytest.fixture(autouse=True)
    def _with_clock(self, clock):
        self.clock = clock

    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        yield InMemoryDeadLetterQueue(max_size=max_size, clock=self.clock.monotonic)

    async def advance(self, seconds):
        self.clock.seconds += seconds


class TestInMemoryInbox(InboxContract):
    @asynccontextmanager
    async def open_inbox(self):
        yield InMemoryInboxRepository()


class ListInbox(InboxRepository):
    """Only what has to be there, and a way to tell what was processed."""

    def __init__(self):
        self.rows = {}
        self.done = set()

    async def save(self, entry):
        self.rows.setdefault(entry.entry_id, entry)

    async def mark_processed(self, entry_id):
        self.done.add(entry_id)

    async def get_unprocessed(self, *, limit=100):
        return [row for key, row in self.rows.items() if key not in self.done][:limit]

    async def is_processed(self, entry_id):
        return entry_id in self.done

    async def discard(self, entry_id):
        self.rows.pop(entry_id, None)
        self.done.discard(entry_id)


class TestMinimalInbox(InboxContract):
    @asynccontextmanager
    async def open_inbox(self):
        yield ListInbox()


class TestInMemoryBus(BusContract):
    @asynccontextmanager
    async def open_bus(self):
        async with InMemoryEventBus() as bus:
            yield bus


class TestBackgroundBus(BusContract):
    @asynccontextmanager
    async def open_bus(self):
        async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
            yield bus


class TestConsumersOfInMemoryBus(ConsumerStatesContract):
    @asynccontextmanager
    async def open_bus(self):
        async with InMemoryEventBus() as bus:
            yield bus, bus


class TestConsumersOfBackgroundBus(ConsumerStatesContract):
    @asynccontextmanager
    async def open_bus(self):
        async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
            yield bus, bus
