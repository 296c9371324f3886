"""The ids of the running trace in every log record."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import Callable


class TraceIdFilter(logging.Filter):
    """Adds `trace_id`, `span_id` and `correlation_id` to every record, for its format.

    Add it to a handler, so that the records of all loggers pass it. The correlation id is that of
    varco-events, where that is installed.

    Args:
        fallback: What stands for an id outside of a span or of a correlation.
    """

    def __init__(self, fallback: str = "-") -> None:
        super().__init__()
        self.fallback: str = fallback
        self._correlation_id: Callable[[], str | None] | None = None
        if find_spec("varco_events") is not None:
            self._correlation_id = import_module("varco_events").current_correlation_id

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attributes and let the record pass."""
        span = trace.get_current_span().get_span_context()
        record.trace_id = f"{span.trace_id:032x}" if span.is_valid else self.fallback
        record.span_id = f"{span.span_id:016x}" if span.is_valid else self.fallback
        found = None if self._correlation_id is None else self._correlation_id()
        record.correlation_id = found or self.fallback
        return True
