"""Processes that tests kill, freeze and race; each says "ready" when it works.

They are forked off a process that has imported everything: `line` leads to the test.
"""

import asyncio
import logging
import os
import random

import redis.asyncio

from varco_cache import InMemoryCache, LayeredCache
from varco_events import Event
from varco_redis import (
    RedisChannelManager,
    RedisEventBus,
    RedisEventBusSettings,
    RedisLock,
    RedisSettings,
)
from varco_redis.cache import RedisCache, RedisCacheSettings


class Counted(Event):
    __event_type__ = "varco.redis.test.counted"
    number: int
    name: str

    def event_key(self):
        return self.name


def bus_settings(url, prefix):
    return RedisEventBusSettings(url=url, key_prefix=prefix, lease=3.0, retry_delay=0.05)


async def log(line, url, prefix):
    """Handles slowly, and only writes down in which order."""
    async with redis.asyncio.Redis.from_url(url) as client:
        bus = RedisEventBus(bus_settings(url, prefix))

        async def handle(event):
            await asyncio.sleep(0.002)
            await client.rpush(f"{prefix}log", f"{event.name} {event.number}")

        bus.subscribe(Counted, handle, channel="counted")
        async with bus:
            line.send("ready")
            await asyncio.Event().wait()


class Deadly(Event):
    __event_type__ = "varco.redis.test.deadly"
    number: int
    deadly: bool


async def die(line, options, pause):
    """Handles until it dies of something, or until nothing waits."""
    settings = RedisEventBusSettings(**options)
    bus, client = RedisEventBus(settings), redis.Redis.from_url(settings.url)

    async def handle(event):
        client.rpush(f"{settings.key_prefix}begun", event.number)
        if event.deadly:
            os._exit(9)  # as a segmentation fault would
        if pause:
            await asyncio.sleep(pause)  # so that others are under way when one dies
        client.rpush(f"{settings.key_prefix}done", event.number)

    bus.subscribe(Deadly, handle, channel="c")
    async with bus, RedisChannelManager(settings) as manager:
        while await manager.backlog("c"):
            await asyncio.sleep(0.02)


async def race(line, url, prefix, seed, rounds):
    """Reads and writes at random; no read may return what was old when it began."""
    chance = random.Random(seed)
    bare = redis.asyncio.Redis.from_url(url)
    cache = RedisCache(RedisCacheSettings(url=url, key_prefix=f"{prefix}cache:", timeout=30))
    locks = RedisLock(RedisSettings(url=url, timeout=30), key_prefix=f"{prefix}lock:")
    keys = ["a:1", "b:1"]
    changes = [
        lambda key, version: cache.delete(key),
        lambda key, version: cache.set(key, version, tags={f"t{key}"}),
        lambda key, version: cache.invalidate_tags(f"t{key}"),
        lambda key, version: cache.delete_prefix(key[:2]),
        lambda key, version: cache.clear(),
    ]

    async def load(key):
        seen = int(await bare.get(f"{prefix}truth:{key}") or 0)
        await asyncio.sleep(chance.choice([0, 0, 0.002, 0.02]))
        return seen

    async def read():
        key = chance.choice(keys)
        floor = int(await bare.zscore(f"{prefix}acked", key) or 0)
        how = chance.random()
        if how < 0.7:
            found = await cache.get_or_set(key, lambda: load(key), tags={f"t{key}"})
        elif how < 0.85:
            found = await cache.get(key)
        else:
            found = (await cache.get_many(keys)).get(key)
        assert found is None or found >= floor, f"{key}: {found} < {floor}"

    async def write():
        key, change = chance.choice(keys), chance.choice(changes)
        # What a row lock is to writers of a database.
        async with locks.hold(key, ttl=60):
            version = await bare.incr(f"{prefix}truth:{key}")
            await change(key, version)
            await bare.zadd(f"{prefix}acked", {key: version}, gt=True)

    line.send("ready")
    await asyncio.to_thread(line.recv)
    for _ in range(rounds):
        await asyncio.gather(*(write() if chance.random() < 0.2 else read() for _ in range(12)))
    line.send(f"done {cache.stats().loads}")
    for part in (cache, locks):
        await part.stop()
    await bare.aclose()


async def herd(line, url, prefix, kind):
    cache = RedisCache(RedisCacheSettings(url=url, key_prefix=f"{prefix}cache:", timeout=30))
    if kind == "layered":
        cache = LayeredCache(InMemoryCache(), cache, timeout=30)
    bare = redis.asyncio.Redis.from_url(url)

    async def load():
        await asyncio.sleep(0.3)
        return await bare.incr(f"{prefix}loads")

    async with cache:
        line.send("ready")
        await asyncio.to_thread(line.recv)
        found = await asyncio.gather(*(cache.get_or_set("k", load) for _ in range(200)))
        line.send(f"done {sorted(set(found))}")
    await bare.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    role, *arguments = globals()["arguments"]  # the test puts them there
    asyncio.run({f.__name__: f for f in (log, die, race, herd)}[role](*arguments))
