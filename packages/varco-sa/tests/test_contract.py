"""The contract suites of the domain and of the events, on every engine."""

from contextlib import asynccontextmanager

import pytest

from varco_domain.testing import (
    MODELS,
    RepositoryContract,
    ServiceContract,
    TenantContract,
    UnitOfWorkContract,
)
from varco_events.testing import DeadLetterQueueContract, InboxContract, OutboxContract
from varco_sa import SQLAlchemyDeadLetterQueue

pytestmark = pytest.mark.anyio


class OnEveryEngine:
    @pytest.fixture(autouse=True)
    def _engine(self, databases, kind):
        databases.url(kind)
        self.databases = databases
        self.kind = kind


class TestDomain(
    OnEveryEngine, RepositoryContract, UnitOfWorkContract, TenantContract, ServiceContract
):
    @asynccontextmanager
    async def provider(self):
        async with self.databases.shared(self.kind, *MODELS) as backend:
            yield backend.uow_provider


class TestOutbox(OnEveryEngine, OutboxContract):
    counts_attempts = True

    @asynccontextmanager
    async def open_outbox(self):
        async with self.databases.shared(self.kind) as backend:
            yield backend.outbox


class TestInbox(OnEveryEngine, InboxContract):
    @asynccontextmanager
    async def open_inbox(self):
        async with self.databases.shared(self.kind) as backend:
            yield backend.inbox


class TestDeadLetters(OnEveryEngine, DeadLetterQueueContract):
    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        async with self.databases.shared(self.kind) as backend:
            table = backend.uow_provider.tables.dead_letters
            yield SQLAlchemyDeadLetterQueue(backend.engine, table, max_size=max_size)
