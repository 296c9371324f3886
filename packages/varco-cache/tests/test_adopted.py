"""Caches of somebody's own, with the methods that one had to have."""

import pytest

from varco_cache import (
    MISSING,
    CacheBackend,
    CacheConfigError,
    CacheInvalidated,
    CacheInvalidationConsumer,
    CacheSettings,
    CacheUsageError,
    CompositeStrategy,
    EventDrivenStrategy,
    ExplicitStrategy,
    GuardedCache,
    InMemoryCache,
    LayeredCache,
    NamespacedCache,
    NoOpCache,
    QueryCacheWarmer,
    SnapshotCacheWarmer,
    TaggedStrategy,
    TTLStrategy,
    cached,
)
from varco_events import InMemoryEventBus

pytestmark = pytest.mark.anyio


async def test_it_works_as_a_layer_and_keeps_values_as_they_are(least_of_any_kind):
    near, far = InMemoryCache(), least_of_any_kind()
    async with LayeredCache(near, far) as cache:
        assert far.started == 1
        await cache.set("k", 1)
        await cache.set("t", 2, tags={"x"})
        await cache.set("none", None)
        assert far.held["k"] == 1
        await near.clear()
        assert await cache.get("none", MISSING) is None
        assert await cache.get_many(["k", "t", "gone"]) == {"k": 1, "t": 2}
        assert await near.get("k", MISSING) is MISSING  # nothing says how long it may stay
        await cache.invalidate_tags("x")
        assert await cache.get_many(["k", "t"]) == {"k": 1}
        await cache.set("t", 3, tags={"x"})
        assert await cache.get("t") == 3
        await cache.delete("k")
        assert await cache.get("k", MISSING) is MISSING
    assert far.started == 0
    bounded = LayeredCache(near, far, promote_ttl=5)
    await bounded.get("t")
    assert await near.get("t") == 3


async def test_it_keeps_what_a_function_returns(least_backend):
    far, calls = least_backend(), []

    @cached(far, ttl=60, tags={"x"})
    async def load(number):
        calls.append(number)
        return number

    assert [await load(1), await load(1), await load(2)] == [1, 1, 2]
    await load.invalidate(1)
    await load(1)
    await far.invalidate_tags("x")
    await load(2)
    await far.get_or_set("other", lambda: load.__wrapped__(9))
    assert await far.get("other") == 9
    assert calls == [1, 2, 1, 2, 9]
    with pytest.raises(CacheConfigError, match="implement get_entry"):
        cached(far, ttl=60, early_refresh=5)(load.__wrapped__)


async def test_a_load_that_began_before_an_invalidation_is_not_served_by_another_process(
    least, least_backend
):
    store = least()
    here, there = GuardedCache(store), GuardedCache(least_backend())
    there.cache.cache.held = store.held

    async def load():
        await there.invalidate_tags("x")
        return "old"

    assert await here.get_or_set("k", load, tags={"x"}) == "old"
    assert await here.get("k", MISSING) is MISSING


def test_what_can_read_nothing_is_refused():
    class Blind(CacheBackend):
        async def _do(self, *args, **kwargs):
            pass

        set = delete = clear = delete_prefix = _do

    with pytest.raises(CacheUsageError, match="implement get_entry"):
        Blind()
    with pytest.raises(CacheUsageError, match="lacks get"):
        LayeredCache(object())


async def test_times_that_are_none_are_refused_alike(no_span, least):
    cache, span = InMemoryCache(), no_span

    async def load():
        return 1

    async def refused(act):
        with pytest.raises(CacheConfigError):
            await act()

    await refused(lambda: cache.set("k", 1, ttl=span))
    await refused(lambda: cache.set_many({"k": 1}, ttl=span))
    await refused(lambda: cache.get_or_set("k", load, ttl=span))
    await refused(lambda: LayeredCache(cache, least()).set("k", 1, ttl=span))
    for view in (NoOpCache(), GuardedCache(cache), NamespacedCache(cache, "n:")):
        await refused(lambda view=view: view.set("k", 1, ttl=span))
        await refused(lambda view=view: view.set_many({"k": 1}, ttl=span))
        await refused(lambda view=view: view.get_or_set("k", load, ttl=span))
    assert cache.size == 0
    for make in (
        lambda: cached(cache, ttl=span),
        lambda: TTLStrategy(span),
        lambda: CacheSettings(default_ttl=span),
        lambda: CacheSettings(sweep_interval=span),
        lambda: QueryCacheWarmer(load, ttl=span),
        lambda: SnapshotCacheWarmer(load, ttl=span),
        lambda: LayeredCache(cache, promote_ttl=span),
        lambda: LayeredCache(cache, flush_interval=span),
        lambda: LayeredCache(cache, timeout=span),
        lambda: LayeredCache(cache, retry_after=span),
        lambda: GuardedCache(cache, timeout=span),
        lambda: GuardedCache(cache, retry_after=span),
    ):
        with pytest.raises(CacheConfigError):
            make()
    if span != 0:
        with pytest.raises(CacheConfigError, match="max_size"):
            CacheSettings(max_size=-1 if span == 10**400 else span)
        for name in ("stale_while_revalidate", "stale_if_error", "early_refresh", "jitter"):
            with pytest.raises(CacheConfigError, match=name):
                cached(cache, ttl=9, **{name: span})


@pytest.mark.parametrize(("early", "jitter"), [(60, 0), (61, 0), (54, 0.1)])
def test_a_refresh_that_is_always_due_is_refused(early, jitter):
    with pytest.raises(CacheConfigError, match="early_refresh"):
        cached(InMemoryCache(), ttl=60, early_refresh=early, jitter=jitter)


@pytest.mark.parametrize(
    "strategy",
    [
        ExplicitStrategy(),
        TaggedStrategy(),
        EventDrivenStrategy(),
        CompositeStrategy(TTLStrategy(9), ExplicitStrategy()),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_events_reach_the_caches_of_every_strategy(strategy):
    async with InMemoryEventBus() as bus, InMemoryCache(strategy=strategy) as cache:
        CacheInvalidationConsumer(strategy, channel="c").register_to(bus)
        await cache.set_many({"a": 1, "b": 2})
        await cache.set("c", 3, tags={"t"})
        handled = await bus.publish(CacheInvalidated(keys=["a"], tags=["t"]), channel="c")
        if handled is not None:
            await handled
        assert await cache.get_many("abc") == {"b": 2}


def test_a_strategy_refuses_what_it_cannot_tell_to_forget():
    with pytest.raises(CacheConfigError, match="target"):
        ExplicitStrategy().bind(LayeredCache(InMemoryCache()))
    with pytest.raises(CacheConfigError, match="strategy"):
        InMemoryCache(strategy="lru")


@pytest.mark.parametrize("make", [GuardedCache, LayeredCache])
def test_a_timeout_may_have_its_former_name(make):
    with pytest.warns(DeprecationWarning, match="'time_limit' of .* is called 'timeout' now"):
        make(InMemoryCache(), time_limit=2.0)
    make(InMemoryCache(), time_limit=2.0)  # it warns once
    with pytest.raises(TypeError, match="'timeout', not 'time_limit'"):
        make(InMemoryCache(), time_limit=2.0, timeout=2.0)
