"""A pipeline means what stacking its strategies means, whatever they are."""

import anyio
import anyio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    HedgeConfig,
    InMemoryRateLimiter,
    Pipeline,
    RateLimitConfig,
    RetryBudget,
    RetryPolicy,
    circuit_breaker,
    fallback,
    hedge,
    rate_limit,
    retry,
    retry_test_mode,
    timeout,
)


class World:
    """All that calls through some strategies can see or leave behind."""

    def __init__(self, names):
        self.now = 0.0
        self.log = []
        self.state = []
        self.strategies = [getattr(self, name)() for name in names]

    def clock(self):
        return self.now

    def wait(self, seconds):
        self.log.append(("wait", seconds))
        self.now += seconds

    def keep(self, thing):
        self.state.append(thing)
        return thing

    def hook(self, event):
        self.log.append((event.kind, event.attempt, event.delay, repr(event.error)))

    def retry(self, **options):
        policy = RetryPolicy(
            base_delay=1.0, jitter=False, hooks=(self.hook,), clock=self.clock, **options
        )
        return retry(policy)

    def retry_connections(self):
        return self.retry(retryable_on=ConnectionError)

    def retry_in_full(self):
        return self.retry(deadline=50.0, retry_on_result=lambda r: r == "bad", budget=RetryBudget())

    def breaker(self):
        return self.keep(CircuitBreaker(CircuitBreakerConfig(2), name="b", clock=self.clock))

    def breaker_per_function(self):
        return circuit_breaker(CircuitBreakerConfig(3), clock=self.clock)

    def breaker_by_rate(self):
        config = CircuitBreakerConfig(
            None, success_threshold=2, failure_rate=0.5, minimum_calls=2, monitored_on=OSError
        )
        return self.keep(CircuitBreaker(config, name="r", clock=self.clock))

    def bulkhead(self):
        return self.keep(Bulkhead(BulkheadConfig(1), name="h"))

    def rate_limit(self):
        limiter = InMemoryRateLimiter(RateLimitConfig(4, 9.0), clock=self.clock)
        return rate_limit(limiter, key_fn=lambda step: "k")

    def fallback(self):
        return fallback(value="instead")

    def fallback_by_handler(self):
        return fallback(lambda error: f"instead of {error!r}", on=KeyError)

    def pipeline(self):
        return Pipeline(self.fallback_by_handler(), self.breaker())

    def timeout(self):
        return timeout(60.0)

    def hedge(self):
        return hedge(HedgeConfig(60.0))

    def seen(self):
        kept = [
            (thing.state, thing.failure_count)
            if isinstance(thing, CircuitBreaker)
            else thing.available_slots
            for thing in self.state
        ]
        return self.log, self.now, kept


STEPS = ["ok", "bad", ConnectionError("down"), KeyError("k"), 5.0, 40.0]
SYNC = [
    "retry",
    "retry_connections",
    "retry_in_full",
    "breaker",
    "breaker_per_function",
    "breaker_by_rate",
    "bulkhead",
    "rate_limit",
    "fallback",
    "fallback_by_handler",
    "pipeline",
]
stacks = st.lists(st.sampled_from(SYNC), min_size=1, max_size=5)
async_stacks = st.lists(st.sampled_from([*SYNC, "timeout", "hedge"]), min_size=1, max_size=5)
scripts = st.lists(st.sampled_from(STEPS), min_size=1, max_size=12)


def stack(strategies, func):
    for strategy in reversed(strategies):
        func = strategy(func)
    return func


def pipeline(strategies, func):
    return Pipeline(*strategies)(func)


def act(world, script):
    step = script.pop(0) if script else "ok"
    world.log.append(("call", step))
    if isinstance(step, float):
        world.now += step
        return "slept"
    if isinstance(step, Exception):
        raise step.with_traceback(None)
    return step


def outcome_of(error):
    return type(error), str(error), getattr(error, "reason", None)


def run_sync(names, script, put):
    world, script = World(names), list(script)

    def func(step):
        return act(world, script)

    call = put(world.strategies, func)
    with retry_test_mode(on_wait=world.wait):
        for step in range(6):
            try:
                world.log.append(("returned", call(step)))
            except Exception as error:
                world.log.append(outcome_of(error))
    return world.seen()


async def run_async(names, script, put):
    world, script = World(names), list(script)

    async def func(step):
        await anyio.lowlevel.checkpoint()
        return act(world, script)

    call = put(world.strategies, func)
    with retry_test_mode(on_wait=world.wait):
        for step in range(6):
            try:
                world.log.append(("returned", await call(step)))
            except Exception as error:
                world.log.append(outcome_of(error))
    return world.seen()


@given(stacks, scripts)
def test_sync(names, script):
    stacked = run_sync(names, script, stack)
    assert run_sync(names, script, pipeline) == stacked
    for _, kept in zip(names, stacked[2], strict=False):
        assert kept == 1 or isinstance(kept[0], CircuitState)


@given(async_stacks, scripts)
def test_async(names, script):
    async def both():
        return await run_async(names, script, stack), await run_async(names, script, pipeline)

    stacked, fused = anyio.run(both)
    assert fused == stacked


def test_what_is_shared_is_shared_and_what_is_not_is_not():
    shared = CircuitBreaker(CircuitBreakerConfig(1))
    calls = []

    def fail():
        calls.append("fail")
        raise KeyError

    several = Pipeline(fallback(value="no"), Pipeline(shared))
    own = Pipeline(fallback(value="no"), circuit_breaker(CircuitBreakerConfig(1)))
    for pipe, expected in ((several, 1), (own, 2)):
        calls.clear()
        first, second = pipe(fail), pipe(fail)
        assert [first(), second(), first(), second()] == ["no"] * 4
        assert len(calls) == expected
    assert len(several.parts) == 2
