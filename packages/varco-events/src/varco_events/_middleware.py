"""Middleware: around every delivery of one event to one handler."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from varco_events._bus import EventMiddleware
from varco_events._event import type_name_of
from varco_events._tracing import current_correlation_id, handling_of
from varco_resilience import RetryPolicy, retry

if TYPE_CHECKING:
    from varco_events._bus import Next
    from varco_events._event import Event


class CorrelationMiddleware(EventMiddleware):
    """Handlers run with the correlation id of their event, whose id is the cause of what they do.

    `@listen` methods do so without it. An event without a correlation id begins with its own.
    """

    async def __call__(self, event: Event, channel: str, next: Next) -> None:  # noqa: A002  # the reference's name
        """Set the ids around the handler."""
        with handling_of(event.event_id, event.correlation_id):
            await next(event, channel)

    @staticmethod
    def current_id() -> str | None:
        """The correlation id of the running context."""
        return current_correlation_id()


class LoggingMiddleware(EventMiddleware):
    """Logs every delivery with its duration, failures as errors.

    Args:
        logger: "varco_events" unless given.
        level: Of deliveries that succeed.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.INFO) -> None:
        self._logger = logger or logging.getLogger("varco_events")
        self._level = level

    async def __call__(self, event: Event, channel: str, next: Next) -> None:  # noqa: A002  # the reference's name
        """Log around the handler."""
        name, start = type_name_of(event), time.perf_counter()
        try:
            await next(event, channel)
        except Exception:
            spent = 1000 * (time.perf_counter() - start)
            self._logger.exception(
                "%s %s on %s failed after %.1f ms", name, event.event_id, channel, spent
            )
            raise
        if self._logger.isEnabledFor(self._level):
            spent = 1000 * (time.perf_counter() - start)
            self._logger.log(
                self._level, "%s %s on %s took %.1f ms", name, event.event_id, channel, spent
            )


class RetryMiddleware(EventMiddleware):
    """Calls a handler that failed again, that one alone, with exponential back-off and jitter.

    Raises `varco_resilience.RetryExhaustedError` after the last attempt.
    """

    def __init__(
        self,
        *,
        max_attempts: int = 3,
        base_delay: float = 1.0,
        max_delay: float = 60.0,
        exponential_base: float = 2.0,
    ) -> None:
        self.policy: RetryPolicy = RetryPolicy(
            max_attempts=max_attempts,
            base_delay=base_delay,
            max_delay=max_delay,
            exponential_base=exponential_base,
        )
        self._call = retry(self.policy)(_call)

    async def __call__(self, event: Event, channel: str, next: Next) -> None:  # noqa: A002  # the reference's name
        """Retry the handler."""
        await self._call(event, channel, next)


async def _call(event: Event, channel: str, call: Next) -> None:
    await call(event, channel)
