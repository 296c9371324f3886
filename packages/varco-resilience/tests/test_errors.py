import inspect
import pickle

import pytest

import varco_resilience
from varco_resilience import (
    AttemptFailure,
    AttemptTimeoutError,
    BulkheadFullError,
    CallRejectedError,
    CallTimeoutError,
    CircuitOpenError,
    RateLimitExceededError,
    ResilienceConfigError,
    ResilienceError,
    ResultRejectedError,
    RetryExhaustedError,
    UnsupportedFunctionError,
)

EXAMPLES = [
    ResilienceConfigError("rate", 0, "an integer >= 1"),
    UnsupportedFunctionError("timeout", "f", "it is a sync function"),
    RetryExhaustedError("f", 1, KeyError("k"), [AttemptFailure(1, KeyError("k"), None)]),
    RetryExhaustedError("f", 1, KeyError("k")),
    ResultRejectedError("f", [1]),
    CallTimeoutError("f", 2.5),
    AttemptTimeoutError("f", 2.5),
    CircuitOpenError("b", 5.0, 30.0),
    BulkheadFullError("b", 3, 0.0),
    RateLimitExceededError("k", 2.0),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__.keys() == error.__dict__.keys()


def test_every_error_has_a_code_of_its_own_and_a_status():
    classes = [
        value
        for value in vars(varco_resilience).values()
        if inspect.isclass(value) and issubclass(value, Exception)
    ]
    assert {type(error) for error in EXAMPLES} | {ResilienceError, CallRejectedError} == set(
        classes
    )
    codes = [error.code for error in classes]
    assert len(set(codes)) == len(codes)
    for error in classes:
        assert issubclass(error, ResilienceError)
        assert error.code.startswith("resilience.")
        assert 400 <= error.http_status < 600
        assert error.__doc__


def test_the_builtin_errors_behind_them():
    assert issubclass(CallTimeoutError, TimeoutError)
    assert issubclass(ResilienceConfigError, ValueError)
    assert issubclass(UnsupportedFunctionError, TypeError)


@pytest.mark.parametrize("refusal", [CircuitOpenError, BulkheadFullError, RateLimitExceededError])
def test_refusals_have_a_common_base(refusal):
    assert issubclass(refusal, CallRejectedError)
