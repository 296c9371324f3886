"""What operators see and do, in memory."""

from contextlib import asynccontextmanager

import pytest

from varco_events import (
    InMemoryDeadLetterQueue,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
)
from varco_events.testing import (
    DeadLetterFailuresContract,
    InboxFailuresContract,
    OutboxFailuresContract,
)


class WithClock:
    @pytest.fixture(autouse=True)
    def _with_clock(self, clock):
        self.clock = clock

    async def advance(self, seconds):
        self.clock.seconds += seconds

    def now(self):
        return self.clock()


class TestOutbox(WithClock, OutboxFailuresContract):
    @asynccontextmanager
    async def open_outbox(self):
        yield InMemoryOutboxRepository(clock=self.clock)


class TestInbox(WithClock, InboxFailuresContract):
    @asynccontextmanager
    async def open_inbox(self):
        yield InMemoryInboxRepository(clock=self.clock)


class TestDeadLetters(DeadLetterFailuresContract):
    @asynccontextmanager
    async def open_queue(self):
        yield InMemoryDeadLetterQueue()
