"""Every event is accounted for in the collections, whatever fails and when a process is killed."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import settings
from pymongo import UpdateOne

from varco_beanie._line import AT_ONCE
from varco_events.testing import ConservationContract, EventStores


class TestCollections(ConservationContract):
    lease = 60.0
    # A command takes the server of the tests its time.
    share = 0.01
    stride = 211 if settings.get_current_profile_name() == "deep" else 997

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    @asynccontextmanager
    async def open_stores(self):
        async with self.server.backend() as backend:
            self.backend = backend
            yield EventStores(
                outbox=backend.outbox, dead_letters=backend.dead_letters, inbox=backend.inbox
            )

    async def advance(self, seconds):
        """The clock of a server cannot be turned: what it is compared with is put back."""
        times = {
            "varco_outbox": ("leased_until", "available_at", "ready_at"),
            "varco_inbox": ("leased_until", "received_at", "available_at"),
            "varco_dead_letters": ("leased_until",),
        }
        for name, fields in times.items():
            rows = self.backend.uow_provider.storage.collection(name)
            moved = [
                UpdateOne(
                    {"_id": row["_id"]},
                    {
                        "$set": {
                            field: row[field] - timedelta(seconds=seconds)
                            for field in fields
                            if (row.get(field) or AT_ONCE) > AT_ONCE
                        }
                    },
                )
                for row in await rows.find().to_list()
            ]
            if moved:
                await rows.bulk_write(moved)
