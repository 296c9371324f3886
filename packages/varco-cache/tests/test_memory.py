import datetime as dt
import itertools
import math
import random

import anyio
import anyio.lowlevel
import pytest

from varco_cache import (
    MISSING,
    CacheConfigError,
    CacheKeyError,
    CacheSettings,
    CompositeStrategy,
    ExplicitStrategy,
    InMemoryCache,
    InvalidationStrategy,
    TaggedStrategy,
    TTLStrategy,
)
from varco_cache._eviction import FifoPolicy

pytestmark = pytest.mark.anyio


async def test_a_cached_none_is_not_a_miss():
    cache = InMemoryCache()
    await cache.set("k", None)
    assert await cache.get("k", MISSING) is None
    assert await cache.get("other", MISSING) is MISSING
    assert await cache.get("other") is None
    assert await cache.exists("k")
    assert not await cache.exists("other")


async def test_an_entry_dies_at_its_ttl_without_any_strategy(clock):
    cache = InMemoryCache(clock=clock)
    await cache.set("k", 1, ttl=10)
    await cache.set("forever", 2)
    assert await cache.ttl("k") == 10
    assert await cache.ttl("forever") == math.inf
    assert await cache.ttl("none") is None
    clock.advance(9.999)
    assert await cache.get("k") == 1
    clock.advance(0.001)
    assert await cache.get("k", MISSING) is MISSING
    assert not await cache.exists("k")
    assert await cache.get("forever") == 2


async def test_a_strategy_gives_the_default_ttl_and_a_set_may_differ(clock):
    cache = InMemoryCache(strategy=TTLStrategy(default_ttl=5), clock=clock)
    await cache.set("default", 1)
    await cache.set("longer", 2, ttl=50)
    await cache.set("forever", 3, ttl=math.inf)
    clock.advance(5)
    assert await cache.get_many(["default", "longer", "forever"]) == {"longer": 2, "forever": 3}


@pytest.mark.parametrize("ttl", [0, -1, math.nan])
async def test_a_ttl_that_is_none_is_refused(ttl):
    with pytest.raises(CacheConfigError, match="ttl="):
        await InMemoryCache().set("k", 1, ttl=ttl)


async def test_a_lone_string_of_tags_is_refused():
    with pytest.raises(CacheConfigError, match="collection of strings"):
        await InMemoryCache().set("k", 1, tags="users")


async def test_an_unhashable_key_is_named():
    cache = InMemoryCache()
    with pytest.raises(CacheKeyError, match="'list'"):
        await cache.set([1], 1)
    with pytest.raises(CacheKeyError, match="'list'"):
        await cache.get([1])


async def test_tags_prefixes_and_clear_forget_and_a_new_set_is_served():
    cache = InMemoryCache()
    await cache.set("a:1", 1, tags={"x"})
    await cache.set("a:2", 2, tags={"x", "y"})
    await cache.set("b:1", 3, tags={"y"})
    await cache.invalidate_tags("x")
    assert await cache.get_many(["a:1", "a:2", "b:1"]) == {"b:1": 3}
    await cache.set("a:1", 4, tags={"x"})
    assert await cache.get("a:1") == 4
    await cache.delete_prefix("a:")
    assert await cache.get("a:1") is None
    await cache.set("a:1", 5)
    assert await cache.get("a:1") == 5
    await cache.clear()
    assert cache.size == 0
    await cache.set("a:1", 6)
    assert await cache.get("a:1") == 6


async def test_the_strategies_of_the_specification():
    strategy = CompositeStrategy(TTLStrategy(300), ExplicitStrategy(), TaggedStrategy())
    async with InMemoryCache(strategy=strategy) as cache:
        await cache.set("user:1", "ann", tags={"users", "tenant:acme"})
        await cache.set("user:2", "bob", tags={"users"})
        strategy.strategies[1].invalidate("user:2")
        assert await cache.get("user:2") is None
        strategy.strategies[2].invalidate_tag("tenant:acme")
        assert await cache.get("user:1") is None
        await cache.set("user:1", "eve", tags={"tenant:acme"})
        await cache.set("user:2", "joe")
        assert await cache.get_many(["user:1", "user:2"]) == {"user:1": "eve", "user:2": "joe"}
        assert await cache.ttl("user:1") <= 300


async def test_a_rule_of_ones_own_is_asked_on_every_hit():
    class Odd(InvalidationStrategy):
        def should_invalidate(self, key, metadata):
            return metadata["value"] % 2 == 1

    cache = InMemoryCache(strategy=CompositeStrategy(Odd(), TTLStrategy(9)))
    await cache.set_many({"a": 1, "b": 2})
    assert await cache.get("a", MISSING) is MISSING
    assert await cache.get("b") == 2


async def test_settings_come_from_the_environment_and_are_checked():
    settings = CacheSettings.from_env(environ={"VARCO_CACHE_MAX_SIZE": "3"})
    assert InMemoryCache(settings).settings.max_size == 3
    assert InMemoryCache(settings, max_size=4).settings.max_size == 4
    with pytest.raises(CacheConfigError, match="VARCO_CACHE_MAX_SIZE='x'"):
        CacheSettings.from_env(environ={"VARCO_CACHE_MAX_SIZE": "x"})
    with pytest.raises(CacheConfigError, match="max_size=0"):
        InMemoryCache(max_size=0)
    with pytest.raises(CacheConfigError, match="'s3-fifo', 'lru', 'fifo'"):
        InMemoryCache(eviction="random")


@pytest.mark.parametrize("eviction", ["s3-fifo", "lru", "fifo"])
async def test_a_bound_holds(eviction):
    cache = InMemoryCache(max_size=100, eviction=eviction)
    for number in range(1000):
        await cache.set(number, number)
        assert cache.stats().entries <= 100
    assert cache.size == 100
    assert cache.stats().evictions == 900


async def test_lru_keeps_what_is_used_and_fifo_what_is_young():
    lru = InMemoryCache(max_size=2, eviction="lru")
    fifo = InMemoryCache(max_size=2, eviction="fifo")
    for cache in (lru, fifo):
        await cache.set("a", 1)
        await cache.set("b", 2)
        await cache.get("a")
        await cache.set("c", 3)
    assert await lru.get_many("abc") == {"a": 1, "c": 3}
    assert await fifo.get_many("abc") == {"b": 2, "c": 3}


async def test_a_scan_does_not_wash_out_what_is_used():
    cache = InMemoryCache(max_size=100)
    for round_ in range(3):
        for number in range(50):
            await cache.set(f"hot:{number}", number) if round_ == 0 else await cache.get(
                f"hot:{number}"
            )
    for number in range(10_000):
        await cache.set(f"scan:{number}", number)
    assert len(await cache.get_many(f"hot:{n}" for n in range(50))) == 50


async def test_what_is_asked_for_more_often_stays_on_the_whole():
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, 5001)))
    asked = chance.choices(range(5000), cum_weights=weights, k=40_000)
    best = weights[499] / weights[-1]  # of one that holds the 500 most wanted from the start
    ratios = {}
    for eviction in ("s3-fifo", "lru", "fifo"):
        cache = InMemoryCache(max_size=500, eviction=eviction)
        for key in asked:
            if await cache.get(key) is None:
                await cache.set(key, key + 1)
        ratios[eviction] = cache.stats().hit_ratio
    assert best * 0.93 < ratios["s3-fifo"] < best
    assert ratios["s3-fifo"] > ratios["lru"] + 0.05 > ratios["fifo"] + 0.05


async def test_a_bound_of_bytes_holds_and_what_is_too_big_is_not_kept():
    cache = InMemoryCache(max_bytes=1000, sizeof=lambda key, value: value)
    await cache.set("a", 400)
    await cache.set("b", 400)
    await cache.set("c", 400)
    assert cache.stats().size_bytes <= 1000
    await cache.set("c", 1001)
    assert await cache.get("c", MISSING) is MISSING
    assert cache.stats().size_bytes <= 1000


async def test_writes_reclaim_what_expired(clock):
    cache = InMemoryCache(clock=clock)
    for number in range(100):
        await cache.set(number, number, ttl=1)
    clock.advance(2)
    for number in range(60):
        await cache.set(f"new:{number}", number, ttl=100)
    assert cache.stats().entries == 60


async def test_a_sweep_reclaims_without_reads_and_counts(clock):
    cache = InMemoryCache(clock=clock)
    for number in range(1000):
        await cache.set(number, number, ttl=1 + number % 2, tags={f"t{number % 4}"})
    clock.advance(1)
    await cache.sweep()
    assert cache.stats().entries == 500
    await cache.invalidate_tags("t1")
    await cache.sweep()
    assert cache.stats().entries == 250
    assert cache.stats().expirations == 500


async def test_namespaces_are_apart_and_clear_alone():
    cache = InMemoryCache()
    posts, users = cache.namespace("posts"), cache.namespace("users")
    await posts.set("1", "post")
    await users.set("1", "user")
    assert await posts.get("1") == "post"
    assert await cache.get("users:1") == "user"
    await posts.clear()
    assert await posts.get("1") is None
    assert await users.get("1") == "user"
    with pytest.raises(CacheKeyError, match="use a string"):
        await posts.get(1)


async def test_exists_asks_the_rule_as_get_does():
    class Never(InvalidationStrategy):
        def should_invalidate(self, key, metadata):
            return True

    cache = InMemoryCache(strategy=Never())
    await cache.set("k", 1)
    assert not await cache.exists("k")


async def test_a_rule_may_forget_by_itself():
    class Spreading(ExplicitStrategy):
        def should_invalidate(self, key, metadata):
            self.invalidate_many(["a", "b"])
            return True

    cache = InMemoryCache(strategy=Spreading())
    await cache.set_many({"a": 1, "b": 2})
    assert await cache.get("a", MISSING) is MISSING
    assert cache.size == 0


async def test_an_entry_that_cannot_be_measured_is_not_stored():
    cache = InMemoryCache(max_bytes=100, sizeof=lambda key, value: len(value))
    await cache.set("k", "old")
    with pytest.raises(TypeError):
        await cache.set("k", 1)
    with pytest.raises(TypeError):
        await cache.set("new", 1)
    assert await cache.get("k") == "old"
    assert (cache.stats().entries, cache.stats().size_bytes) == (1, 3)


async def test_an_unhashable_key_is_named_by_every_operation():
    cache = InMemoryCache()
    for operation in (cache.get, cache.exists, cache.delete, cache.ttl, cache.get_entry):
        with pytest.raises(CacheKeyError, match="'list'"):
            await operation([1])


async def test_a_span_of_time_is_no_ttl():
    with pytest.raises(CacheConfigError, match="seconds above zero"):
        TTLStrategy(dt.timedelta(seconds=3))


async def test_no_tags_may_be_none():
    cache = InMemoryCache()
    await cache.set("k", 1, tags={"t"})
    await cache.set("k", 2, tags=None)
    await cache.invalidate_tags("t")
    assert await cache.get("k") == 2


async def test_tags_can_be_added_to_what_is_stored():
    strategy = TaggedStrategy()
    cache = InMemoryCache(strategy=strategy)
    await cache.set("k", 1, tags={"a"})
    strategy.register_tags("k", {"a", "b"})
    strategy.register_tags("other", {"b"})
    assert (await cache.get_entry("k")).tags == {"a", "b"}
    strategy.invalidate_tag("b")
    assert await cache.get("k") is None
    strategy.clear_tag("b")
    strategy.reset()
    assert len(cache.leases.tags) == 0


async def test_an_eviction_walks_past_so_many_entries_in_use_and_no_more():
    cache = InMemoryCache(max_size=2000)
    for _ in range(4):
        for number in range(2000):
            await cache.set(number, number)
    moves = 0
    remove = FifoPolicy.remove

    def counting(self, slot):
        nonlocal moves
        moves += 1
        remove(self, slot)

    FifoPolicy.remove = counting
    try:
        longest = 0
        for number in range(2000, 2100):
            moves = 0
            await cache.set(number, number)
            longest = max(longest, moves)
    finally:
        FifoPolicy.remove = remove
    assert 0 < longest <= 70


async def test_a_sweep_ends_although_entries_are_used_meanwhile(clock):
    cache = InMemoryCache(eviction="lru", clock=clock)
    for number in range(500):
        await cache.set(number, number, ttl=10 + number % 2)
    clock.advance(10)
    done = False

    async def use():
        while not done:
            for number in range(1, 500, 2):
                await cache.get(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await anyio.lowlevel.checkpoint()
        with anyio.fail_after(60):
            await cache.sweep()
        done = True
    assert cache.stats().entries == 250
    clock.advance(1)
    await cache.sweep()
    assert cache.stats().entries == 0


async def test_many_prefixes_are_forgotten_without_a_sweep(clock):
    cache = InMemoryCache(clock=clock)
    for number in range(1000):
        await cache.set(f"{number}:", number)
    for number in range(10_000):
        await cache.delete_prefix(f"other{number}:")
        assert len(cache._prefixes) <= 1100
    assert cache.size == 1000


async def test_a_started_cache_reclaims_by_itself(clock):
    async with InMemoryCache(clock=clock) as cache:
        for number in range(1000):
            await cache.set(number, number, ttl=5)
        clock.advance(6)
        await anyio.sleep(2)
        assert cache.stats().entries == 0
