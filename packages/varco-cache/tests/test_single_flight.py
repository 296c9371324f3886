import asyncio
import functools
import gc
import io
import math
import tempfile

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from varco_cache import (
    CacheConfigError,
    CacheDeadlockError,
    CacheUsageError,
    CacheWaitTimeoutError,
    GuardedCache,
    InMemoryCache,
    LayeredCache,
    NoOpCache,
    cached,
)
from varco_cache._flight import loading
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
    assert loading.get() is None


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


def cyclic(gather):
    """Data with a cycle, asked for in a child of the loader."""

    @cached(InMemoryCache())
    async def tree(node):
        return [node, await gather(tree, {"a": "b", "b": "a"}[node])]

    return tree


async def by_await(func, arg):
    return await func(arg)


async def by_task_group(func, arg):
    results = []

    async def run():
        results.append(await func(arg))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
    return results


async def by_grandchild(func, arg):
    return await by_task_group(functools.partial(by_task_group, func), arg)


async def by_thread(func, arg):
    return await anyio.to_thread.run_sync(anyio.from_thread.run, func, arg)


async def by_gather(func, arg):
    return await asyncio.gather(func(arg))


async def by_thread_with_a_loop(func, arg):
    async def run():
        return await func(arg)

    return await asyncio.to_thread(asyncio.run, run())


def deadlocks(error):
    if isinstance(error, BaseExceptionGroup):
        return all(map(deadlocks, error.exceptions))
    return isinstance(error, CacheDeadlockError)


@pytest.mark.parametrize(
    "gather", [by_await, by_task_group, by_grandchild], ids=lambda func: func.__name__
)
async def test_a_loader_that_waits_for_itself_by_a_child_is_told(gather):
    with pytest.raises(Exception) as caught, anyio.fail_after(5):
        await cyclic(gather)("a")
    assert deadlocks(caught.value)
    assert loading.get() is None


@pytest.mark.parametrize(
    ("gather", "backend"),
    [
        (by_thread, "asyncio"), (by_thread, "trio"), (by_gather, "asyncio"),
        (by_thread_with_a_loop, "asyncio"),
    ],
)  # fmt: skip
def test_likewise_in_real_time(gather, backend):
    async def main():
        with anyio.fail_after(5):
            await cyclic(gather)("a")

    with pytest.raises(CacheDeadlockError):
        anyio.run(main, backend=backend)


async def test_children_that_wait_for_each_others_loads_are_told():
    """Each loader waits for the other's in a task of its own."""
    here, there, both = InMemoryCache(), InMemoryCache(), anyio.Event()
    errors = []

    async def load_here():
        await both.wait()
        return await by_task_group(functools.partial(there.get_or_set, loader=load_there), "b")

    async def load_there():
        both.set()
        return await by_task_group(functools.partial(here.get_or_set, loader=load_here), "a")

    async def ask(cache, key, loader):
        try:
            await cache.get_or_set(key, loader)
        except Exception as error:
            errors.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, here, "a", load_here)
            group.start_soon(ask, there, "b", load_there)
    assert len(errors) == 2
    assert all(map(deadlocks, errors))


async def test_children_of_a_loader_may_share_a_load():
    cache = InMemoryCache()

    async def leaf():
        await anyio.sleep(0.01)
        return "leaf"

    async def load():
        results = []

        async def ask():
            results.append(await cache.get_or_set("leaf", leaf))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        return results

    assert await cache.get_or_set("tree", load) == ["leaf"] * 3
    assert cache.stats().loads == 2


async def test_what_renews_behind_the_scenes_is_no_part_of_a_load(clock):
    async with InMemoryCache(clock=clock) as cache:
        renewed = []

        @cached(cache)
        async def outer():
            return await inner()

        @cached(cache, ttl=10, stale_while_revalidate=10)
        async def inner():
            if renewed:
                renewed.append(await outer())
            return len(renewed)

        assert await inner() == 0
        clock.advance(12)
        renewed.append("now")
        assert await outer() == 0
        await anyio.wait_all_tasks_blocked()
        assert renewed == ["now", 0]


def test_how_long_a_call_waits_is_checked_when_it_is_set(no_span):
    cache = InMemoryCache()
    with pytest.raises(CacheConfigError, match="wait_timeout"):
        cache.wait_timeout = no_span
    assert cache.wait_timeout == 300


def test_a_cache_and_its_views_have_one_wait_timeout(least_of_any_kind, least_backend):
    least = least_backend()
    alien = GuardedCache(least_of_any_kind())
    for cache in (InMemoryCache(), least, alien):
        views = [cache, cache.namespace("n"), GuardedCache(cache), cache.guarded()]
        for number, one in enumerate(views):
            one.wait_timeout = number + 1
            assert {view.wait_timeout for view in views} == {number + 1}
        cache.wait_timeout = math.inf
    assert {InMemoryCache().wait_timeout, least_backend().wait_timeout} == {300}


async def test_a_load_waits_no_longer_for_another_than_a_call_does():
    cache, begun, never = InMemoryCache(), anyio.Event(), anyio.Event()
    cache.wait_timeout = 0.05

    async def stuck():
        begun.set()
        await never.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(cache.get_or_set, "stuck", stuck)
        await begun.wait()
        with pytest.raises(CacheWaitTimeoutError):
            await cache.get_or_set("outer", lambda: cache.get_or_set("stuck", stuck))
        group.cancel_scope.cancel()


@pytest.mark.parametrize("make", [InMemoryCache, lambda: LayeredCache(InMemoryCache())])
def test_a_loader_that_waits_for_itself_by_a_thread_without_context_waits_so_long(make):
    cache = make()
    cache.wait_timeout = 0.1

    @cached(cache)
    async def load():
        loop = asyncio.get_running_loop()

        def ask():
            return asyncio.run_coroutine_threadsafe(load(), loop).result(30)

        return await loop.run_in_executor(None, ask)

    with pytest.raises(CacheWaitTimeoutError, match=r"in 0\.1 s .* undecorated function") as caught:
        asyncio.run(load())
    assert (caught.value.code, caught.value.http_status) == ("cache.wait_timeout", 503)


def test_a_loop_that_was_closed_in_mid_load_leaves_no_flight_behind():
    cache, calls, kept = InMemoryCache(), [], []

    async def load():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "value"

    async def begin():
        kept.append(asyncio.ensure_future(cache.get_or_set("k", load)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()

    async def again():
        assert not cache.loading("k")
        async with asyncio.timeout(5):
            return await cache.get_or_set("k", load)

    assert calls == [1]
    assert asyncio.run(again()) == "value"
    kept.pop()._log_destroy_pending = False
    gc.collect()
    assert asyncio.run(again()) == "value"
    assert calls == [1, 1]
    assert not cache.leases


async def awaitable():
    return 1


async def agen():
    yield 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: (n for n in "ab"), lambda: iter("ab"), lambda: map(str, "ab"), awaitable, agen,
        lambda: io.BytesIO(b"x"), tempfile.NamedTemporaryFile,
    ],
)  # fmt: skip
async def test_what_can_be_used_once_is_refused(make):
    cache, made = InMemoryCache(), []

    @cached(cache)
    async def load():
        made.append(make())
        return made[-1]

    for _ in range(2):
        with pytest.raises(CacheUsageError, match="only once"):
            await load()
    assert cache.size == 0
    for one in made:
        if hasattr(one, "close"):
            one.close()
