"""No read that starts after an acknowledged write or invalidation sees what was before it.

Of writes that overlap, no order is asked of a cache that does not promise one: a `set` may take
effect after an invalidation that began later and returned earlier. What began after it returned
ends it nevertheless.
"""

import math
import random
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varco_cache import (
    MISSING,
    CacheInvalidated,
    EventDrivenStrategy,
    GuardedCache,
    InMemoryCache,
    LayeredCache,
)
from varco_cache.testing import Fault, FaultyCache, ManualClock

KEYS = ("a:1", "a:2")
WRITES = ("delete", "set", "tag", "prefix", "clear", "strategy", "event")
key = st.sampled_from(KEYS)
step = st.one_of(
    st.tuples(st.just("begin"), key, st.booleans()),
    st.tuples(st.just("finish"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("write"), key, st.sampled_from(WRITES)),
    st.tuples(st.just("read"), key, st.just(0)),
    st.tuples(st.just("drop_near"), key, st.just(0)),
    st.tuples(st.just("refresh"), key, st.just(0)),
    st.tuples(st.just("fault"), st.sampled_from(list(Fault)), st.just(0)),
    st.tuples(st.just("heal"), st.just(0), st.just(0)),
)


# A part of the profile's examples, since there are fourteen such tests: 20 by default.
SOME = settings(max_examples=max(5, settings().max_examples // 5))


# The order of tasks on trio.
schedule = st.integers(0, 2**32 - 1)
STORMS = range(max(3, settings().max_examples // 1000))


@dataclass(frozen=True)
class Value:
    """A version of the source, which a loader read or a `set` carried."""

    version: int
    loaded: bool


class World:
    """A source of truth with versions, and a cache in front of it."""

    def __init__(self, kind):
        self.clock = ManualClock()
        self.strategy = EventDrivenStrategy()
        self.fault = Fault.NONE
        self.near = InMemoryCache(strategy=self.strategy, clock=self.clock)
        far = InMemoryCache(clock=self.clock)
        line = FaultyCache(far, lambda name: self.fault)
        if kind == "memory":
            self.cache = self.near
        elif kind == "guarded":
            self.cache = GuardedCache(line, clock=self.clock)
        else:
            self.cache = LayeredCache(self.near, line, write_mode=kind, clock=self.clock)
        self.far = far
        self.version = dict.fromkeys(KEYS, 0)
        self.acked = dict.fromkeys(KEYS, 0)
        # The newest write that had begun when the `set` of a version returned, where such a write
        # may come before the `set`.
        self.overlapped = {}
        self.takes_turns = kind != "guarded"
        self.pending = []

    async def load(self, key, go=None):
        seen = self.version[key]
        if go is not None:
            await go.wait()
        return Value(seen, loaded=True)

    def fresh(self, key, found, floor):
        """Whether no write up to `floor`, which were acknowledged, ends what was found."""
        newest = found.version
        if not found.loaded and not self.takes_turns:
            newest = self.overlapped.get((key, found.version), math.inf)
        return newest >= floor

    async def read(self, key, go=None):
        floor = self.acked[key]
        found = await self.cache.get_or_set(key, lambda: self.load(key, go), tags={"t"})
        assert self.fresh(key, found, floor), (key, found, floor)

    async def write(self, key, how):
        if how in {"strategy", "event"} and self.cache is not self.near:
            how = "delete"
        touched = KEYS if how in {"tag", "prefix", "clear"} else (key,)
        for one in touched:
            self.version[one] += 1
        versions = dict(self.version)
        if how == "delete":
            await self.cache.delete(key)
        elif how == "set":
            await self.cache.set(key, Value(versions[key], loaded=False), tags={"t"})
            self.overlapped[key, versions[key]] = self.version[key]
        elif how == "tag":
            await self.cache.invalidate_tags("t")
        elif how == "prefix":
            await self.cache.delete_prefix("a:")
        elif how == "clear":
            await self.cache.clear()
        elif how == "event":
            await self.strategy.consumer.on_invalidated(CacheInvalidated(keys=[key]))
        else:
            self.strategy.invalidate(key)
        for one in touched:
            self.acked[one] = max(self.acked[one], versions[one])

    async def do(self, group, name, first, second):
        if name == "begin":
            go = anyio.Event()
            self.pending.append(go)
            group.start_soon(self.read, first, go)
            if second:
                await anyio.lowlevel.checkpoint()
        elif name == "finish" and self.pending:
            self.pending.pop(first % len(self.pending)).set()
        elif name == "write":
            group.start_soon(self.write, first, second)
        elif name == "read":
            floor = self.acked[first]
            found = await self.cache.get(first, MISSING)
            assert found is MISSING or self.fresh(first, found, floor), (first, found, floor)
        elif name == "drop_near":
            self.near.drop(first)
        elif name == "refresh":
            floor = self.version[first]
            found = await self.cache.load(
                first, lambda: self.load(first), tags={"t"}, join=False, look=False
            )
            assert self.fresh(first, found, floor), (first, found, floor)
        elif name == "fault":
            self.fault = first
        elif name == "heal":
            self.fault = Fault.NONE
            self.clock.advance(10)

    async def run(self, steps, *, faults):
        async with anyio.create_task_group() as group:
            for name, first, second in steps:
                if faults or name != "fault":
                    await self.do(group, name, first, second)
                await anyio.lowlevel.checkpoint()
            self.fault = Fault.NONE
            self.clock.advance(10)
            for go in self.pending:
                go.set()
        # All is quiet and the line is good: what is read is not older than the last write.
        for key in KEYS:
            self.near.drop(key)
            await self.do(None, "read", key, 0)


@pytest.mark.parametrize(
    "kind", ["memory", "guarded", "write-through", "write-around", "write-back"]
)
def test_invalidation_is_linearizable(run, kind):
    @SOME
    @given(st.lists(step, max_size=30), schedule)
    def check(steps, seed):
        run(lambda: World(kind).run(steps, faults=False), seed=seed)

    check()


@pytest.mark.parametrize("kind", ["guarded", "write-through", "write-around", "write-back"])
def test_a_line_that_dies_hangs_and_returns_costs_no_error_and_no_old_value(run, kind):
    @SOME
    @given(st.lists(step, max_size=30), schedule)
    def check(steps, seed):
        run(lambda: World(kind).run(steps, faults=True), seed=seed)

    check()


@pytest.mark.parametrize("seed", STORMS)
@pytest.mark.parametrize("kind", ["guarded", "write-through", "write-around", "write-back"])
def test_a_line_that_dies_and_returns_under_load(run, kind, seed):
    """Twenty callers go on, while the line changes its mind at any moment."""
    rng = random.Random(seed)

    async def work(world, steps):
        for _ in range(steps):
            key, how = rng.choice(KEYS), rng.choice(["read", "read", "write", "refresh"])
            if how == "write":
                await world.write(key, rng.choice(WRITES))
            else:
                await world.do(None, how, key, 0)
                await world.read(key)
            await anyio.sleep(rng.random())

    async def storm(world):
        while True:
            world.fault = rng.choice(list(Fault))
            await anyio.sleep(3 * rng.random())
            world.fault = Fault.NONE
            world.clock.advance(rng.choice([0, 6]))
            await anyio.sleep(rng.random())

    async def check():
        world = World(kind)
        async with anyio.create_task_group() as storms:
            storms.start_soon(storm, world)
            async with anyio.create_task_group() as workers:
                for _ in range(20):
                    workers.start_soon(work, world, 25)
            storms.cancel_scope.cancel()
        await world.run([], faults=False)
        assert world.cache.stats().errors > 0

    run(check, seed=seed)


@pytest.mark.anyio
async def test_a_load_that_was_overtaken_while_the_line_was_down_is_not_shared(clock):
    fault = Fault.ERROR_BEFORE
    line = FaultyCache(InMemoryCache(clock=clock), lambda name: fault)
    cache = GuardedCache(line, clock=clock)
    go, begun, got = anyio.Event(), [], []

    async def load():
        begun.append(None)
        mine = len(begun)
        await go.wait()
        return mine

    async def ask():
        got.append(await cache.get_or_set("k", load))

    async with anyio.create_task_group() as group:
        for calls in (1, 2):
            group.start_soon(ask)
            with anyio.fail_after(60):
                while len(begun) < calls:
                    await anyio.sleep(1)
            await cache.delete("k")
        go.set()
    assert sorted(got) == [1, 2]
