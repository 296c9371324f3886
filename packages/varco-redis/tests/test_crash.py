"""Processes that are killed and frozen, and a Redis that is killed."""

import asyncio
import contextlib
import importlib.util
import multiprocessing
import os
import runpy
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from redis_waiting import has, until

from varco_cache import InMemoryCache, LayeredCache
from varco_redis import RedisEventBus, RedisUnavailableError
from varco_redis.cache import RedisCache, RedisCacheSettings

# Limits are for hangs: they are long, for a machine that has much else to do.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

# HYPOTHESIS_PROFILE=deep: the figures of the documentation.
DEEP = settings.get_profile(settings._current_profile).max_examples > 1000
FILE = Path(__file__).with_name("_processes.py")
FORKS = multiprocessing.get_context("forkserver")
# Importing these takes longer than most processes live.
FORKS.set_forkserver_preload(["pytest", "varco_redis.cache"])


def _load():
    spec = importlib.util.spec_from_file_location("varco_redis_test_processes", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


roles = _load()


class Process:
    """One of the processes; what it says comes from `hear`."""

    def __init__(self, role, *arguments):
        self._line, line = FORKS.Pipe()
        self._process = FORKS.Process(
            target=runpy.run_path,
            args=(str(FILE), {"arguments": (role, line, *arguments)}, "__main__"),
        )
        self._process.start()
        line.close()

    async def hear(self):
        return await asyncio.wait_for(asyncio.to_thread(self._line.recv), 300)

    def go(self):
        self._line.send("go")

    def signal(self, number):
        os.kill(self._process.pid, number)

    async def kill(self):
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        self._process.close()
        self._line.close()


async def spawn(*command):
    process = Process(*command)
    assert await process.hear() == "ready"
    return process


@contextlib.asynccontextmanager
async def running(*commands):
    """The processes of these commands; what is left of them is killed at the end."""
    alive = list(await asyncio.gather(*(spawn(*command) for command in commands)))
    try:
        yield alive
    finally:
        for process in alive:
            await process.kill()


def events(count):
    return [roles.Counted(number=n, name=f"key {n % 20}") for n in range(count)]


async def first_times(client, log):
    """What was handled by key, in the order in which it first was, and how often in all."""
    lines = [line.decode().rpartition(" ") for line in await client.lrange(log, 0, -1)]
    firsts = defaultdict(dict)
    for name, _, number in lines:
        firsts[name].setdefault(int(number))
    return {name: list(numbers) for name, numbers in firsts.items()}, len(lines)


async def test_a_frozen_consumer_does_no_harm_when_it_thaws(url, prefix, client):
    async with running(*[("log", url, prefix)] * 4) as alive:
        base = f"{prefix}{{counted}}:"

        async def shared():
            owners = await client.hgetall(f"{base}owners:default")
            return len({held.split()[0] for name, held in owners.items() if name != b"fence"}) == 4

        await until(shared)
        bus = RedisEventBus(roles.bus_settings(url, prefix))
        every = events(600)
        for at in range(0, len(every), 100):
            await bus.publish_many([(event, "counted") for event in every[at : at + 100]])
            if at == 200:
                alive[0].signal(signal.SIGSTOP)
        await bus.stop()

        async def handled():
            firsts, _ = await first_times(client, f"{prefix}log")
            return sum(map(len, firsts.values())) == len(every)

        await until(handled)  # although one of them is frozen
        await until(lambda: has(client.zcard(f"{base}members:default"), 3))
        alive[0].signal(signal.SIGCONT)

        async def back():  # it acknowledged, and found out that it owns nothing
            return await client.zcard(f"{base}members:default") == 4

        await until(back)
        bus = RedisEventBus(roles.bus_settings(url, prefix))
        await bus.publish_many(
            [(roles.Counted(number=n, name=f"key {n % 20}"), "counted") for n in range(600, 800)]
        )
        await bus.stop()
        every += [None] * 200
        await until(handled)
    firsts, count = await first_times(client, f"{prefix}log")
    assert all(numbers == sorted(numbers) for numbers in firsts.values())
    assert count - len(every) <= 64  # no more than it had handlers running


async def test_redis_killed_and_restarted_loses_no_acknowledged_event(make_server):
    server = make_server("--appendonly", "yes", "--appendfsync", "always")
    bus = RedisEventBus(roles.bus_settings(server.url, "r:"))
    handled, acknowledged, stop = set(), [], asyncio.Event()
    bus.subscribe(roles.Counted, lambda event: handled.add(event.number), channel="counted")

    async def publish(first):
        number = first
        while not stop.is_set():
            with contextlib.suppress(RedisUnavailableError):
                await bus.publish(roles.Counted(number=number, name="k"), channel="counted")
                acknowledged.append(number)
            number += 10
            await asyncio.sleep(0)

    async with bus:
        tasks = [asyncio.create_task(publish(first)) for first in range(10)]
        for _ in range(3):
            seen = len(acknowledged)
            await until(lambda seen=seen: _true(len(acknowledged) > seen + 100))
            server.kill()
            await asyncio.sleep(0.2)
            server.start()
        seen = len(acknowledged)
        await until(lambda: _true(len(acknowledged) > seen + 100))
        stop.set()
        await asyncio.gather(*tasks)
        await until(lambda: _true(set(acknowledged) <= handled))
    assert len(acknowledged) > 400


async def _true(value):
    return value


@pytest.mark.parametrize("options", [("--appendonly", "yes"), ()], ids=["aof", "nothing kept"])
async def test_callers_of_a_layered_cache_see_no_outage_and_nothing_old(make_server, options):
    server = make_server(*options)
    far = RedisCache(RedisCacheSettings(url=server.url))
    near = InMemoryCache()
    truth, stop, reads = {"k": 0}, asyncio.Event(), 0
    acked = 0

    async def load():
        seen = truth["k"]
        await asyncio.sleep(0.001)
        return seen

    async with LayeredCache(near, far, retry_after=0.2) as cache:

        async def read():
            nonlocal reads
            while not stop.is_set():
                floor = acked
                near.drop("k")
                found = await cache.get_or_set("k", load, ttl=600)
                assert found >= floor
                reads += 1
                await asyncio.sleep(0)

        async def write():
            nonlocal acked
            while not stop.is_set():
                truth["k"] += 1
                version = truth["k"]
                await cache.delete("k")
                acked = version
                await asyncio.sleep(0.003)

        tasks = [asyncio.create_task(work()) for work in (read, read, write)]
        for _ in range(3):
            before = reads
            await until(lambda before=before: _true(reads > before + 50))
            server.kill()
            before = reads
            await until(lambda before=before: _true(reads > before + 20))
            server.start()
        before = far.stats().hits
        await until(lambda: _true(far.stats().hits > before))
        stop.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("seed", range(50 if DEEP else 2))
async def test_two_processes_never_read_what_was_invalidated(url, prefix, seed):
    rounds = 40 if DEEP else 20
    commands = [("race", url, prefix, f"{seed}-{number}", rounds) for number in range(2)]
    async with running(*commands) as alive:
        for process in alive:
            process.go()
        said = [await process.hear() for process in alive]
    assert [text.split()[0] for text in said] == ["done"] * 2


@pytest.mark.parametrize("kind", ["redis", "layered"])
async def test_a_thundering_herd_of_two_processes_makes_one_load(url, prefix, client, kind):
    async with running(*[("herd", url, prefix, kind)] * 2) as alive:
        for process in alive:
            process.go()
        said = [await process.hear() for process in alive]
    assert said == ["done [1]"] * 2
    assert await client.get(f"{prefix}loads") == b"1"
