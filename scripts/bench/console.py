"""How long the pages of the console take with many failures, and a retry of many of them.

console.py                              100,000 failures of 500 kinds, on SQLite and PostgreSQL
console.py --failures 10000 --database sqlite
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from varco_console import FULL_ACCESS, Console
from varco_domain import AuthContext
from varco_events import DeadLetterEntry, Event, EventConsumer, InMemoryEventBus, listen
from varco_sa import Backend, SQLAlchemyRepositoryProvider, make_engine

POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
KEYS = 500
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


async def fill(backend: Backend, failures: int, kinds: int) -> None:
    now, chance = datetime.now(UTC), random.Random(1)
    for number in range(failures):
        kind = number % kinds
        at = now - timedelta(minutes=chance.randrange(10_000))
        handler = f"bench.handlers.Handler{kind}.handle"
        await backend.dead_letters.push(letter(number, kind, handler, at))


async def measure(url: str, failures: int, kinds: int) -> None:
    store = SQLAlchemyRepositoryProvider(make_engine(url))
    async with Backend(store, owns_engine=True) as backend:
        await store.create_tables()
        bus = InMemoryEventBus()
        began = time.perf_counter()
        if await backend.dead_letters.count() < failures:
            await fill(backend, failures, kinds)
        print(f"{failures:,} failures of {kinds} kinds in {time.perf_counter() - began:.0f} s")

        async def identify(_: Any) -> AuthContext:
            return AuthContext("ann")

        console = Console(
            {"Dead letters": backend.dead_letters.failures(bus)},
            identify=identify,
            access=lambda _: FULL_ACCESS,
            time_limit=60,
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
    for number in range(RETRIED):
        await backend.dead_letters.push(letter(number, 1, handler, datetime.now(UTC)))
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
        times: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            answer = await ann.get(path)
            times.append(time.perf_counter() - began)
            answer.raise_for_status()
        print(f"{name:22} {min(times) * 1000:7.0f} ms  {len(answer.content):9,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the console.")
    parser.add_argument("--failures", type=int, default=100_000)
    parser.add_argument("--kinds", type=int, default=500)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        urls = {
            "sqlite": f"sqlite+aiosqlite:///{Path(folder)}/bench.sqlite",
            "postgresql": POSTGRESQL,
        }
        for name in given.database or urls:
            print(f"\n{name}")
            asyncio.run(measure(urls[name], given.failures, given.kinds))


if __name__ == "__main__":
    main()
