"""Calls that nobody ends: the garbage collector does, in the middle of anything."""

import asyncio
import contextlib
import gc
import warnings
import weakref

import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    timeout,
)


@pytest.fixture
def half_open(clock):
    config = CircuitBreakerConfig(failure_threshold=1, success_threshold=2)
    breaker = CircuitBreaker(config, clock=clock)
    breaker.open()
    clock.advance(30)
    return breaker


@pytest.fixture
def by_hand():
    """The collector runs when the test says so."""
    gc.disable()
    yield
    gc.enable()


def forget(coroutine):
    """Leave a suspended call in a cycle, so that only the collector can end it."""
    coroutine.send(None)
    cycle = [coroutine]
    cycle.append(cycle)


def test_a_coroutine_that_is_never_awaited_takes_nothing(half_open, stop):
    async def body():
        await stop()

    room = Bulkhead(BulkheadConfig(1))
    assert half_open.state is CircuitState.HALF_OPEN
    for protect in (half_open.protect, room.protect):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for _ in range(5):
                protect(body)()
            gc.collect()
    assert room.available_slots == 1
    assert half_open._core._epoch.running() == 0


@pytest.mark.usefixtures("by_hand")
def test_a_suspended_call_that_is_forgotten_gives_back_what_it_holds(half_open, stop):
    room = Bulkhead(BulkheadConfig(1))

    async def body():
        await stop()

    for protect in (half_open.protect, room.protect):
        forget(protect(body)())
    assert (room.available_slots, half_open._core._epoch.running()) == (0, 1)
    gc.collect()
    assert (room.available_slots, half_open._core._epoch.running()) == (1, 0)
    assert half_open.state is CircuitState.HALF_OPEN


@pytest.mark.usefixtures("by_hand")
def test_a_breaker_survives_a_collection_in_the_middle_of_a_report(half_open, clock, stop):
    async def body():
        await stop()

    forget(half_open.protect(body)())
    asked = 0

    def collecting_clock():
        nonlocal asked
        asked += 1
        if asked == 2:  # the first is for the duration, the second with the breaker's lock held
            gc.collect()
        return clock()

    guard = half_open.guard()
    guard.__enter__()
    half_open._core.clock = collecting_clock
    guard.__exit__(ConnectionError, ConnectionError(), None)
    assert half_open.state is CircuitState.OPEN


@pytest.mark.usefixtures("by_hand")
def test_a_bulkhead_survives_a_collection_at_every_step(stop):
    room = Bulkhead(BulkheadConfig(1, max_wait=1e-6))

    async def body():
        await stop()

    call, other = room.protect(body), room.protect(lambda: "served")
    before = gc.get_threshold()
    try:
        for allocations in range(1, 40):
            forget(call())
            gc.set_threshold(gc.get_count()[0] + allocations, 10**6, 10**6)
            gc.enable()
            with contextlib.suppress(BulkheadFullError):
                assert other() == "served"
            gc.disable()
            gc.collect()
            assert room.available_slots == 1
            assert not room._slots._waiters
    finally:
        gc.set_threshold(*before)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_timeout_made_for_one_call_leaves_no_timer_behind():
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)
    queues = []
    for _ in range(50):
        limit = timeout(3600.0)
        await limit(asyncio.sleep)(0)
        queues.append(weakref.ref(limit._queues.known[loop]))
    del limit
    gc.collect()
    assert [queue() for queue in queues] == [None] * 50
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= before
