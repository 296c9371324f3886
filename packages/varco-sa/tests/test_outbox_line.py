"""What a claim looks at: nothing that is parked, postponed, or behind such an entry of its key."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from varco_events import OutboxEntry
from varco_sa import _outbox

pytestmark = pytest.mark.anyio


async def _looked_at(backend):
    """How many rows an idle claim gets from the engine."""
    rows = 0

    def count(_connection, cursor, statement, *_rest):
        nonlocal rows
        if "last_before" in statement:
            rows += max(cursor.rowcount, 0)

    engine = backend.engine.sync_engine
    sa.event.listen(engine, "after_cursor_execute", count)
    try:
        assert await backend.outbox.claim() == []
    finally:
        sa.event.remove(engine, "after_cursor_execute", count)
    return rows


@pytest.mark.parametrize("keys", [1, 50])
async def test_what_is_behind_is_looked_at_once(databases, kind, keys):
    async with databases.backend(kind) as backend:
        outbox, table = backend.outbox, backend.uow_provider.tables.outbox
        later = datetime.now(UTC) + timedelta(days=1)
        first = [OutboxEntry(key=str(key), available_at=later) for key in range(keys)]
        behind = [OutboxEntry(key=str(number % keys)) for number in range(400)]
        await outbox.save_many([*first, *behind])
        assert await outbox.claim(limit=20) == []
        async with backend.engine.connect() as connection:
            ready = sa.select(sa.func.count()).where(
                table.c.behind.is_(None), table.c.available_at.is_(None)
            )
            assert (await connection.execute(ready)).scalar() == 0
        assert await _looked_at(backend) == 0
        # One claim's worth of each key comes forward with the end of what held it.
        await outbox.delete_many([first[0].entry_id])
        got = await outbox.claim(limit=20)
        line = [one.entry_id for one in behind if one.key == "0"]
        assert [one.entry_id for one in got] == line[: len(got)]
        assert len(got) == 20 if keys == 1 else got


@pytest.mark.parametrize("how", ["deleted", "parked"])
async def test_what_is_behind_an_entry_that_others_removed_is_found(
    databases, kind, how, monkeypatch
):
    async with databases.backend(kind) as backend:
        outbox, table = backend.outbox, backend.uow_provider.tables.outbox
        later = datetime.now(UTC) + timedelta(days=1)
        entries = [OutboxEntry(key="a", available_at=later), OutboxEntry(key="a")]
        await outbox.save_many(entries)
        assert await outbox.claim() == []
        first = table.c.entry_id == entries[0].entry_id
        async with backend.engine.begin() as connection:
            gone = table.delete() if how == "deleted" else table.update().values(parked=True)
            await connection.execute(gone.where(first))
        assert await outbox.claim() == []
        monkeypatch.setattr(outbox, "_looks_for_lost", 0.0)
        assert [one.entry_id for one in await outbox.claim()] == [entries[1].entry_id]
        assert _outbox._LOST_EVERY <= 60


EXPLAINED = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mariadb": "EXPLAIN"}
ASIDE = {
    "parked": {"parked": True},
    "postponed": {"parked": False, "available_at": datetime.now(UTC) + timedelta(days=1)},
}


@pytest.mark.parametrize("what", [*ASIDE])
async def test_a_claim_reads_through_its_index_whatever_the_engine_knows_of_the_rows(
    databases, kind, what
):
    """The statistics say that most rows are like those that a claim does not look at."""
    async with databases.backend(kind) as backend:
        table, engine = backend.uow_provider.tables.outbox, backend.engine
        common = {"event_type": "t", "channel": "c", "payload": b"x" * 100, "attempts": 0}
        common |= {"created_at": datetime.now(UTC)} | ASIDE[what]
        rows = [{"entry_id": uuid4(), "key": str(number % 7)} | common for number in range(1000)]
        async with engine.begin() as connection:
            await connection.execute(table.insert(), rows)
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            word = "ANALYZE TABLE" if kind == "mariadb" else "ANALYZE"
            await connection.execute(sa.text(f"{word} varco_outbox"))
        await backend.outbox.save_many([OutboxEntry(key=str(number)) for number in range(5)])
        asked = []

        def note(_connection, _cursor, statement, parameters, *_rest):
            if "leased_until <=" in statement:
                asked.append((statement, parameters))

        sa.event.listen(engine.sync_engine, "after_cursor_execute", note)
        await backend.outbox.claim(limit=5)
        sa.event.remove(engine.sync_engine, "after_cursor_execute", note)
        assert asked
        async with engine.connect() as connection:
            for statement, parameters in asked:
                plan = await connection.exec_driver_sql(
                    f"{EXPLAINED[kind]} {statement}", parameters
                )
                told = [" ".join(map(str, row)) for row in plan]
                reads = [line for line in told if "varco_outbox" in line]
                assert "ix_varco_outbox_ready" in reads[0], told
