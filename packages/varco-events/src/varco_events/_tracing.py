"""The correlation id of the work in hand, and the id of the event that caused it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from varco_events._context import handling
from varco_events._surroundings import CORRELATION_ID

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from varco_events._context import Surrounding


def generate_correlation_id() -> str:
    """A new correlation id."""
    return str(uuid4())


def current_correlation_id() -> str | None:
    """The correlation id of the running context, or None outside of one."""
    ids = handling.get()[5]
    value = ids[0] if isinstance(ids, tuple) else ids.headers.get(CORRELATION_ID) or ids.event_id
    return str(value) if isinstance(value, UUID) else value


def current_causation_id() -> UUID | None:
    """The id of the event that is being handled, or None outside of a handler."""
    ids = handling.get()[5]
    return ids[1] if isinstance(ids, tuple) else ids.event_id


class correlation_context:  # noqa: N801  # reads like the function it replaces
    """Sets the correlation id for a block, `with` or `async with`; the id is what `as` binds.

    Events that are created in the block carry the id. Each task sees its own.
    """

    def __init__(self, correlation_id: str, *, causation_id: UUID | None = None) -> None:
        self._ids = (correlation_id, causation_id)
        self._token: Token[Surrounding] | None = None

    def __enter__(self) -> str:
        self._token = handling.set((*handling.get()[:5], self._ids))
        return self._ids[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            handling.reset(self._token)
            self._token = None

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


class CorrelationIdFilter(logging.Filter):
    """Adds `correlation_id` to every log record, so that a format can show it."""

    def __init__(self, fallback: str = "-") -> None:
        super().__init__()
        self.fallback = fallback

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute and let the record pass."""
        record.correlation_id = current_correlation_id() or self.fallback
        return True
