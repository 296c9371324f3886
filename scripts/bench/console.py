"""How long the pages of the console take with many failures, and a retry of many of them.

    console.py                              100,000 failures of 500 kinds, on SQLite and PostgreSQL
    console.py --failures 10000 --database sqlite

Each database is made for the run and dropped after it. Of each page the least of several rounds is
shown: what passed on the clock, and what of it this process had the processor, its client in it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import re
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_console import FULL_ACCESS, Console
from varco_domain import AuthContext
from varco_events import DeadLetterEntry, Event, EventConsumer, InMemoryEventBus, listen
from varco_sa import Backend, SQLAlchemyRepositoryProvider, make_engine

POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
KEYS = 500
ROUNDS = 7
RETRIED = 10_000


class Wanted(Event):
    __event_type__ = "bench.console.wanted"

    number: int
    order: str

    def event_key(self) -> str:
        return self.order


class Mended(EventConsumer):
    """Handles what failed, and notes in which order."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}

    @listen(Wanted)
    async def handle(self, event: Wanted) -> None:
        self.seen.setdefault(event.order, []).append(event.number)


def letter(number: int, kind: int, handler: str, at: datetime) -> DeadLetterEntry:
    return DeadLetterEntry.from_failure(
        event=Wanted(number=number, order=f"order-{number % KEYS}"),
        channel=f"channel-{kind % 20}",
        handler_name=handler,
        last_exc=ConnectionError("no answer") if kind % 2 else ValueError("no number"),
        attempts=5,
        now=at,
    )


def row(one: DeadLetterEntry) -> dict[str, Any]:
    """A dead letter as the table has it."""
    envelope = one.envelope
    return {
        "entry_id": one.entry_id,
        "event_id": envelope.event_id,
        "event_type": envelope.event_type,
        "channel": envelope.channel,
        "key": envelope.key,
        "payload": envelope.payload,
        "version": envelope.version,
        "time": envelope.time,
        "attempts": one.attempts,
        "failed_at": one.last_failed_at,
        "first_failed_at": one.first_failed_at,
        "last_failed_at": one.last_failed_at,
        "error_type": one.error_type,
        "error_message": one.error_message,
        "handler_name": one.handler_name,
        "consumer_group": "",
        "origin": "bench",
    }


async def push(backend: Backend, letters: Iterable[DeadLetterEntry]) -> None:
    """Put many letters into the table at once."""
    table = backend.uow_provider.tables.dead_letters
    waiting = iter(letters)
    async with backend.engine.begin() as connection:
        while some := [row(one) for one in itertools.islice(waiting, 5_000)]:
            await connection.execute(table.insert(), some)
    async with backend.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text(f"ANALYZE {table.name}"))


def letters(failures: int, kinds: int) -> Iterator[DeadLetterEntry]:
    now, chance = datetime.now(UTC), random.Random(1)
    for number in range(failures):
        kind = number % kinds
        at = now - timedelta(minutes=chance.randrange(10_000))
        yield letter(number, kind, f"bench.handlers.Handler{kind}.handle", at)


@asynccontextmanager
async def database(kind: str) -> AsyncGenerator[str]:
    """The URL of a database that is dropped at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite+aiosqlite:///{Path(folder)}/bench.sqlite"
        return
    name = f"varco_bench_{secrets.token_hex(4)}"
    await administer(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    finally:
        await administer(f"DROP DATABASE {name}")


async def administer(statement: str) -> None:
    engine = create_async_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(statement))
    await engine.dispose()


async def measure(kind: str, failures: int, kinds: int) -> None:
    async with database(kind) as url:
        store = SQLAlchemyRepositoryProvider(make_engine(url))
        async with Backend(store, owns_engine=True) as backend:
            await store.create_tables()
            began = time.perf_counter()
            await push(backend, letters(failures, kinds))
            spent = time.perf_counter() - began
            print(f"{failures:,} failures of {kinds} kinds in {spent:.0f} s")
            await of_console(backend)


async def of_console(backend: Backend) -> None:
    bus = InMemoryEventBus()

    async def identify(_: Any) -> AuthContext:
        return AuthContext("ann")

    console = Console(
        {"Dead letters": backend.dead_letters.failures(bus)},
        identify=identify,
        access=lambda _: FULL_ACCESS,
        timeout=60,
    )
    transport = httpx.ASGITransport(app=console)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=None) as ann:
        await pages(ann)
        await retry(ann, backend, bus)


async def retry(ann: httpx.AsyncClient, backend: Backend, bus: InMemoryEventBus) -> None:
    """Retry a group of many through the console, while others of it fail."""
    mended = Mended()
    mended.register_to(bus)
    handler = f"{Mended.__module__}.Mended.handle"
    now = datetime.now(UTC)
    await push(backend, (letter(number, 1, handler, now) for number in range(RETRIED)))
    group = {"error": "ConnectionError", "handler": handler, "group": ""}
    page = await ann.get("/failures/dead-letters/entries", params=group)
    token = re.findall(r'name="csrf" value="(\w+)"', page.text)[0]
    began, steps, longest = time.perf_counter(), 0, 0.0
    where, fields = "/failures/dead-letters/act", {"do": "retry-matching", "confirmed": "yes"}
    while True:
        asked = time.perf_counter()
        page = await ann.post(where, data={**group, **fields, "csrf": token}, follow_redirects=True)
        longest = max(longest, time.perf_counter() - asked)
        steps += 1
        version = re.findall(r'name="version" value="(\d+)"', page.text)
        if not version:
            break
        where, fields = f"{page.url.path.removesuffix('/step')}/step", {"version": version[0]}
        late = letter(RETRIED + steps, 1, handler, datetime.now(UTC))
        await backend.dead_letters.push(late)
    took = time.perf_counter() - began
    in_order = all(seen == sorted(seen) for seen in mended.seen.values())
    handled = sum(map(len, mended.seen.values()))
    print(
        f"retried {handled:,} in {took:.1f} s and {steps} steps, the longest {longest:.2f} s; "
        f"{'in' if in_order else 'OUT OF'} order of {len(mended.seen)} keys; "
        f"{steps - 1} that failed meanwhile still wait"
    )


async def pages(ann: httpx.AsyncClient) -> None:
    group = "error=ValueError&handler=bench.handlers.Handler8.handle&group="
    entries = "/failures/dead-letters/entries"
    first = await ann.get(f"{entries}?{group}")
    one = re.findall(r'name="ids" value="([^"]*)"', first.text)[0]
    for name, path in (
        ("overview", "/"),
        ("groups", "/failures/dead-letters"),
        ("groups of a day", "/failures/dead-letters?period=24h"),
        ("groups of a channel", "/failures/dead-letters?channel=channel-3"),
        ("entries of a group", f"{entries}?{group}"),
        ("all entries", entries),
        ("one entry", f"{entries}/{one}"),
        ("flow", "/flow"),
        ("audit", "/audit"),
    ):
        walls: list[float] = []
        spent: list[float] = []
        for _ in range(ROUNDS):
            began, before = time.perf_counter(), time.process_time()
            answer = await ann.get(path)
            walls.append(time.perf_counter() - began)
            spent.append(time.process_time() - before)
            answer.raise_for_status()
        print(
            f"{name:22} {min(walls) * 1000:7.0f} ms  {min(spent) * 1000:7.0f} ms of processor "
            f"{len(answer.content):9,} bytes"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the console.")
    parser.add_argument("--failures", type=int, default=100_000)
    parser.add_argument("--kinds", type=int, default=500)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), nargs="*")
    given = parser.parse_args()
    for name in given.database or ("sqlite", "postgresql"):
        print(f"\n{name}")
        asyncio.run(measure(name, given.failures, given.kinds))


if __name__ == "__main__":
    main()
