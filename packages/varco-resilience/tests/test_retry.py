import pytest

from varco_resilience import (
    CircuitOpenError,
    RetryBudget,
    RetryExhaustedError,
    RetryPolicy,
    retry,
    retry_test_mode,
)


@pytest.fixture(autouse=True)
def _no_waiting():
    with retry_test_mode():
        yield


class Flaky:
    def __init__(self, failures, error=ConnectionError):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"call {self.calls}")
        return self.calls


def test_a_call_that_recovers():
    flaky = Flaky(2)
    assert retry(RetryPolicy(max_attempts=3))(flaky)() == 3


def test_exhaustion_carries_every_attempt():
    flaky = Flaky(9)
    with pytest.raises(RetryExhaustedError) as caught:
        retry(RetryPolicy(max_attempts=3, jitter=False, base_delay=0.5))(flaky)()
    error = caught.value
    assert (error.attempts, error.reason, error.func_name) == (3, "attempts", "Flaky")
    assert [str(item.error) for item in error.history] == ["call 1", "call 2", "call 3"]
    assert [item.delay for item in error.history] == [0.5, 1.0, None]
    assert error.__cause__ is error.last_exc is error.history[-1].error


def test_other_errors_pass_as_they_are():
    flaky = Flaky(9, ValueError)
    with pytest.raises(ValueError, match="call 1"):
        retry(RetryPolicy(retryable_on=(ConnectionError,)))(flaky)()
    assert flaky.calls == 1


def test_an_open_circuit_is_never_slept_against():
    def refused():
        calls.append(1)
        raise CircuitOpenError("x", 1.0, 30.0)

    calls = []
    with pytest.raises(CircuitOpenError):
        retry(RetryPolicy(retryable_on=CircuitOpenError))(refused)()
    assert calls == [1]


def test_a_budget_is_shared():
    policy = RetryPolicy(max_attempts=5, budget=RetryBudget(ratio=0, capacity=3))
    with pytest.raises(RetryExhaustedError) as caught:
        retry(policy)(Flaky(9))()
    assert (caught.value.attempts, caught.value.reason) == (4, "budget")
    with pytest.raises(RetryExhaustedError) as caught:
        retry(policy)(Flaky(9))()
    assert caught.value.attempts == 1
