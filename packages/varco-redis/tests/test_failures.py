"""Dead letters in Redis as operators see them: what is asked of the index, and who keeps it."""

import json
import random
import uuid
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio

from varco_events import (
    DeadLetterEntry,
    Event,
    EventEnvelope,
    FailureFilter,
    FailureOutcome,
)
from varco_redis import (
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisEventBus,
    RedisEventBusSettings,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

NAMES = ("channel", "event_type", "handler", "consumer_group", "error_type", "key")


class Broken(Event):
    __event_type__ = "varco.redis.test.broken"
    number: int


class Bent(Broken):
    __event_type__ = "varco.redis.test.bent"


@pytest.fixture
async def queue(url, prefix):
    settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)
    async with RedisDeadLetterQueue(settings) as queue:
        yield queue


@pytest.fixture
def base(prefix):
    """What all keys of the queue begin with."""
    return f"{{{prefix}dead-letters}}:"


def letter(number, *, choose=lambda some: some[0], key=None):
    envelope = EventEnvelope.of(choose((Broken, Bent))(number=number), key=key)
    return DeadLetterEntry(
        envelope=envelope,
        channel=choose(("a", "b")),
        handler_name=choose(("shop.mail", "shop.stock", "\ud800 no text")),
        group=choose(("", "mailers")),
        error_type=choose(("ValueError", "KeyError", 'Odd"\\', "")),
        error_message="no",
        attempts=3,
    )


@pytest.mark.parametrize("seed", range(2))
async def test_every_filter_gives_what_looking_at_all_of_them_gives(queue, seed):
    rng = random.Random(seed)
    for number in range(150):
        key = rng.choice((None, None, "", "k", "\udc00", "*"))
        await queue.push(letter(number, choose=rng.choice, key=key))
    store = queue.failures()
    everything = await store.find(limit=1000)
    assert [one.entry_id for one in everything] == [
        one.entry_id for one in await queue.peek(limit=1000)
    ]
    for _ in range(25):
        sample = rng.choice(everything)
        values = {"key": sample.envelope.key, "event_type": sample.envelope.event_type}
        chosen = {name: values.get(name) or getattr(sample, name, None) for name in NAMES}
        wanted = FailureFilter(
            **{name: value for name, value in chosen.items() if rng.random() < 0.3},
            since=rng.choice((None, sample.failed_at)),
            until=rng.choice((None, rng.choice(everything).failed_at)),
        )
        mark = rng.choice((None, rng.choice(everything).position))
        newest_first = rng.random() < 0.5
        limit = rng.choice((3, 20, 1000))
        right = [
            one
            for one in everything
            if wanted.matches(one) and (mark is None or int(one.position) <= int(mark))
        ]
        after, got = None, []
        while some := await store.find(
            wanted, after=after, until=mark, limit=limit, newest_first=newest_first
        ):
            got += some
            after = some[-1].position
        assert got == (right[::-1] if newest_first else right)

        edges = sorted(one.failed_at for one in rng.sample(everything, rng.choice((0, 1, 5, 12))))
        counts, times = Counter(), {}
        for one in right:
            stretch = bisect_right(edges, one.failed_at)
            kind = one.error_type, one.handler, one.consumer_group, stretch
            counts[kind] += 1
            times.setdefault(kind, []).append(one.failed_at)
        found = await store.tally(wanted, edges=edges, until=mark)
        assert {
            (one.error_type, one.handler, one.consumer_group, one.stretch): (
                one.count,
                one.first_at,
                one.last_at,
            )
            for one in found
        } == {kind: (count, times[kind][0], times[kind][-1]) for kind, count in counts.items()}
        if mark is None:
            groups = await store.groups(wanted, edges=edges)
            assert {
                (one.error_type, one.handler, one.consumer_group, stretch): count
                for one in groups
                for stretch, count in enumerate(one.counts, 1)
                if count
            } == {kind: count for kind, count in counts.items() if 0 < kind[3] < len(edges)}
            assert sum(one.count for one in groups) == len(right)


async def test_nothing_is_left_of_what_is_gone(queue, base, client, url, prefix):
    rng, bus = random.Random(7), RedisEventBus(RedisEventBusSettings(url=url, key_prefix=prefix))
    for number in range(40):
        await queue.push(letter(number, choose=rng.choice, key=rng.choice((None, "a", "b"))))
    for entry in await queue.pop_batch(limit=10):
        await queue.ack(entry.entry_id)
    assert await queue.redrive(bus, limit=5) == 5
    store = queue.failures(bus)
    assert (await store.retry_all(limit=10)).done == 10
    assert sum(one.count for one in await store.groups()) == 15 == await queue.count()
    await store.discard_all()
    await bus.stop()
    left = [name async for name in client.scan_iter(f"{glob(base)}*") if b"call:" not in name]
    assert left == [f"{base}last".encode()]


def glob(text):
    return text.replace("[", r"\[")


async def test_a_list_looks_at_its_page_and_a_count_at_the_ends_of_its_groups(make_server):
    server, rng = make_server(), random.Random(1)
    settings = RedisDeadLetterQueueSettings(url=server.url, timeout=30.0)
    async with (
        RedisDeadLetterQueue(settings) as queue,
        redis.asyncio.Redis.from_url(server.url) as admin,
    ):
        for number in range(600):
            await queue.push(letter(number, choose=rng.choice, key=str(number)))
        store = queue.failures()

        async def commands(work):
            await admin.config_resetstat()
            await work()
            stats = await admin.info("commandstats")
            return sum(one["calls"] for one in stats.values())

        kinds = await admin.hlen("{varco:dead-letters}:kinds")
        assert await commands(lambda: store.page(limit=10)) < 60
        mail = FailureFilter(handler="shop.mail")
        assert await commands(lambda: store.page(mail, limit=10)) < 60 + 3 * kinds
        assert await commands(lambda: store.page(FailureFilter(key="7"))) < 20
        assert await commands(store.groups) < 10 + 5 * kinds
        assert await commands(store.figures) < 10 + 5 * kinds


async def test_a_repeated_call_is_known_again(queue):
    for number in range(3):
        await queue.push(letter(number))
    store = queue.failures()
    ids = [one.entry_id for one in await store.find()]
    run = queue._letters._link.run

    async def twice(script, keys, *args):
        await run(script, keys, *args)
        return await run(script, keys, *args)

    queue._letters._link.run = twice
    held, others = await store.hold(ids[1:], 60.0)
    assert ([one.entry_id for one in held], others) == (ids[1:], [])
    assert (await store.discard(ids)).outcomes == {
        ids[0]: FailureOutcome.DONE,
        ids[1]: FailureOutcome.IN_HAND,
        ids[2]: FailureOutcome.IN_HAND,
    }


async def test_what_cannot_be_read_shortens_no_list(queue, base, client):
    for number in range(6):
        await queue.push(letter(number))
    ids = [str(one.entry_id) for one in await queue.peek()]
    for one in ids[1:4]:
        await client.hset(f"{base}letters", one, b"\x80garbage")
    page = await queue.failures().page(limit=2, newest_first=False)
    assert [str(one.entry_id) for one in page.items] == [ids[0], ids[4]]
    assert await client.hlen(f"{base}damaged") == 3
    assert sum(one.count for one in await queue.failures().groups()) == 3


async def earlier_push(client, base, number, failed_at, *, handler="x", data=None):
    """What a process of the version before this one does, whose layout has no kinds."""
    entry_id = uuid.uuid4()
    head = {
        "channel": "a",
        "handler": handler,
        "error_type": "ValueError",
        "error_message": "no",
        "attempts": 3,
        "first": failed_at.isoformat(),
        "last": failed_at.isoformat(),
        "event_id": str(uuid.uuid4()),
        "type": "varco.redis.test.broken",
    }
    line = json.dumps(head).encode() + b'\n{"number":1}'
    await client.hset(f"{base}data", str(entry_id), line if data is None else data)
    for name in ("all", "ready"):
        await client.zadd(base + name, {str(entry_id): number})
    return entry_id


async def test_dead_letters_of_the_version_before_are_taken_over_in_order(queue, base, client):
    long_ago = datetime.now(UTC) - timedelta(days=3)
    # The clocks of those hosts did not agree.
    days = (0, 2, 1, 1, 30)
    ids = [
        await earlier_push(client, base, number, long_ago + timedelta(days=day))
        for number, day in enumerate(days, 1)
    ]
    await earlier_push(client, base, 9, long_ago, data=b"garbage")
    leased = await earlier_push(client, base, 10, long_ago)
    await client.zrem(f"{base}ready", str(leased))
    await client.zadd(f"{base}leased", {str(leased): 4e12})
    await queue.push(letter(7))
    assert await queue.count() == 8
    store = queue.failures()
    found = await store.find()
    assert [one.entry_id for one in found[:4]] == ids[:4]
    assert {one.entry_id for one in found} > set(ids)
    assert len(found) == 6
    assert found[0].failed_at - long_ago < timedelta(milliseconds=1)
    assert max(one.failed_at for one in found) < datetime.now(UTC) + timedelta(minutes=1)
    mark = await store.mark()
    # Who has it finishes with it, or its lease is over.
    await client.zadd(f"{base}leased", {str(leased): 1})
    late = await earlier_push(client, base, 11, datetime.now(UTC))
    assert {one.entry_id for one in await store.find()} >= {leased, late}
    assert len(await store.find(until=mark)) <= 8
    assert (await store.groups())[0].count == 7
    assert await queue.count() == 8
    assert not await client.exists(*(f"{base}{one}" for one in ("all", "ready", "leased", "data")))
    batch = await queue.pop_batch(limit=20)
    assert [one.entry_id for one in batch[:2]] == ids[:2]
    assert len(batch) == 8


async def test_what_both_versions_pushed_is_kept_once(queue, base, client):
    entry = letter(1)
    await queue.push(entry)
    other = await earlier_push(client, base, 1, datetime.now(UTC))
    data = await client.hget(f"{base}data", str(other))
    await client.hset(f"{base}data", str(entry.entry_id), data)
    await client.zadd(f"{base}all", {str(entry.entry_id): 2})
    assert [one.entry_id for one in await queue.pop_batch()].count(entry.entry_id) == 1
    assert await queue.count() == 2


async def test_a_bound_holds_for_both_layouts_together(url, prefix, base, client):
    settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix, max_size=2)
    async with RedisDeadLetterQueue(settings) as queue:
        await earlier_push(client, base, 1, datetime.now(UTC))
        await queue.push(letter(1))
        with pytest.raises(Exception, match="2"):
            await queue.push(letter(2))
