"""varco-cache against cashews, aiocache, async-lru, cachetools, theine, cachebox, varco 1.0.6."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from _harness import Case, Figure, Published, main

N = 10_000
TRACE_KEYS, TRACE_LENGTH, TRACE_BOUND = 50_000, 400_000, 5_000


def zipf(seed: int = 1) -> list[int]:
    """A skewed trace with a scan now and then, as caches meet them."""
    rng = random.Random(seed)
    weights = list(itertools.accumulate(1 / (rank + 1) ** 0.9 for rank in range(TRACE_KEYS)))
    return rng.choices(range(TRACE_KEYS), cum_weights=weights, k=TRACE_LENGTH)


def varco_get() -> Callable[[], object]:
    from varco_cache import InMemoryCache

    cache = InMemoryCache()
    asyncio.run(cache.set("key:1", "value", ttl=300))

    return lambda: cache.get("key:1")


def varco_layered_get() -> Callable[[], object]:
    from varco_cache import InMemoryCache, LayeredCache

    cache = LayeredCache(InMemoryCache(), InMemoryCache())
    asyncio.run(cache.set("key:1", "value", ttl=300))
    return lambda: cache.get("key:1")


def varco_set() -> Callable[[], object]:
    from varco_cache import InMemoryCache

    cache, keys = InMemoryCache(max_size=N), itertools.cycle(f"key:{n}" for n in range(N))
    return lambda: cache.set(next(keys), "value", ttl=300)


def varco_tag_set() -> Callable[[], object]:
    from varco_cache import InMemoryCache

    cache, keys = InMemoryCache(max_size=N), itertools.cycle(f"key:{n}" for n in range(N))
    tags = {"users", "tenant:acme"}
    return lambda: cache.set(next(keys), "value", ttl=300, tags=tags)


def mixed(cache: Any) -> Callable[[], object]:
    rng = random.Random(2)
    plan = itertools.cycle([(rng.random() < 0.2, f"key:{rng.randrange(N)}") for _ in range(N)])

    async def step() -> None:
        write, key = next(plan)
        if write:
            await cache.set(key, "value", ttl=300)
        else:
            await cache.get(key)

    return step


def varco_mixed() -> Callable[[], object]:
    from varco_cache import InMemoryCache

    return mixed(InMemoryCache(max_size=N))


def aiocache_mixed() -> Callable[[], object]:
    from aiocache import SimpleMemoryCache

    return mixed(SimpleMemoryCache())


def cashews_get() -> Callable[[], object]:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://", size=N)
    asyncio.run(cache.set("key:1", "value", expire=300))
    return lambda: cache.get("key:1")


def cashews_set() -> Callable[[], object]:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://", size=N)
    keys = itertools.cycle(f"key:{n}" for n in range(N))
    return lambda: cache.set(next(keys), "value", expire=300)


def aiocache_get() -> Callable[[], object]:
    from aiocache import SimpleMemoryCache

    cache = SimpleMemoryCache()
    asyncio.run(cache.set("key:1", "value"))
    return lambda: cache.get("key:1")


def aiocache_set() -> Callable[[], object]:
    from aiocache import SimpleMemoryCache

    cache, keys = SimpleMemoryCache(), itertools.cycle(f"key:{n}" for n in range(N))
    return lambda: cache.set(next(keys), "value", ttl=300)


def cachetools_get() -> Callable[[], object]:
    from cachetools import TTLCache

    cache: Any = TTLCache(N, 300)
    cache["key:1"] = "value"
    return lambda: cache.get("key:1")


def cachebox_get() -> Callable[[], object]:
    from cachebox import TTLCache

    cache: Any = TTLCache(N, 300)
    cache["key:1"] = "value"
    return lambda: cache.get("key:1")


def theine_get() -> Callable[[], object]:
    from theine import Cache

    cache: Any = Cache(N)
    cache.set("key:1", "value")
    return lambda: cache.get("key:1")


def varco_cached() -> Callable[[], object]:
    from varco_cache import InMemoryCache, cached

    @cached(InMemoryCache())
    async def load(number: int) -> int:
        return number

    return lambda: load(42)


def async_lru_cached() -> Callable[[], object]:
    from async_lru import alru_cache

    @alru_cache(maxsize=N)
    async def load(number: int) -> int:
        return number

    return lambda: load(42)


def missing(cached: Callable[[Any], Any]) -> Callable[[], object]:
    """Calls of a decorated function, each with an argument that none had before."""

    async def load(number: int) -> int:
        return number

    numbers, call = itertools.count(), cached(load)
    return lambda: call(next(numbers))


def varco_miss() -> Callable[[], object]:
    from varco_cache import InMemoryCache, cached

    return missing(cached(InMemoryCache(max_size=N), ttl=300))


def async_lru_miss() -> Callable[[], object]:
    from async_lru import alru_cache

    return missing(alru_cache(maxsize=N, ttl=300))


def aiocache_miss() -> Callable[[], object]:
    from aiocache import cached

    return missing(cached(ttl=300))


def cashews_miss() -> Callable[[], object]:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://", size=N)
    return missing(cache(ttl=300, protected=True))


def plain_call() -> Callable[[], object]:
    async def load(number: int) -> int:
        return number

    return lambda: load(42)


def varco_prefix_ms() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache = InMemoryCache()
        for number in range(100_000):
            await cache.set(f"group{number % 100}:{number}", number)
        start = time.perf_counter()
        await cache.delete_prefix("group7:")
        await cache.sweep()  # the memory, too, is given back
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def varco_prefix_ack_ms() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache = InMemoryCache()
        for number in range(100_000):
            await cache.set(f"group{number % 100}:{number}", number)
        start = time.perf_counter()
        await cache.delete_prefix("group7:")
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def aiocache_prefix_ms() -> float:
    from aiocache import SimpleMemoryCache

    async def run() -> float:
        cache = SimpleMemoryCache()
        for number in range(100_000):
            await cache.set(f"group{number % 100}:{number}", number)
        start = time.perf_counter()
        await cache.clear(namespace="group7:")
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def varco_tag_ms() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache = InMemoryCache()
        for number in range(100_000):
            await cache.set(number, number, tags={"t"})
        start = time.perf_counter()
        await cache.invalidate_tags("t")
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def cashews_tag_ms() -> float:
    from cashews import Cache

    async def run() -> float:
        cache = Cache()
        cache.setup("mem://", size=20_000)
        cache.register_tag("t", "key:{number}")
        for number in range(10_000):
            await cache.set(f"key:{number}", number, expire=300, tags=["t"])
        start = time.perf_counter()
        await cache.delete_tags("t")
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def varco_entry_bytes() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        keys, value = [f"key:{n}" for n in range(100_000)], "value"
        cache = InMemoryCache()
        gc.collect()
        tracemalloc.start()
        for key in keys:
            await cache.set(key, value, ttl=300)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used / len(keys)

    return asyncio.run(run())


def varco_sweep_stall_ms() -> float:
    """CPU time of the thread between two turns of the loop: other processes do not count."""
    from varco_cache import InMemoryCache

    async def run() -> float:
        now = [0.0]
        cache = InMemoryCache(clock=lambda: now[0])
        for number in range(100_000):
            await cache.set(number, number, ttl=1 if number % 2 else 100)
        now[0] = 2.0
        gc.collect()
        longest, done = 0.0, asyncio.Event()

        async def watch() -> None:
            nonlocal longest
            last = time.thread_time()
            while not done.is_set():
                await asyncio.sleep(0)
                now_ = time.thread_time()
                longest = max(longest, now_ - last)
                last = now_

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await cache.sweep()
        done.set()
        await watcher
        return longest * 1000

    return min(asyncio.run(run()) for _ in range(3))


def varco_hit_ratio() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache = InMemoryCache(max_size=TRACE_BOUND)
        for key in zipf():
            if await cache.get(key) is None:
                await cache.set(key, key + 1)
        return cache.stats().hit_ratio * 100

    return asyncio.run(run())


def theine_hit_ratio() -> float:
    from theine import Cache

    cache: Any = Cache(TRACE_BOUND)
    hits = 0
    for key in zipf():
        found = cache.get(key)
        if isinstance(found, tuple):
            found = found[0] if found[1] else None
        if found is None:
            cache.set(key, key + 1)
        else:
            hits += 1
    return hits / TRACE_LENGTH * 100


def lru_hit_ratio() -> float:
    from cachetools import LRUCache

    cache: Any = LRUCache(TRACE_BOUND)
    hits = 0
    for key in zipf():
        if cache.get(key) is None:
            cache[key] = key + 1
        else:
            hits += 1
    return hits / TRACE_LENGTH * 100


def herd(cached: Callable[[Any], Any]) -> float:
    """Loads that 1,000 calls at once of a decorated function make."""
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.01)
        return 1

    async def run() -> None:
        function = cached(load)
        await asyncio.gather(*(function() for _ in range(1000)))

    asyncio.run(run())
    return loads


def varco_cached_herd_loads() -> float:
    from varco_cache import InMemoryCache, cached

    return herd(cached(InMemoryCache()))


def async_lru_herd_loads() -> float:
    from async_lru import alru_cache

    return herd(alru_cache(maxsize=N))


def aiocache_herd_loads() -> float:
    from aiocache import cached

    return herd(cached())


def cashews_herd_loads() -> float:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")
    return herd(cache(ttl=300))


def varco_clear_ms() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache = InMemoryCache()
        for number in range(100_000):
            await cache.set(number, number)
        start = time.perf_counter()
        await cache.clear()
        return (time.perf_counter() - start) * 1000

    return asyncio.run(run())


def varco_herd_loads() -> float:
    from varco_cache import InMemoryCache

    async def run() -> float:
        cache, loads = InMemoryCache(), 0

        async def load() -> int:
            nonlocal loads
            loads += 1
            await asyncio.sleep(0.01)
            return 1

        await asyncio.gather(*(cache.get_or_set("k", load) for _ in range(1000)))
        return loads

    return asyncio.run(run())


PUBLISHED_GET = """
import asyncio
from varco_core.cache import InMemoryCache, TTLStrategy
def make():
    cache = InMemoryCache(strategy=TTLStrategy(300))
    async def up():
        await cache.start()
        await cache.set("key:1", "value")
    asyncio.run(up())
    return lambda: cache.get("key:1")
"""
PUBLISHED_SET = """
import asyncio, itertools
from varco_core.cache import InMemoryCache, TTLStrategy
def make():
    cache = InMemoryCache(strategy=TTLStrategy(300), max_size=10000)
    asyncio.run(cache.start())
    keys = itertools.cycle(f"key:{n}" for n in range(10000))
    return lambda: cache.set(next(keys), "value", ttl=300)
"""
PUBLISHED_TAG_SET = """
import asyncio, itertools
from varco_core.cache import InMemoryCache, TaggedStrategy
def make():
    cache = InMemoryCache(strategy=TaggedStrategy(), max_size=10000)
    asyncio.run(cache.start())
    keys = itertools.cycle(f"key:{n}" for n in range(10000))
    tags = {"users", "tenant:acme"}
    return lambda: cache.set(next(keys), "value", ttl=300, tags=tags)
"""
PUBLISHED_MIXED = """
import asyncio, itertools, random
from varco_core.cache import InMemoryCache, TTLStrategy
def make():
    cache = InMemoryCache(strategy=TTLStrategy(300), max_size=10000)
    asyncio.run(cache.start())
    rng = random.Random(2)
    steps = [(rng.random() < 0.2, f"key:{rng.randrange(10000)}") for _ in range(10000)]
    plan = itertools.cycle(steps)
    async def step():
        write, key = next(plan)
        if write:
            await cache.set(key, "value", ttl=300)
        else:
            await cache.get(key)
    return step
"""

PUBLISHED_MISS = """
import asyncio, itertools
from varco_core.cache import InMemoryCache, TTLStrategy, cached
def make():
    cache = InMemoryCache(strategy=TTLStrategy(300), max_size=10000)
    asyncio.run(cache.start())
    @cached(cache, ttl=300)
    async def load(number):
        return number
    numbers = itertools.count()
    return lambda: load(next(numbers))
"""

CASES: list[Case | Published | Figure] = [
    Case("get hit", "varco", varco_get, ours=True),
    Published("get hit", PUBLISHED_GET),
    Case("get hit", "cashews", cashews_get),
    Case("get hit", "aiocache", aiocache_get),
    Case("get hit", "cachetools (sync)", cachetools_get),
    Case("get hit", "cachebox (sync)", cachebox_get),
    Case("get hit", "theine (sync)", theine_get),
    Case("layered L1 hit", "varco layered", varco_layered_get, ours=True),
    Case("layered L1 hit", "varco plain", varco_get),
    Case("set", "varco", varco_set, ours=True),
    Published("set", PUBLISHED_SET),
    Case("set", "cashews", cashews_set),
    Case("set", "aiocache", aiocache_set),
    Case("tag set", "varco", varco_tag_set, ours=True),
    Published("tag set", PUBLISHED_TAG_SET),
    Case("mixed 80/20", "varco", varco_mixed, ours=True),
    Published("mixed 80/20", PUBLISHED_MIXED),
    Case("mixed 80/20", "aiocache", aiocache_mixed),
    Case("cached hit", "varco", varco_cached, ours=True),
    Case("cached hit", "async-lru", async_lru_cached),
    Case("cached hit", "the function alone", plain_call),
    Case("cached miss", "varco", varco_miss, ours=True),
    Case("cached miss", "async-lru", async_lru_miss),
    Case("cached miss", "cashews", cashews_miss),
    Case("cached miss", "aiocache", aiocache_miss),
    Published("cached miss", PUBLISHED_MISS),
    Figure("delete_prefix 1,000 of 100,000", "varco", "ms", varco_prefix_ack_ms, ours=True),
    Figure("delete_prefix 1,000 of 100,000", "varco, reclaimed", "ms", varco_prefix_ms),
    Figure("delete_prefix 1,000 of 100,000", "aiocache", "ms", aiocache_prefix_ms),
    Figure("invalidate a tag of 100,000", "varco", "ms", varco_tag_ms, ours=True),
    Figure("invalidate a tag of 100,000", "cashews, of 10,000", "ms", cashews_tag_ms),
    Figure("clear 100,000", "varco", "ms", varco_clear_ms, ours=True),
    Figure("bytes an entry", "varco", "B", varco_entry_bytes, ours=True),
    Figure("longest stall of a sweep of 100,000", "varco", "ms", varco_sweep_stall_ms, ours=True),
    Figure("hit ratio, skewed trace", "varco", "%", varco_hit_ratio, ours=True),
    Figure("hit ratio, skewed trace", "theine", "%", theine_hit_ratio),
    Figure("hit ratio, skewed trace", "cachetools LRU", "%", lru_hit_ratio),
    Figure("loads of 1,000 misses at once", "varco", "loads", varco_herd_loads, ours=True),
    Figure("loads of 1,000 misses at once", "varco @cached", "loads", varco_cached_herd_loads),
    Figure("loads of 1,000 misses at once", "async-lru", "loads", async_lru_herd_loads),
    Figure("loads of 1,000 misses at once", "aiocache", "loads", aiocache_herd_loads),
    Figure("loads of 1,000 misses at once", "cashews", "loads", cashews_herd_loads),
]

if __name__ == "__main__":
    main(CASES)
