# ruff: noqa: PT012  # a block is what is tested
import contextlib
import gc
import logging
import time
import weakref
from email import message_from_string as message
from email.message import Message
from email.utils import formatdate
from functools import partial, wraps
from types import SimpleNamespace
from urllib.error import HTTPError

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_resilience import (
    AttemptTimeoutError,
    BulkheadConfig,
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    Pipeline,
    RateLimitExceededError,
    ResilienceConfigError,
    ResultRejectedError,
    RetryBudget,
    RetryEvent,
    RetryExhaustedError,
    RetryPolicy,
    UnsupportedFunctionError,
    bulkhead,
    fallback,
    log_retries,
    read_retry_after,
    retry,
    retry_test_mode,
)

pytestmark = pytest.mark.usefixtures("waits")


class Flaky:
    """Fails so many times, then returns the number of the call."""

    def __init__(self, failures, error=ConnectionError):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"call {self.calls}")
        return self.calls


class AsyncFlaky(Flaky):
    async def __call__(self):
        await anyio.lowlevel.checkpoint()
        return super().__call__()


STEADY = RetryPolicy(max_attempts=3, base_delay=0.5, jitter=False)


def test_a_call_that_recovers(waits):
    assert retry(STEADY)(Flaky(2))() == 3
    assert waits == [0.5, 1.0]


@pytest.mark.anyio
async def test_an_async_call_that_recovers(waits):
    assert await retry(STEADY)(AsyncFlaky(2))() == 3
    assert await retry(STEADY).call_async(AsyncFlaky(1)) == 2
    assert waits == [0.5, 1.0, 0.5]


def test_as_a_call():
    def divide(a, *, b):
        calls.append(b)
        if len(calls) == 1:
            raise ConnectionError
        return a / b

    calls = []
    assert retry(STEADY).call_sync(divide, 6, b=3) == 2
    assert calls == [3, 3]


def test_exhaustion_carries_every_attempt():
    with pytest.raises(RetryExhaustedError) as caught:
        retry(STEADY)(Flaky(9))()
    error = caught.value
    assert (error.attempts, error.reason, error.func_name) == (3, "attempts", "Flaky")
    assert [item.number for item in error.history] == [1, 2, 3]
    assert [str(item.error) for item in error.history] == ["call 1", "call 2", "call 3"]
    assert [item.delay for item in error.history] == [0.5, 1.0, None]
    assert error.__cause__ is error.last_exc is error.history[-1].error
    assert str(error) == (
        "Flaky failed 3 times and is not tried again (attempts); "
        "last error: ConnectionError('call 3')"
    )


def test_a_single_attempt_is_exhausted_at_once():
    with pytest.raises(RetryExhaustedError, match="failed 1 time and"):
        retry(RetryPolicy(max_attempts=1))(Flaky(1))()


@pytest.mark.parametrize(
    "retryable_on",
    [ConnectionError, (ConnectionError, KeyError), lambda e: isinstance(e, ConnectionError)],
)
def test_other_errors_pass_as_they_are(retryable_on):
    retrying = retry(RetryPolicy(retryable_on=retryable_on))
    assert retrying(Flaky(2))() == 3
    other = Flaky(9, ValueError)
    with pytest.raises(ValueError, match="call 1") as caught:
        retrying(other)()
    assert other.calls == 1
    assert caught.value.__context__ is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_is_never_retried(error):
    policy = RetryPolicy(retryable_on=lambda _: True)
    flaky = Flaky(9, error)
    with pytest.raises(error):
        retry(policy)(flaky)()
    assert flaky.calls == 1
    assert not policy.is_retryable(error())


def test_an_open_circuit_is_never_slept_against(waits):
    flaky = Flaky(9, lambda _: CircuitOpenError("x", 1.0, 30.0, 30.0))
    with pytest.raises(CircuitOpenError):
        retry(RetryPolicy(retryable_on=CircuitOpenError))(flaky)()
    assert (flaky.calls, waits) == (1, [])


def test_a_circuit_that_opens_meanwhile_ends_the_retrying(waits):
    def call():
        waits_before.append(len(waits))
        if len(waits_before) == 2:
            raise CircuitOpenError("x", 1.0, 30.0, 30.0)
        raise ConnectionError

    waits_before = []
    with pytest.raises(CircuitOpenError):
        retry(RetryPolicy(max_attempts=9))(call)()
    assert len(waits) == 1


class TestABreakerThatOpensMeanwhile:
    def breaker(self, clock, **options):
        options.setdefault("failure_threshold", 1)
        return CircuitBreaker(CircuitBreakerConfig(recovery_timeout=30.0, **options), clock=clock)

    def test_is_not_waited_for(self, clock, waits):
        breaker = self.breaker(clock)
        flaky = Flaky(9)
        with pytest.raises(CircuitOpenError) as caught:
            retry(STEADY)(breaker.protect(flaky))()
        assert (flaky.calls, waits, caught.value.retry_after) == (1, [], 30.0)
        assert isinstance(caught.value.__cause__, ConnectionError)

    def test_is_probed_after_a_wait_that_is_long_enough(self, clock, waits):
        policy = RetryPolicy(base_delay=30.0, jitter=False)
        assert retry(policy)(self.breaker(clock).protect(Flaky(1)))() == 2
        assert waits == [30.0]

    def test_is_not_waited_for_behind_another_one(self, clock, waits):
        inner, outer = self.breaker(clock), self.breaker(clock, failure_threshold=9)
        with pytest.raises(CircuitOpenError):
            retry(STEADY)(outer.protect(inner.protect(Flaky(9))))()
        assert waits == []

    def test_may_be_closed_again_by_then(self, clock, waits):
        breaker = self.breaker(clock)
        breaker.add_listener(lambda change: breaker.close())
        assert retry(STEADY)(breaker.protect(Flaky(2)))() == 3

    @pytest.mark.parametrize("shape", ["pipeline", "method", "partial", "call"])
    def test_is_not_waited_for_however_it_is_put(self, clock, waits, shape):
        breaker = self.breaker(clock)
        flaky = Flaky(9)

        class Service:
            @breaker.protect
            def method(self):
                return flaky()

        retrying = retry(STEADY)
        protected = breaker.protect(flaky)
        call = {
            "pipeline": Pipeline(retrying, bulkhead(BulkheadConfig(1)), breaker)(flaky),
            "method": retrying(Service().method),
            "partial": retrying(partial(protected)),
            "call": lambda: retrying.call_sync(protected),
        }[shape]
        with pytest.raises(CircuitOpenError):
            call()
        assert waits == []

    def test_is_none_of_its_business_behind_a_fallback(self, clock, waits):
        inner = fallback(value="instead", on=CircuitOpenError)(
            self.breaker(clock).protect(Flaky(9))
        )
        assert retry(STEADY)(inner)() == "instead"
        assert waits == [0.5]

    def test_is_not_seen_through_the_decorator_of_another(self, clock, waits):
        protected = self.breaker(clock).protect(Flaky(9))

        @wraps(protected)
        def other():
            try:
                return protected()
            except CircuitOpenError:
                return "instead"

        assert retry(STEADY)(other)() == "instead"


def test_an_exhausted_retry_further_in_is_judged_by_its_last_error():
    inner = retry(STEADY)(Flaky(4))
    assert retry(RetryPolicy(retryable_on=ConnectionError))(inner)() == 5
    inner = retry(STEADY)(Flaky(4))
    with pytest.raises(RetryExhaustedError) as caught:
        retry(RetryPolicy(retryable_on=KeyError))(inner)()
    assert isinstance(caught.value.last_exc, ConnectionError)


@pytest.mark.anyio
async def test_results_are_retried_too(waits):
    policy = RetryPolicy(max_attempts=4, retry_on_result=lambda result: result < 3)
    assert retry(policy)(Flaky(1))() == 3
    assert await retry(policy)(AsyncFlaky(1))() == 3
    assert len(waits) == 4
    with pytest.raises(RetryExhaustedError) as caught:
        retry(RetryPolicy(retry_on_result=lambda _: True))(Flaky(0))()
    assert isinstance(caught.value.last_exc, ResultRejectedError)
    assert [item.error.result for item in caught.value.history] == [1, 2, 3]


def test_the_deadline_ends_the_retrying(clock, waits):
    policy = RetryPolicy(
        max_attempts=99, base_delay=4.0, max_delay=4.0, jitter=False, deadline=10.0, clock=clock
    )
    with pytest.raises(RetryExhaustedError) as caught:
        retry(policy)(Flaky(99))()
    assert (caught.value.reason, caught.value.attempts, waits) == ("deadline", 3, [4.0, 4.0])


@pytest.mark.anyio
@pytest.mark.parametrize("shape", ["sync", "async", "for", "async for"])
async def test_no_attempt_starts_after_a_wait_that_took_too_long(clock, shape):
    policy = RetryPolicy(max_attempts=99, base_delay=4.0, jitter=False, deadline=10.0, clock=clock)
    started = []

    def fail():
        started.append(clock())
        raise ConnectionError(len(started))

    async def fail_async():
        fail()

    async def call():
        if shape == "sync":
            retry(policy)(fail)()
        elif shape == "async":
            await retry(policy)(fail_async)()
        elif shape == "for":
            for attempt in retry(policy):
                with attempt:
                    fail()
        else:
            async for attempt in retry(policy):
                async with attempt:
                    fail()

    begin = clock()
    with (
        retry_test_mode(on_wait=lambda seconds: clock.advance(3 * seconds)),
        pytest.raises(RetryExhaustedError) as caught,
    ):
        await call()
    assert started == [begin]
    error = caught.value
    assert (error.reason, error.attempts) == ("deadline", 1)
    assert [item.delay for item in error.history] == [None]
    assert error.__cause__ is error.last_exc is error.history[0].error


@pytest.mark.anyio
async def test_the_deadline_cuts_an_async_attempt():
    policy = RetryPolicy(deadline=0.01, attempt_timeout=60.0)
    with pytest.raises(RetryExhaustedError) as caught:
        await retry(policy).call_async(anyio.sleep_forever)
    assert (caught.value.reason, caught.value.attempts) == ("deadline", 1)
    assert isinstance(caught.value.last_exc, AttemptTimeoutError)


@pytest.mark.anyio
async def test_an_attempt_that_the_deadline_cuts_is_the_last_one():
    # A clock that lags behind the event loop's must not lead to another attempt.
    policy = RetryPolicy(deadline=0.01, base_delay=0.0, clock=lambda: 0.0)
    with pytest.raises(RetryExhaustedError) as caught:
        await retry(policy).call_async(anyio.sleep_forever)
    assert (caught.value.reason, caught.value.attempts) == ("deadline", 1)


@pytest.mark.anyio
async def test_each_attempt_has_its_timeout():
    @retry(RetryPolicy(attempt_timeout=0.01, deadline=60.0, retryable_on=KeyError))
    async def slow_twice():
        calls.append(None)
        if len(calls) < 3:
            await anyio.sleep_forever()
        return "done"

    calls = []
    assert await slow_twice() == "done"
    assert len(calls) == 3


@pytest.mark.anyio
async def test_a_timeout_of_the_function_itself_is_not_the_attempts():
    own = CallTimeoutError("own", 1.0)

    @retry(RetryPolicy(attempt_timeout=60.0, retryable_on=KeyError))
    async def call():
        raise own

    with pytest.raises(CallTimeoutError) as caught:
        await call()
    assert caught.value is own


def test_an_attempt_timeout_needs_an_async_function():
    with pytest.raises(UnsupportedFunctionError, match="attempt_timeout"):
        retry(RetryPolicy(attempt_timeout=1.0))(Flaky(0))


def test_generators_are_refused():
    def items():
        yield 1

    async def async_items():
        yield 1

    for func in (items, async_items):
        with pytest.raises(UnsupportedFunctionError, match="generator function; it has given"):
            retry(STEADY)(func)


class ApiError(Exception):
    def __init__(self, *, seconds=None, headers=None):
        super().__init__()
        if seconds is not None:
            self.retry_after = seconds
        if headers is not None:
            self.response = SimpleNamespace(headers=headers)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ApiError(seconds=7), 7.0),
        (ApiError(seconds="7"), 7.0),
        (ApiError(seconds=-7), 0.0),
        (ApiError(seconds=float("nan")), None),
        (ApiError(seconds="soon"), None),
        (ApiError(headers={"Retry-After": " 120 "}), 120.0),
        (ApiError(headers={"Retry-After": "Wed, 32 Oct"}), None),
        (ApiError(headers={}), None),
        (ApiError(headers={"retry-after": "0.35"}), 0.35),
        (ApiError(headers={"Retry-After": "1_000"}), None),
        (ApiError(headers={"Retry-After": "inf"}), None),
        (ApiError(headers={"Retry-After": "-5"}), None),
        (ApiError(headers=None), None),
        (HTTPError("http://x", 503, "busy", Message(), None), None),
        (HTTPError("http://x", 503, "busy", message("Retry-After: 9\n\n"), None), 9.0),
        (RateLimitExceededError("k", 3.0), 3.0),
        (ValueError(), None),
    ],
)
def test_reading_retry_after(error, seconds):
    assert read_retry_after(error) == seconds


@given(st.text() | st.from_regex(r"\A\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ ?[-+\w]*\Z"))
def test_reading_whatever_a_server_says(text):
    seconds = read_retry_after(ApiError(headers={"Retry-After": text}))
    assert seconds is None or seconds >= 0


def test_reading_a_retry_after_date():
    error = ApiError(headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert 55 < read_retry_after(error) <= 60


def test_retry_after_is_honoured(waits):
    policy = RetryPolicy(max_attempts=2, max_delay=60.0, base_delay=0.1)
    assert retry(policy)(Flaky(1, lambda _: ApiError(seconds=42)))() == 2
    assert waits == [42.0]


def test_a_longer_retry_after_than_max_delay_ends_the_retrying(waits):
    with pytest.raises(RetryExhaustedError) as caught:
        retry(RetryPolicy(max_delay=60.0))(Flaky(1, lambda _: ApiError(seconds=61)))()
    assert (caught.value.reason, caught.value.attempts, waits) == ("retry_after", 1, [])


def test_retry_after_by_a_hook_of_ones_own(waits):
    policy = RetryPolicy(base_delay=0, retry_after=lambda error: len(str(error)))
    retry(policy)(Flaky(1))()
    assert waits == [len("call 1")]


@pytest.mark.parametrize(
    "broken", [lambda error: error.response.headers["Retry-After"], lambda _: "soon"]
)
def test_a_retry_after_that_raises_is_logged_and_changes_nothing(waits, caplog, broken):
    policy = RetryPolicy(base_delay=1.0, jitter=False, retry_after=broken)
    assert retry(policy)(Flaky(1))() == 2
    assert waits == [1.0]
    assert "retry_after" in caplog.text


def test_a_tenth_of_a_retry_ten_times_is_one():
    budget = RetryBudget(ratio=0.1, capacity=1)
    assert budget.withdraw()
    for _ in range(10):
        assert not budget.withdraw()
        budget.deposit()
    assert budget.withdraw()
    assert budget.tokens == 0.0


def test_a_budget_is_shared_across_calls():
    budget = RetryBudget(ratio=0.5, capacity=3)
    policy = RetryPolicy(max_attempts=5, budget=budget)
    with pytest.raises(RetryExhaustedError) as caught:
        retry(policy)(Flaky(9))()
    assert (caught.value.attempts, caught.value.reason) == (4, "budget")
    with pytest.raises(RetryExhaustedError) as caught:
        retry(policy)(Flaky(9))()
    assert caught.value.attempts == 1
    for _ in range(9):
        retry(policy)(Flaky(0))()
    assert budget.tokens == 3


def test_hooks_are_told(caplog):
    events = []

    def broken(event):
        raise RuntimeError("hook")

    policy = RetryPolicy(
        max_attempts=2, base_delay=1.0, jitter=False, hooks=(broken, events.append, log_retries)
    )
    with caplog.at_level(logging.INFO, "varco_resilience"):
        retry(policy)(Flaky(1))()
        with pytest.raises(RetryExhaustedError):
            retry(policy)(Flaky(2))()
    assert [(e.kind, e.attempt, e.delay) for e in events] == [
        ("retry", 1, 1.0),
        ("recovered", 2, None),
        ("retry", 1, 1.0),
        ("exhausted", 2, None),
    ]
    assert events[1] == RetryEvent("recovered", "Flaky", 2, None, None)
    said = [record.getMessage() for record in caplog.records if record.levelno < logging.ERROR]
    assert said[:2] == [
        "Flaky failed with ConnectionError('call 1') on attempt 1; retrying in 1 s",
        "Flaky succeeded on attempt 2",
    ]
    assert said[-1] == "Flaky failed with ConnectionError('call 2') on attempt 2; giving up"
    assert "hook" in caplog.text


def test_the_test_mode_limits_attempts():
    with retry_test_mode(max_attempts=2):
        with pytest.raises(RetryExhaustedError) as caught:
            retry(RetryPolicy(max_attempts=9))(Flaky(9))()
        assert caught.value.attempts == 2
        with retry_test_mode():
            assert retry(RetryPolicy(max_attempts=9))(Flaky(5))() == 6
    with pytest.raises(ResilienceConfigError), retry_test_mode(max_attempts=0):
        pass


@pytest.mark.anyio
async def test_without_test_mode_it_waits():
    from varco_resilience import _test_mode

    policy = RetryPolicy(base_delay=0.01, jitter=False)
    before, _test_mode._active = _test_mode._active, None
    try:
        start = time.monotonic()
        retry(policy)(Flaky(1))()
        await retry(policy)(AsyncFlaky(1))()
        assert time.monotonic() - start >= 0.019
    finally:
        _test_mode._active = before


def test_attempts_to_iterate_over(waits):
    calls = 0
    for attempt in retry(STEADY):
        with attempt:
            calls += 1
            assert attempt.number == calls
            if calls < 3:
                raise ConnectionError
    assert (calls, waits) == (3, [0.5, 1.0])


@pytest.mark.anyio
async def test_async_attempts_to_iterate_over(waits):
    async def call():
        async for attempt in retry(STEADY):
            async with attempt:
                if attempt.number < 3:
                    raise ConnectionError
                return "returned"
        raise AssertionError("not reached")

    assert await call() == "returned"
    async for attempt in retry(STEADY):
        with attempt:
            if attempt.number < 2:
                raise ConnectionError
    assert waits == [0.5, 1.0, 0.5]


@pytest.mark.anyio
async def test_attempts_raise_as_functions_do():
    with pytest.raises(RetryExhaustedError) as caught:
        for attempt in retry(STEADY):
            with attempt:
                raise ConnectionError(attempt.number)
    assert [str(item.error) for item in caught.value.history] == ["1", "2", "3"]
    assert caught.value.func_name == "the block"
    with pytest.raises(KeyError):
        async for attempt in retry(RetryPolicy(retryable_on=OSError)):
            with attempt:
                raise KeyError


@pytest.mark.anyio
async def test_an_attempt_timeout_cuts_a_block():
    numbers = []
    async for attempt in retry(RetryPolicy(attempt_timeout=0.01, deadline=60.0)):
        async with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                await anyio.sleep_forever()
    assert numbers == [1, 2, 3]
    with pytest.raises(RetryExhaustedError) as caught:
        async for attempt in retry(RetryPolicy(deadline=0.01)):
            async with attempt:
                await anyio.sleep_forever()
    assert caught.value.reason == "deadline"
    assert isinstance(caught.value.last_exc, AttemptTimeoutError)


@pytest.mark.anyio
async def test_an_error_in_a_limited_block_stays_what_it_is():
    policy = RetryPolicy(attempt_timeout=60.0, retryable_on=ConnectionError)
    error = ConnectionError("own")
    with pytest.raises(RetryExhaustedError) as caught:
        async for attempt in retry(policy):
            async with attempt:
                raise error
    assert [item.error for item in caught.value.history] == [error] * 3
    with pytest.raises(KeyError):
        async for attempt in retry(policy):
            async with attempt:
                raise KeyError


@pytest.mark.anyio
async def test_attempts_that_are_misused():
    with pytest.raises(ResilienceConfigError, match="put the block into `with attempt:`"):
        for _ in retry(STEADY):
            pass
    with pytest.raises(ResilienceConfigError, match="async for"):
        iter(retry(RetryPolicy(attempt_timeout=1.0)))
    with pytest.raises(ResilienceConfigError, match="a block has no result"):
        iter(retry(RetryPolicy(retry_on_result=bool)))
    with pytest.raises(ResilienceConfigError, match="async with attempt"):
        async for attempt in retry(RetryPolicy(attempt_timeout=1.0)):
            with attempt:
                pass


@pytest.mark.parametrize("ends_well", [False, True])
def test_a_call_that_failed_leaves_no_reference_cycle(ends_well):
    class TrackedError(Exception):
        pass

    def call():
        if ends_well and len(seen) % 3 == 2:
            seen.append(lambda: None)
            return
        error = TrackedError()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    seen = []
    gc.disable()
    try:
        for policy in (STEADY, RetryPolicy(deadline=99.0)):
            with contextlib.suppress(RetryExhaustedError):
                retry(policy)(call)()
        assert len(seen) == 6
        assert [ref() for ref in seen] == [None] * 6
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("max_attempts", {"max_attempts": 0}),
        ("max_attempts", {"max_attempts": 2.0}),
        ("base_delay", {"base_delay": -0.1}),
        ("base_delay", {"base_delay": float("inf")}),
        ("max_delay", {"max_delay": float("nan")}),
        ("exponential_base", {"exponential_base": 0.5}),
        ("jitter", {"jitter": "some"}),
        ("jitter", {"jitter": []}),
        ("retryable_on", {"retryable_on": BaseException}),
        ("retryable_on", {"retryable_on": (ValueError, "x")}),
        ("retryable_on", {"retryable_on": anyio.sleep}),
        ("deadline", {"deadline": 0}),
        ("retry_on_result", {"retry_on_result": anyio.sleep}),
        ("retry_on_result", {"retry_on_result": 404}),
        ("retry_after", {"retry_after": 5.0}),
        ("budget", {"budget": 0.2}),
        ("hooks", {"hooks": log_retries}),
        ("hooks", {"hooks": (anyio.sleep,)}),
        ("clock", {"clock": 0.0}),
        ("random", {"random": 0.5}),
        ("attempt_timeout", {"attempt_timeout": -1}),
    ],
)
def test_a_policy_that_makes_no_sense(field, changes):
    with pytest.raises(ResilienceConfigError) as caught:
        RetryPolicy(**changes)
    assert caught.value.field == field


def test_a_budget_that_makes_no_sense():
    for changes in ({"ratio": -1}, {"capacity": 0.5}):
        with pytest.raises(ResilienceConfigError):
            RetryBudget(**changes)
