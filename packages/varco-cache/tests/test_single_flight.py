import anyio
import pytest

from varco_cache import CacheDeadlockError, InMemoryCache, LayeredCache, NoOpCache, cached
from varco_cache._flight import _waits
from varco_cache.testing import Fault, FaultyCache

pytestmark = pytest.mark.anyio


class Loads:
    """A loader that waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = anyio.Event()

    async def __call__(self):
        self.begun += 1
        number = self.begun
        await self.go.wait()
        return number


@pytest.mark.parametrize("make", [InMemoryCache, NoOpCache])
async def test_a_thousand_misses_make_one_load(make):
    cache, loads, results = make(), Loads(), []

    async def ask():
        results.append(await cache.get_or_set("k", loads))

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        loads.go.set()
    assert loads.begun == 1
    assert results == [1] * 1000


def over_a_line():
    return FaultyCache(InMemoryCache(), lambda name: Fault.NONE)


@pytest.mark.parametrize("cancellations", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "make",
    [InMemoryCache, over_a_line, lambda: LayeredCache(InMemoryCache(), over_a_line())],
    ids=["memory", "line", "layered"],
)
async def test_a_cancelled_leader_costs_one_load_and_nobody_else(make, cancellations):
    cache, loads, results, leader = make(), Loads(), [], []

    async def ask():
        with anyio.CancelScope() as scope:

            async def load():
                leader.append(scope)
                return await loads()

            results.append(await cache.get_or_set("k", load))

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        for _ in range(cancellations):
            leader.pop().cancel()
            await anyio.wait_all_tasks_blocked()
        loads.go.set()
    assert loads.begun <= 1 + cancellations
    assert results == [loads.begun] * (1000 - cancellations)
    assert await cache.get("k") == loads.begun


async def test_a_cancelled_caller_of_a_cached_function_costs_the_others_nothing():
    loads, results = Loads(), []

    @cached(LayeredCache(InMemoryCache(), over_a_line()))
    async def get(number):
        return await loads()

    async def ask():
        results.append(await get(1))

    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as first:
            first.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            for _ in range(100):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        loads.go.set()
    assert loads.begun == 2
    assert results == [2] * 100


async def test_a_failure_reaches_all_who_wait_and_is_not_cached():
    cache, go, calls, errors = InMemoryCache(), anyio.Event(), [], []

    async def fail():
        calls.append(1)
        await go.wait()
        raise ValueError("no")

    async def ask():
        try:
            await cache.get_or_set("k", fail)
        except ValueError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert len(calls) == 1
    assert len(errors) == 100
    depth, frame = 0, errors[0].__traceback__
    while frame is not None:
        depth, frame = depth + 1, frame.tb_next
    assert depth < 12

    async def work():
        return "fine"

    assert await cache.get_or_set("k", work) == "fine"


@pytest.mark.parametrize("invalidate", ["delete", "set", "tag", "prefix", "clear"])
async def test_what_is_invalidated_while_it_loads_is_neither_stored_nor_joined(invalidate):
    cache, first, second = InMemoryCache(), Loads(), Loads()
    second.go.set()
    results = {}

    async def ask(name, loads):
        results[name] = await cache.get_or_set("k:1", loads, tags={"t"})

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "old", first)
        await anyio.wait_all_tasks_blocked()
        if invalidate == "delete":
            await cache.delete("k:1")
        elif invalidate == "set":
            await cache.set("k:1", "set")
        elif invalidate == "tag":
            await cache.invalidate_tags("t")
        elif invalidate == "prefix":
            await cache.delete_prefix("k:")
        else:
            await cache.clear()
        second.begun = 100
        await ask("new", second)
        first.go.set()
    assert results["old"] == 1
    assert results["new"] == ("set" if invalidate == "set" else 101)
    assert await cache.get("k:1") == results["new"]


async def test_a_loader_that_waits_for_itself_is_told():
    cache = InMemoryCache()

    async def load():
        return await cache.get_or_set("k", load)

    with pytest.raises(CacheDeadlockError, match="'k'"):
        await cache.get_or_set("k", load)


async def test_a_refresh_overtakes_the_load_that_began_before():
    cache, slow = InMemoryCache(), Loads()

    async def fresh():
        return "fresh"

    async with anyio.create_task_group() as group:
        group.start_soon(cache.get_or_set, "k", slow)
        await anyio.wait_all_tasks_blocked()
        assert await cache.load("k", fresh, join=False, look=False) == "fresh"
        slow.go.set()
    assert await cache.get("k") == "fresh"


async def test_loaders_that_wait_for_each_other_are_told():
    here, there, both = InMemoryCache(), InMemoryCache(), anyio.Event()
    errors = []

    async def load_here():
        await both.wait()
        return await there.get_or_set("b", load_there)

    async def load_there():
        both.set()
        return await here.get_or_set("a", load_here)

    async def ask(cache, key, loader):
        try:
            await cache.get_or_set(key, loader)
        except CacheDeadlockError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, here, "a", load_here)
        group.start_soon(ask, there, "b", load_there)
    assert len(errors) == 2
    assert not _waits


async def test_many_who_come_after_an_invalidation_over_a_line_make_one_load():
    line, old, new = over_a_line(), Loads(), Loads()
    cache, results = line.guarded(), []

    async def ask():
        results.append(await cache.get_or_set("k", new))

    async with anyio.create_task_group() as group:
        group.start_soon(cache.get_or_set, "k", old)
        await anyio.wait_all_tasks_blocked()
        await line.cache.delete("k")  # as another process does
        for _ in range(100):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        old.go.set()
        new.go.set()
    assert new.begun == 1
    assert results == [1] * 100
