"""What the hooks of a retry policy are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_logger = logging.getLogger("varco_resilience")


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """Something that happened to a retried call.

    Attributes:
        kind: "retry" before the wait for another attempt, "recovered" when an attempt after the
            first has succeeded, "exhausted" when none is left.
        name: The function's qualified name.
        attempt: The number of the attempt that has just ended, counted from 1.
        delay: The seconds until the next attempt; None when there is none.
        error: What the attempt failed with; None when it has succeeded.
    """

    kind: Literal["retry", "recovered", "exhausted"]
    name: str
    attempt: int
    delay: float | None
    error: Exception | None


type RetryHook = Callable[[RetryEvent], object]


def log_retries(event: RetryEvent) -> None:
    """A hook that logs retries and recoveries as INFO and giving up as WARNING."""
    if event.kind == "retry":
        _logger.info(
            "%s failed with %r on attempt %d; retrying in %.3g s",
            event.name,
            event.error,
            event.attempt,
            event.delay,
        )
    elif event.kind == "recovered":
        _logger.info("%s succeeded on attempt %d", event.name, event.attempt)
    else:
        _logger.warning(
            "%s failed with %r on attempt %d; giving up", event.name, event.error, event.attempt
        )


def notify[T](hooks: tuple[Callable[[T], object], ...], event: T) -> None:
    """Tell every hook; one that raises is logged and changes nothing for the call."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            _logger.exception("hook %r raised on %r", hook, event)
