import anyio
import pytest

from varco_cache import CacheDeadlockError, InMemoryCache, NoOpCache

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


@pytest.mark.parametrize("cancellations", [1, 2, 3, 4, 5])
async def test_a_cancelled_leader_costs_one_load_and_nobody_else(cancellations):
    cache, loads, results = InMemoryCache(), Loads(), []
    scopes = []

    async def ask():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            results.append(await cache.get_or_set("k", loading))

    leaders = []

    async def loading():
        leaders.append(scopes[-1] if len(scopes) < 1000 else None)
        return await loads()

    async with anyio.create_task_group() as group:
        current = {}

        async def tracked(number):
            with anyio.CancelScope() as scope:

                async def load():
                    current["leader"] = scope
                    return await loads()

                results.append(await cache.get_or_set("k", load))

        for number in range(1000):
            group.start_soon(tracked, number)
        await anyio.wait_all_tasks_blocked()
        for _ in range(cancellations):
            current["leader"].cancel()
            await anyio.wait_all_tasks_blocked()
        loads.go.set()
    assert loads.begun <= 1 + cancellations
    assert len(results) == 1000 - cancellations
    assert set(results) == {loads.begun}


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
