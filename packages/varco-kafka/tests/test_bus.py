"""What the bus promises beyond the contract: order, attempts, refusals, outages, hand-over."""

import asyncio
import gc
import json
from collections import defaultdict

import pytest
from aiokafka import AIOKafkaProducer

from varco_events import (
    BusUnavailableError,
    ChannelConfig,
    Event,
    EventEnvelope,
    HeldBackError,
    RawEvent,
)
from varco_kafka import (
    KafkaChannelManager,
    KafkaChannelRefusedError,
    KafkaDeadLetterQueue,
    KafkaDeadLetterQueueSettings,
    KafkaEventBus,
    KafkaEventBusSettings,
    KafkaEventTooLargeError,
    KafkaTopicMismatchError,
    KafkaUnavailableError,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


class Job(Event):
    __event_type__ = "varco.kafka.test.job"
    number: int
    name: str = ""

    def event_key(self):
        return self.name or None


@pytest.fixture
def settings(url, prefix):
    def make(**options):
        values = {
            "url": url,
            "topic": f"{prefix}{{channel}}",
            "group": prefix,
            "retry_delay": 0.01,
            "partitions": 2,
            "lease": 6.0,
            "timeout": 10.0,
        }
        return KafkaEventBusSettings(**(values | options))

    return make


@pytest.fixture
def collected():
    """What is left open is found while its test is not over."""
    yield
    gc.collect()


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while True:
            done = condition()
            if asyncio.iscoroutine(done):
                done = await done
            if done:
                return
            await asyncio.sleep(0.01)


async def backlog_is(options, count, channel="c"):
    async with KafkaChannelManager(options) as manager:
        return await manager.backlog(channel) == count


async def test_keys_keep_their_order_side_by_side_and_everything_is_committed(settings):
    options, got, running, most = settings(), defaultdict(list), set(), 0
    bus = KafkaEventBus(options)

    async def handle(event):
        nonlocal most
        assert event.name not in running
        running.add(event.name)
        most = max(most, len(running))
        await asyncio.sleep(0.001)
        running.discard(event.name)
        got[event.name].append(event.number)

    bus.subscribe(Job, handle, channel="c")
    async with bus:
        every = [(Job(number=n, name=f"key {n % 17}"), "c") for n in range(1000)]
        await bus.publish_many(every)
        await until(lambda: sum(map(len, got.values())) == 1000)
    assert all(numbers == sorted(numbers) for numbers in got.values())
    assert most > 4
    assert await backlog_is(options, 0)


async def test_a_key_that_fails_waits_alone_and_goes_to_the_dead_letters(settings):
    options, got, tried = settings(max_attempts=3, partitions=1, retry_delay=0.2), [], []
    bus = KafkaEventBus(options)

    def handle(event):
        if event.number == 0:
            tried.append(len(got))
            raise ValueError("always")
        got.append((event.name, event.number))

    bus.subscribe(Job, handle, channel="c")
    async with bus:
        every = [Job(number=n, name="ab"[n % 2]) for n in range(40)]
        await bus.publish_many([(event, "c") for event in every])
        await until(lambda: len(got) == 39)
        firsts = [name for name, _ in got[:20]]
        assert firsts == ["b"] * 20  # while the other key waited
        assert [n for name, n in got if name == "a"] == list(range(2, 40, 2))
        letters = await bus.dead_letters.peek(limit=1000)
        (letter,) = [one for one in letters if one.group == options.group]
        assert (letter.attempts, letter.error_message) == (3, "always")
    assert len(tried) == 3
    assert await backlog_is(options, 0)


async def test_a_restart_neither_forgets_nor_adds_an_attempt(settings):
    options = settings(max_attempts=3, partitions=1, retry_delay=60, max_retry_delay=60)
    tried, others = [], []

    def fail(event):
        if event.number:
            others.append(event.number)
            return
        tried.append(event.number)
        raise ValueError("always")

    async with KafkaEventBus(options) as publisher:
        await publisher.publish_many([(Job(number=n), "c") for n in range(5)])
    for run in range(1, 4):
        bus = KafkaEventBus(options)
        bus.subscribe(Job, fail, channel="c")
        async with bus:  # a clean stop during the pause, as when something is deployed
            await until(lambda run=run: len(tried) == run)
            if run == 3:
                await until(lambda: backlog_is(options, 0))
    assert len(tried) == 3
    assert sorted(others) == [1, 2, 3, 4]  # each once, though they lie behind one that waits


async def test_what_is_cut_off_has_no_attempt_and_comes_again(settings):
    options = settings(max_attempts=1, partitions=1)
    began, got = [], []

    async def slow(event):
        began.append(event.number)
        await asyncio.Event().wait()

    bus = KafkaEventBus(options)
    bus.subscribe(Job, slow, channel="c")
    async with bus:
        await bus.publish_many([(Job(number=n), "c") for n in range(3)])
        await until(lambda: len(began) == 3)
        cut = await bus.stop(0)
    assert {event.number for event in cut} == {0, 1, 2}
    again = KafkaEventBus(options)
    again.subscribe(Job, lambda event: got.append(event.number), channel="c")
    async with again:
        await until(lambda: len(got) == 3)


async def test_a_handler_that_takes_longer_than_the_lease_keeps_its_partition(settings):
    options, got = settings(partitions=1, prefetch=1, lease=6.0), []
    bus = KafkaEventBus(options)

    async def slow(event):
        await asyncio.sleep(0 if event.number else 8)
        got.append(event.number)

    bus.subscribe(Job, slow, channel="c")
    async with bus:
        await bus.publish_many([(Job(number=n, name="k"), "c") for n in range(10)])
        await until(lambda: len(got) == 10)
    assert got == list(range(10))


async def test_too_large_holds_back_its_key_and_nothing_else(settings):
    options = settings(max_event_bytes=2000)
    found = {}
    async with KafkaEventBus(options) as bus:
        every = [EventEnvelope.of(Job(number=n, name="ab"[n % 2]), channel="c") for n in range(6)]
        every[2] = every[2].replace(payload=b"x" * 3000)
        await bus.send(every, lambda one, error: found.update({every.index(one): error}))
    assert [n for n, error in found.items() if error is None] == [0, 1, 3, 5]
    assert isinstance(found[2], KafkaEventTooLargeError)
    assert isinstance(found[4], HeldBackError)
    assert not isinstance(found[2], BusUnavailableError)  # so that a relay gives it up in the end


async def test_an_unknown_topic_holds_back_its_channel_alone(settings):
    async with KafkaChannelManager(settings()) as manager:
        await manager.declare_channel("there")
    found = {}
    async with KafkaEventBus(settings(create_topics=False)) as bus:
        every = [
            EventEnvelope.of(Job(number=n), channel=["there", "not-there", "bad name"][n % 3])
            for n in range(6)
        ]
        await bus.send(every, lambda one, error: found.update({every.index(one): error}))
    assert [n for n, error in found.items() if error is None] == [0, 3]
    assert all(isinstance(found[n], KafkaChannelRefusedError) for n in (1, 2, 4, 5))
    assert "declare_channel" in str(found[1])


async def test_a_topic_that_is_something_else_is_not_changed(settings):
    async with KafkaChannelManager(settings()) as manager:
        config = ChannelConfig(num_partitions=3, retention_ms=3_600_000)
        await manager.declare_channel("c", config)
        await manager.declare_channel("c", config)
        await manager.declare_channel("c")
        with pytest.raises(KafkaTopicMismatchError) as caught:
            await manager.declare_channel("c", ChannelConfig(num_partitions=5, retention_ms=1))
        assert caught.value.differences == (
            "num_partitions is 3, not 5",
            "retention.ms is 3600000, not 1",
        )
        assert await manager.list_channels() == ["c"]
        await manager.delete_channel("c")
        await manager.delete_channel("c")
        assert not await manager.channel_exists("c")


async def test_dead_letters_are_not_kept_where_they_would_be_lost(settings, url):
    options = settings()
    async with KafkaChannelManager(options) as manager:
        await manager.declare_channel("letters", ChannelConfig(num_partitions=2))
    queue = KafkaDeadLetterQueue(
        KafkaDeadLetterQueueSettings(url=url, topic=options.topic_of("letters"))
    )
    async with queue:
        for use in (queue.count, queue.pop_batch):
            with pytest.raises(KafkaTopicMismatchError) as caught:
                await use()
            assert caught.value.differences == (
                "num_partitions is 2, not 1",
                "cleanup.policy is delete, not compact",
                "message.timestamp.type is CreateTime, not LogAppendTime",
            )


async def test_a_topic_that_is_made_anew_is_written_to_and_handled_whole(settings):
    options, got = settings(partitions=1), []
    bus = KafkaEventBus(options)
    bus.subscribe(Job, lambda event: got.append(event.number), channel="c")

    async def published():
        try:
            await bus.publish_many([(Job(number=100 + n), "c") for n in range(3)])
        except BusUnavailableError:  # the producer knew the topic that was
            return False
        return True

    async with bus, KafkaChannelManager(options) as manager:
        await bus.publish_many([(Job(number=n), "c") for n in range(10)])
        await until(lambda: len(got) == 10)
        await until(lambda: backlog_is(options, 0))
        await manager.delete_channel("c")
        await manager.declare_channel("c", ChannelConfig(num_partitions=1))
        await until(published)
        await until(lambda: len(got) >= 13)  # though their numbers are those of what is done
    assert got[:10] + sorted(set(got[10:])) == [*range(10), 100, 101, 102]


async def test_records_of_others_are_read_or_kept_aside(settings, url):
    options, got = settings(partitions=1), []
    bus = KafkaEventBus(options)
    bus.subscribe("from.elsewhere", got.append, channel="c")
    async with KafkaChannelManager(options) as manager:
        await manager.declare_channel("c")
    producer = AIOKafkaProducer(bootstrap_servers=url.removeprefix("kafka://"))
    await producer.start()
    said = {"type": "from.elsewhere", "version": 1, "data": {"a": 1}}
    for value in (b"\xff\x00 no json", None, json.dumps(said).encode()):
        await producer.send_and_wait(options.topic_of("c"), value, key=b"k")
    await producer.stop()
    async with bus:
        await until(lambda: len(got) == 1)
        await until(lambda: backlog_is(options, 0))
        letters = await bus.dead_letters.peek(limit=1000)
    assert isinstance(got[0], RawEvent)
    mine = [one.envelope.payload for one in letters if one.group == options.group]
    assert sorted(mine) == [b"", b"\xff\x00 no json"]


async def test_everybody_gets_what_is_broadcast(settings):
    options, got = settings(broadcast=("all.*",)), defaultdict(list)

    async def member(name):
        bus = KafkaEventBus(options)
        bus.subscribe(Job, lambda event: got[name].append(event.number), channel="all.news")
        await bus.start()
        return bus

    members = [await member(name) for name in "ab"]
    await members[0].publish_many([(Job(number=n), "all.news") for n in range(10)])
    await until(lambda: len(got["a"]) == len(got["b"]) == 10)
    late = await member("c")
    await members[0].publish(Job(number=10), channel="all.news")
    await until(lambda: got["c"] == [10])
    for bus in (*members, late):
        await bus.stop()


# aiokafka leaves connections open that broke while they were made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
async def test_nothing_is_lost_when_the_server_goes_and_comes_back(server, prefix):
    options = KafkaEventBusSettings(
        url=server.url, topic=f"{prefix}{{channel}}", partitions=2, timeout=2.0, retry_delay=0.01
    )
    bus, acknowledged, handled, stop = KafkaEventBus(options), [], defaultdict(list), False
    bus.subscribe(Job, lambda event: handled[event.name].append(event.number), channel="c")
    outages = []

    async def publish(name):
        number = 0
        while not stop:
            try:
                await bus.publish(Job(number=number, name=name), channel="c")
                acknowledged.append((name, number))
            except KafkaUnavailableError as error:
                outages.append(str(error))
            number += 1
            await asyncio.sleep(0.005)

    async with bus:
        tasks = [asyncio.create_task(publish(name)) for name in "abcd"]
        for _ in range(2):
            seen = len(acknowledged)
            await until(lambda seen=seen: len(acknowledged) > seen + 50)
            server.stop()
            down = len(outages)
            await until(lambda down=down: len(outages) > down)
            assert not await bus.is_healthy()
            server.start()
        seen = len(acknowledged)
        await until(lambda: len(acknowledged) > seen + 50)
        stop = True
        await asyncio.gather(*tasks)
        assert all("Kafka at 127.0.0.1:" in text for text in outages)
        await until(lambda: all(number in handled[name] for name, number in acknowledged))
    for numbers in handled.values():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
async def test_without_kafka_it_says_so_in_time_and_begins_when_it_comes(tmp_path):
    import kafka_stand_ins

    server = kafka_stand_ins.Noida(tmp_path / "late")
    options = KafkaEventBusSettings(url=server.url, timeout=1.0)
    bus, got = KafkaEventBus(options), []
    bus.subscribe(Job, lambda event: got.append(event.number), channel="c")
    async with bus:
        with pytest.raises(KafkaUnavailableError, match="Kafka at 127"):
            await bus.publish(Job(number=1), channel="c")
        with pytest.raises(KafkaUnavailableError):
            await KafkaDeadLetterQueue().count()
        server.start()
        try:
            await until(bus.is_healthy)
            await bus.publish(Job(number=2), channel="c")
            await until(lambda: 2 in got)
        finally:
            await bus.stop()
            server.stop()
