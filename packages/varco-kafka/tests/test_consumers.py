"""What is told of consumers, as it is in Kafka."""

import asyncio

import pytest

from varco_events import Event
from varco_kafka import (
    KafkaChannelManager,
    KafkaEventBus,
    KafkaEventBusSettings,
    KafkaUnavailableError,
)

pytestmark = pytest.mark.anyio


class Job(Event):
    __event_type__ = "test.kafka.consumers.job"

    number: int


@pytest.fixture
def settings(url, prefix):
    options = {"url": url, "topic": f"{prefix}{{channel}}", "group": prefix, "partitions": 3}
    return KafkaEventBusSettings(**options)


async def test_each_partition_is_told_with_who_has_it_and_how_much_waits(settings):
    done = []
    bus = KafkaEventBus(settings)
    bus.subscribe(Job, done.append, channel="c")
    async with KafkaChannelManager(settings) as manager:
        assert await manager.consumers() == []  # neither topics nor a group
        async with bus:
            await bus.publish_many([(Job(number=n), "c") for n in range(9)])
            async with asyncio.timeout(30):
                while sum(row.lag for row in await manager.consumers()) or len(done) < 9:
                    await asyncio.sleep(0.02)
            rows = await manager.consumers()
            assert [(row.channel, row.group, row.partition) for row in rows] == [
                ("c", settings.group, number) for number in range(3)
            ]
            assert len({row.consumer for row in rows}) == 1
            assert rows[0].consumer
            assert [row.partition for row in await manager.consumers(limit=2)] == [0, 1]
        async with KafkaEventBus(settings) as publisher:
            await publisher.publish_many([(Job(number=n), "c") for n in range(5)])
        rows = await manager.consumers()
        assert sum(row.lag for row in rows) == 5
        assert {(row.consumer, row.in_hand) for row in rows} == {(None, None)}


async def test_a_kafka_that_is_away_is_waited_for_no_longer_than_was_said():
    options = KafkaEventBusSettings(url="kafka://127.0.0.1:1", timeout=0.3)
    async with KafkaChannelManager(options) as manager:
        with pytest.raises(KafkaUnavailableError):
            await manager.consumers()
