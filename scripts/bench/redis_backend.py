"""varco-redis against redis-py, aiocache, cashews, FastStream and varco-redis 3.2.0.

All on one Redis, redis://127.0.0.1:6379/0 unless VARCO_TEST_REDIS_URL names another; the keys begin
with a name of the run's own and are removed at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any

import redis.asyncio
from _harness import Case, Figure, Published, Step, lazily, main

URL = os.environ.get("VARCO_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
RUN = f"varco-bench-{secrets.token_hex(4)}:"
PUBLISHED = "varco-redis==3.2.0"
VALUE = {"id": 42, "name": "Alice", "email": "alice@example.org", "roles": ["reader", "writer"]}
KEYS = [f"key:{n}" for n in range(100)]
EVENTS = 1000


def varco_cache(kind: str = "RedisCache", **options: Any) -> Any:
    import varco_redis.cache as ours

    settings = ours.RedisCacheSettings(url=URL, key_prefix=f"{RUN}varco:", timeout=30, **options)
    return getattr(ours, kind)(settings)


def varco_get() -> Callable[[], object]:
    async def prepare() -> Step:
        cache = varco_cache()
        await cache.set("a", VALUE, ttl=300)
        return lambda: cache.get("a")

    return lazily(prepare)


def varco_set() -> Callable[[], object]:
    async def prepare() -> Step:
        cache = varco_cache()
        return lambda: cache.set("a", VALUE, ttl=300)

    return lazily(prepare)


def varco_get_many() -> Callable[[], object]:
    async def prepare() -> Step:
        cache = varco_cache()
        await cache.set_many(dict.fromkeys(KEYS, VALUE), ttl=300)
        return lambda: cache.get_many(KEYS)

    return lazily(prepare)


def tracked_get() -> Callable[[], object]:
    async def prepare() -> Step:
        cache = varco_cache("TrackedRedisCache")
        await cache.start()
        await cache.set("a", VALUE, ttl=300)
        await asyncio.sleep(0.2)
        await cache.get("a")
        return lambda: cache.get("a")

    return lazily(prepare)


def memory_get() -> Callable[[], object]:
    async def prepare() -> Step:
        from varco_cache import InMemoryCache

        cache = InMemoryCache(max_size=10_000)
        await cache.set("a", VALUE, ttl=300)
        return lambda: cache.get("a")

    return lazily(prepare)


def bare(action: str) -> Callable[[], Callable[[], object]]:
    """redis-py with the serializer that varco uses, so that both do the same work."""

    def make() -> Callable[[], object]:
        async def prepare() -> Step:
            from pydantic_core import from_json, to_json

            client = redis.asyncio.Redis.from_url(URL)
            keys = [f"{RUN}bare:{key}" for key in KEYS]
            await client.mset(dict.fromkeys(keys, to_json(VALUE)))

            async def get() -> object:
                data: Any = await client.get(keys[0])
                return from_json(data)

            async def set_() -> object:
                return await client.set(keys[0], to_json(VALUE), px=300_000)

            async def get_many() -> object:
                found: Any = await client.mget(keys)
                return {key: from_json(data) for key, data in zip(KEYS, found, strict=True)}

            return {"get": get, "set": set_, "get_many": get_many}[action]

        return lazily(prepare)

    return make


def aiocache(action: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from aiocache import RedisCache
        from aiocache.serializers import JsonSerializer

        async def prepare() -> Step:
            cache: Any = RedisCache(serializer=JsonSerializer(), namespace=f"{RUN}aiocache")
            await cache.set("a", VALUE, ttl=300)
            if action == "get":
                return lambda: cache.get("a")
            return lambda: cache.set("a", VALUE, ttl=300)

        return lazily(prepare)

    return make


def cashews(action: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from cashews import Cache

        async def prepare() -> Step:
            cache = Cache()
            cache.setup(URL, client_side=False)
            key = f"{RUN}cashews:a"
            await cache.set(key, VALUE, expire=300)
            if action == "get":
                return lambda: cache.get(key)
            return lambda: cache.set(key, VALUE, expire=300)

        return lazily(prepare)

    return make


def published(action: str) -> str:
    return f"""
held = []
async def step():
    if not held:
        from varco_redis.cache import RedisCache, RedisCacheSettings
        cache = RedisCache(RedisCacheSettings(url={URL!r}, key_prefix={RUN + "published:"!r}))
        await cache.start()
        await cache.set("a", {VALUE!r}, ttl=300)
        held.append(cache)
    if {action!r} == "get":
        return await held[0].get("a")
    return await held[0].set("a", {VALUE!r}, ttl=300)
def make():
    return step
"""


async def _invalidate_tag() -> float:
    cache = varco_cache()
    items = {f"tagged:{n}": n for n in range(100_000)}
    await cache.set_many(items, ttl=300, tags={"big"})
    spent: list[float] = []
    for number in range(20):
        await cache.set_many({"tagged:0": 0}, tags={"big"})
        start = time.perf_counter()
        await cache.invalidate_tags("big")
        spent.append(time.perf_counter() - start)
        assert await cache.get("tagged:99999") is None, number
    await cache.stop()
    return 1000 * statistics.median(spent)


def varco_bus() -> Any:
    from varco_redis import RedisEventBus, RedisEventBusSettings

    return RedisEventBus(RedisEventBusSettings(url=URL, key_prefix=f"{RUN}bus:", timeout=30))


def varco_streams() -> Callable[[], object]:
    async def prepare() -> Step:
        from varco_events import Event

        class Measured(Event):
            __event_type__ = "bench.redis.measured"
            number: int

        bus, done, left = varco_bus(), asyncio.Event(), [0]

        async def handle(_event: Event) -> None:
            left[0] -= 1
            if not left[0]:
                done.set()

        bus.subscribe(Measured, handle, channel="bench")
        await bus.start()

        async def step() -> None:
            done.clear()
            left[0] = EVENTS
            await bus.publish_many([(Measured(number=n), "bench") for n in range(EVENTS)])
            await done.wait()

        return step

    return lazily(prepare)


def faststream_streams() -> Callable[[], object]:
    from faststream.redis import RedisBroker, StreamSub
    from pydantic import BaseModel

    async def prepare() -> Step:
        class Measured(BaseModel):
            number: int

        broker, done, left = RedisBroker(URL, logger=None), asyncio.Event(), [0]
        stream = f"{RUN}faststream"

        @broker.subscriber(
            stream=StreamSub(stream, group="g", consumer="c", max_records=256, polling_interval=10)
        )
        async def handle(message: Measured) -> None:
            left[0] -= 1
            if not left[0]:
                done.set()

        await broker.start()
        await asyncio.sleep(0.5)

        async def step() -> None:
            done.clear()
            left[0] = EVENTS
            # Eight at once: it has no call for several.
            for at in range(0, EVENTS, 8):
                await asyncio.gather(
                    *(
                        broker.publish(Measured(number=n), stream=stream)
                        for n in range(at, min(at + 8, EVENTS))
                    )
                )
            await done.wait()

        return step

    return lazily(prepare)


PUBLISHED_STREAMS = f"""
import asyncio
held = []
async def step():
    from varco_core.event import Event
    if not held:
        from varco_redis import RedisStreamEventBus, RedisEventBusSettings
        class Measured(Event):
            __event_type__ = "bench.redis.measured"
            number: int
        bus = RedisStreamEventBus(
            RedisEventBusSettings(url={URL!r}, channel_prefix={RUN + "published:"!r}),
            batch_size=256,
        )
        done, left = asyncio.Event(), [0]
        async def handle(event):
            left[0] -= 1
            if not left[0]:
                done.set()
        bus.subscribe(Measured, handle, channel="bench")
        await bus.start()
        await asyncio.sleep(1)
        held.append((bus, done, left, Measured))
    bus, done, left, Measured = held[0]
    done.clear()
    left[0] = {EVENTS}
    await bus.publish_many([(Measured(number=n), "bench") for n in range({EVENTS})])
    await asyncio.wait_for(done.wait(), 60)
def make():
    return step
"""


async def _p50(send: Step, seen: asyncio.Event) -> float:
    """The median milliseconds from sending to seeing, with a pause after each."""
    spent = list[float]()
    for _ in range(300):
        seen.clear()
        start = time.perf_counter()
        await send()
        await seen.wait()
        spent.append(time.perf_counter() - start)
        await asyncio.sleep(0.005)
    return 1000 * statistics.median(spent)


async def _latency() -> float:
    from varco_events import Event

    class Latent(Event):
        __event_type__ = "bench.redis.latent"

    bus, seen = varco_bus(), asyncio.Event()

    async def handle(_event: Event) -> None:
        seen.set()

    bus.subscribe(Latent, handle, channel="latency")
    async with bus:
        return await _p50(lambda: bus.publish(Latent(), channel="latency"), seen)


async def _bare_latency() -> float:
    """The same between XADD and XREADGROUP, with nothing around them."""
    key, seen = f"{RUN}bare", asyncio.Event()
    async with redis.asyncio.Redis.from_url(URL) as one, redis.asyncio.Redis.from_url(URL) as two:
        await one.xgroup_create(key, "group", mkstream=True)

        async def read() -> None:
            while True:
                if await two.xreadgroup("group", "reader", {key: ">"}, block=1000):
                    seen.set()

        reader = asyncio.create_task(read())
        found = await _p50(lambda: one.xadd(key, {"event": "{}"}), seen)
        reader.cancel()
        await asyncio.wait([reader])
        return found


async def _clean() -> None:
    async with redis.asyncio.Redis.from_url(URL) as client:
        async for key in client.scan_iter(f"*{RUN}*", count=5000):
            await client.unlink(key)


CASES: list[Case | Published | Figure] = [
    Case("cache: get", "varco-redis", varco_get, ours=True),
    Case("cache: get", "redis-py and JSON", bare("get")),
    Case("cache: get", "aiocache", aiocache("get")),
    Case("cache: get", "cashews", cashews("get")),
    Published("cache: get", published("get"), PUBLISHED, PUBLISHED),
    Case("cache: set", "varco-redis", varco_set, ours=True),
    Case("cache: set", "redis-py and JSON", bare("set")),
    Case("cache: set", "aiocache", aiocache("set")),
    Case("cache: set", "cashews", cashews("set")),
    Published("cache: set", published("set"), PUBLISHED, PUBLISHED),
    Case("cache: 100 keys at once", "varco-redis", varco_get_many, ours=True),
    Case("cache: 100 keys at once", "redis-py MGET and JSON", bare("get_many")),
    Case("cache: hit of a copy", "varco-redis tracked", tracked_get, ours=True),
    Case("cache: hit of a copy", "varco-cache InMemoryCache", memory_get),
    Figure(
        "cache: invalidate a tag of 100,000 keys",
        "varco-redis",
        "ms",
        lambda: asyncio.run(_invalidate_tag()),
        ours=True,
    ),
    Case(f"streams: {EVENTS} events to a handler", "varco-redis", varco_streams, ours=True),
    Case(f"streams: {EVENTS} events to a handler", "faststream", faststream_streams),
    Published(f"streams: {EVENTS} events to a handler", PUBLISHED_STREAMS, PUBLISHED, PUBLISHED),
    Figure(
        "streams: p50 from publish to handler at low load",
        "varco-redis",
        "ms",
        lambda: asyncio.run(_latency()),
        ours=True,
    ),
    Figure(
        "streams: p50 from publish to handler at low load",
        "redis-py, XADD to XREADGROUP",
        "ms",
        lambda: asyncio.run(_bare_latency()),
    ),
]

if __name__ == "__main__":
    try:
        main(CASES, one_core=False)
    finally:
        with contextlib.suppress(OSError):
            asyncio.run(_clean())
