"""Breakers, retries and refused calls; needs varco-resilience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from varco_otel._names import (
    BREAKER,
    BREAKER_STATE,
    ERROR_TYPE,
    FUNCTION,
    OUTCOME,
    REFUSED_BY,
)
from varco_otel._tracing import error_type
from varco_resilience import (
    BulkheadFullError,
    CallRejectedError,
    CircuitOpenError,
    CircuitState,
    RateLimitExceededError,
    RetryEvent,
    StateChange,
    add_call_observer,
    remove_call_observer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_otel._metrics import Instruments
    from varco_resilience import Occurrence

_NUMBER: Final = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}
_REFUSED_BY: Final[dict[type[CallRejectedError], str]] = {
    CircuitOpenError: "circuit_breaker",
    BulkheadFullError: "bulkhead",
    RateLimitExceededError: "rate_limit",
}


def watch(instruments: Instruments) -> Callable[[], None]:
    """Begin; what is returned ends it."""

    def observe(occurrence: Occurrence) -> None:
        if isinstance(occurrence, StateChange):
            _changed(instruments, occurrence)
        elif isinstance(occurrence, RetryEvent):
            _retried(instruments, occurrence)
        else:
            by = _REFUSED_BY.get(type(occurrence), "other")  # never by whose key
            instruments.refusals.add(1, {REFUSED_BY: by})
            _event("varco.refused", {REFUSED_BY: by})

    def end() -> None:
        remove_call_observer(observe)
        instruments.breakers.clear()

    add_call_observer(observe)
    return end


def _changed(instruments: Instruments, change: StateChange) -> None:
    name, state = change.breaker_name, change.current
    instruments.breakers[name] = _NUMBER[state]
    attributes = {BREAKER: name, BREAKER_STATE: state.value}
    instruments.breaker_changes.add(1, attributes)
    _event("varco.breaker.changed", attributes)


def _retried(instruments: Instruments, retry: RetryEvent) -> None:
    attributes = {FUNCTION: retry.name, OUTCOME: retry.kind}
    if retry.error is not None:
        attributes[ERROR_TYPE] = error_type(retry.error)
    instruments.retries.add(1, attributes)
    _event(f"varco.{retry.kind}", attributes)


def _event(name: str, attributes: dict[str, str]) -> None:
    """Something that happens within a span is an event of it."""
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(name, attributes)
