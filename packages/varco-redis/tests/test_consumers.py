"""What is told of consumers, as it is in Redis."""

import asyncio

import pytest

from varco_events import Event
from varco_redis import (
    RedisChannelManager,
    RedisDataError,
    RedisEventBus,
    RedisEventBusSettings,
    RedisUnavailableError,
)

pytestmark = pytest.mark.anyio


class Job(Event):
    __event_type__ = "test.redis.consumers.job"

    number: int


@pytest.fixture
def settings(url, prefix):
    def made(**options):
        options = {"url": url, "key_prefix": prefix, "partitions": 2, **options}
        return RedisEventBusSettings(**options)

    return made


async def test_groups_partitions_and_processes_are_told_apart(settings):
    began, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow(event):
        began.release()
        await go_on.wait()

    one, other = settings(group="a group"), settings(group="b", consumer="fixed")
    first, second = RedisEventBus(one), RedisEventBus(other)
    for bus in (first, second):
        bus.subscribe(Job, slow, channel="work: 1")
    async with first, second, RedisChannelManager(one) as manager:
        for number in range(4):
            await first.publish(Job(number=number), channel="work: 1")
        for _ in range(8):
            async with asyncio.timeout(30):
                await began.acquire()
        rows = await manager.consumers()
        told = [(row.channel, row.group, row.partition, row.lag, row.in_hand) for row in rows]
        assert told == [
            ("work: 1", group, partition, 2, 2)
            for group in ("a group", "b")
            for partition in (0, 1)
        ]
        named = first._member.consumer
        assert {row.consumer for row in rows if row.group == "a group"} == {named}
        assert len({row.consumer for row in rows if row.group == "b"}) == 1
        assert all(0 <= row.oldest_in_hand < 30 for row in rows)
        few = await manager.consumers(limit=3)
        assert [(row.group, row.partition) for row in few] == [
            (row.group, row.partition) for row in rows[:3]
        ]
        go_on.set()
    async with RedisChannelManager(one) as manager:
        rows = await manager.consumers()
        assert {(row.consumer, row.lag, row.oldest_in_hand) for row in rows} == {(None, 0, None)}


async def test_what_nobody_takes_waits(settings):
    options = settings()
    async with RedisEventBus(options) as bus, RedisChannelManager(options) as manager:
        bus.subscribe(Job, lambda event: None, channel="c")
        await bus.publish(Job(number=1), channel="c")
        async with asyncio.timeout(30):
            while not await manager.consumers():
                await asyncio.sleep(0.01)
        await bus.stop()
        async with RedisEventBus(options) as publisher:
            await publisher.publish_many([(Job(number=n), "c") for n in range(10)])
        rows = await manager.consumers()
    assert sum(row.lag for row in rows) == 10
    assert all(row.in_hand == 0 and row.consumer is None for row in rows)


async def test_something_else_under_a_key_is_an_error_that_names_it(settings, client):
    options = settings()
    async with RedisEventBus(options) as bus, RedisChannelManager(options) as manager:
        await bus.publish(Job(number=1), channel="c")
        (stream, *_) = await manager._streams("c")
        await client.set(stream, "nothing of ours")
        with pytest.raises(RedisDataError, match="WRONGTYPE"):
            await manager.consumers()


async def test_a_redis_that_is_away_is_waited_for_no_longer_than_was_said(settings, free_port):
    options = settings(url=f"redis://127.0.0.1:{free_port()}/0", timeout=0.3, connect_timeout=0.1)
    async with RedisChannelManager(options) as manager:
        with pytest.raises(RedisUnavailableError):
            await manager.consumers()
