"""What a claim looks at: nothing that is parked, postponed, or behind such an entry of its key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pymongo
import pytest
from pymongo.monitoring import CommandListener

from varco_beanie import bootstrap
from varco_events import OutboxEntry

pytestmark = pytest.mark.anyio


class Documents(CommandListener):
    """How many documents of the outbox commands have brought."""

    def __init__(self):
        self.count = 0

    def started(self, event):
        pass

    def succeeded(self, event):
        if "varco_outbox" in event.reply.get("cursor", {}).get("ns", ""):
            cursor = event.reply["cursor"]
            self.count += len(cursor.get("firstBatch", cursor.get("nextBatch")))

    def failed(self, event):
        pass


async def test_what_is_behind_is_looked_at_once(server):
    seen = Documents()
    url = server.url_of(server.name())
    async with bootstrap(url, event_listeners=[seen]) as backend:
        outbox = backend.outbox
        await outbox.save(OutboxEntry(key="a"))
        (first,) = await outbox.claim()
        await outbox.release([replace(first, available_at=datetime.now(UTC) + timedelta(days=1))])
        behind = [OutboxEntry(key="a") for _ in range(110)]
        await outbox.save_many(behind)
        assert await outbox.claim(limit=20) == []
        seen.count = 0
        assert await outbox.claim(limit=20) == []
        assert seen.count == 0
        # What comes later is looked at alone, however much is behind already.
        await outbox.save(late := OutboxEntry(key="a"))
        assert await outbox.claim(limit=20) == []
        assert seen.count <= 1 + 1 + 21
        # With the end of what held them they come forward, in order.
        await outbox.delete_many([first.entry_id])
        got = []
        while claimed := await outbox.claim(limit=100):
            got += claimed
            await outbox.acknowledge(claimed)
        assert [one.entry_id for one in got] == [one.entry_id for one in (*behind, late)]


@pytest.mark.parametrize("how", ["deleted", "parked"])
async def test_what_is_behind_an_entry_that_others_removed_is_found(server, how, monkeypatch):
    async with server.backend() as backend:
        outbox = backend.outbox
        later = datetime.now(UTC) + timedelta(days=1)
        entries = [OutboxEntry(key="a", available_at=later), OutboxEntry(key="a")]
        await outbox.save_many(entries)
        assert await outbox.claim() == []
        with pymongo.MongoClient(server.url) as client:
            rows = client[backend.uow_provider.database.name]["varco_outbox"]
            first = {"seq": 1} if rows.count_documents({"seq": 1}) else {"behind": None}
            if how == "deleted":
                rows.delete_one(first)
            else:
                rows.update_one(first, {"$set": {"parked": True}, "$unset": {"ready_at": ""}})
        assert await outbox.claim() == []
        monkeypatch.setattr(outbox, "_looks_for_lost", 0.0)
        assert [one.entry_id for one in await outbox.claim()] == [entries[1].entry_id]
