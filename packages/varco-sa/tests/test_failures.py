"""What operators see and do, on every engine."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from varco_events.testing import (
    DeadLetterFailuresContract,
    InboxFailuresContract,
    OutboxFailuresContract,
)

pytestmark = pytest.mark.anyio


class OnEveryEngine:
    @pytest.fixture(autouse=True)
    def _engine(self, databases, kind):
        databases.url(kind)
        self.databases = databases
        self.kind = kind
        # A round trip to a server takes its time.
        self.share = 0.1 if kind == "sqlite" else 0.02

    @pytest.fixture(autouse=True)
    async def _cut_connections(self, anyio_backend):
        """What asyncpg tells the loop of a connection that a cancellation has cut is no error."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()

        def tell(loop, context):
            if not isinstance(context.get("exception"), ConnectionError):
                (before or type(loop).default_exception_handler)(loop, context)

        loop.set_exception_handler(tell)
        yield
        loop.set_exception_handler(before)


class TestOutbox(OnEveryEngine, OutboxFailuresContract):
    @asynccontextmanager
    async def open_outbox(self):
        async with self.databases.shared(self.kind) as backend:
            yield backend.outbox


class TestInbox(OnEveryEngine, InboxFailuresContract):
    @asynccontextmanager
    async def open_inbox(self):
        async with self.databases.shared(self.kind) as backend:
            yield backend.inbox


class TestDeadLetters(OnEveryEngine, DeadLetterFailuresContract):
    @asynccontextmanager
    async def open_queue(self):
        async with self.databases.shared(self.kind) as backend:
            yield backend.dead_letters
