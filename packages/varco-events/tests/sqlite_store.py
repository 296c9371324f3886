"""An outbox, an inbox and a queue in one SQLite file, for the tests with processes that die.

Also the processes: run as a script it forks workers on request and kills them when its stdin ends.
"""

import logging
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

import anyio
import anyio.lowlevel
from pydantic import TypeAdapter

from varco_events import (
    AbstractEventBus,
    Event,
    EventConsumer,
    InboxEntry,
    InboxRepository,
    InMemoryEventBus,
    JsonEventSerializer,
    OutboxEntry,
    OutboxRelay,
    OutboxRepository,
    listen,
)
from varco_resilience import RetryPolicy

SCHEMA = """
CREATE TABLE outbox (seq INTEGER PRIMARY KEY, entry_id BLOB UNIQUE, event_type TEXT, channel TEXT,
    payload BLOB, created_at REAL, key TEXT, attempts INTEGER, available_at REAL, last_error TEXT,
    leased_until REAL, parked INTEGER DEFAULT 0);
CREATE INDEX outbox_held ON outbox (key)
    WHERE key IS NOT NULL AND (leased_until IS NOT NULL OR available_at IS NOT NULL);
CREATE TABLE inbox (seq INTEGER PRIMARY KEY, entry_id TEXT UNIQUE, event_type TEXT, channel TEXT,
    payload BLOB, received_at TEXT, processed_at TEXT, handler_name TEXT);
CREATE TABLE queue (seq INTEGER PRIMARY KEY, payload BLOB);
CREATE TABLE published (seq INTEGER PRIMARY KEY, event_id TEXT, pid INTEGER);
CREATE INDEX published_events ON published (event_id);
CREATE TABLE effects (seq INTEGER PRIMARY KEY, name TEXT, number INTEGER, pid INTEGER);
"""
# Those of older versions: the rest of an envelope is then looked up in its payload.
COLUMNS = [field.name for field in fields(OutboxEntry)][:10]

to_uuid = TypeAdapter(UUID).validator.validate_python  # in a fourth of the time of UUID(bytes=...)


def connect(path):
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    # Enough for a process that dies; only a machine that dies needs more.
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def create(path):
    connection = connect(path)
    connection.executescript(SCHEMA)
    return connection


def _row(entry):
    return (
        entry.entry_id.bytes,
        entry.event_type,
        entry.channel,
        entry.payload,
        entry.created_at.timestamp(),
        entry.key,
        entry.attempts,
        entry.available_at and entry.available_at.timestamp(),
        entry.last_error,
        entry.leased_until and entry.leased_until.timestamp(),
    )


def _entry(row):
    entry_id, event_type, channel, payload, created, key, attempts, available, error, leased = row
    return OutboxEntry(
        to_uuid(entry_id),
        event_type,
        channel,
        payload,
        datetime.fromtimestamp(created, UTC),
        key,
        attempts,
        available and datetime.fromtimestamp(available, UTC),
        error,
        leased and datetime.fromtimestamp(leased, UTC),
    )


class SqliteOutbox(OutboxRepository):
    """Claims in one transaction that excludes all others; a key that is in hand is left alone."""

    def __init__(self, connection):
        self.connection = connection
        self.execute = connection.execute

    async def save(self, entry):
        await self.save_many([entry])

    async def save_many(self, entries):
        names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
        with transaction(self.connection):
            self.connection.executemany(
                f"INSERT INTO outbox ({names}) VALUES ({marks})", map(_row, entries)
            )
        self.notify()

    async def get_pending(self, *, limit=100):
        select = f"SELECT {', '.join(COLUMNS)} FROM outbox WHERE NOT parked ORDER BY seq LIMIT ?"
        return [_entry(row) for row in self.execute(select, [limit])]

    async def delete(self, entry_id):
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids):
        with transaction(self.connection):
            marks = ", ".join("?" * len(entry_ids))
            ids = [one.bytes for one in entry_ids]
            self.execute(f"DELETE FROM outbox WHERE entry_id IN ({marks})", ids)

    async def claim(self, *, limit=100, lease=30.0):
        now = time.time()
        select = f"""
            SELECT {", ".join(COLUMNS)}, seq FROM outbox WHERE NOT parked
            AND (leased_until IS NULL OR leased_until <= :now)
            AND (available_at IS NULL OR available_at <= :now)
            AND (key IS NULL OR key NOT IN (
                SELECT key FROM outbox
                WHERE key IS NOT NULL AND (leased_until IS NOT NULL OR available_at IS NOT NULL)
                AND NOT parked AND (leased_until > :now OR available_at > :now)
            )) ORDER BY seq LIMIT :limit"""
        with transaction(self.connection):
            rows = self.execute(select, {"now": now, "limit": limit}).fetchall()
            marks = ", ".join("?" * len(rows))
            self.execute(
                f"UPDATE outbox SET leased_until = ? WHERE seq IN ({marks})",
                [now + lease, *(row[-1] for row in rows)],
            )
        return [_entry(row[:-1]) for row in rows]

    async def release(self, entries):
        self._note(entries, parked=False)

    async def park(self, entry):
        self._note([entry], parked=True)

    def _note(self, entries, *, parked):
        with transaction(self.connection):
            self.connection.executemany(
                "UPDATE outbox SET leased_until = NULL, attempts = ?, available_at = ?,"
                " last_error = ?, parked = ? WHERE entry_id = ?",
                [
                    (
                        one.attempts,
                        one.available_at and one.available_at.timestamp(),
                        one.last_error,
                        parked,
                        one.entry_id.bytes,
                    )
                    for one in entries
                ],
            )


class SqliteInbox(InboxRepository):
    """Handles in the transaction of the handler, which writes through the same connection."""

    def __init__(self, connection):
        self.connection = connection
        self.execute = connection.execute

    async def save(self, entry):
        self._insert(entry)

    def _insert(self, entry):
        self.execute(
            "INSERT OR IGNORE INTO inbox (entry_id, event_type, channel, payload, received_at,"
            " handler_name) VALUES (?, ?, ?, ?, ?, ?)",
            [
                str(entry.entry_id),
                entry.event_type,
                entry.channel,
                entry.payload,
                entry.received_at.isoformat(),
                entry.handler_name,
            ],
        )

    async def mark_processed(self, entry_id):
        self._mark(entry_id)

    def _mark(self, entry_id):
        self.execute(
            "UPDATE inbox SET processed_at = ? WHERE entry_id = ?",
            [datetime.now(UTC).isoformat(), str(entry_id)],
        )

    async def get_unprocessed(self, *, limit=100):
        rows = self.execute(
            "SELECT entry_id, event_type, channel, payload, received_at, handler_name FROM inbox"
            " WHERE processed_at IS NULL ORDER BY seq LIMIT ?",
            [limit],
        )
        return [
            InboxEntry(UUID(i), t, c, p, datetime.fromisoformat(r), handler_name=h)
            for i, t, c, p, r, h in rows
        ]

    async def is_processed(self, entry_id):
        select = "SELECT 1 FROM inbox WHERE entry_id = ? AND processed_at IS NOT NULL"
        return self.execute(select, [str(entry_id)]).fetchone() is not None

    async def discard(self, entry_id):
        self.execute("DELETE FROM inbox WHERE entry_id = ?", [str(entry_id)])

    @asynccontextmanager
    async def handling(self, entry):
        with transaction(self.connection):
            self._insert(entry)
            is_new = not await self.is_processed(entry.entry_id)
            yield is_new
            if is_new:
                self._mark(entry.entry_id)


class transaction:  # noqa: N801  # reads like a function
    """One that excludes other writers; rolled back on any exception."""

    def __init__(self, connection):
        self.execute = connection.execute

    def __enter__(self):
        self.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, error, trace):
        self.execute("COMMIT" if kind is None else "ROLLBACK")


class Happened(Event):
    __event_type__ = "varco.tests.happened"

    name: str
    number: int

    def event_key(self):
        return self.name


class QueueBus(AbstractEventBus):
    """A transport: what is published waits in a table for the consumer process."""

    def __init__(self, connection):
        self.connection = connection
        self.serializer = JsonEventSerializer()

    async def publish(self, event, *, channel="default"):
        await anyio.lowlevel.checkpoint()
        with transaction(self.connection):
            payload = self.serializer.serialize(event)
            self.connection.execute("INSERT INTO queue (payload) VALUES (?)", [payload])
            self.connection.execute(
                "INSERT INTO published (event_id, pid) VALUES (?, ?)",
                [str(event.event_id), os.getpid()],
            )

    def subscribe(self, event_type, handler, **options):
        raise NotImplementedError("the consumer process subscribes")


async def relay(path):
    connection = connect(path)
    await OutboxRelay(
        outbox=SqliteOutbox(connection),
        bus=QueueBus(connection),
        poll_interval=0.005,
        batch_size=BATCH,
        lease=3.0,
    ).run()


async def consumer(path):
    connection = connect(path)
    inbox, bus, serializer = SqliteInbox(connection), InMemoryEventBus(), JsonEventSerializer()

    class Writer(EventConsumer):
        @listen(Happened, inbox=inbox)
        async def write(self, event):
            connection.execute(
                "INSERT INTO effects (name, number, pid) VALUES (?, ?, ?)",
                [event.name, event.number, os.getpid()],
            )
            await anyio.lowlevel.checkpoint()

    Writer().register_to(bus)
    while True:
        rows = connection.execute("SELECT seq, payload FROM queue ORDER BY seq LIMIT 20")
        for seq, payload in rows.fetchall():
            await bus.deliver(serializer.deserialize(payload))
            connection.execute("DELETE FROM queue WHERE seq = ?", [seq])
        await anyio.sleep(0.002)


async def flaky_relay(path):
    """A relay whose own handler fails now and then, and always on one key."""
    connection, bus = connect(path), InMemoryEventBus()

    @bus.on(Happened)
    async def handle(event):
        await anyio.sleep(0)
        if event.name == "poison" or random.random() < 0.05:
            raise ValueError("unlucky")
        connection.execute(
            "INSERT INTO effects (name, number, pid) VALUES (?, ?, ?)",
            [event.name, event.number, os.getpid()],
        )

    await OutboxRelay(
        outbox=SqliteOutbox(connection),
        bus=bus,
        poll_interval=0.01,
        batch_size=BATCH,
        retry_policy=RetryPolicy(max_attempts=1000, base_delay=0.005, max_delay=0.02),
    ).run()


BATCH = 50
WORKERS = {"relay": relay, "consumer": consumer, "flaky": flaky_relay}


def zygote(path):
    """Fork a worker for every line of stdin and print its pid; kill what is left at the end."""
    logging.disable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    pids = []
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            random.seed()
            anyio.run(WORKERS[line.strip()], path)
        pids.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    zygote(sys.argv[1])
