"""What holds when processes die at any moment.

The default run kills a few; `HYPOTHESIS_PROFILE=deep` kills 200 over 10,000 rows.
"""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from varco_events import OutboxEntry
from varco_events.testing import InboxContract, OutboxContract

SCRIPT = Path(__file__).with_name("sqlite_store.py")
_spec = importlib.util.spec_from_file_location("varco_events_tests_sqlite_store", SCRIPT)
store = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = store
_spec.loader.exec_module(store)

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
KILLS, ROWS = (200, 10_000) if DEEP else (6, 600)


class TestSqliteOutbox(OutboxContract):
    @asynccontextmanager
    async def open_outbox(self):
        connection = store.create(":memory:")
        yield store.SqliteOutbox(connection)
        connection.close()


class TestSqliteInbox(InboxContract):
    @asynccontextmanager
    async def open_inbox(self):
        connection = store.create(":memory:")
        yield store.SqliteInbox(connection)
        connection.close()


@contextmanager
def workers(path):
    """A function that starts a worker and returns its pid."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def start(kind):
            process.stdin.write(f"{kind}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield start
        process.stdin.close()


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "events.sqlite"
    connection = store.create(path)
    yield path, connection
    connection.close()


def save(connection, events):
    entries = [OutboxEntry.from_event(event) for event in events]
    anyio.run(store.SqliteOutbox(connection).save_many, entries)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.002)


@pytest.mark.timeout(1800)  # waiting has limits of its own
def test_nothing_is_lost_and_every_effect_happens_once_whoever_dies(database):
    path, connection = database
    kinds = ["relay", "relay", "consumer"]
    dice = random.Random()

    def count(table):
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    killed = []
    with workers(path) as start:
        alive = [(kind, start(kind)) for kind in kinds]
        saved = 0
        for kill in range(KILLS):
            upto = ROWS * (kill + 1) // KILLS
            before = count("published")
            save(connection, [happened(number) for number in range(saved, upto)])
            saved = upto
            wait_until(lambda: count("published") > before)  # noqa: B023  # called at once
            time.sleep(dice.random() * 0.03)
            victim = dice.randrange(len(alive))
            kind, pid = alive[victim]
            os.kill(pid, signal.SIGKILL)
            killed.append((kind, pid))
            alive[victim] = (kind, start(kind))
        wait_until(lambda: count("outbox") == 0 and count("queue") == 0)

    numbers = [row[0] for row in connection.execute("SELECT number FROM effects ORDER BY seq")]
    assert sorted(numbers) == list(range(ROWS))
    for key in range(20):
        of_key = [number for number in numbers if number % 20 == key]
        assert of_key == sorted(of_key)
    repeated = {pid: repeated_after(connection, pid) for kind, pid in killed if kind == "relay"}
    # What was published twice is what relays that died had in hand, a batch each.
    assert max(repeated.values(), default=0) <= store.BATCH
    assert count("published") - ROWS == sum(repeated.values())
    sys.stdout.write(
        f"{KILLS} kills, {len(repeated)} of them relays, {ROWS} rows, {sum(repeated.values())} "
        f"published twice, {max(repeated.values(), default=0)} by one kill at most\n"
    )


def repeated_after(connection, pid):
    """How many events were published again by others after `pid` had published them."""
    select = """
        SELECT count(*) FROM published AS later WHERE later.pid != :pid AND EXISTS (
            SELECT 1 FROM published AS first
            WHERE first.pid = :pid AND first.event_id = later.event_id AND first.seq < later.seq
            AND NOT EXISTS (
                SELECT 1 FROM published AS meanwhile
                WHERE meanwhile.event_id = first.event_id
                AND meanwhile.seq > first.seq AND meanwhile.seq < later.seq))"""
    return connection.execute(select, {"pid": pid}).fetchone()[0]


def happened(number, name=None):
    return store.Happened(name=name or f"key {number % 20}", number=number)


@pytest.mark.timeout(1800)  # waiting has limits of its own
def test_four_relays_deliver_once_in_order_past_failures_and_poison(database):
    path, connection = database
    rows = 10_000 if DEEP else 1_000
    poison = [happened(number, "poison") for number in range(100)]
    save(connection, poison + [happened(number) for number in range(rows)])

    def effects():
        return connection.execute("SELECT number, pid FROM effects ORDER BY seq").fetchall()

    def left():
        return connection.execute("SELECT count(*) FROM outbox").fetchone()[0]

    with workers(path) as start:
        for _ in range(4):
            start("flaky")
        wait_until(lambda: len(effects()) >= rows)
        wait_until(lambda: left() == len(poison))
    done = effects()
    assert sorted(number for number, _ in done) == list(range(rows))
    for key in range(20):
        of_key = [number for number, _ in done if number % 20 == key]
        assert of_key == sorted(of_key)
    sys.stdout.write(f"{rows} rows, handled by {len({pid for _, pid in done})} of 4 relays\n")
