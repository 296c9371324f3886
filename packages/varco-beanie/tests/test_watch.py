"""Relays are woken by what other processes commit."""

import asyncio
import logging

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from varco_beanie import bootstrap
from varco_events import OutboxEntry

pytestmark = pytest.mark.anyio
FOR_EVER = 100_000.0


async def test_a_commit_of_another_process_ends_the_waiting(server):
    url = server.url_of(server.name())
    async with bootstrap(url) as mine, bootstrap(url) as other, asyncio.timeout(60):
        # What was committed before it watched is asked for.
        await mine.outbox.wait_for_work(FOR_EVER)
        waiting = asyncio.create_task(mine.outbox.wait_for_work(FOR_EVER))
        await asyncio.sleep(0)
        await other.outbox.save(OutboxEntry(event_type="Made"))
        await waiting
        (entry,) = await mine.outbox.claim()
        # What operators give back is work, and what is put aside is none.
        await mine.outbox.park(entry)
        waiting = asyncio.create_task(mine.outbox.wait_for_work(FOR_EVER))
        await other.outbox.failures().retry([entry.entry_id])
        await waiting
        assert [one.entry_id for one in await mine.outbox.claim()] == [entry.entry_id]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationFailure("only supported on replica sets", 40573), ["INFO"]),
        (AutoReconnect("gone"), ["WARNING", "WARNING"]),
    ],
)
async def test_without_a_change_stream_relays_poll_and_it_is_said(
    server, caplog, monkeypatch, error, told
):
    async def watch(*_):
        raise error

    async with server.backend() as backend:
        outbox = backend.outbox
        monkeypatch.setattr(type(outbox._rows), "watch", watch)
        with caplog.at_level(logging.INFO, "varco_beanie.watch"):
            await outbox.wait_for_work(0.0)
            await outbox.wait_for_work(0.0)
    assert [each.levelname for each in caplog.records] == told
    assert all("poll" in each.getMessage() for each in caplog.records)
