"""An in-memory cache with every eviction and strategy against a dictionary, in virtual time."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from varco_cache import (
    MISSING,
    CompositeStrategy,
    EventDrivenStrategy,
    ExplicitStrategy,
    InMemoryCache,
    TaggedStrategy,
    TTLStrategy,
)
from varco_cache.testing import ManualClock

KEYS = st.sampled_from([f"{group}:{n}" for group in "ab" for n in range(5)] + ["a", 1, (2, "x")])
TAGS = st.sets(st.sampled_from("xyz"), max_size=2)
TTLS = st.sampled_from([None, 1.0, 5.0, 50.0, math.inf])


def now(coroutine):
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("an operation in memory waited")


class Machine(RuleBasedStateMachine):
    eviction = "s3-fifo"
    bound = None

    def __init__(self):
        super().__init__()
        self.clock = ManualClock()
        self.explicit, self.tagged = ExplicitStrategy(), TaggedStrategy()
        self.driven = EventDrivenStrategy()
        self.cache = InMemoryCache(
            max_size=self.bound,
            eviction=self.eviction,
            strategy=CompositeStrategy(TTLStrategy(20), self.explicit, self.tagged, self.driven),
            clock=self.clock,
        )
        self.model = {}
        self.leases = []

    def _forget(self, gone):
        self.model = {k: v for k, v in self.model.items() if not gone(k, v)}

    @rule(key=KEYS, value=st.integers(), ttl=TTLS, tags=TAGS)
    def set(self, key, value, ttl, tags):
        now(self.cache.set(key, value, ttl=ttl, tags=tags))
        deadline = self.clock() + (20 if ttl is None else ttl)
        self.model[key] = (value, deadline, tags)
        self._revoke(lambda k, t: k == key)

    @rule(key=KEYS)
    def get(self, key):
        found, expected = now(self.cache.get(key, MISSING)), self._expected(key)
        if found is MISSING and self.bound is not None:
            return
        assert found == expected

    @rule(key=KEYS)
    def entry(self, key):
        entry = now(self.cache.get_entry(key))
        assert now(self.cache.exists(key)) == (entry is not None)
        if entry is not None:
            value, deadline, tags = self.model[key]
            assert (entry.value, entry.ttl, entry.tags) == (value, deadline - self.clock(), tags)

    @rule(key=KEYS, how=st.sampled_from(["delete", "explicit", "driven"]))
    def delete(self, key, how):
        if how == "delete":
            now(self.cache.delete(key))
        else:
            getattr(self, how).invalidate(key)
        self._forget(lambda k, _: k == key)
        self._revoke(lambda k, t: k == key)

    @rule(tag=st.sampled_from("xyz"), how=st.sampled_from(["cache", "tagged", "driven"]))
    def invalidate_tag(self, tag, how):
        if how == "cache":
            now(self.cache.invalidate_tags(tag))
        else:
            getattr(self, how).invalidate_tag(tag)
        self._forget(lambda _, v: tag in v[2])
        self._revoke(lambda k, t: tag in t)

    @rule(prefix=st.sampled_from(["a", "a:", "a:1", "b:", "", "c"]))
    def delete_prefix(self, prefix):
        now(self.cache.delete_prefix(prefix))
        self._forget(lambda k, _: isinstance(k, str) and k.startswith(prefix))
        self._revoke(lambda k, t: isinstance(k, str) and k.startswith(prefix))

    @rule()
    def clear(self):
        now(self.cache.clear())
        self.model.clear()
        self._revoke(lambda k, t: True)

    @rule(key=KEYS, tags=TAGS)
    def lease(self, key, tags):
        self.leases.append([now(self.cache.lease(key, tags=tags)), key, tags, True])

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), value=st.integers(), ttl=TTLS)
    def fill(self, data, value, ttl):
        index = data.draw(st.integers(0, len(self.leases) - 1))
        lease, key, tags, held = self.leases.pop(index)
        assert now(self.cache.fill(lease, value, ttl=ttl)) == held
        if held:
            self.model[key] = (value, self.clock() + (20 if ttl is None else ttl), tags)
            for older in self.leases[:index]:
                if older[1] == key:
                    older[3] = False

    def _revoke(self, hit):
        for one in self.leases:
            if hit(one[1], one[2]):
                one[3] = False

    @rule(seconds=st.sampled_from([0.5, 1, 4, 20, 60]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def sweep(self):
        assert self.cache.size <= len([k for k in self.model if self._expected(k) is not MISSING])

    def _expected(self, key):
        value, deadline, _ = self.model.get(key, (MISSING, 0, ()))
        return value if deadline > self.clock() else MISSING

    @invariant()
    def bounds_hold(self):
        entries = self.cache.stats().entries
        assert entries <= (self.bound or math.inf)
        book = self.cache.leases.tags
        assert len(book) <= 3
        assert len(self.cache._prefixes) <= entries + 1024
        ring = sum(1 for head in self.cache._policy.rings for _ in walk(head))
        assert ring == entries == len(self.cache._slots)
        if self.bound is None:
            alive = [k for k in self.model if self._expected(k) is not MISSING]
            assert all(now(self.cache.exists(k)) for k in alive)


def walk(head):
    slot = head.next
    while slot is not head:
        yield slot
        slot = slot.next


def _case(eviction, bound):
    case = type(f"{eviction}-{bound}", (Machine,), {"eviction": eviction, "bound": bound}).TestCase
    # A part of the profile's examples, since there are six machines: 20 by default.
    case.settings = settings(max_examples=max(5, settings().max_examples // 5))
    return case


TestS3 = _case("s3-fifo", None)
TestS3Bounded = _case("s3-fifo", 4)
TestLru = _case("lru", None)
TestLruBounded = _case("lru", 4)
TestFifo = _case("fifo", None)
TestFifoBounded = _case("fifo", 4)


@pytest.mark.parametrize("tags", [(), ("t",)])
@pytest.mark.parametrize("strategy", [None, CompositeStrategy(TTLStrategy(9), TaggedStrategy())])
def test_sets_into_a_bound_keep_memory_flat(tags, strategy):
    """`HYPOTHESIS_PROFILE=deep` makes it a million."""
    import gc
    import tracemalloc

    deep = settings().max_examples > 1000
    count, bound = (1_000_000, 10_000) if deep else (10_000, 500)
    cache = InMemoryCache(max_size=bound, strategy=strategy)

    def fill(start, stop):
        for number in range(start, stop):
            each = {f"{tag}{number}" for tag in tags} | set(tags)
            now(cache.set(f"k{number}", number, tags=each))
            if number % 1000 == 0 and strategy is not None:
                strategy.strategies[1].invalidate_tag(f"t{number}")

    fill(0, 3 * bound)
    gc.collect()
    tracemalloc.start()
    first = None
    for start in range(3 * bound, count, count // 5):
        fill(start, start + count // 5)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        first = used if first is None else first
    tracemalloc.stop()
    assert used < 1.2 * first + 200_000
    assert cache.stats().entries <= bound
    assert len(cache.leases.tags) <= 2 * bound
