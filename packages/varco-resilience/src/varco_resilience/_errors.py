"""The errors of this slice.

ResilienceError
├── ResilienceConfigError (ValueError)
├── UnsupportedFunctionError (TypeError)
├── RetryExhaustedError
├── ResultRejectedError
├── CallTimeoutError (TimeoutError)
│   └── AttemptTimeoutError
└── CallRejectedError
    ├── CircuitOpenError
    ├── BulkheadFullError
    └── RateLimitExceededError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class ResilienceError(Exception):
    """Base of every error that this package raises."""

    code: ClassVar[str] = "resilience.error"
    http_status: ClassVar[int] = 500


class ResilienceConfigError(ResilienceError, ValueError):
    """A policy or a configuration holds a value that makes no sense."""

    code = "resilience.config"

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}; it must be {self.expected}"


class UnsupportedFunctionError(ResilienceError, TypeError):
    """A decorator was put on something that it cannot serve."""

    code = "resilience.unsupported_function"

    def __init__(self, decorator: str, func_name: str, reason: str) -> None:
        super().__init__(decorator, func_name, reason)
        self.decorator = decorator
        self.func_name = func_name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.decorator} cannot wrap {self.func_name}: {self.reason}"


class AttemptFailure(NamedTuple):
    """One failed attempt of a retried call."""

    number: int
    """Counts from 1."""
    error: Exception
    delay: float | None
    """The seconds waited after it; None when no further attempt was made."""


class RetryExhaustedError(ResilienceError):
    """No attempt succeeded, and none is left.

    `reason` is "attempts", "deadline", "budget" or "retry_after" (the callee asked for a longer
    wait than `max_delay`). `history` holds every failed attempt, `last_exc` the last error.
    """

    code = "resilience.retry_exhausted"
    http_status = 503

    def __init__(
        self,
        func_name: str,
        attempts: int,
        last_exc: BaseException,
        history: Sequence[AttemptFailure] = (),
        reason: str = "attempts",
    ) -> None:
        super().__init__(func_name, attempts, last_exc, tuple(history), reason)
        self.func_name = func_name
        self.attempts = attempts
        self.last_exc = last_exc
        self.history: tuple[AttemptFailure, ...] = tuple(history)
        self.reason = reason

    def __str__(self) -> str:
        plural = "" if self.attempts == 1 else "s"
        return (
            f"{self.func_name} failed {self.attempts} time{plural} and is not tried again "
            f"({self.reason}); last error: {self.last_exc!r}"
        )


class ResultRejectedError(ResilienceError):
    """An attempt returned a result that `retry_on_result` does not accept."""

    code = "resilience.result_rejected"
    http_status = 502

    def __init__(self, func_name: str, result: Any) -> None:
        super().__init__(func_name, result)
        self.func_name = func_name
        self.result = result

    def __str__(self) -> str:
        return f"{self.func_name} returned {self.result!r}, which retry_on_result rejects"


class CallTimeoutError(ResilienceError, TimeoutError):
    """A call took longer than its limit and was cancelled."""

    code = "resilience.timeout"
    http_status = 504

    def __init__(self, func_name: str, limit: float) -> None:
        # TimeoutError is an OSError, which would take two arguments for errno and strerror.
        super().__init__(func_name)
        self.func_name = func_name
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.func_name} did not finish within {self.limit:g} seconds"

    def __reduce__(self) -> tuple[type[CallTimeoutError], tuple[str, float]]:
        return type(self), (self.func_name, self.limit)


class AttemptTimeoutError(CallTimeoutError):
    """An attempt reached its `attempt_timeout`, or the deadline of all attempts."""

    code = "resilience.attempt_timeout"


class CallRejectedError(ResilienceError):
    """The call was refused on this side and never reached the callee.

    It says nothing about the callee's health, so no circuit breaker counts it.
    """

    code = "resilience.rejected"
    http_status = 503


class CircuitOpenError(CallRejectedError):
    """The circuit breaker lets no call through now.

    `opens_at` is the time on the breaker's clock at which it lets probes through again (infinite
    while it is isolated), `retry_after` the seconds until then.
    """

    code = "resilience.circuit_open"

    def __init__(
        self,
        breaker_name: str,
        opens_at: float,
        recovery_timeout: float,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(breaker_name, opens_at, recovery_timeout, retry_after)
        self.breaker_name = breaker_name
        self.opens_at = opens_at
        self.recovery_timeout = recovery_timeout
        self.retry_after = retry_after

    def __str__(self) -> str:
        if self.opens_at == float("inf"):
            when = "it was isolated by hand and waits for close()"
        elif self.retry_after > 0:
            when = f"probes are let through in {self.retry_after:.3g} seconds"
        else:
            when = "its probes are on their way"
        return f"circuit breaker {self.breaker_name!r} is open; {when}"


class BulkheadFullError(CallRejectedError):
    """All slots of the bulkhead are taken."""

    code = "resilience.bulkhead_full"

    def __init__(self, bulkhead_name: str, max_concurrent: int, max_wait: float) -> None:
        super().__init__(bulkhead_name, max_concurrent, max_wait)
        self.bulkhead_name = bulkhead_name
        self.max_concurrent = max_concurrent
        self.max_wait = max_wait

    def __str__(self) -> str:
        return (
            f"bulkhead {self.bulkhead_name!r} had none of its {self.max_concurrent} slots free "
            f"within {self.max_wait:g} seconds"
        )


class RateLimitExceededError(CallRejectedError):
    """The key has used up its rate; `retry_after` seconds from now a call may pass."""

    code = "resilience.rate_limited"
    http_status = 429

    def __init__(self, key: str, retry_after: float) -> None:
        super().__init__(key, retry_after)
        self.key = key
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"rate limit of {self.key!r} is used up; retry in {self.retry_after:.3g} seconds"
