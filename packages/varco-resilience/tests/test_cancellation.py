"""Cancelled at every await: nothing is kept, nothing is counted, nothing is swallowed."""

import asyncio
import gc

import anyio
import anyio.lowlevel
import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    HedgeConfig,
    InMemoryRateLimiter,
    Pipeline,
    RateLimitConfig,
    RetryPolicy,
    fallback,
    hedge,
    rate_limit,
    retry,
    timeout,
)

pytestmark = pytest.mark.anyio

AWAITS = 8


class Callee:
    """Fails as often as it is told, and passes through several awaits on its way."""

    def __init__(self, failures=0):
        self.failures = failures
        self.started = 0
        self.ended = 0

    async def __call__(self):
        self.started += 1
        try:
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.0001)
            if self.started <= self.failures:
                raise ConnectionError
            await anyio.lowlevel.checkpoint()
            return "done"
        finally:
            self.ended += 1


async def cancelled_at_every_await(make, call_at, check):
    """Run `make()` again and again, each time cancelled one await later, until it gets through."""
    for number in range(1, 100):
        call, state = make()
        outcome = "cancelled"
        with anyio.CancelScope() as scope:
            outcome = await call_at(call(), number, scope.cancel)
        check(outcome, state)
        if not scope.cancel_called:
            assert number > 1, "it was never cancelled"
            return number - 1
    raise AssertionError("it never got through")


@pytest.mark.parametrize("failures", [0, 2])
async def test_retry(call_at, failures, waits):
    def make():
        callee = Callee(failures)
        return retry(RetryPolicy(max_attempts=3))(callee), callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "done"}
        assert callee.started == callee.ended <= 3

    assert await cancelled_at_every_await(make, call_at, check) >= 3


async def test_retry_with_limits(call_at, waits):
    def make():
        callee = Callee(2)
        policy = RetryPolicy(max_attempts=3, attempt_timeout=60.0, deadline=600.0)
        return retry(policy)(callee), callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "done"}
        assert callee.started == callee.ended <= 3

    await cancelled_at_every_await(make, call_at, check)


async def test_attempts(call_at, waits):
    def make():
        callee = Callee(2)

        async def call():
            async for attempt in retry(RetryPolicy(max_attempts=3, attempt_timeout=60.0)):
                async with attempt:
                    result = await callee()
            return result

        return call, callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "done"}
        assert callee.started == callee.ended <= 3

    await cancelled_at_every_await(make, call_at, check)


async def test_timeout(call_at):
    def make():
        callee = Callee()
        return timeout(60.0)(callee), callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "done"}
        assert callee.started == callee.ended == 1

    assert await cancelled_at_every_await(make, call_at, check) == 3


@pytest.mark.parametrize("state", [CircuitState.CLOSED, CircuitState.HALF_OPEN])
@pytest.mark.parametrize("shape", ["protect", "call_async", "guard"])
async def test_circuit_breaker(call_at, clock, state, shape):
    def make():
        breaker = CircuitBreaker(
            CircuitBreakerConfig(failure_threshold=1, success_threshold=2), clock=clock
        )
        if state is CircuitState.HALF_OPEN:
            breaker.open()
            clock.advance(30)
        callee = Callee()

        async def guarded():
            async with breaker.guard():
                return await callee()

        call = {
            "protect": breaker.protect(callee),
            "call_async": lambda: breaker.call_async(callee),
            "guard": guarded,
        }[shape]
        return call, breaker

    def check(outcome, breaker):
        assert breaker.failure_count == 0
        assert breaker.state is state
        if state is CircuitState.HALF_OPEN:
            epoch = breaker._core._epoch
            assert epoch.running() == 0
            assert epoch.successes == (outcome == "done")

    assert await cancelled_at_every_await(make, call_at, check) == 3


async def test_bulkhead_while_running(call_at):
    def make():
        bulkhead = Bulkhead(BulkheadConfig(2))
        return bulkhead.protect(Callee()), bulkhead

    def check(outcome, bulkhead):
        assert bulkhead.available_slots == 2

    assert await cancelled_at_every_await(make, call_at, check) == 3


async def test_bulkhead_while_waiting(call_at):
    def make():
        bulkhead = Bulkhead(BulkheadConfig(1, max_wait=60.0))

        async def call():
            async with anyio.create_task_group() as group:
                group.start_soon(bulkhead.call, Callee())
                await anyio.lowlevel.checkpoint()
                await bulkhead.call(Callee())
            return "done"

        return call, bulkhead

    def check(outcome, bulkhead):
        assert bulkhead.available_slots == 1
        assert not bulkhead._slots._waiters

    assert await cancelled_at_every_await(make, call_at, check) >= 3


async def test_a_slot_that_is_given_to_a_cancelled_call_goes_to_the_next():
    bulkhead = Bulkhead(BulkheadConfig(1, max_wait=60.0))
    served = []

    async def call(name, scope=None):
        with scope or anyio.CancelScope():
            await bulkhead.call(anyio.lowlevel.checkpoint)
            served.append(name)

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        assert bulkhead._slots.admit((), {})
        group.start_soon(call, "first", scope)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(call, "second")
        await anyio.wait_all_tasks_blocked()
        # The slot is on its way to the first when that one is cancelled.
        bulkhead._slots.leave(None)
        scope.cancel()
    assert served == ["second"]
    assert bulkhead.available_slots == 1


async def test_hedge(call_at):
    def make():
        callee = Callee()
        return hedge(HedgeConfig(0.0, max_hedges=2))(callee), callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "done"}
        assert callee.started == callee.ended <= 3

    await cancelled_at_every_await(make, call_at, check)


async def test_fallback_and_rate_limit(call_at, clock):
    def make():
        limiter = InMemoryRateLimiter(RateLimitConfig(5, 1.0), clock=clock)
        callee = Callee(1)

        async def handler(error):
            await anyio.lowlevel.checkpoint()
            return "fallback"

        return fallback(handler)(rate_limit(limiter)(callee)), callee

    def check(outcome, callee):
        assert outcome in {"cancelled", "fallback"}
        assert callee.started == callee.ended == 1

    assert await cancelled_at_every_await(make, call_at, check) == 3


async def test_all_in_one(call_at, clock, waits):
    def make():
        breaker = CircuitBreaker(CircuitBreakerConfig(), clock=clock)
        bulkhead = Bulkhead(BulkheadConfig(1, max_wait=1.0))
        pipeline = Pipeline(
            fallback(value="fallback"),
            timeout(60.0),
            retry(RetryPolicy(max_attempts=3)),
            breaker,
            bulkhead,
            hedge(HedgeConfig(60.0)),
        )
        return pipeline(Callee(1)), (breaker, bulkhead)

    def check(outcome, state):
        breaker, bulkhead = state
        assert outcome in {"cancelled", "done"}
        assert bulkhead.available_slots == 1
        assert breaker.failure_count == 0

    await cancelled_at_every_await(make, call_at, check)


async def test_async_generators(call_at, clock):
    def make():
        bulkhead = Bulkhead(BulkheadConfig(1))
        breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), clock=clock)

        @bulkhead.protect
        @breaker.protect
        async def items():
            yield await Callee()()
            yield await Callee()()

        async def call():
            return [item async for item in items()][-1]

        return call, (bulkhead, breaker)

    def check(outcome, state):
        bulkhead, breaker = state
        gc.collect()
        assert outcome in {"cancelled", "done"}
        assert bulkhead.available_slots == 1
        assert breaker.failure_count == 0

    assert await cancelled_at_every_await(make, call_at, check) == 6


async def test_a_waiting_call_that_times_out_leaves_the_queue():
    bulkhead = Bulkhead(BulkheadConfig(1, max_wait=0.01))
    assert bulkhead._slots.admit((), {})
    with pytest.raises(BulkheadFullError):
        await bulkhead.call(Callee())
    assert not bulkhead._slots._waiters
    bulkhead._slots.leave(None)
    assert bulkhead.available_slots == 1


class JumpingClock:
    """The time of the running loop, which can be put forward."""

    def __init__(self, monkeypatch):
        loop = asyncio.get_running_loop()
        usual, self.ahead = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: usual() + self.ahead, raising=False)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("outer_comes", ["first", "last"])
@pytest.mark.parametrize("shape", ["hedge", "attempts", "attempt_timeout", "bulkhead", "timeout"])
async def test_a_limit_that_is_reached_in_the_same_round_swallows_no_cancellation(
    shape, outer_comes, monkeypatch, waits
):
    async def in_attempts():
        async for attempt in retry(RetryPolicy(attempt_timeout=60.0)):
            async with attempt:
                await anyio.sleep_forever()

    clock = JumpingClock(monkeypatch)
    room = Bulkhead(BulkheadConfig(1, max_wait=60.0))
    assert room._slots.admit((), {})
    call = {
        "hedge": hedge(HedgeConfig(60.0))(anyio.sleep_forever),
        "attempts": in_attempts,
        "attempt_timeout": retry(RetryPolicy(attempt_timeout=60.0))(anyio.sleep_forever),
        "bulkhead": room.protect(anyio.sleep_forever),
        "timeout": timeout(60.0)(anyio.sleep_forever),
    }[shape]
    task = asyncio.create_task(call())
    for _ in range(3):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_later(30.0 if outer_comes == "first" else 90.0, task.cancel)
    clock.ahead = 100.0
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("outer_comes", ["first", "last"])
async def test_a_hedge_that_is_cancelled_as_a_call_wins_ends(outer_comes):
    future = asyncio.get_running_loop().create_future()

    async def call():
        calls.append(None)
        return await (future if len(calls) == 2 else asyncio.Event().wait())

    calls = []
    task = asyncio.create_task(hedge(HedgeConfig(0.0))(call)())
    while len(calls) < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    acts = [lambda: future.set_result("won"), task.cancel]
    for act in acts if outer_comes == "last" else reversed(acts):
        act()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()
