"""What becomes of events when their partition goes to another, or has no leader."""

import asyncio
from collections import defaultdict

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.partitioner import murmur2

from varco_events import Event
from varco_kafka import (
    KafkaChannelManager,
    KafkaEventBus,
    KafkaEventBusSettings,
    KafkaUnavailableError,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


class Job(Event):
    __event_type__ = "varco.kafka.test.losing"
    number: int
    name: str = "k"

    def event_key(self):
        return self.name


@pytest.fixture
def settings(url, prefix):
    def make(**options):
        values = {"url": url, "topic": f"{prefix}{{channel}}", "group": prefix, "lease": 6.0}
        return KafkaEventBusSettings(**(values | options))

    return make


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := condition()) else found):
            await asyncio.sleep(0.01)


async def backlog(settings):
    async with KafkaChannelManager(settings) as manager:
        return await manager.backlog("c")


async def test_what_runs_is_finished_and_committed_before_its_partition_goes(settings):
    options, began, go, got = settings(partitions=1), asyncio.Event(), asyncio.Event(), []
    bus = KafkaEventBus(options)

    async def handle(event):
        began.set()
        await go.wait()
        got.append(event.number)

    bus.subscribe(Job, handle, channel="c")
    async with bus:
        await bus.publish_many([(Job(number=n), "c") for n in range(3)])
        await began.wait()
        part = TopicPartition(options.topic_of("c"), 0)
        revoked = asyncio.create_task(bus._member.on_partitions_revoked([part]))
        await asyncio.sleep(0)
        go.set()
        await revoked
        assert got == [0]  # and what waits behind it goes back
        assert await backlog(options) == 2
        assert bus.rebalances == 1


async def test_a_late_result_of_a_partition_that_has_gone_commits_nothing(settings):
    options = settings(partitions=1, hand_over=0.05, timeout=2.0)
    began, go, late = asyncio.Event(), asyncio.Event(), []
    bus = KafkaEventBus(options)

    async def stubborn(event):
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:  # as work in a thread, which cannot be cut off
                continue
        late.append(event.number)

    bus.subscribe(Job, stubborn, channel="c")
    async with bus:
        await bus.publish(Job(number=0), channel="c")
        await began.wait()
        part = TopicPartition(options.topic_of("c"), 0)
        await bus._member.on_partitions_revoked([part])
        go.set()
        await until(lambda: late)
        await bus._member.settle()
    assert late == [0]
    assert await backlog(options) == 1
    again, got = KafkaEventBus(options), []
    again.subscribe(Job, lambda event: got.append(event.number), channel="c")
    async with again:
        await until(lambda: got == [0])


async def test_a_partition_without_a_leader_is_said_so_and_goes_on_when_it_has_one(
    settings, monkeypatch
):
    options, got = settings(partitions=2, timeout=2.0), defaultdict(list)
    lost, leader_of = set(), ClusterMetadata.leader_for_partition
    monkeypatch.setattr(
        ClusterMetadata,
        "leader_for_partition",
        lambda self, part: None if part in lost else leader_of(self, part),
    )
    names = {(murmur2(name.encode()) & 0x7FFFFFFF) % 2: name for name in "abcdefgh"}
    bus = KafkaEventBus(options)
    bus.subscribe(Job, lambda event: got[event.name].append(event.number), channel="c")

    async def publish(number, part):
        await bus.publish(Job(number=number, name=names[part]), channel="c")

    async with bus:
        for part in (0, 1):
            await publish(0, part)
        await until(lambda: len(got) == 2)
        lost.add(TopicPartition(options.topic_of("c"), 0))
        with pytest.raises(KafkaUnavailableError, match=r"Kafka at .* did not take events"):
            await publish(1, 0)
        await publish(1, 1)  # the other one goes on
        await until(lambda: got[names[1]] == [0, 1])
        lost.clear()
        await publish(2, 0)
        await until(lambda: got[names[0]] == [0, 2])  # nothing is written later that was refused
