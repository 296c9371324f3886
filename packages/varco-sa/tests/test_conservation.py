"""Every event is accounted for in the tables, whatever fails and whenever a process is killed."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from varco_events.testing import ConservationContract, EventStores


class TestTables(ConservationContract):
    lease = 60.0

    @pytest.fixture(autouse=True)
    def _engine(self, databases, kind):
        databases.url(kind)
        self.databases = databases
        self.kind = kind
        # A round trip to a server takes its time.
        self.share, self.stride = (0.1, 9) if kind == "sqlite" else (0.04, 53)

    @asynccontextmanager
    async def open_stores(self):
        async with self.databases.shared(self.kind) as backend:
            self.backend = backend
            yield EventStores(
                outbox=backend.outbox, dead_letters=backend.dead_letters, inbox=backend.inbox
            )

    async def advance(self, seconds):
        """The clock of a database cannot be turned: what it is compared with is put back."""
        tables = self.backend.uow_provider.tables
        times = {
            tables.outbox: ("leased_until", "available_at"),
            tables.inbox: ("leased_until", "received_at"),
            tables.dead_letters: ("leased_until",),
        }
        async with self.backend.engine.begin() as connection:
            for table, names in times.items():
                columns = [table.c[name] for name in names]
                some = sa.or_(*(column.is_not(None) for column in columns))
                for row in (
                    await connection.execute(sa.select(table.c.entry_id, *columns).where(some))
                ).all():
                    before = {
                        name: value and value - timedelta(seconds=seconds)
                        for name, value in zip(names, row[1:], strict=True)
                    }
                    of_row = table.c.entry_id == row.entry_id
                    await connection.execute(table.update().where(of_row).values(before))
