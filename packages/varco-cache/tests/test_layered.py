import math

import anyio
import pytest

from varco_cache import (
    MISSING,
    CacheConfigError,
    CacheKeyError,
    CacheWarmer,
    InMemoryCache,
    LayeredCache,
    TTLStrategy,
)
from varco_cache.testing import Fault, FaultyCache

pytestmark = pytest.mark.anyio
MODES = ["write-through", "write-around", "write-back"]


class Stack:
    def __init__(self, clock, mode="write-through", **options):
        self.clock = clock
        self.faults = {}
        self.calls = []
        self.near, self.far = InMemoryCache(clock=clock), InMemoryCache(clock=clock)
        self.cache = LayeredCache(
            self.near,
            FaultyCache(self.far, self.fault),
            write_mode=mode,
            retry_after=5,
            clock=clock,
            **options,
        )

    def fault(self, name):
        self.calls.append(name)
        return self.faults.get(name, self.faults.get("*", Fault.NONE))


@pytest.mark.parametrize("mode", MODES)
async def test_a_write_is_read_back_and_promoted(clock, mode):
    stack = Stack(clock, mode)
    await stack.cache.set("k", 1, ttl=100, tags={"t"})
    assert await stack.cache.get("k") == 1
    stack.near.drop("k")
    assert await stack.cache.get("k") == 1
    assert await stack.near.get("k") == 1
    await stack.cache.set("k", 2)
    assert await stack.cache.get("k") == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.HANG_BEFORE])
@pytest.mark.parametrize("how", ["delete", "tag", "prefix", "clear", "set"])
async def test_what_was_deleted_while_the_far_layer_was_away_stays_deleted(clock, mode, fault, how):
    stack = Stack(clock, mode)
    cache = stack.cache
    await cache.set("a:k", "old", tags={"t"})
    await cache.flush()
    assert await stack.far.get("a:k") == "old"
    stack.faults["*"] = fault
    if how == "delete":
        await cache.delete("a:k")
    elif how == "tag":
        await cache.invalidate_tags("t")
    elif how == "prefix":
        await cache.delete_prefix("a:")
    elif how == "clear":
        await cache.clear()
    else:
        await cache.set("a:k", "new")
        assert await cache.get("a:k") == "new"
    stack.near.drop("a:k")
    stack.faults.clear()
    clock.advance(10)
    assert await cache.get("a:k") in ({"new", None} if how == "set" else {None})
    await cache.flush()
    assert await stack.far.get("a:k") != "old"


async def test_more_deletions_than_can_be_remembered_clear_the_layer(clock):
    stack = Stack(clock)
    await stack.cache.set("k", 1)
    stack.faults["*"] = Fault.ERROR_BEFORE
    for number in range(10_001):
        await stack.cache.delete(f"other:{number}")
    stack.near.drop("k")
    stack.faults.clear()
    clock.advance(10)
    assert await stack.cache.get("k") is None
    assert stack.far.size == 0


async def test_a_read_between_the_layers_does_not_promote_what_is_being_deleted(clock):
    stack = Stack(clock)
    await stack.cache.set("k", "old")
    stack.near.drop("k")
    delete = stack.far.delete

    async def read_first(key):
        assert await stack.cache.get("k") == "old"  # not acknowledged yet
        await delete(key)

    stack.far.delete = read_first
    await stack.cache.delete("k")
    assert await stack.cache.get("k", MISSING) is MISSING


@pytest.mark.parametrize("how", ["delete", "tag", "prefix", "clear"])
async def test_a_set_that_began_before_an_invalidation_does_not_land_after_it(clock, how):
    stack = Stack(clock)
    cache, set_many, begun, go = stack.cache, stack.far.set_many, anyio.Event(), anyio.Event()

    async def slow(items, **options):
        begun.set()
        await go.wait()
        await set_many(items, **options)

    async def invalidate():
        if how == "delete":
            await cache.delete("a:k")
        elif how == "tag":
            await cache.invalidate_tags("t")
        elif how == "prefix":
            await cache.delete_prefix("a:")
        else:
            await cache.clear()
        assert await cache.get("a:k", MISSING) is MISSING

    stack.far.set_many = slow
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: cache.set("a:k", "old", tags={"t"}))
        await begun.wait()
        group.start_soon(invalidate)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert await cache.get("a:k", MISSING) is MISSING


async def test_promotion_keeps_tags_and_what_is_left_of_the_ttl(clock):
    stack = Stack(clock, promote_ttl=30)
    await stack.cache.set("k", 1, ttl=100, tags={"t"})
    await stack.cache.set("short", 1, ttl=10)
    await stack.cache.set("endless", 1)
    await stack.near.clear()
    clock.advance(4)
    assert await stack.cache.get_many(["k", "short", "endless"]) == dict.fromkeys(
        ["k", "short", "endless"], 1
    )
    assert await stack.near.ttl("k") == 30
    assert await stack.near.ttl("short") == 6
    assert await stack.near.ttl("endless") == 30
    assert await stack.far.ttl("endless") == math.inf
    await stack.near.invalidate_tags("t")
    assert not await stack.near.exists("k")


async def test_a_tag_invalidated_during_a_promotion_is_not_promoted(clock):
    stack = Stack(clock)
    await stack.cache.set("k", "old", tags={"t"})
    stack.near.drop("k")
    get = stack.far.get_entry

    async def slow(key, **options):
        entry = await get(key, **options)
        stack.far.get_entry = get
        await stack.cache.invalidate_tags("t")
        return entry

    stack.far.get_entry = slow
    assert await stack.cache.get("k") == "old"
    assert await stack.cache.get("k", MISSING) is MISSING


async def test_a_dead_layer_costs_three_failures_and_then_nothing(clock):
    stack = Stack(clock)
    stack.faults["*"] = Fault.ERROR_BEFORE
    for number in range(50):
        assert await stack.cache.get(f"k{number}") is None
    assert len(stack.calls) == 3
    assert stack.cache.stats().errors == 3
    clock.advance(6)
    await stack.cache.get("k")
    assert len(stack.calls) == 4


async def test_many_misses_look_once_in_the_far_layer_and_load_once(clock):
    stack, loads, go = Stack(clock), [], anyio.Event()

    async def load():
        loads.append(1)
        await go.wait()
        return 1

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(stack.cache.get_or_set, "k", load)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert len(loads) == 1
    assert stack.calls.count("get") == 1
    assert await stack.far.get("k") == await stack.near.get("k") == 1


async def test_write_back_writes_on_flush_and_on_stop(clock):
    stack = Stack(clock, "write-back", flush_interval=1000)
    async with stack.cache as cache:
        await cache.set("a", 1)
        await cache.set("b", 2, tags={"t"})
        assert stack.far.size == 0
        await stack.near.clear()
        assert await cache.get("a") == 1
        await cache.invalidate_tags("t")
        await stack.near.clear()
        assert await cache.get("b") is None
        assert await cache.flush() == 0
        assert await stack.far.get_many("ab") == {"a": 1}
        await cache.set("c", 3)
    assert await stack.far.get("c") == 3


async def test_write_back_does_not_uncover_an_older_value(clock):
    stack = Stack(clock, "write-back", flush_interval=1000)
    async with stack.cache as cache:
        await cache.set("k", "old")
        await cache.flush()
        await cache.set("k", "new", ttl=1)
        clock.advance(2)
        assert await cache.get("k") is None
        await cache.flush()
        assert await stack.far.get("k") is None


async def test_a_layer_that_cannot_start_is_started_later(clock):
    stack = Stack(clock)
    line, started = stack.cache.layers[1], []

    async def start():
        started.append(1)
        if len(started) == 1:
            raise ConnectionError

    line.start = start
    async with stack.cache as cache:
        await cache.set("k", 1)
        assert await stack.far.get("k") == 1
    assert len(started) == 2


async def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(CacheConfigError, match="at least one cache"):
        LayeredCache()
    with pytest.raises(CacheConfigError, match="'write-through', 'write-around', 'write-back'"):
        LayeredCache(InMemoryCache(), write_mode="both")
    with pytest.raises(CacheConfigError, match="promote_ttl=0"):
        LayeredCache(InMemoryCache(), promote_ttl=0)


@pytest.mark.parametrize("mode", MODES)
async def test_many_keys_cost_one_call_of_the_far_layer(clock, mode):
    stack = Stack(clock, mode, flush_interval=1000)
    items = {f"k{number}": number for number in range(100)}
    await stack.cache.set_many(items, ttl=50, tags={"t"})
    await stack.cache.flush()
    if mode != "write-back":
        assert stack.calls == ["set"]
    assert await stack.far.get_many(items) == items
    await stack.near.clear()
    stack.calls.clear()
    assert await stack.cache.get_many([*items, "other"]) == items
    assert stack.calls == ["get"]
    assert await stack.near.get_many(items) == items  # promoted, with all that belongs to it
    assert await stack.near.ttl("k1") == 50
    assert await stack.cache.get_many(items) == items
    assert stack.calls == ["get"]
    stack.calls.clear()
    await stack.cache.delete_many(items)
    assert stack.calls == ["delete"]
    assert await stack.cache.get_many(items) == {}


async def test_many_keys_read_while_they_are_deleted_are_not_promoted(clock):
    stack = Stack(clock)
    await stack.cache.set_many({"a": 1, "b": 2}, tags={"t"})
    await stack.near.clear()
    get = stack.far.get_entries

    async def slow(keys, **options):
        entries = await get(keys, **options)
        await stack.cache.delete("a")
        return entries

    stack.far.get_entries = slow
    assert await stack.cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert await stack.near.get_many(["a", "b"]) == {"b": 2}
    assert not stack.near.leases


async def test_writes_of_many_keys_do_not_wait_for_each_other(clock):
    stack = Stack(clock)
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(stack.cache.set_many, {"a": 1, "b": 1})
            group.start_soon(stack.cache.set_many, {"b": 2, "a": 2})
            group.start_soon(stack.cache.delete_many, ["b", "a"])
    assert await stack.near.get_many("ab") in ({}, await stack.far.get_many("ab"))


async def test_no_copy_lives_longer_than_promote_ttl_however_it_got_there(clock):
    stack = Stack(clock, promote_ttl=30)
    await stack.cache.set("written", 1, ttl=100)
    await stack.cache.set_many({"many": 1})

    async def load():
        return 1

    await stack.cache.get_or_set("loaded", load, ttl=100)
    for key in ("written", "many", "loaded"):
        assert await stack.near.ttl(key) == 30
    assert await stack.far.ttl("written") == await stack.far.ttl("loaded") == 100


async def test_what_does_not_end_gets_the_default_of_the_layer_it_is_promoted_to(clock):
    near, far = InMemoryCache(strategy=TTLStrategy(60), clock=clock), InMemoryCache(clock=clock)
    cache = LayeredCache(near, far, clock=clock)
    await far.set("endless", 1)
    await far.set("long", 1, ttl=100)
    assert await cache.get_many(["endless", "long"]) == {"endless": 1, "long": 1}
    assert await near.ttl("endless") == 60
    assert await near.ttl("long") == 100


class Choosy(InMemoryCache):
    """Holds numbers under string keys, and says so of anything else."""

    local = reliable = False

    async def set(self, key, value, **options):
        self._check(key)
        if not isinstance(value, int):
            raise CacheKeyError("value", value, "give a number")
        await super().set(key, value, **options)

    async def delete(self, key):
        self._check(key)
        await super().delete(key)

    def _check(self, key):
        if not isinstance(key, str):
            raise CacheKeyError("key", key, "use a string")


async def test_what_a_layer_cannot_hold_is_an_error_and_no_sign_that_it_is_down(clock):
    stack = Stack(clock)
    stack.far = Choosy(clock=clock)
    stack.cache.layers[1].cache = stack.far
    await stack.cache.set("k", 1)
    for _ in range(5):
        with pytest.raises(CacheKeyError, match="give a number"):
            await stack.cache.set("k", "text")
        with pytest.raises(CacheKeyError, match="use a string"):
            await stack.cache.delete(1)
    assert await stack.cache.get("k") == await stack.far.get("k") == 1
    assert stack.cache.stats().errors == 0


async def test_a_key_that_cannot_be_there_does_not_keep_the_layer_from_returning(clock):
    stack = Stack(clock)
    stack.far = Choosy(clock=clock)
    stack.cache.layers[1].cache = stack.far
    await stack.cache.set_many({"a": 1, "b": 2})
    stack.faults["*"] = Fault.ERROR_BEFORE
    await stack.cache.delete(1)
    await stack.cache.delete("a")
    stack.faults.clear()
    clock.advance(10)
    await stack.near.clear()
    assert await stack.cache.get_many(["a", "b"]) == {"b": 2}


async def test_a_cancelled_start_leaves_nothing_open(clock):
    stack = Stack(clock)

    class Slow(CacheWarmer):
        async def warm(self, cache):
            await anyio.sleep_forever()

    stack.cache.add_warmer(Slow())
    with anyio.move_on_after(1):
        async with stack.cache:
            raise AssertionError("it did not wait for the warmer")
    assert not stack.near.spawn(anyio.sleep_forever)
