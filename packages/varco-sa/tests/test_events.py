"""Outbox, inbox and dead letters: whole envelopes, the clock of the database, claims apart."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_events import (
    DeadLetterEntry,
    Event,
    EventEnvelope,
    InboxEntry,
    InMemoryEventBus,
    OutboxEntry,
    OutboxRelay,
)
from varco_resilience import RetryPolicy
from varco_sa import (
    SQLAlchemyRepositoryProvider,
    bootstrap,
    metadata_for,
    migration_source,
    schema_drift,
)
from varco_sa._envelopes import ENVELOPE
from varco_sa._sessions import store_time

pytestmark = pytest.mark.anyio


class Shipped(Event):
    number: int = 0


def envelope():
    """One with every part, whose payload has a field that the class does not know."""
    payload = b'{"type":"Shipped","version":2,"data":{"number":1,"coupon":"S"}}'
    return EventEnvelope(
        event_id=uuid4(),
        event_type="Shipped",
        version=2,
        channel="orders",
        key="account-1",
        headers={"tenant": "acme", "traceparent": "00-1"},
        payload=payload,
    )


async def test_each_store_keeps_all_of_an_envelope(open_backend, url):
    backend = await open_backend(url)
    sent = envelope()
    await backend.outbox.save(OutboxEntry.of(sent))
    (claimed,) = await backend.outbox.claim()
    assert claimed.envelope == sent

    await backend.inbox.save(InboxEntry.of(sent))
    (received,) = await backend.inbox.claim()
    assert received.envelope == sent

    letter = DeadLetterEntry(
        envelope=sent, channel="elsewhere", handler_name="shop.mail", group="mailers", origin="bus"
    )
    await backend.dead_letters.push(letter)
    (kept,) = await backend.dead_letters.pop_batch()
    assert kept.envelope == sent
    assert (kept.channel, kept.group, kept.origin) == ("elsewhere", "mailers", "bus")


async def test_any_text_can_be_an_error(open_backend, url):
    backend = await open_backend(url)
    said = ValueError("nul \0, a lone surrogate \udc80, and much" + "x" * 2_000_000)
    letter = DeadLetterEntry.from_failure(
        envelope=envelope(), handler_name="h" * 200, last_exc=said, attempts=1
    )
    await backend.dead_letters.push(letter)
    await backend.outbox.save(OutboxEntry.from_event(Shipped()))
    bus = InMemoryEventBus()

    @bus.on("Shipped")
    async def fails(_event):
        raise said

    relay = OutboxRelay(outbox=backend.outbox, bus=bus, dlq=backend.dead_letters)
    await relay.run_once()
    (waiting,) = await backend.outbox.get_pending()
    assert waiting.attempts == 1
    assert "nul" in waiting.last_error
    assert await backend.dead_letters.count() == 1


async def test_pollers_share_an_inbox(open_backend, url):
    backend = await open_backend(url)
    entries = [InboxEntry.of(envelope()) for _ in range(20)]
    for entry in entries:
        await backend.inbox.save(entry)
    claims = await asyncio.gather(*(backend.inbox.claim(limit=7) for _ in range(4)))
    claimed = [entry.entry_id for claim in claims for entry in claim]
    assert len(claimed) == len(set(claimed))
    rest = await backend.inbox.claim()
    assert {*claimed, *(entry.entry_id for entry in rest)} == {e.entry_id for e in entries}
    held = [entry for claim in (rest, *claims) for entry in claim]  # some may have come too late
    await backend.inbox.release(held[0])
    (again,) = await backend.inbox.claim()
    assert again.attempts == 2


async def test_leases_go_by_the_clock_of_the_database(open_backend, url):
    """Whatever the clocks of two hosts say, neither takes what the other has in hand."""
    backend = await open_backend(url, clock=lambda: datetime(2000, 1, 1, tzinfo=UTC))
    ahead = SQLAlchemyRepositoryProvider(
        backend.engine, clock=lambda: datetime.now(UTC) + timedelta(days=1)
    )
    await backend.outbox.save(OutboxEntry.of(envelope()))
    await backend.inbox.save(InboxEntry.of(envelope()))
    await backend.dead_letters.push(DeadLetterEntry(envelope=envelope()))
    (held,) = await backend.outbox.claim(lease=60)
    (received,) = await backend.inbox.claim(lease=60)
    assert len(await backend.dead_letters.pop_batch(lease=60)) == 1
    async with backend.engine.connect() as connection:
        now = await connection.run_sync(store_time)
    for until in (held.leased_until, received.leased_until):
        assert now < until <= now + timedelta(seconds=60)
    assert await ahead.outbox.claim() == []
    assert await ahead.inbox.claim() == []
    assert await ahead.dead_letters.pop_batch() == []


@pytest.mark.parametrize("days", [-1, 1])
async def test_what_a_host_received_whose_clock_is_wrong_is_neither_stolen_nor_blocked(
    open_backend, url, days
):
    """Its handler has it in hand for as long as the poller says, by the clock of the database."""
    backend = await open_backend(url)
    wrong = datetime.now(UTC) + timedelta(days=days)
    entry = replace(InboxEntry.of(envelope()), received_at=wrong, handler_name="shop.mail")
    async with backend.inbox.handling(entry) as is_new:
        assert is_new
        assert await backend.inbox.claim(lease=60) == []
        await asyncio.sleep(0.05)
        (claimed,) = await backend.inbox.claim(lease=0.04)
        assert claimed.entry_id == entry.entry_id


async def test_two_relays_whose_clocks_are_a_day_apart_share_an_outbox(open_backend, url):
    backend, now = await open_backend(url), datetime.now(UTC)
    tried, handled, in_hand = set(), [], []

    async def handle(event):
        assert event.number not in in_hand
        in_hand.append(event.number)
        await asyncio.sleep(0)
        in_hand.remove(event.number)
        if event.number not in tried:
            tried.add(event.number)
            raise ValueError("once")
        handled.append(event.number)

    def relay(days):
        bus = InMemoryEventBus()
        bus.subscribe(Shipped, handle)
        return OutboxRelay(
            outbox=backend.outbox,
            bus=bus,
            batch_size=2,
            poll_interval=0.01,
            retry_policy=RetryPolicy(max_attempts=3, base_delay=0.02, max_delay=0.02),
            clock=lambda: now + timedelta(days=days),
        )

    entries = [
        replace(
            OutboxEntry.from_event(Shipped(number=number), key=str(number % 3)),
            created_at=now + timedelta(days=number % 3 - 1),
        )
        for number in range(12)
    ]
    await backend.outbox.save_many(entries)
    async with asyncio.timeout(30), relay(-1), relay(1):
        while len(handled) < len(entries):
            await asyncio.sleep(0.01)
    assert sorted(handled) == list(range(12))
    for key in range(3):
        of_key = [number for number in handled if number % 3 == key]
        assert of_key == sorted(of_key)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_claims_of_an_engine_that_commits_each_statement_share_nothing(databases, kind):
    engine = create_async_engine(databases.url(kind), isolation_level="AUTOCOMMIT", pool_size=8)
    try:
        async with bootstrap(engine) as backend:
            entries = [OutboxEntry.of(envelope().replace(key=None)) for _ in range(40)]
            await backend.outbox.save_many(entries)
            claims = await asyncio.gather(*(backend.outbox.claim(limit=5) for _ in range(8)))
            claimed = [entry.entry_id for claim in claims for entry in claim]
            assert len(claimed) == len(set(claimed))
            await backend.outbox.delete_many([entry.entry_id for entry in entries])
    finally:
        await engine.dispose()


async def test_tables_of_an_older_version_are_migrated_and_their_rows_read(open_backend, url):
    """Those had no columns for the rest of an envelope, and none that operators choose by."""
    backend = await open_backend(url)
    added = {
        "varco_outbox": ("parked_at", "error_type", "behind", "claim_id", *ENVELOPE),
        "varco_inbox": (
            "key",
            "attempts",
            "leased_until",
            "last_error",
            "available_at",
            "failed_at",
            "error_type",
            "consumer_group",
            "claim_id",
            *ENVELOPE,
        ),
        "varco_dead_letters": (
            "failed_at",
            "event_type",
            "key",
            "envelope_channel",
            "consumer_group",
            "origin",
            "claim_id",
            *ENVELOPE,
        ),
    }
    payload = '{"type":"Shipped","version":1,"data":{"number":7}}'
    name = backend.engine.dialect.name
    outbox = backend.uow_provider.tables.outbox
    async with backend.engine.begin() as connection:
        for index in outbox.indexes:
            if index.name == "ix_varco_outbox_line":
                await connection.run_sync(index.drop)
        old_index = sa.text("CREATE INDEX ix_varco_outbox_key ON varco_outbox (`key`, seq)")
        if name == "postgresql":
            old_index = sa.text("CREATE INDEX ix_varco_outbox_key ON varco_outbox (key, seq)")
        await connection.execute(old_index)
        for table, columns in added.items():
            made = backend.uow_provider.metadata.tables[table].indexes
            for index in made:
                # An index of some rows also needs the columns that say of which.
                needed = f"{index.dialect_options['sqlite'].get('where')}"
                if any(one.name in columns for one in index.columns) or "last_error" in needed:
                    await connection.run_sync(index.drop)
            for column in columns:
                quoted = connection.dialect.identifier_preparer.quote(column)
                await connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {quoted}"))
    source = await migration_source(backend.engine, metadata_for(dialect=name))

    def upgrade(connection):
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
        from sqlalchemy.dialects import mysql, postgresql

        names = {"sa": sa, "op": Operations(MigrationContext.configure(connection))}
        body = "\n".join(line.removeprefix("    ") for line in source.splitlines())
        exec(body, names | {"mysql": mysql, "postgresql": postgresql})

    async with backend.engine.begin() as connection:
        await connection.run_sync(upgrade)
    assert await schema_drift(backend.engine, metadata_for(dialect=name)) == []
    old = OutboxEntry(event_type="Shipped", channel="orders", payload=payload.encode())
    await backend.outbox.save(old)
    async with backend.engine.begin() as connection:
        await connection.execute(outbox.update().values(version=None, headers=None, time=None))
    bus, got = InMemoryEventBus(), []
    bus.subscribe(Shipped, got.append)
    await OutboxRelay(outbox=backend.outbox, bus=bus).run_once()
    assert [event.number for event in got] == [7]


@pytest.mark.parametrize("what", ["release", "park", "acknowledge", "renew"])
async def test_who_was_frozen_for_longer_than_its_lease_changes_nothing(open_backend, url, what):
    backend = await open_backend(url)
    outbox = backend.outbox
    await outbox.save_many([OutboxEntry(event_type="t", key="k") for _ in range(2)])
    (lost,) = await outbox.claim(limit=1, lease=-1.0)
    (held,) = await outbox.claim(limit=1, lease=600.0)
    assert held.entry_id == lost.entry_id
    # What was stopped goes on.
    if what == "park":
        await outbox.park(replace(lost, last_error="E: late"))
    else:
        await getattr(outbox, what)([lost])
    assert await outbox.claim() == []
    assert await outbox.get_parked() == []
    first, _ = await outbox.get_pending()
    assert first.leased_until == held.leased_until
    await outbox.release([held])
    again = await outbox.claim(lease=600.0)
    assert again[0].entry_id == held.entry_id
    while again:
        await outbox.acknowledge(again)
        again = await outbox.claim()
    assert await outbox.get_pending() == []
