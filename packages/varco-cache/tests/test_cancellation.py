"""Cancelled at the worst moment, a caller ends and nobody else waits for ever."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from varco_cache import GuardedCache, InMemoryCache, LayeredCache
from varco_cache.testing import Fault, FaultyCache

pytestmark = pytest.mark.anyio


class Gate(InMemoryCache):
    """The writes wait for `go`; the first that goes on does `first` and ends in that very step."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.go = anyio.Event()
        self.first = None

    async def set_many(self, items, **options):
        await self.go.wait()
        await super().set_many(items, **options)
        first, self.first = self.first, None
        if first is not None:
            first()


async def rounds(count=5):
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("outer_comes", ["first", "last"])
async def test_a_time_limit_that_is_reached_in_the_same_round_swallows_no_cancellation(
    clock, outer_comes
):
    line = FaultyCache(InMemoryCache(clock=clock), lambda name: Fault.HANG_BEFORE)
    cache = GuardedCache(line, timeout=0.5, clock=clock)
    loop = asyncio.get_running_loop()
    task = loop.create_task(cache.delete("k"))
    await rounds()
    # The loop runs what is due within its resolution of time, 1e-9, in one round.
    sooner = -1e-10 if outer_comes == "first" else 1e-10
    loop.call_later(0.5 + sooner, task.cancel)
    await asyncio.wait([task])
    assert task.cancelled()
    assert cache.journal  # it may have been done or not


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_time_limit_that_is_reached_inside_an_outer_one_is_a_failure(clock):
    line = FaultyCache(InMemoryCache(clock=clock), lambda name: Fault.HANG_BEFORE)
    cache = GuardedCache(line, timeout=0.5, clock=clock)
    with anyio.fail_after(5):
        assert await cache.get("k", 7) == 7
    assert cache.stats().errors == 1


@pytest.mark.parametrize("mode", ["write-through", "write-around"])
async def test_a_key_is_free_although_one_who_waits_for_it_was_just_cancelled(clock, mode):
    far = Gate(clock)
    cache = LayeredCache(InMemoryCache(clock=clock), far, write_mode=mode, clock=clock)
    waits = anyio.CancelScope()
    far.first = waits.cancel

    async def write_twice():
        await cache.set("k", 1)
        await cache.set("k", 3)  # the one who waits has not seen yet that it is cancelled

    async def wait():
        with waits:
            await cache.set("k", 2)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(write_twice)
            await rounds()
            group.start_soon(wait)
            await rounds()
            far.go.set()
    assert waits.cancelled_caught
    assert await cache.get("k") == 3


@pytest.mark.parametrize("later", range(4))
async def test_one_who_is_cancelled_as_the_key_becomes_free_hands_it_on(clock, later):
    far = Gate(clock)
    cache = LayeredCache(InMemoryCache(clock=clock), far, clock=clock)
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def write(value):
        with scopes[value]:
            await cache.set("k", value)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for value in range(3):
                group.start_soon(write, value)
                await rounds()
            far.go.set()
            await rounds(later)
            scopes[1].cancel()
    assert await cache.get("k") == 2
