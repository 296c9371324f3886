"""When a circuit breaker opens, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum

from varco_resilience._checks import ErrorFilter, above_zero, at_least, error_filter
from varco_resilience._errors import ResilienceConfigError


class CircuitState(Enum):
    """What a circuit breaker does with calls."""

    CLOSED = "closed"
    """It lets all through."""
    OPEN = "open"
    """It refuses all."""
    HALF_OPEN = "half_open"
    """It lets a few probes through and refuses the rest."""


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """When a circuit breaker opens and closes. It opens on whichever condition is met first.

    Args:
        failure_threshold: Failures in a row that open it; None for not by count.
        recovery_timeout: Seconds that it stays open before it lets probes through.
        success_threshold: How many probes it lets through; when all of them have succeeded it
            closes, when one fails it opens again.
        monitored_on: Which errors are failures, as types or a predicate. Others count as success,
            since the callee has answered. Cancellation and refusals of this package count as
            neither.
        failure_rate: Share of failed calls in the window that opens it, above 0 up to 1.
        slow_call_rate: Share of slow calls in the window that opens it, above 0 up to 1.
        slow_call_duration: Seconds from which on a call is slow; a slow probe is a failed one.
        window_size: The rates are taken over so many calls at most.
        window_seconds: The rates are taken over calls that ended so many seconds ago at most.
        minimum_calls: With fewer calls in the window no rate opens it.
    """

    failure_threshold: int | None = 5
    recovery_timeout: float = 30.0
    success_threshold: int = 1
    monitored_on: ErrorFilter = (Exception,)
    _: KW_ONLY
    failure_rate: float | None = None
    slow_call_rate: float | None = None
    slow_call_duration: float | None = None
    window_size: int = 100
    window_seconds: float | None = None
    minimum_calls: int = 10

    def __post_init__(self) -> None:
        if self.failure_threshold is not None:
            at_least("failure_threshold", self.failure_threshold, 1, whole=True)
        elif self.failure_rate is None and self.slow_call_rate is None:
            raise ResilienceConfigError(
                "failure_threshold", None, "set, or failure_rate or slow_call_rate must be"
            )
        at_least("recovery_timeout", self.recovery_timeout, 0)
        at_least("success_threshold", self.success_threshold, 1, whole=True)
        error_filter("monitored_on", self.monitored_on)
        for field in ("failure_rate", "slow_call_rate"):
            rate = getattr(self, field)
            if rate is not None:
                above_zero(field, rate)
                if rate > 1:
                    raise ResilienceConfigError(field, rate, "a share, above 0 up to 1")
        if (self.slow_call_rate is None) != (self.slow_call_duration is None):
            raise ResilienceConfigError(
                "slow_call_duration", self.slow_call_duration, "set together with slow_call_rate"
            )
        if self.slow_call_duration is not None:
            above_zero("slow_call_duration", self.slow_call_duration)
        if self.window_seconds is not None:
            above_zero("window_seconds", self.window_seconds)
        at_least("window_size", self.window_size, 1, whole=True)
        at_least("minimum_calls", self.minimum_calls, 1, whole=True)
        if self.minimum_calls > self.window_size:
            raise ResilienceConfigError(
                "minimum_calls", self.minimum_calls, f"<= window_size ({self.window_size})"
            )


@dataclass(frozen=True, slots=True)
class StateChange:
    """A circuit breaker has changed its state.

    Attributes:
        breaker_name: The breaker's name.
        previous: The state before.
        current: The state from now on.
        at: When, on the breaker's clock.
        error: What the call failed with that opened it, if one did.
    """

    breaker_name: str
    previous: CircuitState
    current: CircuitState
    at: float
    error: Exception | None = None


type StateListener = Callable[[StateChange], object]
