"""What is stuck holds back itself: a channel, a key, a handler that takes long."""

import asyncio
import contextlib

import pytest
import redis.asyncio
from redis_waiting import until

from varco_events import (
    ChannelUnavailableError,
    Event,
    EventEnvelope,
    InMemoryDeadLetterQueue,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
)
from varco_redis import (
    RedisBackPressureError,
    RedisChannelManager,
    RedisChannelRefusedError,
    RedisEventBus,
    RedisEventBusSettings,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


class Step(Event):
    __event_type__ = "varco.redis.test.step"
    number: int
    name: str = ""
    slow: bool = False

    def event_key(self):
        return self.name or None


@pytest.fixture
def settings(url, prefix):
    def make(**options):
        values = {"url": url, "key_prefix": prefix, "retry_delay": 0.01, "lease": 30.0}
        return RedisEventBusSettings(**(values | options))

    return make


async def sent(bus, *events, channel="c"):
    errors = []
    await bus.send(
        [EventEnvelope.of(event, channel=channel) for event in events],
        lambda _, error: errors.append(error),
    )
    return errors


async def test_a_full_channel_holds_back_itself_and_nobody_waits(settings):
    options = settings(max_length=5, partitions=1, timeout=30.0)
    early, got = RedisEventBus(options), []
    early.subscribe(Step, print, channel="full")
    async with early, RedisChannelManager(options) as manager:  # the group is there, then gone
        while not await manager._link.call("EXISTS", manager._names.base("full") + "0"):
            await asyncio.sleep(0.01)
    bus = RedisEventBus(settings(max_length=1000, partitions=1, timeout=30.0))
    bus.subscribe(Step, lambda event: got.append(event.number), channel="c")
    outbox = InMemoryOutboxRepository()
    tight = RedisEventBus(options)
    for number in range(8):
        await outbox.save(OutboxEntry.from_event(Step(number=number), channel="full"))
        await outbox.save(OutboxEntry.from_event(Step(number=number), channel="c"))
    dead = InMemoryDeadLetterQueue()
    async with bus:
        async with asyncio.timeout(10):  # no waiting for space, which takes 30 s
            await OutboxRelay(outbox=outbox, bus=tight, dlq=dead).run_once()
        await until(lambda: len(got) == 5)
        left = await outbox.get_pending()
        # Both are full after five; none is lost, counted or dead.
        assert [(one.channel, one.attempts) for one in left if one.channel == "full"] == [
            ("full", 0)
        ] * 3
        assert await dead.count() == 0
        errors = await sent(tight, Step(number=9), channel="full")
        assert isinstance(errors[0], RedisBackPressureError)
        assert isinstance(errors[0], ChannelUnavailableError)
    await tight.stop()


async def test_a_forbidden_channel_holds_back_itself(make_server):
    server, prefix, got = make_server(), "acl:", []
    async with redis.asyncio.Redis.from_url(server.url) as admin:
        patterns = ("channels", "consumers*", "{open}*", "{noted}*", "dead-letters*")
        await admin.execute_command(
            *("ACL", "SETUSER", "limited", "on", ">pw", "+@all", "resetkeys", "allchannels"),
            *(f"~{prefix}{pattern}" for pattern in patterns),
        )
        options = RedisEventBusSettings(
            url=server.url.replace("//", "//limited:pw@"),
            key_prefix=prefix,
            broadcast=("noted", "hidden"),
            timeout=5.0,
            lease=1.0,
        )
        # Somebody who may do everything uses all of them.
        async with RedisEventBus(
            RedisEventBusSettings(url=server.url, key_prefix=prefix, broadcast=("noted", "hidden"))
        ) as root:
            channels = ("secret", "open", "noted", "hidden")
            await root.publish_many([(Step(number=0), channel) for channel in channels])
            bus = RedisEventBus(options)
            bus.subscribe(Step, lambda event: got.append(event.number))  # on all channels
            async with bus:
                errors = await sent(bus, Step(number=1), channel="secret")
                assert [type(error) for error in errors] == [RedisChannelRefusedError]
                assert await sent(bus, Step(number=2), channel="open") == [None]
                await until(lambda: {0, 2} <= set(got))
                await root.publish(Step(number=3), channel="noted")
                await until(lambda: 3 in got)
                with pytest.raises(RedisChannelRefusedError, match="secret"):
                    await bus.publish(Step(number=1), channel="secret")
                # It goes on once it is permitted.
                await admin.execute_command("ACL", "SETUSER", "limited", f"~{prefix}*")
                await root.publish(Step(number=4), channel="secret")
                await until(lambda: 4 in got)


async def test_a_key_with_more_than_is_taken_at_once_holds_back_no_other(settings):
    release, got = asyncio.Event(), []

    async def handle(event):
        if event.slow:
            await release.wait()
        got.append((event.name, event.number))

    bus = RedisEventBus(settings(partitions=1, prefetch=8, concurrency=4))
    bus.subscribe(Step, handle, channel="c")
    stuck = [Step(number=n, name="stuck", slow=not n) for n in range(100)]
    async with bus:
        await bus.publish_many([(event, "c") for event in stuck])
        await bus.publish_many([(Step(number=n, name=f"other {n}"), "c") for n in range(20)])
        await until(lambda: len(got) == 20)
        assert all(name != "stuck" for name, _ in got)
        release.set()
        await until(lambda: len(got) == 120)
    assert got[20:] == [("stuck", n) for n in range(100)]


@pytest.mark.parametrize("keyed", [True, False], ids=["a key", "no key"])
async def test_processes_that_join_do_not_stall_behind_a_long_handler(settings, keyed):
    release, began, got = asyncio.Event(), [], []

    async def handle(event):
        if event.slow:
            began.append(event.number)
            await release.wait()
        got.append(event.number)

    def make():
        bus = RedisEventBus(settings(partitions=1, lease=2.0))
        bus.subscribe(Step, handle, channel="c")
        return bus

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(make())
        stack.callback(release.set)  # before the buses stop, whatever fails
        await first.publish(Step(number=0, name="slow" * keyed, slow=True), channel="c")
        await first.publish(Step(number=1, name="slow" * keyed), channel="c")
        await until(lambda: began == [0])
        others = [await stack.enter_async_context(make()) for _ in range(6)]
        stack.callback(release.set)
        for number in range(2, 32):
            await others[0].publish(Step(number=number, name=f"other {number}"), channel="c")
            await until(lambda number=number: number in got)
            await asyncio.sleep(0.08)  # longer than a lease in all
        assert (1 in got) is not keyed  # what has its key waits
        release.set()
        await until(lambda: len(got) == 32)
    assert began == [0]
    assert sorted(got) == list(range(32))
    if keyed:
        assert got.index(0) < got.index(1)


async def test_an_entry_of_the_first_version_is_handled(settings, client):
    """A rolling deployment: old processes publish, redrive and dead-letter beside new ones."""
    got, options = [], settings(partitions=1)
    bus = RedisEventBus(options)

    async def one(event):
        got.append(("one", event.number))

    async def two(event):
        got.append(("two", event.number))

    for handler in (one, two):
        bus.subscribe(Step, handler, channel="c")
    payload = b'{"type":"varco.redis.test.step","version":1,"data":{"number":%d,"name":"k"}}'
    async with bus:
        await bus.publish(Step(number=0, name="k"), channel="c")
        stream = f"{options.key_prefix}{{c}}:0"
        await client.xadd(stream, {"e": payload % 1, "k": "k"})
        name = f"{two.__module__}.{two.__qualname__}"
        await client.xadd(stream, {"e": payload % 2, "k": "k", "h": name})
        await until(lambda: len(got) == 5)
        # What old processes read is there as it was.
        await bus.publish(Step(number=3, name="k"), channel="c")
        ((_, fields),) = await client.xrevrange(stream, count=1)
        assert fields[b"k"] == b"k"
        assert fields[b"e"].startswith(b'{"type":"varco.redis.test.step","version":1,"data":{')
    assert got[:5] == [("one", 0), ("two", 0), ("one", 1), ("two", 1), ("two", 2)]


async def test_a_dead_letter_of_the_first_version_is_read(settings, client):
    options = settings()
    bus = RedisEventBus(options)
    base = f"{{{options.key_prefix}dead-letters}}:"
    number = "5ac29a97-3d98-4966-b33f-c55cf817a6a2"
    head = (
        b'{"channel": "c", "handler": "app.h", "error_type": "ValueError", "error_message": "no", '
        b'"attempts": 3, "first": "2026-11-28T00:00:00+00:00", '
        b'"last": "2026-11-28T00:00:01+00:00", '
        b'"event_id": "5ac29a97-3d98-4966-b33f-c55cf817a6a2", "type": "varco.redis.test.gone"}'
    )
    await client.hset(f"{base}data", number, head + b"\nno JSON at all")
    for name in ("all", "ready"):
        await client.zadd(base + name, {number: 1})
    (letter,) = await bus.dead_letters.peek()
    await bus.stop()
    assert (letter.handler_name, letter.attempts, letter.channel) == ("app.h", 3, "c")
    assert letter.event.raw_type == "varco.redis.test.gone"
    assert letter.event.payload == b"no JSON at all"
    assert str(letter.event.event_id) == number
