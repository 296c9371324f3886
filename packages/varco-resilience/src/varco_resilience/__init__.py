"""Retry, circuit breaker, timeout, bulkhead, rate limit, hedge and fallback."""

from varco_resilience._budget import RetryBudget
from varco_resilience._errors import (
    AttemptFailure,
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
from varco_resilience._policy import RetryPolicy
from varco_resilience._retry import Retrying, retry
from varco_resilience._retry_after import read_retry_after
from varco_resilience._retry_events import RetryEvent, log_retries
from varco_resilience._test_mode import retry_test_mode

__all__: tuple[str, ...] = (
    "AttemptFailure",
    "BulkheadFullError",
    "CallRejectedError",
    "CallTimeoutError",
    "CircuitOpenError",
    "RateLimitExceededError",
    "ResilienceConfigError",
    "ResilienceError",
    "ResultRejectedError",
    "RetryBudget",
    "RetryEvent",
    "RetryExhaustedError",
    "RetryPolicy",
    "Retrying",
    "UnsupportedFunctionError",
    "log_retries",
    "read_retry_after",
    "retry",
    "retry_test_mode",
)
