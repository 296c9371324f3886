"""PostgreSQL to Redis, while relays and consumers are killed, and what they handle kills them.

The default run kills a few processes; `HYPOTHESIS_PROFILE=deep` kills 200 over 10,000 rows.
"""

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import signal
from collections import defaultdict

import fleet
import killed
import pytest
import redis.asyncio

from varco_events import OutboxEntry
from varco_redis import (
    RedisChannelManager,
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
)
from varco_sa import bootstrap

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
KILLS, ROWS, ATTEMPTS = (200, 10_000, 5) if DEEP else (4, 400, 3)
BATCH = 100
# Of so many events one is deadly, one fails, and three are deadly once.
RARE = ROWS // (20 if DEEP else 1)
FATES = {
    RARE // 3: "deadly",
    RARE // 2: "poison",
    **dict.fromkeys((RARE // 5, RARE // 5 + 1, RARE // 5 + 2), "deadly once"),
}
DIED = 9  # by what it handled


def fate_of(number):
    return FATES.get(number % RARE, "")


def is_lost_on(number):
    return fate_of(number) in {"deadly", "poison"}


async def until(condition, seconds):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.mark.timeout(7200 if DEEP else 300)
def test_nothing_is_lost_whoever_is_killed_by_whatever(postgresql, redis):
    asyncio.run(kills(postgresql, redis, f"varco-test-kills-{secrets.token_hex(6)}:"))


async def kills(database, url, prefix):
    chance = random.Random(1)
    commands = [
        ("relay", url, prefix, database),
        *[("consume", url, prefix, database, ATTEMPTS)] * 2,
    ]
    numbers = range(ROWS)
    entries = [
        OutboxEntry.from_event(
            killed.Counted(number=number, name=f"key {number % 20}", fate=fate_of(number)),
            channel=killed.CHANNEL,
        )
        for number in numbers
    ]
    relays_killed = 0
    async with (
        bootstrap(database, killed.Effect) as backend,
        RedisChannelManager(killed.bus_settings(url, prefix)) as manager,
        RedisDeadLetterQueue(RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)) as letters,
        redis_at(url, prefix) as client,
    ):
        async with fleet.Fleet(killed, commands, {DIED, -signal.SIGKILL}) as running:
            for some in itertools.batched(entries, ROWS // KILLS):
                await backend.outbox.save_many(some)
                await asyncio.sleep(chance.uniform(0.1, 0.4))
                victim = chance.randrange(len(commands))
                relays_killed += victim == 0
                running.signal(victim, signal.SIGKILL)

            async def quiet():
                return running.watching.done() or not (
                    await backend.outbox.get_pending(limit=1)
                    or await manager.backlog(killed.CHANNEL)
                )

            await until(quiet, 3600 if DEEP else 250)
        async with backend.uow_provider.make_uow() as uow:
            done = sorted(effect.number for effect in await uow.effects.find_all())
        parked = await backend.outbox.get_parked(limit=ROWS)
        dead = await letters.peek(limit=ROWS)
        written = 0
        for number in range(4):
            info = await client.xinfo_stream(f"{prefix}{{{killed.CHANNEL}}}:{number}")
            written += info["entries-added"]
        lines = [
            line.decode().rpartition(" ") for line in await client.lrange(f"{prefix}log", 0, -1)
        ]
    # A relay puts nothing aside: whoever is killed, what it had goes on.
    assert [(entry.entry_id, entry.last_error) for entry in parked] == []
    # Every effect once, and every event that has none is one dead letter.
    assert len(done) == len(set(done))
    of = {letter.envelope.event_id: letter for letter in dead}
    assert len(of) == len(dead)
    aside = {at for at, entry in enumerate(entries) if entry.event_id in of}
    assert aside.union(done) == set(numbers)
    expected = set(filter(is_lost_on, numbers))
    assert expected <= aside
    assert expected.isdisjoint(done)
    # Nobody can tell who killed a process: what was in hand in so many that died is put aside too.
    assert len(aside - expected) <= max(1, KILLS // 20)
    assert {letter.attempts for letter in dead} == {ATTEMPTS}
    by_id = {entry.event_id: entry for entry in entries}
    assert all(by_id[event_id].payload == of[event_id].envelope.payload for event_id in of)
    assert written - ROWS <= BATCH * relays_killed
    firsts = defaultdict(dict)
    for name, _, number in lines:
        firsts[name].setdefault(int(number))
    assert all(list(some) == sorted(some) for some in firsts.values())
    died = sum(many for (_, way), many in running.ended.items() if way == DIED)
    print(  # noqa: T201  # the figures
        f"{KILLS} kills and {died} deaths by {ROWS} rows: "
        f"{len(dead)} dead letters, {len(aside - expected)} of them bystanders, "
        f"{written - ROWS} published again, "
        f"{len(lines) - len(done)} handled again"
    )


@contextlib.asynccontextmanager
async def redis_at(url, prefix):
    """A bare client; what has the prefix is removed at the end."""
    async with redis.asyncio.Redis.from_url(url) as client:
        yield client
        async for key in client.scan_iter(f"*{prefix}*", count=1000):
            await client.unlink(key)
