"""What is published while an event is handled, and that it is done, are seen together or not."""

import asyncio
import json
from collections import Counter

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from varco_events import Event
from varco_kafka import KafkaChannelManager, KafkaConfigError, KafkaEventBus, KafkaEventBusSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


class Step(Event):
    __event_type__ = "varco.kafka.test.step"
    number: int

    def event_key(self):
        return str(self.number % 3)


@pytest.fixture
def settings(url, prefix):
    return KafkaEventBusSettings(
        url=url,
        topic=f"{prefix}{{channel}}",
        group=f"{prefix}steps",
        retry_delay=0.01,
        partitions=2,
        lease=6.0,
        timeout=20.0,
        exactly_once=True,
    )


@pytest.fixture
def results(settings):
    """How often each result is there for who reads what is committed.

    From the beginning, for the stand-in hides what was committed from who begins after an aborted
    transaction.
    """

    async def read():
        topic = settings.topic_of("out")
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=settings.servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        seen = Counter()
        parts = consumer.assignment()
        ends = await consumer.end_offsets(parts)
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen.update(json.loads(record.value)["data"]["number"] for record in records)
        await consumer.stop()
        return seen

    return read


async def until(condition, seconds=100):
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := condition()) else found):
            await asyncio.sleep(0.02)


async def is_done(settings):
    async with KafkaChannelManager(settings) as manager:
        return await manager.backlog("in") == 0


def stepping(settings, handle):
    bus = KafkaEventBus(settings)
    bus.subscribe(Step, lambda event: handle(bus, event), channel="in")
    return bus


async def publish(bus, count):
    await bus.publish_many([(Step(number=n), "in") for n in range(count)])


async def test_what_a_failed_attempt_published_is_never_seen(settings, results):
    tried = Counter()

    async def handle(bus, event):
        tried.update([event.number])
        await bus.publish(Step(number=event.number), channel="out")
        if event.number % 4 == 0 and tried[event.number] < 3:
            raise ValueError("not yet")

    async with stepping(settings, handle) as bus:
        await publish(bus, 20)
        await until(lambda: is_done(settings))
    assert await results() == dict.fromkeys(range(20), 1)
    assert tried == {n: 1 if n % 4 else 3 for n in range(20)}


async def test_whoever_was_left_behind_can_commit_nothing(settings, results):
    began, go = asyncio.Event(), asyncio.Event()
    tried = Counter()

    async def handle(bus, event):
        tried.update([event.number])
        await bus.publish(Step(number=event.number), channel="out")
        began.set()
        await go.wait()

    async with KafkaChannelManager(settings) as manager:
        await manager.declare_channel("in")
    async with stepping(settings, handle) as bus:
        await publish(bus, 1)
        await began.wait()
        for part in range(2):  # another has taken over, as Kafka sees it
            other = AIOKafkaProducer(
                bootstrap_servers=settings.servers,
                transactional_id=f"{settings.group}.{settings.topic_of('in')}.{part}",
            )
            await other.start()
            await other.begin_transaction()
            await other.abort_transaction()
            await other.stop()
        assert not await results()
        go.set()
        await until(lambda: is_done(settings))
    assert tried == {0: 2}  # the first was not committed
    assert await results() == {0: 1}


async def test_what_a_dead_process_published_is_never_seen(settings, results):
    tried = Counter()

    async def handle(bus, event):
        tried.update([event.number])
        await bus.publish(Step(number=event.number), channel="out")
        if tried[event.number] == 1:
            await asyncio.Event().wait()

    async with stepping(settings, handle) as bus:
        await publish(bus, 1)
        await until(lambda: tried[0])
        await bus.stop(0)  # cut off
    async with stepping(settings, handle):
        await until(lambda: is_done(settings))
    assert tried == {0: 2}
    assert await results() == {0: 1}


def test_it_needs_an_idempotent_producer():
    with pytest.raises(KafkaConfigError, match="idempotent"):
        KafkaEventBusSettings(exactly_once=True, idempotent=False)
