"""Each row of the README's table of stacking orders, as decorators and as a pipeline."""

import re
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    HedgeConfig,
    InMemoryRateLimiter,
    Pipeline,
    RateLimitConfig,
    RateLimitExceededError,
    RetryExhaustedError,
    RetryPolicy,
    fallback,
    hedge,
    rate_limit,
    retry,
    timeout,
)

pytestmark = pytest.mark.anyio

ROWS = {}


def row(outer, inner):
    def note(test):
        ROWS[outer, inner] = test.__name__
        return test

    return note


@pytest.fixture(params=["stacked", "pipeline"])
def put(request):
    """`put(a, b, func)` is `a(b(func))`."""

    def stacked(*parts):
        *strategies, func = parts
        for strategy in reversed(strategies):
            func = strategy(func)
        return func

    def pipeline(*parts):
        *strategies, func = parts
        return Pipeline(*strategies)(func)

    return {"stacked": stacked, "pipeline": pipeline}[request.param]


class Callee:
    """Each call does what the script says for its number, the last entry for all others."""

    def __init__(self, *script):
        self.script = script
        self.started = 0
        self.running = 0

    async def __call__(self):
        act = self.script[min(self.started, len(self.script) - 1)]
        self.started += 1
        self.running += 1
        try:
            await anyio.lowlevel.checkpoint()
            if act == "hang":
                await anyio.sleep_forever()
            if isinstance(act, Exception):
                raise act
            return act
        finally:
            self.running -= 1


DOWN = ConnectionError("down")
THREE = RetryPolicy(max_attempts=3, base_delay=1.0, jitter=False)


def a_breaker(failures=5):
    return CircuitBreaker(CircuitBreakerConfig(failure_threshold=failures))


def a_limiter(rate, clock):
    return InMemoryRateLimiter(RateLimitConfig(rate, 60.0), clock=clock)


@row("timeout", "retry")
async def test_timeout_over_retry(put, waits):
    callee = Callee(DOWN, "hang")
    with pytest.raises(CallTimeoutError):
        await put(timeout(0.2), retry(THREE), callee)()
    assert callee.started == 2


@row("retry", "timeout")
async def test_retry_over_timeout(put, waits):
    callee = Callee("hang", "hang", "ok")
    assert await put(retry(THREE), timeout(0.1), callee)() == "ok"
    assert callee.started == 3


@row("timeout", "circuit_breaker")
async def test_timeout_over_circuit_breaker(put):
    breaker = a_breaker(1)
    with pytest.raises(CallTimeoutError):
        await put(timeout(0.01), breaker, Callee("hang"))()
    assert breaker.state is CircuitState.CLOSED
    assert breaker.failure_count == 0


@row("circuit_breaker", "timeout")
async def test_circuit_breaker_over_timeout(put):
    breaker = a_breaker(1)
    with pytest.raises(CallTimeoutError):
        await put(breaker, timeout(0.01), Callee("hang"))()
    assert breaker.state is CircuitState.OPEN


@row("timeout", "bulkhead")
async def test_timeout_over_bulkhead(put):
    room = Bulkhead(BulkheadConfig(1, max_wait=60.0))
    async with anyio.create_task_group() as group:
        group.start_soon(room.call, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        callee = Callee("ok")
        with pytest.raises(CallTimeoutError):
            await put(timeout(0.01), room, callee)()
        assert callee.started == 0
        group.cancel_scope.cancel()


@row("bulkhead", "timeout")
async def test_bulkhead_over_timeout(put):
    room = Bulkhead(BulkheadConfig(1, max_wait=60.0))
    async with anyio.create_task_group() as group:
        group.start_soon(room.call, anyio.sleep, 0.2)
        await anyio.wait_all_tasks_blocked()
        assert await put(room, timeout(0.15), Callee("ok"))() == "ok"


@row("timeout", "hedge")
async def test_timeout_over_hedge(put):
    callee = Callee("hang")
    with pytest.raises(CallTimeoutError):
        await put(timeout(0.2), hedge(HedgeConfig(0.001, 2)), callee)()
    assert (callee.started, callee.running) == (3, 0)


@row("hedge", "timeout")
async def test_hedge_over_timeout(put):
    callee = Callee("hang", "ok")
    assert await put(hedge(HedgeConfig(60.0)), timeout(0.1), callee)() == "ok"


@row("timeout", "rate_limit")
async def test_timeout_over_rate_limit(put, clock):
    limiter = a_limiter(1, clock)
    call = put(timeout(0.01), rate_limit(limiter), Callee("hang"))
    with pytest.raises(CallTimeoutError):
        await call()
    with pytest.raises(RateLimitExceededError):
        await call()


@row("retry", "circuit_breaker")
async def test_retry_over_circuit_breaker(put, waits):
    breaker = a_breaker(2)
    callee = Callee(DOWN)
    with pytest.raises(CircuitOpenError):
        await put(retry(RetryPolicy(max_attempts=9)), breaker, callee)()
    assert (callee.started, len(waits)) == (2, 1), "it does not wait for an open circuit"


@row("circuit_breaker", "retry")
async def test_circuit_breaker_over_retry(put, waits):
    config = CircuitBreakerConfig(failure_threshold=2, monitored_on=ConnectionError)
    breaker = CircuitBreaker(config)
    callee = Callee(DOWN)
    call = put(breaker, retry(THREE), callee)
    with pytest.raises(RetryExhaustedError):
        await call()
    assert breaker.failure_count == 1
    with pytest.raises(RetryExhaustedError):
        await call()
    with pytest.raises(CircuitOpenError):
        await call()
    assert callee.started == 6


@row("retry", "bulkhead")
async def test_retry_over_bulkhead(put, waits):
    room = Bulkhead(BulkheadConfig(1))
    free = []
    policy = RetryPolicy(max_attempts=3, hooks=(lambda _: free.append(room.available_slots),))
    assert await put(retry(policy), room, Callee(DOWN, DOWN, "ok"))() == "ok"
    assert free == [1, 1, 1]
    assert room._slots.admit((), {})
    with pytest.raises(RetryExhaustedError) as caught:
        await put(retry(policy), room, Callee("ok"))()
    assert isinstance(caught.value.last_exc, BulkheadFullError)


@row("bulkhead", "retry")
async def test_bulkhead_over_retry(put, waits):
    room = Bulkhead(BulkheadConfig(1))
    free = []
    policy = RetryPolicy(max_attempts=3, hooks=(lambda _: free.append(room.available_slots),))
    assert await put(room, retry(policy), Callee(DOWN, DOWN, "ok"))() == "ok"
    assert free == [0, 0, 0]


@row("retry", "hedge")
async def test_retry_over_hedge(put, waits):
    callee = Callee(DOWN, DOWN, DOWN, "ok")
    assert await put(retry(THREE), hedge(HedgeConfig(60.0)), callee)() == "ok"
    assert (callee.started, len(waits)) == (4, 1)


@row("hedge", "retry")
async def test_hedge_over_retry(put, waits):
    callee = Callee(DOWN)
    with pytest.raises(RetryExhaustedError):
        await put(hedge(HedgeConfig(60.0)), retry(THREE), callee)()
    assert (callee.started, len(waits)) == (6, 4)


@row("retry", "rate_limit")
async def test_retry_over_rate_limit(put, clock, waits):
    limiter = a_limiter(2, clock)
    four = RetryPolicy(max_attempts=4, base_delay=1.0, jitter=False, clock=clock)
    callee = Callee(DOWN, DOWN, "ok")
    assert await put(retry(four), rate_limit(limiter), callee)() == "ok"
    assert (callee.started, waits) == (3, [1.0, 2.0, 57.0])


@row("circuit_breaker", "bulkhead")
async def test_circuit_breaker_over_bulkhead(put):
    breaker = a_breaker(1)
    room = Bulkhead(BulkheadConfig(1))
    assert room._slots.admit((), {})
    with pytest.raises(BulkheadFullError):
        await put(breaker, room, Callee("ok"))()
    assert breaker.state is CircuitState.CLOSED


@row("bulkhead", "circuit_breaker")
async def test_bulkhead_over_circuit_breaker(put, clock):
    breaker = CircuitBreaker(CircuitBreakerConfig(), clock=clock)
    breaker.open()
    clock.advance(30)
    room = Bulkhead(BulkheadConfig(1))
    call = put(room, breaker, Callee("ok"))
    assert room._slots.admit((), {})
    with pytest.raises(BulkheadFullError):
        await call()
    assert breaker.state is CircuitState.HALF_OPEN
    room._slots.leave(None)
    breaker.isolate()
    with pytest.raises(CircuitOpenError):
        await call()
    assert room.available_slots == 1


@row("circuit_breaker", "hedge")
async def test_circuit_breaker_over_hedge(put):
    breaker = a_breaker()
    with pytest.raises(ConnectionError):
        await put(breaker, hedge(HedgeConfig(60.0, 2)), Callee(DOWN))()
    assert breaker.failure_count == 1
    assert await put(breaker, hedge(HedgeConfig(60.0)), Callee(DOWN, "ok"))() == "ok"
    assert breaker.failure_count == 0


@row("hedge", "circuit_breaker")
async def test_hedge_over_circuit_breaker(put):
    breaker = a_breaker()
    with pytest.raises(ConnectionError):
        await put(hedge(HedgeConfig(60.0, 2)), breaker, Callee(DOWN))()
    assert breaker.failure_count == 3
    assert await put(hedge(HedgeConfig(0.001)), breaker, Callee("hang", "ok"))() == "ok"
    assert breaker.failure_count == 0


@row("circuit_breaker", "rate_limit")
async def test_circuit_breaker_over_rate_limit(put, clock):
    breaker = a_breaker(1)
    limiter = a_limiter(1, clock)
    call = put(breaker, rate_limit(limiter), Callee("ok"))
    assert await call() == "ok"
    with pytest.raises(RateLimitExceededError):
        await call()
    assert breaker.state is CircuitState.CLOSED


@row("bulkhead", "hedge")
async def test_bulkhead_over_hedge(put):
    room = Bulkhead(BulkheadConfig(1))
    assert await put(room, hedge(HedgeConfig(0.001)), Callee("hang", "ok"))() == "ok"
    assert room.available_slots == 1


@row("hedge", "bulkhead")
async def test_hedge_over_bulkhead(put):
    room = Bulkhead(BulkheadConfig(1))
    callee = Callee("hang", "ok")
    refused = []

    def note(error):
        refused.append(error)
        raise error

    async with anyio.create_task_group() as group:
        watched = fallback(note, on=BulkheadFullError)
        group.start_soon(put(hedge(HedgeConfig(0.001)), watched, room, callee))
        while not refused:
            await anyio.sleep(0.001)
        await anyio.wait_all_tasks_blocked()
        assert (callee.started, callee.running) == (1, 1), "the first call goes on"
        group.cancel_scope.cancel()
    assert room.available_slots == 1


@row("bulkhead", "rate_limit")
async def test_bulkhead_over_rate_limit(put, clock):
    room = Bulkhead(BulkheadConfig(1))
    limiter = a_limiter(1, clock)
    call = put(room, rate_limit(limiter), Callee("ok"))
    assert room._slots.admit((), {})
    with pytest.raises(BulkheadFullError):
        await call()
    room._slots.leave(None)
    assert await call() == "ok", "the refused call has used up nothing"


@row("hedge", "rate_limit")
async def test_hedge_over_rate_limit(put, clock):
    limiter = a_limiter(2, clock)
    assert await put(hedge(HedgeConfig(60.0)), rate_limit(limiter), Callee(DOWN, "ok"))() == "ok"
    assert await limiter.retry_after() == 60.0


@row("timeout", "timeout")
@pytest.mark.parametrize("limits", [(0.01, 60.0), (60.0, 0.01)])
async def test_timeout_over_timeout(put, limits):
    with pytest.raises(CallTimeoutError) as caught:
        await put(timeout(limits[0]), timeout(limits[1]), Callee("hang"))()
    assert caught.value.limit == 0.01


@row("retry", "retry")
async def test_retry_over_retry(put, waits):
    callee = Callee(DOWN)
    connections = RetryPolicy(max_attempts=2, retryable_on=ConnectionError)
    with pytest.raises(RetryExhaustedError):
        await put(retry(connections), retry(THREE), callee)()
    assert callee.started == 6
    callee = Callee(KeyError())
    with pytest.raises(RetryExhaustedError):
        await put(retry(connections), retry(THREE), callee)()
    assert callee.started == 3


@row("circuit_breaker", "circuit_breaker")
async def test_circuit_breaker_over_circuit_breaker(put):
    outer, inner = a_breaker(2), a_breaker(1)
    call = put(outer, inner, Callee(DOWN))
    with pytest.raises(ConnectionError):
        await call()
    for _ in range(3):
        with pytest.raises(CircuitOpenError):
            await call()
    assert (outer.failure_count, inner.failure_count) == (1, 1)
    assert (outer.state, inner.state) == (CircuitState.CLOSED, CircuitState.OPEN)


@row("bulkhead", "bulkhead")
async def test_bulkhead_over_bulkhead(put):
    outer, inner = Bulkhead(BulkheadConfig(3)), Bulkhead(BulkheadConfig(1))
    call = put(outer, inner, Callee("hang", "ok"))
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert (outer.available_slots, inner.available_slots) == (2, 0)
        with pytest.raises(BulkheadFullError):
            await call()
        assert outer.available_slots == 2
        group.cancel_scope.cancel()
    assert (outer.available_slots, inner.available_slots) == (3, 1)


@row("hedge", "hedge")
async def test_hedge_over_hedge(put):
    callee = Callee(DOWN)
    with pytest.raises(ConnectionError):
        await put(hedge(HedgeConfig(60.0, 2)), hedge(HedgeConfig(60.0, 1)), callee)()
    assert callee.started == 6


def strategy(name, *, used_up=False):
    room = Bulkhead(BulkheadConfig(1))
    limiter = InMemoryRateLimiter(RateLimitConfig(1, 60.0))
    if used_up:
        room._slots.admit((), {})
        limiter.take()
    return {
        "timeout": timeout(0.1),
        "retry": retry(THREE),
        "circuit_breaker": a_breaker(),
        "bulkhead": room,
        "hedge": hedge(HedgeConfig(60.0, 2)),
        "rate_limit": rate_limit(limiter),
    }[name]


OTHERS = ["timeout", "retry", "circuit_breaker", "bulkhead", "hedge"]


@row("rate_limit", "any")
@pytest.mark.parametrize("inner", OTHERS)
async def test_rate_limit_over_any(put, inner, clock, waits):
    limiter = a_limiter(1, clock)
    call = put(rate_limit(limiter), strategy(inner), Callee("ok"))
    assert await call() == "ok"
    with pytest.raises(RateLimitExceededError):
        await call()


@row("fallback", "any")
@pytest.mark.parametrize("inner", [*OTHERS, "rate_limit"])
async def test_fallback_over_any(put, inner, waits):
    callee = Callee("hang" if inner == "timeout" else DOWN)
    assert (
        await put(fallback(value="instead"), strategy(inner, used_up=True), callee)() == "instead"
    )


@row("any", "fallback")
@pytest.mark.parametrize("outer", OTHERS)
async def test_any_over_fallback(put, outer, waits):
    callee = Callee(DOWN)
    around = strategy(outer)
    assert await put(around, fallback(value="instead"), callee)() == "instead"
    assert (callee.started, waits) == (1, [])
    assert getattr(around, "failure_count", 0) == 0


@row("any", "task_group")
@pytest.mark.parametrize("outer", ["retry", "circuit_breaker", "fallback"])
async def test_any_over_a_task_group(put, outer, waits):
    callee = Callee(DOWN)

    async def fan_out():
        async with anyio.create_task_group() as group:
            group.start_soon(callee)

    config = CircuitBreakerConfig(failure_threshold=1, monitored_on=ConnectionError)
    around = {
        "retry": retry(RetryPolicy(max_attempts=2, retryable_on=ConnectionError)),
        "circuit_breaker": CircuitBreaker(config),
        "fallback": fallback(value="instead", on=ConnectionError),
    }[outer]
    if outer == "fallback":
        assert await put(around, fan_out)() == "instead"
        return
    with pytest.raises((RetryExhaustedError, ExceptionGroup)):
        await put(around, fan_out)()
    assert callee.started == (2 if outer == "retry" else 1)
    assert getattr(around, "state", CircuitState.OPEN) is CircuitState.OPEN


def test_the_readme_lists_these_rows():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = text.partition("| outer | inner |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(ROWS)
