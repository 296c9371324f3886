import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_resilience import (
    InMemoryRateLimiter,
    RateLimitConfig,
    RateLimiter,
    RateLimitExceededError,
    ResilienceConfigError,
    RetryPolicy,
    UnsupportedFunctionError,
    rate_limit,
    retry,
)

ALGORITHMS = ["sliding_window", "token_bucket"]


@pytest.fixture(params=ALGORITHMS)
def algorithm(request):
    return request.param


@pytest.fixture
def limiter(algorithm, clock):
    return InMemoryRateLimiter(RateLimitConfig(3, 6.0, algorithm), clock=clock)


@pytest.mark.anyio
async def test_the_interface(limiter, clock):
    assert [await limiter.acquire() for _ in range(4)] == [True, True, True, False]
    assert await limiter.acquire("another key")
    wait = await limiter.retry_after()
    assert wait == {"sliding_window": 6.0, "token_bucket": 2.0}[limiter.config.algorithm]
    assert await limiter.retry_after("never seen") == 0.0
    clock.advance(wait)
    assert await limiter.retry_after() == 0.0
    assert await limiter.acquire()
    await limiter.reset()
    assert [limiter.take() for _ in range(3)] == [0.0] * 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(
    rate=st.integers(1, 9),
    period=st.floats(1e-3, 1e4),
    now=st.floats(0, 1e6),
    pauses=st.lists(st.floats(0, 10), max_size=20),
)
def test_waiting_as_long_as_told_is_enough_whatever_is_rounded(
    algorithm, rate, period, now, pauses
):
    limiter = InMemoryRateLimiter(RateLimitConfig(rate, period, algorithm), clock=lambda: now)
    for pause in pauses:
        now += pause
        told = limiter.take()
        now += told
        # As a sleep does, a wait ends a little late and never early.
        assert told == 0.0 or limiter.take() < 1e-9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(
    rate=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0, 4.0]), st.sampled_from("ab"))),
)
def test_against_a_model(algorithm, rate, steps):
    now = 0.0
    period = 4.0
    limiter = InMemoryRateLimiter(RateLimitConfig(rate, period, algorithm), clock=lambda: now)
    starts = {"a": [], "b": []}
    tokens = dict.fromkeys("ab", float(rate))
    for seconds, key in steps:
        now += seconds
        for each in tokens:
            tokens[each] = min(rate, tokens[each] + seconds * rate / period)
        if algorithm == "sliding_window":
            recent = [start for start in starts[key] if start > now - period]
            admitted = len(recent) < rate
            wait = 0.0 if admitted else recent[-rate] + period - now
        else:
            admitted = tokens[key] >= 1 - 1e-9
            wait = 0.0 if admitted else (1 - tokens[key]) * period / rate
        told = limiter.take(key)
        # Tokens are a division away from being exact.
        assert told == pytest.approx(wait, abs=1e-9)
        if told == 0.0:
            starts[key].append(now)
            tokens[key] -= 1


def test_waiting_as_long_as_told_is_enough(limiter, clock):
    for _ in range(100):
        while (seconds := limiter.take()) == 0.0:
            pass
        clock.advance(seconds)
        assert limiter.take() == 0.0


def test_memory_is_bounded_by_the_active_keys(limiter, clock):
    for number in range(10_000):
        clock.advance(0.01)
        limiter.take(f"user {number}")
        limiter.take("busy all the time")
    # 600 keys have been active within one period.
    assert limiter.active_keys < 1300
    clock.advance(100)
    for _ in range(1300):
        limiter.take("one")
        clock.advance(3)
    assert limiter.active_keys == 1


def test_memory_of_a_busy_time_goes(clock):
    limiter = InMemoryRateLimiter(RateLimitConfig(1000, 10.0), clock=clock)
    for _ in range(1000):
        limiter.take()
    for _ in range(1000):
        clock.advance(9.0)
        limiter.take()
    assert len(limiter._state.keys["default"]) <= 2


def test_a_period_below_the_clocks_resolution(algorithm, clock):
    limiter = InMemoryRateLimiter(RateLimitConfig(1, 1e-15, algorithm), clock=clock)
    for _ in range(5):
        assert limiter.take("a") == limiter.take("b") == 0.0


class AuditedLimiter(InMemoryRateLimiter):
    asked = 0

    async def acquire(self, key="default"):
        self.asked += 1
        return await super().acquire(key)


@pytest.mark.anyio
async def test_what_a_subclass_does_is_not_passed_over():
    limiter = AuditedLimiter(RateLimitConfig(1, 60.0))

    @rate_limit(limiter)
    async def call():
        return "ok"

    assert await call() == "ok"
    with pytest.raises(RateLimitExceededError):
        await call()
    assert limiter.asked == 2
    with pytest.raises(UnsupportedFunctionError, match="AuditedLimiter has to be awaited"):
        rate_limit(limiter)(int.bit_length)


def test_threads_together_get_the_rate_and_no_more(limiter):
    barrier = threading.Barrier(20)
    admitted = []

    def call():
        barrier.wait(10)
        if limiter.take() == 0.0:
            admitted.append(1)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 3


def test_as_a_decorator(limiter):
    @rate_limit(limiter)
    def call():
        return "ok"

    assert [call() for _ in range(3)] == ["ok"] * 3
    with pytest.raises(RateLimitExceededError) as caught:
        call()
    assert caught.value.key == "default"
    assert caught.value.retry_after > 0
    assert caught.value.http_status == 429
    assert str(caught.value).startswith("rate limit of 'default' is used up; retry in ")


@pytest.mark.anyio
async def test_a_rate_for_each_key(limiter):
    @rate_limit(limiter, key_fn=lambda user, **_: f"user:{user}")
    async def call(user, *, amount=1):
        return user

    for _ in range(3):
        assert await call("a", amount=2) == "a"
    with pytest.raises(RateLimitExceededError, match="'user:a'"):
        await call("a")
    assert await call("b") == "b"


def test_retrying_waits_as_long_as_the_limiter_says(limiter, clock, waits):
    limited = retry(RetryPolicy(base_delay=0))(rate_limit(limiter)(lambda: "ok"))
    assert [limited() for _ in range(4)] == ["ok"] * 4
    assert len(waits) == 1


class SharedLimiter(RateLimiter):
    def __init__(self):
        self.used = 0

    async def acquire(self, key="default"):
        self.used += 1
        return self.used <= 1

    async def reset(self, key="default"):
        self.used = 0

    async def retry_after(self, key="default"):
        return 9.0


@pytest.mark.anyio
@pytest.mark.parametrize("key_fn", [None, lambda: "k"])
async def test_a_limiter_of_ones_own(key_fn):
    @rate_limit(SharedLimiter(), key_fn=key_fn)
    async def call():
        return "ok"

    assert await call() == "ok"
    with pytest.raises(RateLimitExceededError) as caught:
        await call()
    assert caught.value.retry_after == 9.0


def test_a_limiter_that_must_be_awaited_needs_an_async_function():
    with pytest.raises(UnsupportedFunctionError, match="SharedLimiter has to be awaited"):
        rate_limit(SharedLimiter())(int.bit_length)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("rate", (0, 1.0)),
        ("rate", (0.5, 1.0)),
        ("period", (1, 0)),
        ("algorithm", (1, 1.0, "leaky_bucket")),
    ],
)
def test_a_configuration_that_makes_no_sense(field, values):
    with pytest.raises(ResilienceConfigError) as caught:
        RateLimitConfig(*values)
    assert caught.value.field == field
