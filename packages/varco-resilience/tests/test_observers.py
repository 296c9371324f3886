"""One function is told of every breaker, retry and refusal of the process."""

import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    InMemoryRateLimiter,
    RateLimitConfig,
    RateLimitExceededError,
    RetryEvent,
    RetryExhaustedError,
    RetryPolicy,
    StateChange,
    add_call_observer,
    rate_limit,
    remove_call_observer,
    retry,
    retry_test_mode,
)


@pytest.fixture
def told():
    events = []
    add_call_observer(events.append)
    add_call_observer(events.append)
    yield events
    remove_call_observer(events.append)
    remove_call_observer(events.append)


def nothing():
    return None


def fail():
    raise OSError


def test_a_breaker(told):
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="mail")
    with pytest.raises(OSError):
        breaker.call_sync(fail)
    with pytest.raises(CircuitOpenError):
        breaker.call_sync(fail)
    change, refusal = told
    assert isinstance(change, StateChange)
    assert isinstance(refusal, CircuitOpenError)


def test_a_retry(told):
    with retry_test_mode(), pytest.raises(RetryExhaustedError):
        retry(RetryPolicy(max_attempts=2))(fail)()
    assert [event.kind for event in told if isinstance(event, RetryEvent)] == ["retry", "exhausted"]


def test_a_limiter(told):
    limited = rate_limit(InMemoryRateLimiter(RateLimitConfig(1, 60)))(nothing)
    limited()
    assert told == []
    with pytest.raises(RateLimitExceededError):
        limited()
    assert [type(event) for event in told] == [RateLimitExceededError]


def test_a_bulkhead(told):
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1))

    def inner():
        with pytest.raises(BulkheadFullError):
            bulkhead.call_sync(nothing)

    bulkhead.call_sync(inner)
    assert [type(event) for event in told] == [BulkheadFullError]


def test_an_observer_that_raises_changes_nothing(caplog):
    def broken(event):
        raise ValueError

    add_call_observer(broken)
    try:
        limited = rate_limit(InMemoryRateLimiter(RateLimitConfig(1, 60)))(nothing)
        limited()
        with pytest.raises(RateLimitExceededError):
            limited()
    finally:
        remove_call_observer(broken)
    assert "broken" in caplog.text
