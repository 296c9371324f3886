"""What an operator waits for when 100,000 entries failed, and what relays wait for beside them.

Each figure is the least of a few calls, in seconds as they pass, the server's share included: in
memory, on a file of SQLite, and on PostgreSQL and MariaDB where a server answers at
VARCO_TEST_POSTGRESQL_URL and VARCO_TEST_MARIADB_URL or where the tests expect it. Claims are
measured in turn with those of an outbox that has nothing else. What each step took is told on
standard error when it is over.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from _harness import Case, Figure, main
from sqlalchemy.ext.asyncio import create_async_engine

from varco_events import (
    DeadLetterEntry,
    Event,
    EventEnvelope,
    FailureFilter,
    FailureStore,
    InboxEntry,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryInboxRepository,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    OutboxRepository,
    time_edges,
)
from varco_sa import Backend, bootstrap

ROWS, KINDS, KEYS = 100_000, 500, 1_000
ROUNDS, CLAIMS = 5, 20
# No call is repeated once its rounds took so many seconds.
PATIENCE = 3.0
RETRIED, ARRIVING = 10_000, 20
SERVERS = {
    "postgresql": os.environ.get(
        "VARCO_TEST_POSTGRESQL_URL",
        "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
    ),
    "mariadb": os.environ.get(
        "VARCO_TEST_MARIADB_URL", "mysql+asyncmy://varco_test:varco_test@127.0.0.1:3306/varco_test"
    ),
}
FOLDER = tempfile.TemporaryDirectory(prefix="varco-bench-failures-")
RUNNER = asyncio.Runner()
NOW = datetime.now(UTC)

type Row = dict[str, Any]


class Numbered(Event):
    __event_type__ = "varco.bench.numbered"
    number: int
    name: str

    def event_key(self) -> str:
        return self.name


@contextmanager
def told(step: str) -> Generator[None]:
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:8.2f} s  {step}", file=sys.stderr, flush=True)


def envelope(number: int, at: datetime) -> Row:
    return {
        "entry_id": uuid4(),
        "event_id": uuid4(),
        "event_type": Numbered.__event_type__,
        "channel": f"channel {number % 7}",
        "key": f"key {number % KEYS}",
        "payload": b'{"number": 1, "name": "of one"}' * 4,
        "version": 1,
        "time": at,
    }


def failed(number: int, chance: random.Random) -> tuple[Row, datetime, str, str]:
    """What failures have in common, when, in which handler and of what; few kinds are frequent."""
    kind = int(KINDS * chance.random() ** 2)
    at = NOW - timedelta(seconds=chance.uniform(0, 86_400))
    handler = f"shop.handlers.Orders.on_event_number_{kind // 50}"
    return envelope(number, at) | {"attempts": 5}, at, handler, f"builtins.Error{kind}"


def parked(number: int, chance: random.Random) -> Row:
    row, at, _, error = failed(number, chance)
    aside = {"parked": True, "parked_at": at, "error_type": error, "last_error": f"{error}: no"}
    return row | aside | {"created_at": at}


def in_inbox(number: int, chance: random.Random) -> Row:
    row, at, handler, error = failed(number, chance)
    failure = {"failed_at": at, "error_type": error, "last_error": f"{error}: no"}
    return row | failure | {"received_at": at, "handler_name": handler, "consumer_group": "default"}


def dead(number: int, chance: random.Random) -> Row:
    row, at, handler, error = failed(number, chance)
    moments = dict.fromkeys(("failed_at", "first_failed_at", "last_failed_at"), at)
    failure = {"error_type": error, "error_message": "no " * 20, "handler_name": handler}
    return row | moments | failure | {"consumer_group": "default", "origin": "bench"}


def waiting(number: int, _chance: random.Random, **more: Any) -> Row:
    row = envelope(number, NOW) | {"created_at": NOW, "attempts": 0, "parked": False}
    return row | {"available_at": None} | more


def postponed(number: int, chance: random.Random) -> Row:
    return waiting(number, chance, available_at=NOW + timedelta(days=1))


def blocked(number: int, chance: random.Random) -> Row:
    """Behind the first entry of its key, which is postponed."""
    return postponed(number, chance) if number < KEYS else waiting(number, chance)


FAILED = {"outbox": parked, "inbox": in_inbox, "dead_letters": dead}


class Database:
    """A database of its own for one run, filled anew for each group of figures."""

    def __init__(self, kind: str, name: str = "bench") -> None:
        self.kind = kind
        self.filled = ""
        self._name = name
        self._backend: Backend | None = None

    async def open(self) -> Backend:
        if self._backend is None:
            url = f"sqlite+aiosqlite:///{Path(FOLDER.name) / self._name}.sqlite"
            if self.kind in SERVERS:
                server = sa.make_url(SERVERS[self.kind])
                name = f"varco_test_{self._name}_{secrets.token_hex(4)}"
                await self.administer(f"CREATE DATABASE {name}")
                url = server.set(database=name).render_as_string(hide_password=False)
            self._backend = await bootstrap(url).__aenter__()
        return self._backend

    async def close(self) -> None:
        if self._backend is not None:
            name = self._backend.engine.url.database
            await self._backend.aclose()
            if self.kind in SERVERS:
                await self.administer(f"DROP DATABASE {name}")

    async def administer(self, statement: str) -> None:
        engine = create_async_engine(SERVERS[self.kind], isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(sa.text(statement))
        await engine.dispose()

    async def empty(self) -> None:
        """Have tables as new ones are, without what is left of rows that are gone."""
        backend = await self.open()
        self.filled = ""
        tables = backend.uow_provider.tables
        async with backend.engine.begin() as connection:
            for each in (tables.outbox, tables.inbox, tables.dead_letters):
                word = "DELETE FROM" if self.kind == "sqlite" else "TRUNCATE TABLE"
                await connection.execute(sa.text(f"{word} {each.name}"))

    async def fill(self, what: str, name: str, make: Callable[[int, random.Random], Row]) -> None:
        """Put 100,000 rows into a table; those that are there already are left."""
        if self.filled == what:
            return
        await self.empty()
        self.filled = what
        with told(f"{self.kind}: filled with {what}"):
            backend = await self.open()
            table: sa.Table = getattr(backend.uow_provider.tables, name)
            chance = random.Random(1)
            async with backend.engine.begin() as connection:
                for first in range(0, ROWS, 5_000):
                    rows = [make(number, chance) for number in range(first, first + 5_000)]
                    await connection.execute(table.insert(), rows)
            async with backend.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                word = "ANALYZE TABLE" if self.kind == "mariadb" else "ANALYZE"
                await connection.execute(sa.text(f"{word} {table.name}"))

    async def put_aside(self, entries: list[OutboxEntry]) -> None:
        """Have entries of the outbox that are parked, and no others."""
        await self.empty()
        backend = await self.open()
        outbox = backend.uow_provider.tables.outbox
        async with backend.engine.begin() as connection:
            await connection.run_sync(backend.outbox.insert, entries)
            aside = {"parked": True, "parked_at": NOW, "error_type": "Error"}
            await connection.execute(outbox.update().values(aside))

    async def outbox(self) -> OutboxRepository:
        return (await self.open()).outbox

    async def store(self, name: str) -> FailureStore:
        held: Any = getattr(await self.open(), name)
        found: FailureStore = held.failures()
        return found


class Memory:
    """The same in memory."""

    kind = "memory"

    def __init__(self) -> None:
        self.filled = ""
        self._at: datetime | None = None
        self._held: dict[str, Any] = {}

    def _clock(self) -> datetime:
        return self._at or datetime.now(UTC)

    async def close(self) -> None:
        self._held.clear()

    async def empty(self) -> None:
        self.filled = ""
        self._held = {
            "outbox": InMemoryOutboxRepository(clock=self._clock),
            "inbox": InMemoryInboxRepository(clock=self._clock),
            "dead_letters": InMemoryDeadLetterQueue(max_size=2 * ROWS),
        }

    async def fill(self, what: str, name: str, make: Callable[[int, random.Random], Row]) -> None:
        if self.filled == what:
            return
        await self.empty()
        self.filled = what
        with told(f"memory: filled with {what}"):
            chance, put = random.Random(1), getattr(self, f"_put_in_{name}")
            for number in range(ROWS):
                await put(make(number, chance))
            self._at = None

    async def _put_in_outbox(self, row: Row) -> None:
        outbox = self._held["outbox"]
        aside = {name: row.pop(name, None) for name in ("parked", "parked_at", "error_type")}
        self._at = aside["parked_at"]
        entry = OutboxEntry(**row)
        await outbox.save(entry)
        if aside["parked"]:
            await outbox.park(entry)

    async def _put_in_inbox(self, row: Row) -> None:
        inbox = self._held["inbox"]
        self._at = row.pop("failed_at")
        del row["error_type"], row["consumer_group"]
        entry = InboxEntry(**row)
        await inbox.save(replace(entry, last_error=None))
        await inbox.release(entry)

    async def _put_in_dead_letters(self, row: Row) -> None:
        names = ("event_id", "event_type", "channel", "key", "payload", "version", "time")
        about = EventEnvelope(**{name: row.pop(name) for name in names})
        del row["failed_at"]
        letter = DeadLetterEntry(envelope=about, group=row.pop("consumer_group"), **row)
        await self._held["dead_letters"].push(letter)

    async def put_aside(self, entries: list[OutboxEntry]) -> None:
        await self.empty()
        outbox = await self.outbox()
        await outbox.save_many(entries)
        for entry in entries:
            await outbox.park(replace(entry, last_error="Error: no"))

    async def outbox(self) -> OutboxRepository:
        if not self._held:
            await self.empty()
        found: OutboxRepository = self._held["outbox"]
        return found

    async def store(self, name: str) -> FailureStore:
        found: FailureStore = self._held[name].failures()
        return found


type Bench = Database | Memory
BENCHES: dict[str, Bench] = {
    "memory": Memory(),
    **{kind: Database(kind) for kind in ("sqlite", "postgresql", "mariadb")},
}
# With nothing but what is claimed.
EMPTY: dict[str, Bench] = {
    "memory": Memory(),
    **{kind: Database(kind, "empty") for kind in ("sqlite", "postgresql", "mariadb")},
}


async def least(call: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
        if sum(times) > PATIENCE:
            break
    return min(times)


def looked(kind: str, name: str, title: str) -> float:
    look = LOOKS[title]

    async def run() -> float:
        bench = BENCHES[kind]
        await bench.fill(f"failures of {name}", name, FAILED[name])
        store = await bench.store(name)
        some = (await store.page(limit=1)).items[0].entry_id
        return await least(lambda: look(store, some))

    with told(f"{kind}: {name}: {title}"):
        return RUNNER.run(run())


RARE = FailureFilter(error_type=f"builtins.Error{KINDS - 1}")
FREQUENT = FailureFilter(error_type="builtins.Error0")
LOOKS: dict[str, Callable[[FailureStore, UUID], Awaitable[object]]] = {
    "newest page": lambda store, _: store.page(),
    "oldest page": lambda store, _: store.page(newest_first=False),
    "page of a frequent error": lambda store, _: store.page(FREQUENT),
    "page of a rare error": lambda store, _: store.page(RARE),
    "page of a channel": lambda store, _: store.page(FailureFilter(channel="channel 3")),
    "page of a key": lambda store, _: store.page(FailureFilter(key="key 7")),
    "page of an event type that is not there": lambda store, _: store.page(
        FailureFilter(event_type="none")
    ),
    "page of an hour": lambda store, _: store.page(
        FailureFilter(since=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1))
    ),
    "one": lambda store, some: store.get(some),
    "count": lambda store, _: store.count(),
    "groups": lambda store, _: store.groups(),
    "groups with a chart of 60": lambda store, _: store.groups(
        edges=time_edges(NOW - timedelta(days=1), NOW, 60)
    ),
    "chart of one group": lambda store, _: store.groups(
        FREQUENT, edges=time_edges(NOW - timedelta(days=1), NOW, 60)
    ),
    "figures": lambda store, _: store.figures(),
    "discard one": lambda store, some: store.discard([some]),
    "begin to discard a rare error": lambda store, _: store.discard_all(RARE, limit=1),
    "begin to discard all, 1 of them": lambda store, _: store.discard_all(limit=1),
}
BESIDE = {"parked": parked, "postponed": postponed, "blocked": blocked}


@cache
def claimed(kind: str, what: str) -> tuple[float, float, float]:
    """A claim beside 100,000 others, of 100 entries that came last; and of 100 beside none.

    Returns:
        The first claim beside them, the least of those after it, and of those beside none.
    """

    async def save(outbox: OutboxRepository) -> list[UUID]:
        fresh = [
            OutboxEntry.from_event(Numbered(number=number, name=f"fresh {number}"))
            for number in range(100)
        ]
        await outbox.save_many(fresh)
        return [entry.entry_id for entry in fresh]

    async def claim(outbox: OutboxRepository) -> float:
        start = time.perf_counter()
        batch = await outbox.claim(limit=100)
        spent = time.perf_counter() - start
        assert len(batch) == 100, len(batch)
        await outbox.release(batch)
        return spent

    async def run() -> tuple[float, float, float]:
        bench, alone = BENCHES[kind], EMPTY[kind]
        bench.filled = ""
        await bench.fill(what, "outbox", BESIDE[what])
        outboxes = [await bench.outbox(), await alone.outbox()]
        saved = [await save(outbox) for outbox in outboxes]
        first = await claim(outboxes[0])
        times: list[list[float]] = [[], []]
        for _ in range(CLAIMS):
            for outbox, spent in zip(outboxes, times, strict=True):
                spent.append(await claim(outbox))
        for outbox, ids in zip(outboxes, saved, strict=True):
            await outbox.delete_many(ids)
        return first, min(times[0]), min(times[1])

    with told(f"{kind}: claims beside what is {what}"):
        return RUNNER.run(run())


def held_keys(kind: str) -> float:
    async def run() -> float:
        bench = BENCHES[kind]
        await bench.fill("blocked", "outbox", blocked)
        store: Any = await bench.store("outbox")
        return await least(store.held_keys)

    with told(f"{kind}: held keys"):
        return RUNNER.run(run())


def retried(kind: str) -> float:
    """Until 10,000 parked entries are retried and relayed, while others of their keys arrive.

    What was parked comes in order per key, and before what arrives.
    """

    async def run() -> float:
        bench, order = BENCHES[kind], dict[str, list[int]]()
        number, done, all_sent, all_done = RETRIED, 0, False, asyncio.Event()

        async def note(event: Numbered) -> None:
            nonlocal done
            order.setdefault(event.name, []).append(event.number)
            done += 1
            if all_sent and done == number:
                all_done.set()

        def entry(number: int) -> OutboxEntry:
            return OutboxEntry.from_event(Numbered(number=number, name=f"key {number % KEYS}"))

        await bench.put_aside([entry(one) for one in range(RETRIED)])
        outbox = await bench.outbox()
        bus = InMemoryEventBus()
        bus.subscribe(Numbered, note)
        store, continuation = await bench.store("outbox"), None
        start = time.perf_counter()
        async with OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.01):
            while True:
                result = await store.retry_all(limit=500, continuation=continuation)
                await outbox.save_many([entry(number + one) for one in range(ARRIVING)])
                number += ARRIVING
                continuation = result.continuation
                if continuation is None:
                    break
            # One more, so that somebody sees that it was the last.
            number, all_sent = number + 1, True
            await outbox.save(entry(number - 1))
            await all_done.wait()
        spent = time.perf_counter() - start
        for numbers in order.values():
            old = [one for one in numbers if one < RETRIED]
            assert old == sorted(old), "out of order"
        return spent

    with told(f"{kind}: retried"):
        return RUNNER.run(run())


def engine_cases(kind: str) -> list[Case | Figure]:
    figure = partial(Figure, unit="s", ours=True)
    found: list[Case | Figure] = []
    for what in BESIDE:
        group = f"{kind}: a claim of 100 beside {ROWS:,} that are {what}"
        found += [
            Figure(group, "the first", "s", lambda what=what: claimed(kind, what)[0]),
            figure(group, "each after it", measure=lambda what=what: claimed(kind, what)[1]),
            Figure(group, "beside none", "s", lambda what=what: claimed(kind, what)[2]),
        ]
    found.append(
        figure(f"{kind}: outbox, {ROWS:,} blocked", "held keys", measure=partial(held_keys, kind))
    )
    found += [
        figure(
            f"{kind}: {name}, {ROWS:,} failures", title, measure=partial(looked, kind, name, title)
        )
        for name in FAILED
        for title in LOOKS
    ]
    found.append(
        figure(
            f"{kind}: {RETRIED:,} retried in order while others arrive",
            "retried and relayed",
            measure=partial(retried, kind),
        )
    )
    return found


CASES = [case for kind in BENCHES for case in engine_cases(kind)]

if __name__ == "__main__":
    try:
        main(CASES)
    finally:
        for bench in [*BENCHES.values(), *EMPTY.values()]:
            RUNNER.run(bench.close())
