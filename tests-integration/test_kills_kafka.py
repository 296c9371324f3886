"""PostgreSQL to Kafka, while relays and consumers are killed, and members join and leave.

The default run kills one process; `HYPOTHESIS_PROFILE=deep` kills 100 over 10,000 rows, in ten
parts with dice of their own.
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
import killed_kafka as killed
import pytest
from aiokafka import AIOKafkaConsumer

from varco_events import OutboxEntry
from varco_kafka import KafkaChannelManager, KafkaEventBusSettings
from varco_sa import bootstrap

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
PARTS, KILLS, ROWS = (10, 10, 1000) if DEEP else (1, 1, 100)
IS_REAL = "VARCO_TEST_KAFKA_URL" in os.environ
BATCH, PREFETCH, PARTITIONS, MEMBERS = 100, 32, 6, 3
# One that is told to leave before it can hear that ends by the signal.
WAYS = {0, -signal.SIGKILL, -signal.SIGTERM}


@pytest.mark.timeout(1100)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_whoever_is_killed_joins_or_leaves(
    postgresql, takeover_kafka, tmp_path, part
):
    options = {
        "url": takeover_kafka,
        "topic": f"varco-test-kills-{secrets.token_hex(6)}.{{channel}}",
        "partitions": PARTITIONS,
        "prefetch": PREFETCH,
        "lease": 6.0,
        "hand_over": 5.0,
        "timeout": 10.0,
        "max_attempts": 3,
        "retry_delay": 0.05,
        "idempotent": IS_REAL,
    }
    (tmp_path / "log").touch()
    asyncio.run(kills(postgresql, options, tmp_path / "log", random.Random(part)))


async def count(settings):
    """How many records there are; the stand-in does not tell where a partition ends."""
    consumer = AIOKafkaConsumer(
        settings.topic_of(killed.CHANNEL),
        bootstrap_servers=settings.servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        found = 0
        while some := await consumer.getmany(timeout_ms=3000):
            found += sum(map(len, some.values()))
        return found
    finally:
        await consumer.stop()


async def kills(database, options, log, chance):
    commands = [
        ("relay", options, database, None),
        *[("consume", options, database, str(log))] * MEMBERS,
    ]
    numbers = range(ROWS)
    poison = set(numbers[ROWS // 7 :: ROWS // 2])
    entries = [
        OutboxEntry.from_event(
            killed.Counted(number=number, name=f"key {number % 20}", poison=number in poison),
            channel=killed.CHANNEL,
        )
        for number in numbers
    ]
    settings = KafkaEventBusSettings(**options)
    async with (
        bootstrap(database, killed.Effect) as backend,
        KafkaChannelManager(settings) as manager,
    ):
        async with fleet.Fleet(killed, commands, WAYS) as running:
            for some in itertools.batched(entries, ROWS // KILLS):
                await backend.outbox.save_many(some)
                before = log.stat().st_size
                # Work has to be under way, or there is nothing to lose.
                async with asyncio.timeout(200):
                    while log.stat().st_size == before and not running.watching.done():
                        await asyncio.sleep(0.02)
                await asyncio.sleep(chance.uniform(0, 0.3))
                victim = chance.randrange(len(commands))
                running.signal(victim, signal.SIGKILL)
                if chance.random() < 0.5:
                    others = [place for place in range(1, len(commands)) if place != victim]
                    running.signal(chance.choice(others), signal.SIGTERM)

            async def handled():
                async with backend.uow_provider.make_uow() as uow:
                    return await uow.effects.count() + await backend.dead_letters.count()

            with contextlib.suppress(TimeoutError):  # what is missing is told below
                async with asyncio.timeout(300):
                    while not running.watching.done() and (
                        await backend.outbox.get_pending(limit=1) or await handled() < ROWS
                    ):
                        await asyncio.sleep(0.1)
            if running.watching.done():
                await running.watching
            ended = running.ended
        async with backend.uow_provider.make_uow() as uow:
            effects = sorted(await uow.effects.find_all(), key=lambda one: one.pk)
        parked = await backend.outbox.get_parked(limit=ROWS)
        letters = await backend.dead_letters.peek(limit=ROWS)
        written = await count(settings)
        await manager.delete_channel(killed.CHANNEL)
    assert parked == []
    done = [one.number for one in effects]
    assert sorted(done) == sorted(set(numbers) - poison)  # none lost, each once
    assert sorted(one.event.number for one in letters) == sorted(poison)
    by_key = defaultdict(list)
    for one in effects:
        by_key[one.name].append(one.number)
    assert all(some == sorted(some) for some in by_key.values())
    calls = [line.rpartition(" ")[::2] for line in log.read_text().splitlines()]
    relays = ended["relay", -signal.SIGKILL]
    assert written - ROWS <= BATCH * relays
    # A stand-in that forgets what lies beside an offset forgets it when members leave, too.
    members = sum(count for (role, _), count in ended.items() if role == "consume")
    repeated = len(calls) - len(done) - (written - ROWS)
    assert repeated <= PREFETCH * PARTITIONS * members
    print(  # noqa: T201  # the figures
        f"{dict(ended)} by {ROWS} rows: {len(letters)} dead letters, "
        f"{written - ROWS} published again, {repeated} handled again"
    )
