"""Outbox, inbox and dead letters: the contract suites, and what is committed with the entities."""

from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from varco_beanie import BeanieDeadLetterQueue, bootstrap
from varco_domain.testing._models import Label
from varco_domain.uow import UnitOfWorkError
from varco_events import OutboxEntry
from varco_events.testing import DeadLetterQueueContract, InboxContract, OutboxContract

pytestmark = pytest.mark.anyio


class OnTheServer:
    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server


class TestOutbox(OnTheServer, OutboxContract):
    counts_attempts = True
    lines = 2

    @asynccontextmanager
    async def open_outbox(self):
        async with self.server.backend() as backend:
            yield backend.outbox


class TestInbox(OnTheServer, InboxContract):
    @asynccontextmanager
    async def open_inbox(self):
        async with self.server.backend() as backend:
            yield backend.inbox


class TestDeadLetters(OnTheServer, DeadLetterQueueContract):
    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        async with self.server.backend() as backend:
            yield BeanieDeadLetterQueue(backend.uow_provider.storage, max_size=max_size)


async def test_an_event_is_committed_or_undone_with_its_entity(server):
    async with server.backend(Label) as backend:
        provider = backend.uow_provider
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is it
            async with provider.make_uow() as uow:
                await uow.repository(Label).save(Label(pk="a", text="a"))
                await uow.outbox.save(OutboxEntry(event_type="Made", key="a"))
                assert await uow.inbox.accept(uuid4(), "handler")
                raise ZeroDivisionError
        assert await provider.get_repository(Label).count() == 0
        assert await backend.outbox.get_pending() == []
        event = uuid4()
        async with provider.make_uow() as uow:
            await uow.repository(Label).save(Label(pk="a", text="a"))
            await uow.outbox.save(OutboxEntry(event_type="Made", key="a"))
            assert await uow.inbox.accept(event, "handler")
            assert not await uow.inbox.accept(event, "handler")
            assert await uow.inbox.accept(event, "other")
        (entry,) = await backend.outbox.get_pending()
        assert (entry.event_type, entry.key) == ("Made", "a")
        async with provider.make_uow() as uow:
            assert not await uow.inbox.accept(event, "handler")
        assert await backend.inbox.is_processed(event)


async def test_a_bulk_that_fails_after_other_writes_undoes_all_and_says_so(server):
    async with server.backend(Label) as backend:
        with pytest.raises(Exception, match="leave the unit of work") as caught:  # noqa: PT012  # it is what the block ends with
            async with backend.uow_provider.make_uow() as uow:
                repo = uow.repository(Label)
                await repo.save(Label(pk="a", text="a"))
                with pytest.raises(Exception, match="exists"):
                    await repo.save_many([Label(pk="b", text="b"), Label(pk="c", text="b")])
        assert caught.value.code == "domain.repository"
        assert await backend.uow_provider.get_repository(Label).count() == 0
        async with backend.uow_provider.make_uow() as uow:
            with pytest.raises(UnitOfWorkError, match="no savepoints"):
                uow.savepoint()


async def test_without_transactions_each_write_is_final(server):
    url = server.url_of(server.name())
    async with bootstrap(url, Label, transactions=False) as backend:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is it
            async with backend.uow_provider.make_uow() as uow:
                await uow.repository(Label).save(Label(pk="a", text="a"))
                assert uow.outbox is None
                assert uow.session is None
                with pytest.raises(UnitOfWorkError, match="without transactions"):
                    _ = uow.inbox
                raise ZeroDivisionError
        assert await backend.uow_provider.get_repository(Label).exists("a")
