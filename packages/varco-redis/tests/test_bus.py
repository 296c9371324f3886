"""What the bus on Streams does beyond the contract."""

import asyncio
import contextlib

import pytest
from redis_waiting import has, until

from varco_events import ChannelConfig, Event, EventConsumer, RawEvent, listen
from varco_redis import (
    RedisBackPressureError,
    RedisChannelManager,
    RedisConfigError,
    RedisEventBus,
    RedisEventBusSettings,
    RedisUnavailableError,
)

pytestmark = pytest.mark.anyio


class Numbered(Event):
    __event_type__ = "varco.redis.test.numbered"
    number: int
    name: str = ""

    def event_key(self):
        return self.name or None


@pytest.fixture
def settings(url, prefix):
    def make(**options):
        values = {"url": url, "key_prefix": prefix, "retry_delay": 0.01, "lease": 30.0}
        return RedisEventBusSettings(**(values | options))

    return make


async def test_a_handler_that_fails_is_tried_again_alone_and_then_dead_lettered(settings):
    got, broken = [], []

    async def fail(event):
        broken.append(event.number)
        raise ValueError(f"no {event.number}")

    bus = RedisEventBus(settings(max_attempts=3))
    bus.subscribe(Numbered, fail, channel="c", filter=lambda event: event.number == 1)
    bus.subscribe(Numbered, lambda event: got.append(event.number), channel="c")
    async with bus:
        for number in range(4):
            await bus.publish(Numbered(number=number, name="k"), channel="c")
        await until(lambda: len(got) == 4)
        await until(lambda: has(bus.dead_letters.count(), 1))
        assert broken == [1, 1, 1]
        assert got == [0, 1, 2, 3]
        (entry,) = await bus.dead_letters.peek()
        assert entry.handler_name == f"{fail.__module__}.{fail.__qualname__}"
        assert (entry.channel, entry.attempts, entry.error_message) == ("c", 3, "no 1")
        # It is driven again to the one that failed, through Redis.
        broken.clear()
        assert await bus.dead_letters.redrive(bus) == 1
        await until(lambda: has(bus.dead_letters.count(), 1))
        assert (got, broken) == ([0, 1, 2, 3], [1, 1, 1])
        async with RedisChannelManager(bus.settings) as manager:
            await until(lambda: has(manager.backlog("c"), 0))


async def test_a_key_that_fails_holds_up_no_other_key(settings):
    got = []

    async def handle(event):
        if event.name == "poison" and event.number < 2:
            raise ValueError
        got.append((event.name, event.number))

    bus = RedisEventBus(settings(max_attempts=2, retry_delay=1.0, partitions=1))
    bus.subscribe(Numbered, handle, channel="c")
    async with bus:
        for number in range(3):
            for name in ("poison", "fine"):
                await bus.publish(Numbered(number=number, name=name), channel="c")
        await until(lambda: len(got) == 4)
    assert got == [("fine", 0), ("fine", 1), ("fine", 2), ("poison", 2)]


async def test_a_wildcard_and_a_channel_call_a_handler_once_each(settings):
    every, some = [], []
    bus = RedisEventBus(settings())
    bus.subscribe(Numbered, every.append)
    bus.subscribe(Numbered, some.append, channel="a")
    async with bus:
        for channel in ("a", "b", "a"):
            await bus.publish(Numbered(number=1), channel=channel)
        await until(lambda: len(every) >= 3 and len(some) >= 2)
        await asyncio.sleep(0.2)
    assert (len(every), len(some)) == (3, 2)


async def test_each_group_gets_every_event_and_each_event_one_of_a_group(settings):
    got = {"x": [], "y": []}
    buses = []
    async with contextlib.AsyncExitStack() as stack:
        for group in ("x", "x", "y"):
            bus = RedisEventBus(settings(group=group))
            bus.subscribe(Numbered, lambda e, g=group: got[g].append(e.number), channel="c")
            buses.append(await stack.enter_async_context(bus))
        for number in range(100):
            await buses[0].publish(Numbered(number=number, name=str(number % 7)), channel="c")
        await until(lambda: all(len(set(numbers)) == 100 for numbers in got.values()))
        assert all(sorted(numbers) == list(range(100)) for numbers in got.values())


async def test_invalidations_of_caches_go_to_every_process(settings):
    got = [[], []]
    async with contextlib.AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(RedisEventBus(settings())) for _ in got]
        for bus, numbers in zip(buses, got, strict=True):
            bus.subscribe(Numbered, numbers.append, channel="posts.cache.invalidations")
        await buses[0].publish(Numbered(number=1), channel="posts.cache.invalidations")
        await until(lambda: len(got[0]) == len(got[1]) == 1)


async def test_what_is_not_handled_is_never_dropped_and_a_full_channel_pushes_back(settings):
    options = settings(max_length=20, partitions=1, timeout=0.5)
    async with RedisEventBus(options) as early:  # the group is there before it is full
        early.subscribe(Numbered, lambda event: None, channel="c")
        async with RedisChannelManager(options) as manager:
            await until(lambda: _listens(manager))
    bus = RedisEventBus(options)
    for number in range(20):
        await bus.publish(Numbered(number=number, name="k"), channel="c")
    with pytest.raises(RedisBackPressureError, match="delete_group"):
        await bus.publish(Numbered(number=99), channel="c")
    got = []
    bus.subscribe(Numbered, lambda event: got.append(event.number), channel="c")
    async with bus:
        await until(lambda: len(got) == 20)
        await bus.publish_many([(Numbered(number=n, name="k"), "c") for n in range(20, 100)])
        await until(lambda: len(got) == 100)
    assert got == list(range(100))


async def _listens(manager):
    return await manager._link.call("EXISTS", manager._names.base("c") + "0") == 1


async def test_garbage_in_a_stream_is_set_aside_and_logged(settings, client, caplog):
    got, options = [], settings(partitions=1)
    bus = RedisEventBus(options)
    bus.subscribe(Numbered, lambda event: got.append(event.number), channel="c")
    async with bus:
        await bus.publish(Numbered(number=1, name="k"), channel="c")
        stream = f"{options.key_prefix}{{c}}:0"
        await client.xadd(stream, {"e": b"\x80\x04garbage", "k": "k"})
        await client.xadd(stream, {"other": "fields"})
        await client.xadd(stream, {"e": b'{"type":"varco.redis.test.numbered","version":1,"dat'})
        await bus.publish(Numbered(number=2, name="k"), channel="c")
        await until(lambda: len(got) == 2)
        await until(lambda: has(bus.dead_letters.count(), 3))
        letters = await bus.dead_letters.peek()
        assert all(isinstance(letter.event, RawEvent) for letter in letters)
        assert any(letter.event.payload == b"\x80\x04garbage" for letter in letters)
        # The stream is replaced by something else: it is logged, and goes on once that is gone.
        await client.delete(stream)
        await client.set(stream, "no stream")
        await until(lambda: "WRONGTYPE" in caplog.text)
        await client.delete(stream)
        await until(lambda: client.exists(stream))
        await bus.publish(Numbered(number=3, name="k"), channel="c")
        await until(lambda: 3 in got)


async def test_a_redis_that_was_emptied_is_used_again(make_server):
    server = make_server()
    got, options = [], RedisEventBusSettings(url=server.url, lease=2.0)
    bus = RedisEventBus(options)
    bus.subscribe(Numbered, lambda event: got.append(event.number))
    async with bus:
        for number in range(3):
            await bus.publish(Numbered(number=number), channel="c")
            await until(lambda number=number: number in got)
            server.kill()
            server.start()


async def test_stopping_leaves_what_is_not_begun_to_others(settings):
    began, release, got = asyncio.Event(), asyncio.Event(), []

    async def slow(event):
        began.set()
        await release.wait()
        got.append(event.number)

    first = RedisEventBus(settings(partitions=1, lease=60.0))
    first.subscribe(Numbered, slow, channel="c")
    await first.start()
    await first.publish_many([(Numbered(number=n, name="k"), "c") for n in range(10)])
    await began.wait()
    cut = await first.stop(timeout=0.2)
    assert [event.number for event in cut] == [0]
    release.set()
    # Long before the lease is over.
    second = RedisEventBus(settings(partitions=1, lease=60.0))
    second.subscribe(Numbered, slow, channel="c")
    async with second:
        await until(lambda: len(got) == 10, 40)
    assert got == list(range(10))


async def test_names_of_consumers_are_taken_again(settings):
    names = []
    for _ in range(3):
        bus = RedisEventBus(settings())
        bus.subscribe(Numbered, lambda event: None, channel="c")
        async with bus:
            await until(lambda bus=bus: bool(bus._member.consumer))
            names.append(bus._member.consumer)
    assert len(set(names)) == 1


async def test_channels_are_declared_listed_and_deleted(settings):
    async with RedisChannelManager(settings()) as manager:
        await manager.declare_channel("b", ChannelConfig(num_partitions=2))
        await manager.declare_channel("a")
        assert await manager.list_channels() == ["a", "b"]
        assert await manager.channel_exists("a")
        await manager.declare_channel("b", ChannelConfig(num_partitions=3, retention_ms=1000))
        with pytest.raises(RedisConfigError, match="3 or more"):
            await manager.declare_channel("b", ChannelConfig(num_partitions=1))
        await manager.delete_channel("b")
        await manager.delete_channel("unknown")
        assert not await manager.channel_exists("b")
        assert await manager.list_channels() == ["a"]


async def test_handled_events_are_trimmed(settings, client, monkeypatch):
    monkeypatch.setattr("varco_redis._group._TRIM_EVERY", 0.0)
    got, options = [], settings(partitions=1)
    bus = RedisEventBus(options)
    bus.subscribe(Numbered, lambda event: got.append(event.number), channel="c")
    async with bus:
        await bus.publish_many([(Numbered(number=n), "c") for n in range(300)])
        await until(lambda: len(got) == 300)
        await until(lambda: has(client.xlen(f"{options.key_prefix}{{c}}:0"), 0))


async def test_a_consumer_class_handles_with_its_deduplicator(settings, url, prefix):
    from varco_redis import RedisDeduplicator, RedisDeduplicatorSettings

    seen = RedisDeduplicator(RedisDeduplicatorSettings(url=url, key_prefix=f"{prefix}seen:"))
    got = []

    class Consumer(EventConsumer):
        @listen(Numbered, channel="c", deduplicator=seen)
        async def on_numbered(self, event):
            got.append(event.number)

    async with seen, RedisEventBus(settings()) as bus:
        Consumer().register_to(bus)
        event = Numbered(number=1, name="k")
        for one in (event, event, Numbered(number=2, name="k")):
            await bus.publish(one, channel="c")
        await until(lambda: 2 in got)
    assert got == [1, 2]


async def test_a_handler_that_is_cancelled_is_called_again(settings):
    got, cancelled = [], 0

    async def handle(event):
        nonlocal cancelled
        if event.number == 0 and cancelled < 2:
            cancelled += 1
            raise asyncio.CancelledError
        got.append(event.number)

    bus = RedisEventBus(settings(partitions=1))
    bus.subscribe(Numbered, handle, channel="c")
    async with bus:
        await bus.publish_many([(Numbered(number=n, name="k"), "c") for n in range(3)])
        await until(lambda: len(got) == 3)
        assert await bus.dead_letters.count() == 0
        async with RedisChannelManager(bus.settings) as manager:
            await until(lambda: has(manager.backlog("c"), 0))
    assert got == [0, 1, 2]


async def test_what_a_dead_process_held_is_taken_over(settings):
    began, got = asyncio.Event(), []

    async def hang(event):
        began.set()
        await asyncio.Event().wait()

    dead, heir = (RedisEventBus(settings(partitions=2, lease=1.0)) for _ in range(2))
    dead.subscribe(Numbered, hang, channel="c")
    heir.subscribe(Numbered, lambda event: got.append(event.number), channel="c")
    await dead.start()
    await dead.publish_many([(Numbered(number=n, name=str(n)), "c") for n in range(20)])
    await began.wait()
    # It dies: no more signs of life, and nothing is given back.
    for task in dead._member._tasks:
        task.cancel()
    async with heir:
        await until(lambda: len(got) == 20)
    assert sorted(got) == list(range(20))
    await dead.stop(timeout=0)


@pytest.mark.parametrize("mode", ["streams", "pubsub"])
async def test_listening_goes_on_when_a_hanging_server_is_back(make_server, mode):
    server, got = make_server(), []
    options = RedisEventBusSettings(url=server.url, mode=mode, lease=1.0, timeout=0.3)
    bus = RedisEventBus(options)
    bus.subscribe(Numbered, lambda event: got.append(event.number))
    async with bus:
        server.freeze()  # no connection breaks
        with pytest.raises(RedisUnavailableError):
            await bus.publish(Numbered(number=0))
        if mode == "pubsub":
            await until(lambda: not bus._listener.ready.is_set())
        server.thaw()
        if mode == "pubsub":
            await until(bus._listener.ready.is_set)
        await until(bus.is_healthy)
        await bus.publish(Numbered(number=1))
        await until(lambda: 1 in got)


async def test_pubsub_reads_no_more_than_it_can_handle(settings):
    release, got = asyncio.Event(), []

    async def handle(event):
        await release.wait()
        got.append(event.number)

    bus = RedisEventBus(settings(mode="pubsub", prefetch=10, concurrency=2))
    bus.subscribe(Numbered, handle)
    async with bus:
        await bus.publish_many([(Numbered(number=n), "c") for n in range(100)])
        await until(lambda: len(bus._workers.tasks) == 10)
        await asyncio.sleep(0.1)
        assert len(bus._workers.tasks) == 10
        release.set()
        await until(lambda: len(got) == 100)


async def test_what_fails_in_pubsub_mode_is_dead_lettered_once_for_who_failed(
    settings,
):
    broken, got = True, []

    async def handle(event):
        if broken:
            raise ValueError("no")
        got.append(event.number)

    one, other, third = (RedisEventBus(settings(mode="pubsub")) for _ in range(3))
    for bus in (one, other):  # both hear it, and fail
        bus.subscribe(Numbered, handle, channel="c")
    third.subscribe(Numbered, lambda event: None, channel="c")
    async with one, other, third:
        await one.publish(Numbered(number=1), channel="c")
        await until(lambda: has(one.dead_letters.count(), 1))
        (letter,) = await one.dead_letters.peek()
        assert (letter.error_message, letter.attempts) == ("no", 1)
        broken = False
        assert (await other.dead_letters.failures(other).retry_all()).done == 1
        await until(lambda: len(got) == 2)
        await one.publish(Numbered(number=2), channel="c")
        await until(lambda: got.count(2) == 2)
        assert await one.dead_letters.count() == 0


async def test_nothing_stays_of_a_deleted_group_or_channel(settings, client):
    async with RedisChannelManager(settings()) as manager:
        for group in ("x", "y"):
            bus = RedisEventBus(settings(group=group))
            bus.subscribe(Numbered, lambda event: None, channel="c")
            async with bus:
                await bus.publish(Numbered(number=1), channel="c")
                await until(lambda group=group: has(manager.backlog("c", group), 0))
        await manager.delete_group("c", "x")
        await manager.delete_channel("c")
        assert await client.keys(f"{manager.settings.key_prefix}{{c}}*") == []
