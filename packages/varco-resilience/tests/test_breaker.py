import asyncio
import itertools
import logging
import sys
import threading

import pytest

from varco_resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    CircuitState,
    ResilienceConfigError,
    StateChange,
    circuit_breaker,
)


def fail():
    raise ConnectionError("down")


def trip(breaker, times):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            breaker.call_sync(fail)


def test_the_life_of_a_breaker(clock):
    breaker = CircuitBreaker(
        CircuitBreakerConfig(failure_threshold=2, recovery_timeout=30.0), name="pay", clock=clock
    )
    trip(breaker, 2)
    assert breaker.state is CircuitState.OPEN
    clock.advance(10)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call_sync(int)
    assert (caught.value.breaker_name, caught.value.retry_after) == ("pay", 20.0)
    assert caught.value.opens_at == clock.now + 20
    assert "probes are let through in 20 seconds" in str(caught.value)
    clock.advance(20)
    assert breaker.state is CircuitState.HALF_OPEN
    trip(breaker, 1)
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    assert breaker.call_sync(int) == 0
    assert breaker.state is CircuitState.CLOSED


def test_only_failures_in_a_row_count():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=3))
    for _ in range(5):
        trip(breaker, 2)
        breaker.call_sync(int)
    assert breaker.failure_count == 0
    assert breaker.state is CircuitState.CLOSED


def test_a_late_result_of_an_older_state_is_ignored(clock):
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), clock=clock)
    early = breaker.guard()
    late_failure = breaker.guard()
    early.__enter__()
    late_failure.__enter__()
    trip(breaker, 1)
    early.__exit__(None, None, None)
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    breaker.call_sync(int)
    late_failure.__exit__(ConnectionError, ConnectionError(), None)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.failure_count == 0


def test_a_guard_reports_once():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2))
    guard = breaker.guard()
    guard.__enter__()
    for _ in range(3):
        guard.__exit__(ConnectionError, ConnectionError(), None)
    assert breaker.failure_count == 1


def test_a_guard_is_for_one_block_at_a_time():
    breaker = CircuitBreaker(CircuitBreakerConfig())
    guard = breaker.guard()
    with guard, pytest.raises(ResilienceConfigError, match="take a guard for each block"):
        guard.__enter__()
    with guard:
        pass


@pytest.mark.anyio
async def test_as_a_context_manager():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2))
    with pytest.raises(ConnectionError), breaker.guard():
        fail()
    with pytest.raises(ConnectionError):
        async with breaker.guard():
            fail()
    with pytest.raises(CircuitOpenError):
        async with breaker.guard():
            raise AssertionError("not reached")


def test_by_hand(clock):
    breaker = CircuitBreaker(CircuitBreakerConfig(), name="b", clock=clock)
    breaker.isolate()
    clock.advance(10**9)
    assert breaker.isolated
    with pytest.raises(CircuitOpenError, match="isolated by hand") as caught:
        breaker.call_sync(int)
    assert caught.value.opens_at == float("inf")
    breaker.open()
    assert not breaker.isolated
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    assert breaker.state is CircuitState.HALF_OPEN
    breaker.close()
    assert breaker.state is CircuitState.CLOSED
    trip(breaker, 4)
    breaker.reset()
    assert breaker.failure_count == 0
    assert repr(breaker) == "<CircuitBreaker 'b' closed>"


def test_rates_over_a_window(clock):
    config = CircuitBreakerConfig(
        failure_threshold=None, failure_rate=0.5, window_size=4, minimum_calls=4
    )
    breaker = CircuitBreaker(config, clock=clock)
    trip(breaker, 3)
    assert breaker.state is CircuitState.CLOSED, "three calls are fewer than minimum_calls"
    breaker.call_sync(int)
    assert breaker.state is CircuitState.OPEN


def test_slow_calls_open_it(clock):
    config = CircuitBreakerConfig(
        failure_threshold=None,
        slow_call_rate=1.0,
        slow_call_duration=2.0,
        minimum_calls=2,
        window_seconds=60.0,
    )
    breaker = CircuitBreaker(config, clock=clock)
    breaker.call_sync(clock.advance, 2.0)
    clock.advance(61)
    breaker.call_sync(clock.advance, 2.0)
    assert breaker.state is CircuitState.CLOSED, "the first one is too long ago"
    breaker.call_sync(clock.advance, 2.0)
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    breaker.call_sync(clock.advance, 2.0)
    assert breaker.state is CircuitState.OPEN, "a slow probe is a failed one"


def test_listeners_hear_every_change_in_order(clock):
    heard = []
    breaker = CircuitBreaker(
        CircuitBreakerConfig(failure_threshold=1), name="b", clock=clock, listeners=(heard.append,)
    )
    trip(breaker, 1)
    clock.advance(30)
    breaker.call_sync(int)
    closed, opened, half = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
    assert [(c.previous, c.current) for c in heard] == [
        (closed, opened),
        (opened, half),
        (half, closed),
    ]
    assert isinstance(heard[0].error, ConnectionError)
    assert heard[1] == StateChange("b", opened, half, clock.now)


def test_a_listener_may_use_the_breaker_and_may_fail(caplog):
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    heard = []

    def close_again(change):
        heard.append((change.current, breaker.state))
        if change.current is CircuitState.OPEN:
            breaker.close()
        raise RuntimeError("listener")

    breaker.add_listener(close_again)
    with caplog.at_level(logging.ERROR, "varco_resilience"):
        trip(breaker, 1)
    assert [current for current, _ in heard] == [CircuitState.OPEN, CircuitState.CLOSED]
    assert breaker.state is CircuitState.CLOSED
    assert len(caplog.records) == 2


def test_no_listener_is_lost_when_threads_add_some():
    breaker = CircuitBreaker(CircuitBreakerConfig())
    heard = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def add():
        for _ in range(200):
            breaker.add_listener(heard.append)

    try:
        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    breaker.open()
    assert len(heard) == 1600


def test_listeners_hear_in_order_whichever_thread_changes_the_state():
    heard = []
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), listeners=(heard.append,))

    def flap():
        for _ in range(200):
            breaker.open()
            breaker.close()

    threads = [threading.Thread(target=flap) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for before, after in itertools.pairwise(heard):
        assert before.current is after.previous
    assert heard[-1].current is breaker.state


@pytest.mark.anyio
async def test_decorating_gives_each_function_its_own_breaker():
    heard = []
    registry = CircuitBreakerRegistry(listeners=(heard.append,))
    own = circuit_breaker(CircuitBreakerConfig(failure_threshold=1), registry=registry)

    @own
    async def first():
        fail()

    @own
    async def second():
        return 2

    with pytest.raises(ConnectionError):
        await first()
    with pytest.raises(CircuitOpenError, match="first"):
        await first()
    assert await second() == 2
    assert {breaker.name.rpartition(".")[2] for breaker in registry} == {"first", "second"}
    assert [change.breaker_name for change in heard] == [first.__qualname__]


def test_the_registry():
    registry = CircuitBreakerRegistry(CircuitBreakerConfig(failure_threshold=7))
    breaker = registry.get("a")
    assert registry.get("a") is breaker
    assert registry.get("a", CircuitBreakerConfig(failure_threshold=7)) is breaker
    assert breaker.config.failure_threshold == 7
    assert "a" in registry
    assert "b" not in registry
    assert len(registry) == 1
    with pytest.raises(ResilienceConfigError, match="circuit breaker 'a'"):
        registry.get("a", CircuitBreakerConfig())
    registry.remove("a")
    registry.remove("a")
    assert list(registry) == []


def test_the_registry_gives_all_threads_the_same_breaker():
    registry = CircuitBreakerRegistry()
    barrier = threading.Barrier(20)
    seen = []

    def ask():
        barrier.wait(10)
        seen.append(registry.get("a"))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("failure_threshold", {"failure_threshold": 0}),
        ("failure_threshold", {"failure_threshold": None}),
        ("recovery_timeout", {"recovery_timeout": -1}),
        ("recovery_timeout", {"recovery_timeout": float("nan")}),
        ("success_threshold", {"success_threshold": 1.5}),
        ("success_threshold", {"success_threshold": True}),
        ("monitored_on", {"monitored_on": (asyncio.CancelledError,)}),
        ("monitored_on", {"monitored_on": "ConnectionError"}),
        ("monitored_on", {"monitored_on": asyncio.sleep}),
        ("failure_rate", {"failure_rate": 1.1}),
        ("failure_rate", {"failure_rate": 0}),
        ("slow_call_duration", {"slow_call_rate": 0.5}),
        ("slow_call_duration", {"slow_call_duration": 0.5}),
        ("slow_call_duration", {"slow_call_rate": 0.5, "slow_call_duration": 0}),
        ("window_seconds", {"window_seconds": 0}),
        ("window_size", {"window_size": 0}),
        ("minimum_calls", {"minimum_calls": 0}),
        ("minimum_calls", {"minimum_calls": 101}),
    ],
)
def test_a_configuration_that_makes_no_sense(field, changes):
    with pytest.raises(ResilienceConfigError) as caught:
        CircuitBreakerConfig(**changes)
    assert caught.value.field == field
