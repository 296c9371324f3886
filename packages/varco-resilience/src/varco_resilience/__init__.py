"""Retry, circuit breaker, timeout, bulkhead, rate limit, hedge and fallback."""

from varco_resilience._breaker import CircuitBreaker, Guard, circuit_breaker
from varco_resilience._breaker_config import CircuitBreakerConfig, CircuitState, StateChange
from varco_resilience._breaker_registry import CircuitBreakerRegistry
from varco_resilience._budget import RetryBudget
from varco_resilience._bulkhead import Bulkhead, BulkheadConfig, bulkhead
from varco_resilience._errors import (
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
from varco_resilience._fallback import Fallback, fallback
from varco_resilience._hedge import Hedge, HedgeConfig, hedge
from varco_resilience._pipeline import Pipeline
from varco_resilience._policy import RetryPolicy
from varco_resilience._rate_limit import (
    InMemoryRateLimiter,
    RateLimitConfig,
    RateLimiter,
    rate_limit,
)
from varco_resilience._retry import Retrying, retry
from varco_resilience._retry_after import read_retry_after
from varco_resilience._retry_attempts import Attempt
from varco_resilience._retry_events import RetryEvent, log_retries
from varco_resilience._strategy import Strategy
from varco_resilience._test_mode import retry_test_mode
from varco_resilience._timeout import Timeout, timeout

__all__: tuple[str, ...] = (
    "Attempt",
    "AttemptFailure",
    "AttemptTimeoutError",
    "Bulkhead",
    "BulkheadConfig",
    "BulkheadFullError",
    "CallRejectedError",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "CircuitState",
    "Fallback",
    "Guard",
    "Hedge",
    "HedgeConfig",
    "InMemoryRateLimiter",
    "Pipeline",
    "RateLimitConfig",
    "RateLimitExceededError",
    "RateLimiter",
    "ResilienceConfigError",
    "ResilienceError",
    "ResultRejectedError",
    "RetryBudget",
    "RetryEvent",
    "RetryExhaustedError",
    "RetryPolicy",
    "Retrying",
    "StateChange",
    "Strategy",
    "Timeout",
    "UnsupportedFunctionError",
    "bulkhead",
    "circuit_breaker",
    "fallback",
    "hedge",
    "log_retries",
    "rate_limit",
    "read_retry_after",
    "retry",
    "retry_test_mode",
    "timeout",
)
