"""Retry, circuit breaker, timeout, bulkhead, rate limit, hedge and fallback."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from varco_resilience._observers import Occurrence, add_call_observer, remove_call_observer
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
else:
    _MODULES = {
        "_breaker": ("CircuitBreaker", "Guard", "circuit_breaker"),
        "_breaker_config": ("CircuitBreakerConfig", "CircuitState", "StateChange"),
        "_breaker_registry": ("CircuitBreakerRegistry",),
        "_budget": ("RetryBudget",),
        "_bulkhead": ("Bulkhead", "BulkheadConfig", "bulkhead"),
        "_errors": (
            "AttemptFailure",
            "AttemptTimeoutError",
            "BulkheadFullError",
            "CallRejectedError",
            "CallTimeoutError",
            "CircuitOpenError",
            "RateLimitExceededError",
            "ResilienceConfigError",
            "ResilienceError",
            "ResultRejectedError",
            "RetryExhaustedError",
            "UnsupportedFunctionError",
        ),
        "_fallback": ("Fallback", "fallback"),
        "_hedge": ("Hedge", "HedgeConfig", "hedge"),
        "_observers": ("Occurrence", "add_call_observer", "remove_call_observer"),
        "_pipeline": ("Pipeline",),
        "_policy": ("RetryPolicy",),
        "_rate_limit": ("InMemoryRateLimiter", "RateLimitConfig", "RateLimiter", "rate_limit"),
        "_retry": ("Retrying", "retry"),
        "_retry_after": ("read_retry_after",),
        "_retry_attempts": ("Attempt",),
        "_retry_events": ("RetryEvent", "log_retries"),
        "_strategy": ("Strategy",),
        "_test_mode": ("retry_test_mode",),
        "_timeout": ("Timeout", "timeout"),
    }
    _OWNER = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _OWNER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_OWNER[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = (
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
    "Occurrence",
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
    "add_call_observer",
    "bulkhead",
    "circuit_breaker",
    "fallback",
    "hedge",
    "log_retries",
    "rate_limit",
    "read_retry_after",
    "remove_call_observer",
    "retry",
    "retry_test_mode",
    "timeout",
)
