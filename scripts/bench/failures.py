"""What an operator waits for when 100,000 entries failed, and what relays wait for beside them.

Each figure is the least of a few calls, in seconds as they pass, the server's share included: on a
file of SQLite, and on PostgreSQL and MariaDB where a server answers at VARCO_TEST_POSTGRESQL_URL
and VARCO_TEST_MARIADB_URL or where the tests expect it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from _harness import Case, Figure, main
from sqlalchemy.ext.asyncio import create_async_engine

from varco_events import (
    Event,
    FailureFilter,
    FailureStore,
    InMemoryEventBus,
    OutboxEntry,
    OutboxRelay,
    time_edges,
)
from varco_sa import Backend, bootstrap

ROWS, KINDS, KEYS = 100_000, 500, 1_000
ROUNDS = 5
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


class Bench:
    """A database of its own for one run, filled anew for each group of figures."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.filled = ""
        self.backend: Backend | None = None

    async def open(self) -> Backend:
        if self.backend is None:
            url = f"sqlite+aiosqlite:///{Path(FOLDER.name) / 'bench.sqlite'}"
            if self.kind in SERVERS:
                server = sa.make_url(SERVERS[self.kind])
                name = f"varco_test_bench_{secrets.token_hex(4)}"
                await self.administer(f"CREATE DATABASE {name}")
                url = server.set(database=name).render_as_string(hide_password=False)
            self.backend = await bootstrap(url).__aenter__()
        return self.backend

    async def close(self) -> None:
        if self.backend is not None:
            name = self.backend.engine.url.database
            await self.backend.aclose()
            if self.kind in SERVERS:
                await self.administer(f"DROP DATABASE {name}")

    async def administer(self, statement: str) -> None:
        engine = create_async_engine(SERVERS[self.kind], isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(sa.text(statement))
        await engine.dispose()

    async def fill(self, what: str, name: str, make: Callable[[int, random.Random], Row]) -> None:
        """Put 100,000 rows into a table; those that are there already are left."""
        backend = await self.open()
        if self.filled == what:
            return
        self.filled = what
        tables = backend.uow_provider.tables
        table: sa.Table = getattr(tables, name)
        chance = random.Random(1)
        async with backend.engine.begin() as connection:
            for each in (tables.outbox, tables.inbox, tables.dead_letters):
                await connection.execute(each.delete())
            for first in range(0, ROWS, 5_000):
                rows = [make(number, chance) for number in range(first, first + 5_000)]
                await connection.execute(table.insert(), rows)
        async with backend.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            word = "ANALYZE TABLE" if self.kind == "mariadb" else "ANALYZE"
            await connection.execute(sa.text(f"{word} {table.name}"))

    def store(self, name: str) -> FailureStore:
        assert self.backend is not None
        held: Any = getattr(self.backend, name)
        found: FailureStore = held.failures()
        return found


BENCHES = {kind: Bench(kind) for kind in ("sqlite", "postgresql", "mariadb")}


async def least(call: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    return min(times)


def looked(kind: str, name: str, look: Callable[[FailureStore, UUID], Awaitable[object]]) -> float:
    async def run() -> float:
        bench = BENCHES[kind]
        await bench.fill(f"failures of {name}", name, FAILED[name])
        store = bench.store(name)
        some = (await store.page(limit=1)).items[0].entry_id
        return await least(lambda: look(store, some))

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


def claimed(kind: str, what: str, *, first: bool) -> float:
    """A claim beside 100,000 others, of 100 entries that came last."""

    async def run() -> float:
        bench = BENCHES[kind]
        if first:
            bench.filled = ""
        await bench.fill(what, "outbox", BESIDE[what])
        backend = await bench.open()
        fresh = [
            OutboxEntry.from_event(Numbered(number=number, name=f"fresh {number}"))
            for number in range(100)
        ]
        await backend.outbox.save_many(fresh)

        async def claim() -> None:
            batch = await backend.outbox.claim(limit=100)
            assert len(batch) == 100, len(batch)
            await backend.outbox.release(batch)

        spent = await least(claim, 1 if first else ROUNDS)
        await backend.outbox.delete_many([entry.entry_id for entry in fresh])
        return spent

    return RUNNER.run(run())


def held_keys(kind: str) -> float:
    async def run() -> float:
        bench = BENCHES[kind]
        await bench.fill("blocked", "outbox", blocked)
        backend = await bench.open()
        return await least(lambda: backend.outbox.failures().held_keys())

    return RUNNER.run(run())


def retried(kind: str) -> float:
    """10,000 parked entries retried and relayed while others of their keys arrive, per second.

    What was parked comes in order per key, and before what arrives.
    """

    async def run() -> float:
        bench = BENCHES[kind]
        backend = await bench.open()
        bench.filled = ""
        outbox, order = backend.outbox, dict[str, list[int]]()
        number, done, all_sent, all_done = RETRIED, 0, False, asyncio.Event()

        async def note(event: Numbered) -> None:
            nonlocal done
            order.setdefault(event.name, []).append(event.number)
            done += 1
            if all_sent and done == number:
                all_done.set()

        def entry(number: int) -> OutboxEntry:
            return OutboxEntry.from_event(Numbered(number=number, name=f"key {number % KEYS}"))

        tables = backend.uow_provider.tables
        async with backend.engine.begin() as connection:
            await connection.execute(tables.outbox.delete())
            for first in range(0, RETRIED, 1_000):
                some = [entry(one) for one in range(first, first + 1_000)]
                await connection.run_sync(outbox.insert, some)
            aside = tables.outbox.update().values(parked=True, parked_at=NOW, error_type="Error")
            await connection.execute(aside)
        bus = InMemoryEventBus()
        bus.subscribe(Numbered, note)
        store, continuation = outbox.failures(), None
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
        return number / spent

    return RUNNER.run(run())


def engine_cases(kind: str) -> list[Case | Figure]:
    figure = partial(Figure, unit="s", ours=True)
    found: list[Case | Figure] = [
        figure(
            f"{kind}: {name}, {ROWS:,} failures", title, measure=partial(looked, kind, name, look)
        )
        for name in FAILED
        for title, look in LOOKS.items()
    ]
    for what in BESIDE:
        group = f"{kind}: a claim of 100 beside {ROWS:,} that are {what}"
        for title, first in {"the first": True, "each after it": False}.items():
            found.append(figure(group, title, measure=partial(claimed, kind, what, first=first)))
    found.append(
        figure(f"{kind}: outbox, {ROWS:,} blocked", "held keys", measure=partial(held_keys, kind))
    )
    found.append(
        Figure(
            f"{kind}: {RETRIED:,} retried in order while others arrive",
            "retried and relayed",
            "/s",
            partial(retried, kind),
            ours=True,
        )
    )
    return found


CASES = [case for kind in BENCHES for case in engine_cases(kind)]

if __name__ == "__main__":
    try:
        main(CASES)
    finally:
        for bench in BENCHES.values():
            RUNNER.run(bench.close())
