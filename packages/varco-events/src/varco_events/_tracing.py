"""The correlation id of the work in hand, and the id of the event that caused it."""

from __future__ import annotations

import logging
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from types import TracebackType

# The id of the event that begins a correlation becomes text when somebody asks.
_correlation: ContextVar[str | UUID | None] = ContextVar("varco_correlation_id", default=None)
_causation: ContextVar[UUID | None] = ContextVar("varco_causation_id", default=None)


def generate_correlation_id() -> str:
    """A new correlation id."""
    return str(uuid4())


def current_correlation_id() -> str | None:
    """The correlation id of the running context, or None outside of one."""
    value = _correlation.get()
    return str(value) if isinstance(value, UUID) else value


def current_causation_id() -> UUID | None:
    """The id of the event that is being handled, or None outside of a handler."""
    return _causation.get()


class correlation_context:  # noqa: N801  # reads like the function it replaces
    """Set the correlation id for a block, `with` or `async with`; the id is what `as` binds.

    Events that are created in the block carry the id. Each task sees its own.
    """

    def __init__(self, correlation_id: str, *, causation_id: UUID | None = None) -> None:
        self._ids = (correlation_id, causation_id)
        self._tokens: tuple[Token[str | UUID | None], Token[UUID | None]] | None = None

    def __enter__(self) -> str:
        correlation_id, causation_id = self._ids
        self._tokens = (_correlation.set(correlation_id), _causation.set(causation_id))
        return correlation_id

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tokens is not None:
            correlation, causation = self._tokens
            _causation.reset(causation)
            _correlation.reset(correlation)
            self._tokens = None

    async def __aenter__(self) -> str:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


def handling_of(event_id: UUID, correlation_id: str | None) -> correlation_context:
    """The context of a handler; an event without a correlation id begins with its own."""
    return correlation_context(correlation_id or str(event_id), causation_id=event_id)


def set_ids(
    event_id: UUID, correlation_id: str | None
) -> tuple[Token[str | UUID | None], Token[UUID | None]]:
    """`handling_of` without a block, for the one who calls most handlers; see `reset_ids`."""
    return _correlation.set(correlation_id or event_id), _causation.set(event_id)


def reset_ids(tokens: tuple[Token[str | UUID | None], Token[UUID | None]]) -> None:
    """Undo `set_ids`."""
    correlation, causation = tokens
    _causation.reset(causation)
    _correlation.reset(correlation)


class CorrelationIdFilter(logging.Filter):
    """Add `correlation_id` to every log record, so that a format can show it."""

    def __init__(self, fallback: str = "-") -> None:
        super().__init__()
        self.fallback = fallback

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute and let the record pass."""
        record.correlation_id = current_correlation_id() or self.fallback
        return True
