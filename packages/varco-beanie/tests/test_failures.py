"""What operators see and do."""

from contextlib import asynccontextmanager

import pytest
from hypothesis import settings

from varco_events.testing import (
    DeadLetterFailuresContract,
    InboxFailuresContract,
    OutboxFailuresContract,
)

pytestmark = [
    pytest.mark.anyio,
    # PyMongo leaves open what a cancellation meets while it connects.
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


DEEP = settings.get_current_profile_name() == "deep"


class OnTheServer:
    # A command takes the server of the tests its time.
    share = 0.01

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server


class TestOutbox(OnTheServer, OutboxFailuresContract):
    if not DEEP:  # the same transaction as that of an inbox, which takes a third of the commands
        test_a_cancelled_action_loses_nothing = None

    @asynccontextmanager
    async def open_outbox(self):
        async with self.server.backend() as backend:
            yield backend.outbox


class TestInbox(OnTheServer, InboxFailuresContract):
    if not DEEP:  # orders are drawn of an outbox and of dead letters, which do more
        test_any_order_of_actions = None

    @asynccontextmanager
    async def open_inbox(self):
        async with self.server.backend() as backend:
            yield backend.inbox


class TestDeadLetters(OnTheServer, DeadLetterFailuresContract):
    @asynccontextmanager
    async def open_queue(self):
        async with self.server.backend() as backend:
            yield backend.dead_letters
