"""What is sync and what is async is known before a call, and errors count by what they hold."""

import asyncio
import functools
import inspect
import types
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio.lowlevel
import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    HedgeConfig,
    InMemoryRateLimiter,
    RateLimitConfig,
    RateLimitExceededError,
    ResilienceConfigError,
    RetryBudget,
    RetryExhaustedError,
    RetryPolicy,
    UnsupportedFunctionError,
    fallback,
    hedge,
    rate_limit,
    read_retry_after,
    retry,
    retry_test_mode,
    timeout,
)

pytestmark = pytest.mark.anyio
STARTED = []


@pytest.fixture(autouse=True)
def nothing_started():
    STARTED.clear()


def plain(*args):
    STARTED.append(args)


async def later(*args):
    await anyio.lowlevel.checkpoint()
    STARTED.append(args)


def hands_on(*args):
    return later(*args)


class Called:
    def __call__(self, *args):
        STARTED.append(args)

    def method(self, *args):
        STARTED.append(args)


class CalledLater:
    async def __call__(self, *args):
        STARTED.append(args)

    async def method(self, *args):
        STARTED.append(args)


class Shadowed(Called):
    """Python calls what the class has, whatever the instance has."""

    def __init__(self):
        self.__call__ = later


class ShadowedLater(CalledLater):
    def __init__(self):
        self.__call__ = plain


class Items:
    def __call__(self):
        yield STARTED.append(())


class ItemsLater:
    async def __call__(self):
        yield STARTED.append(())


@types.coroutine
def both():
    yield STARTED.append(())


marked_items = inspect.markcoroutinefunction(Items())
SYNC = {
    "function": plain,
    "partial": functools.partial(plain, 1),
    "object": Called(),
    "method": Called().method,
    "builtin": len,
    "static": staticmethod(plain),
    "shadowed": Shadowed(),
    "class": CalledLater,
}
ASYNC = {
    "function": later,
    "partial": functools.partial(functools.partial(later, 1), 2),
    "object": CalledLater(),
    "partial object": functools.partial(CalledLater(), 1),
    "method": CalledLater().method,
    "static": staticmethod(later),
    "shadowed": ShadowedLater(),
    "marked": inspect.markcoroutinefunction(types.FunctionType(hands_on.__code__, globals())),
}
NEITHER = {
    "generator": Items(),
    "async generator": ItemsLater(),
    "types.coroutine": both,
    "marked generator": marked_items,
}


def unlimited():
    return InMemoryRateLimiter(RateLimitConfig(1000, 1.0))


def callers():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    room = Bulkhead(BulkheadConfig(1))
    retrying = retry(RetryPolicy(base_delay=0))
    return {
        "breaker": (breaker.call_sync, breaker.call_async),
        "bulkhead": (room.call_sync, room.call),
        "retry": (retrying.call_sync, retrying.call_async),
    }


@pytest.mark.parametrize("who", callers())
@pytest.mark.parametrize("given", [*ASYNC.values(), *NEITHER.values()], ids=[*ASYNC, *NEITHER])
async def test_call_sync_refuses_before_the_call_what_is_not_sync(who, given):
    call_sync, _ = callers()[who]
    with pytest.raises(UnsupportedFunctionError):
        call_sync(given)
    assert not STARTED


@pytest.mark.parametrize("who", callers())
@pytest.mark.parametrize("given", [*SYNC.values(), *NEITHER.values()], ids=[*SYNC, *NEITHER])
async def test_the_async_way_refuses_before_the_call_what_is_not_async(who, given):
    _, call_async = callers()[who]
    with pytest.raises(UnsupportedFunctionError):
        await call_async(given)
    assert not STARTED


@pytest.mark.parametrize("who", callers())
async def test_what_fits_is_called(who):
    call_sync, call_async = callers()[who]
    for name, func in SYNC.items():
        call_sync(func, *([[]] if name == "builtin" else []))
    for func in ASYNC.values():
        await call_async(func)
    assert len(STARTED) == len(SYNC) - 2 + len(ASYNC)


async def test_a_coroutine_that_call_sync_is_handed_never_begins():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    for call in (breaker.call_sync, retry(RetryPolicy(base_delay=0)).call_sync):
        with pytest.raises(UnsupportedFunctionError, match="returns a coroutine"):
            call(hands_on)
    assert not STARTED
    assert breaker.state is CircuitState.CLOSED, "it says nothing about the callee"


DECORATORS = {
    "retry": retry(RetryPolicy()),
    "breaker": CircuitBreaker(CircuitBreakerConfig()),
    "bulkhead": Bulkhead(BulkheadConfig(1)),
    "limiter": rate_limit(InMemoryRateLimiter(RateLimitConfig(1, 1.0))),
    "fallback": fallback(value=0),
    "hedge": hedge(HedgeConfig(1.0)),
    "timeout": timeout(1.0),
}


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
@pytest.mark.parametrize("given", [both, marked_items], ids=["types.coroutine", "marked generator"])
async def test_what_is_two_kinds_at_once_cannot_be_decorated(decorator, given):
    with pytest.raises(UnsupportedFunctionError, match=r"a mixed function; .*async def"):
        decorator(given)


class HandsOn:
    def __call__(self, *args):
        return later(*args)


class Request:
    """As `aiohttp.ClientSession.get` returns it: a coroutine that Python did not make."""

    def __init__(self, coroutine):
        self._coroutine = coroutine

    def __await__(self):
        return self._coroutine.__await__()

    def send(self, value):
        return self._coroutine.send(value)

    def throw(self, *error):
        return self._coroutine.throw(*error)

    def close(self):
        self._coroutine.close()


Coroutine.register(Request)
HANDING_ON = {
    "function": hands_on,
    "object": HandsOn(),
    "wrapper": functools.wraps(later)(hands_on),
    "request": lambda *args: Request(later(*args)),
    "cached": functools.lru_cache(hands_on),
}


TWICE = {
    "retry": DECORATORS["retry"],
    "breaker": DECORATORS["breaker"],
    "bulkhead": Bulkhead(BulkheadConfig(2)),
    "limiter": rate_limit(unlimited()),
    "fallback": DECORATORS["fallback"],
}


@pytest.mark.parametrize("decorate", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("given", HANDING_ON.values(), ids=HANDING_ON)
async def test_a_coroutine_that_a_decorated_sync_function_hands_on_never_begins(decorate, given):
    for decorated in (decorate(given), decorate(decorate(given))):
        with pytest.raises(UnsupportedFunctionError, match="returns a coroutine; make it `async"):
            decorated()
    assert not STARTED


async def test_a_coroutine_of_the_handler_of_a_sync_function_never_begins():
    def fail():
        raise ConnectionError

    with pytest.raises(UnsupportedFunctionError, match=r"handler of .*must be async"):
        fallback(lambda _: later())(fail)()
    assert not STARTED


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_has_begun_already_may_be_handed_on():
    begin = rate_limit(unlimited())(lambda: asyncio.create_task(later()))
    await begin()
    assert STARTED


async def test_the_breakers_within_are_known_through_a_sync_stack():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    room = Bulkhead(BulkheadConfig(1))

    def fail():
        raise ConnectionError

    with pytest.raises(CircuitOpenError):  # at once, or it would wait for nothing
        retry(RetryPolicy(base_delay=20, jitter=False))(room.protect(breaker.protect(fail)))()


# --- groups ---------------------------------------------------------------------------------------


DOWN, BUG, REFUSED = (
    ConnectionError("down"),
    ValueError("bug"),
    CircuitOpenError("b", 1.0, 1.0, 1.0),
)


def group(*errors):
    return ExceptionGroup("g", errors)


def exhausted(error):
    return RetryExhaustedError("f", 1, error)


WANTED = {
    "type": ConnectionError,
    "types": (ConnectionError, KeyError),
    "predicate": lambda error: isinstance(error, ConnectionError),
    "negated": lambda error: not isinstance(error, (ValueError, CircuitOpenError)),
}
GROUPS = [
    (group(DOWN), True),
    (group(BUG, DOWN), True),
    (group(BUG, group(BUG, group(DOWN))), True),
    (group(BUG), False),
    (group(BUG, group(BUG)), False),
    (group(exhausted(DOWN)), True),
    (exhausted(group(BUG, DOWN)), True),
]


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
@pytest.mark.parametrize(("error", "counts"), GROUPS)
async def test_a_group_counts_by_what_it_holds(wanted, error, counts):
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1, monitored_on=wanted))
    attempts = []

    async def fail():
        attempts.append(1)
        raise error

    with pytest.raises(type(error)):
        await breaker.protect(fail)()
    assert (breaker.state is CircuitState.OPEN) is counts

    attempts.clear()
    policy = RetryPolicy(max_attempts=2, base_delay=0, retryable_on=wanted)
    assert policy.is_retryable(error) is counts
    with pytest.raises(RetryExhaustedError if counts else type(error)):
        await retry(policy)(fail)()
    assert len(attempts) == (2 if counts else 1)

    answered = fallback(value="answer", on=wanted)(fail)
    if counts:
        assert await answered() == "answer"
    else:
        with pytest.raises(type(error)):
            await answered()


async def test_refusals_in_groups():
    config = CircuitBreakerConfig(failure_threshold=1)
    for error, state in [
        (group(REFUSED), CircuitState.CLOSED),
        (group(REFUSED, group(RateLimitExceededError("k", 1.0))), CircuitState.CLOSED),
        (group(REFUSED, DOWN), CircuitState.OPEN),
    ]:
        breaker = CircuitBreaker(config)

        def fail(error=error):
            raise error

        with pytest.raises(ExceptionGroup):
            breaker.call_sync(fail)
        assert breaker.state is state
    assert not RetryPolicy().is_retryable(group(REFUSED, DOWN)), "an open circuit is never retried"
    assert not RetryPolicy().is_retryable(BaseExceptionGroup("g", [DOWN, KeyboardInterrupt()]))
    assert RetryPolicy(retryable_on=ExceptionGroup).is_retryable(group(BUG))


async def test_a_group_asks_for_the_longest_of_its_waits():
    waits = group(BUG, RateLimitExceededError("a", 2.0), group(RateLimitExceededError("b", 5.0)))
    assert read_retry_after(waits) == 5.0
    assert read_retry_after(group(BUG)) is None


# --- dates and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
async def test_every_form_of_an_http_date_is_utc(zone, monkeypatch):
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        at = datetime.now(UTC) + timedelta(seconds=3600)
        for text in (
            format_datetime(at, usegmt=True),
            f"{at:%A, %d-%b-%y %H:%M:%S} GMT",
            f"{at:%a %b %e %H:%M:%S %Y}",
        ):
            error = ConnectionError()
            error.headers = {"Retry-After": text}
            assert 3590 < read_retry_after(error) <= 3600, text
    finally:
        monkeypatch.undo()
        time.tzset()


HUGE = 10**400


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(max_attempts=HUGE),
        lambda: RetryPolicy(base_delay=HUGE),
        lambda: RetryPolicy(max_delay=HUGE),
        lambda: RetryPolicy(exponential_base=HUGE),
        lambda: RetryPolicy(deadline=HUGE),
        lambda: RetryPolicy(attempt_timeout=HUGE),
        lambda: RetryBudget(ratio=HUGE),
        lambda: RetryBudget(capacity=HUGE),
        lambda: CircuitBreakerConfig(failure_threshold=HUGE),
        lambda: CircuitBreakerConfig(recovery_timeout=HUGE),
        lambda: CircuitBreakerConfig(success_threshold=HUGE),
        lambda: CircuitBreakerConfig(window_seconds=HUGE, failure_rate=0.5),
        lambda: CircuitBreakerConfig(slow_call_rate=0.5, slow_call_duration=HUGE),
        lambda: BulkheadConfig(HUGE),
        lambda: BulkheadConfig(1, max_wait=HUGE),
        lambda: RateLimitConfig(HUGE, 1.0),
        lambda: RateLimitConfig(1, HUGE),
        lambda: HedgeConfig(HUGE),
        lambda: HedgeConfig(1.0, HUGE),
        lambda: timeout(HUGE),
    ],
)
async def test_a_number_beyond_float_is_refused_where_it_is_given(make):
    with pytest.raises(ResilienceConfigError):
        make()


async def test_an_endless_wait_that_is_asked_for_ends_the_retrying():
    error = ConnectionError()
    error.retry_after = HUGE
    assert read_retry_after(error) == float("inf")
    error.retry_after = -HUGE
    assert read_retry_after(error) == 0.0


def test_a_sync_wait_beyond_what_sleep_takes_is_as_long_as_it_takes(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    with pytest.raises(RetryExhaustedError):
        retry(RetryPolicy(2, 1e300, 1e300, jitter=False)).call_sync(divmod, 1, 0)
    assert slept
    assert slept[0] < 1e10


def test_retry_test_mode_still_counts():
    with retry_test_mode(max_attempts=1), pytest.raises(RetryExhaustedError):
        retry(RetryPolicy(base_delay=9)).call_sync(divmod, 1, 0)
