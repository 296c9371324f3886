"""Locks, rate limits, deduplication, dead letters, settings: what each promises."""

import asyncio
import contextlib
import socket
from uuid import uuid4

import pytest
import redis.asyncio

from varco_events import DeadLetterEntry, Event, InMemoryEventBus
from varco_redis import (
    RedisChannelManager,
    RedisConfigError,
    RedisDataError,
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisDeduplicator,
    RedisDeduplicatorSettings,
    RedisEventBus,
    RedisEventBusSettings,
    RedisLock,
    RedisLockLostError,
    RedisLockTimeoutError,
    RedisRateLimiter,
    RedisSettings,
    RedisUnavailableError,
    _renamed,
)
from varco_redis.cache import RedisCache, RedisCacheSettings

pytestmark = pytest.mark.anyio


class Noted(Event):
    __event_type__ = "varco.redis.test.noted"
    number: int


async def test_a_lock_is_held_by_one_and_its_tokens_grow(url, prefix):
    async with RedisLock(RedisSettings(url=url), key_prefix=prefix) as locks:
        inside, tokens = [], []

        async def work(number):
            async with locks.hold("job", ttl=30) as held:
                inside.append(number)
                assert len(inside) == 1
                await asyncio.sleep(0.001)
                tokens.append(held.token)
                inside.remove(number)

        await asyncio.gather(*map(work, range(20)))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 20


async def test_a_lock_that_was_lost_says_so_and_its_token_is_smaller(url, prefix, client):
    async with RedisLock(RedisSettings(url=url), key_prefix=prefix) as locks:
        first = await locks.acquire("job", ttl=30)
        with pytest.raises(RedisLockTimeoutError, match="job"):
            await locks.acquire("job", wait=0.05)
        # It expires, as after a freeze, and Redis forgets the last token.
        for key in await client.keys(f"*{prefix}*"):
            await client.delete(key)
        second = await locks.acquire("job", ttl=30, wait=0)
        assert second.token > first.token
        with pytest.raises(RedisLockLostError):
            await first.extend()
        with pytest.raises(RedisLockLostError):
            await first.release()
        await second.release()

        async def lose():
            async with locks.hold("job", ttl=30):
                for key in await client.keys(f"*{prefix}*held"):
                    await client.delete(key)

        with pytest.raises(RedisLockLostError):
            await lose()


async def test_a_held_lock_is_extended_while_the_block_runs(url, prefix):
    async with RedisLock(RedisSettings(url=url), key_prefix=prefix) as locks:
        async with locks.hold("job", ttl=1.5):
            with pytest.raises(RedisLockTimeoutError):
                await locks.acquire("job", wait=2.5)
        await (await locks.acquire("job", wait=0)).release()


async def test_a_rate_limit_is_shared(url, prefix):
    settings = RedisSettings(url=url)
    limits = [
        RedisRateLimiter(settings, name="api", rate=5, per=600, key_prefix=prefix) for _ in range(2)
    ]
    async with limits[0], limits[1]:
        waits = await asyncio.gather(*(limits[n % 2].take("ann") for n in range(12)))
        assert sum(wait == 0 for wait in waits) == 5
        assert all(100 < wait <= 120 for wait in waits if wait)
        assert await limits[0].take("bob") == 0
        assert not await limits[0].acquire("ann", wait=0.01)
        with pytest.raises(RedisConfigError, match="cost"):
            await limits[0].take("bob", cost=6)
    async with RedisRateLimiter(
        settings, name="quick", rate=1000, burst=1, key_prefix=prefix
    ) as quick:
        for _ in range(5):
            assert await quick.acquire()


async def test_ids_are_remembered_for_some_time(url, prefix, client):
    settings = RedisDeduplicatorSettings(url=url, key_prefix=prefix, remember=100)
    async with RedisDeduplicator(settings) as seen, RedisDeduplicator(settings) as elsewhere:
        one = uuid4()
        assert not await seen.is_duplicate(one)
        await seen.mark_seen(one)
        assert await elsewhere.is_duplicate(one)
        assert not await elsewhere.is_duplicate(uuid4())
    (key,) = await client.keys(f"{prefix}*")
    assert 90 < await client.ttl(key) <= 100


async def test_garbage_among_dead_letters_holds_up_nothing(url, prefix, client, caplog):
    settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)
    async with RedisDeadLetterQueue(settings) as queue:
        entries = [DeadLetterEntry(event=Noted(number=n), handler_name="x") for n in range(3)]
        for entry in entries:
            await queue.push(entry)
        base = f"{{{prefix}dead-letters}}:"
        whole = await client.hget(base + "letters", str(entries[0].entry_id))
        await client.hset(base + "letters", str(entries[0].entry_id), b"\x80garbage")
        # The event alone is damaged: the rest of the entry is worth keeping.
        await client.hset(base + "letters", str(entries[1].entry_id), whole[:-5])
        first, second = await queue.pop_batch()
        assert (first.entry_id, first.event.raw_type) == (entries[1].entry_id, Noted.__event_type__)
        assert second == entries[2]
        assert await queue.count() == 2
        assert await client.hlen(base + "damaged") == 1
        assert "set aside" in caplog.text
        await client.delete(base + "free")
        await client.set(base + "free", "not a sorted set")
        with pytest.raises(RedisDataError, match="WRONGTYPE"):
            await queue.pop_batch()


async def test_a_dead_server_raises_within_the_timeout(make_server):
    server = make_server()
    settings = {"url": server.url, "timeout": 1.0, "connect_timeout": 0.5}
    queue = RedisDeadLetterQueue(RedisDeadLetterQueueSettings(**settings))
    entry = DeadLetterEntry(event=Noted(number=1))
    await queue.push(entry)
    assert await queue.is_healthy()
    server.freeze()
    began = asyncio.get_running_loop().time()
    with pytest.raises(RedisUnavailableError):
        await queue.push(entry)
    assert asyncio.get_running_loop().time() - began < 6
    server.kill()
    with pytest.raises(RedisUnavailableError, match=r"127\.0\.0\.1"):
        await queue.push(entry)
    assert not await queue.is_healthy()
    server.start()
    await queue.push(entry)
    await queue.stop()


REFUSALS = {
    "memory is full": ("CONFIG", "SET", "maxmemory", "1"),
    "no replicas": ("CONFIG", "SET", "min-replicas-to-write", "1"),
    "a replica": ("REPLICAOF", "127.0.0.1", "1"),
    "ACL": ("ACL", "SETUSER", "default", "-@write", "-@scripting"),
}


@pytest.mark.parametrize("why", REFUSALS)
async def test_a_server_that_takes_no_writes_is_an_outage(make_server, why):
    server = make_server()
    options = {"url": server.url, "timeout": 3.0}
    settings = RedisSettings(**options)
    async with (
        RedisEventBus(RedisEventBusSettings(**options)) as bus,
        RedisCache(RedisCacheSettings(**options)) as cache,
        RedisDeadLetterQueue(RedisDeadLetterQueueSettings(**options)) as letters,
        RedisLock(settings) as locks,
        RedisRateLimiter(settings, name="a", rate=1) as limiter,
        RedisDeduplicator(RedisDeduplicatorSettings(**options)) as seen,
        redis.asyncio.Redis.from_url(server.url) as admin,
    ):
        await bus.publish(Noted(number=1))
        await cache.set("a", 1)
        await admin.execute_command(*REFUSALS[why])
        for call in (
            lambda: bus.publish(Noted(number=2)),
            lambda: bus.publish_many([(Noted(number=n), f"new {n}") for n in range(3)]),
            lambda: cache.set("a", 2),
            lambda: cache.set_many({f"k{n}": n for n in range(1200)}),  # several scripts at once
            lambda: letters.push(DeadLetterEntry(event=Noted(number=1))),
            lambda: locks.acquire("a", wait=0),
            limiter.take,
            lambda: seen.mark_seen(uuid4()),
        ):
            with pytest.raises(RedisUnavailableError, match="did not answer"):
                await call()


async def test_what_lies_under_the_keys_of_a_part_is_told(url, prefix, client):
    settings = RedisSettings(url=url)
    limiter = RedisRateLimiter(settings, name="n", rate=1, key_prefix=prefix)
    locks = RedisLock(settings, key_prefix=prefix)
    bus = RedisEventBusSettings(url=url, key_prefix=prefix)
    for key in (f"{prefix}n:", f"{prefix}channels", f"{{{prefix}a}}:held"):
        await client.delete(key)
        await client.lpush(key, "something else")
    async with limiter, locks, RedisChannelManager(bus) as manager, RedisEventBus(bus) as events:
        for call in (
            limiter.take,
            lambda: locks.acquire("a"),
            manager.list_channels,
            lambda: events.publish(Noted(number=1)),
        ):
            with pytest.raises(RedisDataError, match="WRONGTYPE"):
                await call()


async def test_a_lock_whose_waiter_was_cancelled_is_free(url, prefix):
    async with RedisLock(RedisSettings(url=url), key_prefix=prefix) as locks:
        for number in range(30):
            waiter = asyncio.create_task(locks.acquire("job", ttl=600))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            if waiter.cancel():
                with contextlib.suppress(asyncio.CancelledError):
                    await waiter
            else:
                await (await waiter).release()
        await (await locks.acquire("job", wait=0.5)).release()


async def test_what_a_repeated_pop_took_is_what_it_gives(url, prefix):
    settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)
    async with RedisDeadLetterQueue(settings) as queue:
        entries = [DeadLetterEntry(event=Noted(number=n), handler_name="x") for n in range(5)]
        for entry in entries:
            await queue.push(entry)
        take = queue._link._take

        async def take_one_that_breaks():
            connection = await take()
            answer = connection.read_response

            async def lost(*args, **options):
                del connection.read_response
                await answer(*args, **options)
                raise redis.exceptions.ConnectionError("its answer is lost")

            connection.read_response = lost
            queue._link._take = take
            return connection

        queue._link._take = take_one_that_breaks
        assert await queue.pop_batch(limit=2) == entries[:2]
        assert await queue.pop_batch() == entries[2:]


async def test_two_who_pop_get_nothing_twice_and_what_is_handed_back_keeps_its_place(url, prefix):
    settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)
    async with RedisDeadLetterQueue(settings) as one, RedisDeadLetterQueue(settings) as other:
        entries = [DeadLetterEntry(event=Noted(number=n), handler_name="x") for n in range(40)]
        for entry in entries:
            await one.push(entry)
        batches = await asyncio.gather(
            *(queue.pop_batch(limit=3) for _ in range(5) for queue in (one, other))
        )
        assert sorted(entry.event.number for batch in batches for entry in batch) == [*range(30)]
        for batch in batches[::2]:
            for entry in batch:
                await one.ack(entry.entry_id)
        for batch in reversed(batches[1::2]):
            for entry in reversed(batch):
                await other.nack(entry.entry_id)
        left = await other.pop_batch(limit=40, lease=0.05)
        assert [entry.event.number for entry in left] == sorted(
            entry.event.number for entry in left
        )
        assert len(left) == await one.count() == 25
        await asyncio.sleep(0.1)  # its process died: the leases end
        assert await one.pop_batch(limit=40) == left
        await other.ack(left[0].entry_id)  # late, and no harm
        assert await one.count() == 24


@pytest.fixture(params=["refuses", "says nothing"])
def dead_port(request, free_port):
    """A port whose server is gone, or hangs."""
    if request.param == "refuses":
        yield free_port()
        return
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["redis://{}/0", "redis+sentinel://{}/main", "redis+cluster://{}"])
async def test_every_operation_on_a_dead_server_raises_in_time(dead_port, kind):
    url = kind.format(f"127.0.0.1:{dead_port}")
    options = {"url": url, "timeout": 0.2, "connect_timeout": 0.1}
    entry, settings = DeadLetterEntry(event=Noted(number=1)), RedisSettings(**options)
    async with (
        RedisCache(RedisCacheSettings(**options)) as cache,
        RedisEventBus(RedisEventBusSettings(**options)) as bus,
        RedisEventBus(RedisEventBusSettings(**options, mode="pubsub")) as pubsub,
        RedisDeadLetterQueue(RedisDeadLetterQueueSettings(**options)) as letters,
        RedisChannelManager(RedisEventBusSettings(**options)) as manager,
        RedisDeduplicator(RedisDeduplicatorSettings(**options)) as seen,
        RedisRateLimiter(settings, name="a", rate=1) as limiter,
        RedisLock(settings) as locks,
    ):
        calls = [
            lambda: cache.get("a"),
            lambda: cache.get_many(["a", "b"]),
            lambda: cache.get_many(map(str, range(1000))),
            lambda: cache.get_entry("a"),
            lambda: cache.get_entries(["a"]),
            lambda: cache.exists("a"),
            lambda: cache.ttl("a"),
            lambda: cache.set("a", 1),
            lambda: cache.set_many({"a": 1, "b": 2}),
            lambda: cache.delete("a"),
            lambda: cache.delete_many(["a"]),
            lambda: cache.delete_prefix("a"),
            lambda: cache.invalidate_tags("a"),
            lambda: cache.lease("a"),
            cache.clear,
            lambda: bus.publish(entry.event),
            lambda: bus.publish_many([(entry.event, "a"), (entry.event, "b")]),
            lambda: bus.deliver(entry.event),
            lambda: pubsub.publish(entry.event),
            lambda: letters.push(entry),
            letters.pop_batch,
            letters.peek,
            letters.count,
            lambda: letters.ack(entry.entry_id),
            lambda: letters.nack(entry.entry_id),
            lambda: letters.redrive(InMemoryEventBus()),
            lambda: manager.declare_channel("a"),
            lambda: manager.delete_channel("a"),
            lambda: manager.channel_exists("a"),
            manager.list_channels,
            lambda: manager.delete_group("a", "b"),
            lambda: manager.backlog("a"),
            lambda: seen.is_duplicate(entry.entry_id),
            lambda: seen.mark_seen(entry.entry_id),
            limiter.take,
            limiter.acquire,
            lambda: locks.acquire("a"),
            locks.hold("a").__aenter__,
        ]
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RedisUnavailableError] * len(calls)
        for part in (cache, bus, letters, locks):
            assert not await part.is_healthy()


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:hunter2@example:6379/0",
        "redis://:hunter2@example",
        "unix://ann:hunter2@/var/run/redis.sock",
        "redis+sentinel://:hunter2@a:1,b:2/main/0",
    ],
)
def test_secrets_are_not_shown(url):
    settings = RedisCacheSettings(url=url, password="hunter3", sentinel_password="hunter4")
    link = RedisCache(settings)._link
    shown = f"{settings!r} {settings} {link.address!r} {link.address}"
    shown += str(link.unavailable(("AUTH", "hunter3"), ValueError("hunter3 of hunter4")))
    assert "hunter" not in shown
    assert "***@" in repr(settings)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://ann:hunter2@example", "redis\\+sentinel"),
        ("redis://:hun/ter2@example:6379/0", "percent-encode"),
        ("redis://ann:hunter@2@example/0?password=hunter2", "give options as settings"),
        ("redis://ann:hunter#2@example/0", "percent-encode"),
        ("redis://ann:hunter2@example:port", "host:port"),
    ],
)
def test_errors_do_not_show_secrets(url, remedy):
    with pytest.raises(RedisConfigError, match=remedy) as caught:
        RedisCache(RedisCacheSettings(url=url))
    assert "hun" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RedisSettings, {"timeout": 0}),
        (RedisSettings, {"url": "redis+sentinel://host"}),
        (RedisCacheSettings, {"key_prefix": ""}),
        (RedisCacheSettings, {"url": "redis+cluster://host", "key_prefix": "{a}"}),
        (RedisCacheSettings, {"default_ttl": -1}),
        (RedisEventBusSettings, {"mode": "carrier pigeon"}),
        (RedisEventBusSettings, {"max_attempts": 0}),
    ],
)
def test_settings_that_make_no_sense_are_told(kind, wrong):
    with pytest.raises(RedisConfigError, match=next(iter(set(wrong) - {"url"} or wrong))):
        kind(**wrong)


def test_settings_come_from_the_environment():
    environ = {
        "VARCO_REDIS_URL": "rediss+sentinel://a:1,b:2/main/3",
        "VARCO_REDIS_TLS_VERIFY": "no",
        "VARCO_REDIS_DEFAULT_TTL": "1.5",
        "VARCO_REDIS_MAX_CONNECTIONS": "7",
    }
    settings = RedisCacheSettings.from_env(environ=environ)
    assert (settings.tls_verify, settings.default_ttl, settings.max_connections) == (False, 1.5, 7)
    bus = RedisEventBusSettings.from_env("X_", {"X_BROADCAST": "a.*, b", "X_MODE": "pubsub"})
    assert bus.broadcast == ("a.*", "b")
    with pytest.raises(RedisConfigError, match="VARCO_REDIS_TLS_VERIFY"):
        RedisCacheSettings.from_env(environ={"VARCO_REDIS_TLS_VERIFY": "perhaps"})


async def test_providify_installs_the_parts(url, prefix, monkeypatch):
    from providify import DIContainer

    from varco_cache import CacheBackend
    from varco_events import AbstractDeadLetterQueue, AbstractEventBus
    from varco_redis import (
        RedisCacheConfiguration,
        RedisDeadLetterQueueConfiguration,
        RedisEventBusConfiguration,
    )

    monkeypatch.setenv("VARCO_REDIS_URL", url)
    monkeypatch.setenv("VARCO_REDIS_KEY_PREFIX", prefix)
    monkeypatch.setenv("VARCO_REDIS_CACHE_KEY_PREFIX", f"{prefix}cache:")
    container = DIContainer()
    for one in (
        RedisCacheConfiguration,
        RedisEventBusConfiguration,
        RedisDeadLetterQueueConfiguration,
    ):
        await container.ainstall(one)
    cache = await container.aget(CacheBackend)
    assert cache is await container.aget(CacheBackend)
    assert cache.settings.key_prefix == f"{prefix}cache:"
    bus = await container.aget(AbstractEventBus)
    assert bus.settings.key_prefix == prefix
    queue = await container.aget(AbstractDeadLetterQueue)
    for part in (cache, bus, queue):
        assert await part.is_healthy()
        await part.stop()


def test_settings_are_taken_under_the_names_that_they_had():
    _renamed._warn.cache_clear()
    with pytest.warns(DeprecationWarning, match="is called") as caught:
        one = RedisEventBusSettings(time_limit=3.0, connect_time_limit=4.0, idle_limit=5.0)
    assert (one.timeout, one.connect_timeout, one.lease) == (3.0, 4.0, 5.0)
    assert [str(warning.message) for warning in caught] == [
        "the setting 'time_limit' is called 'timeout' now",
        "the setting 'connect_time_limit' is called 'connect_timeout' now",
        "the setting 'idle_limit' is called 'lease' now",
    ]
    assert {warning.filename for warning in caught} == {__file__}
    # Each warns once.
    assert (one.time_limit, one.idle_limit) == (3.0, 5.0)
    assert RedisCacheSettings.from_env("X_", {"X_TIME_LIMIT": "7"}).timeout == 7.0
    with pytest.warns(DeprecationWarning, match="'lease_time' is called 'lease'"):
        assert RedisCacheSettings(lease_time=8.0).lease == 8.0
    with pytest.raises(TypeError, match="idle_limit"):
        RedisSettings(idle_limit=1.0)
    with pytest.raises(AttributeError, match="no setting 'idle_limit'"):
        _ = RedisSettings().idle_limit
