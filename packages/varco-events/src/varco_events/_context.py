"""Where in the handling of events the running task is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from varco_events._bus import CHANNEL_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Generator

# How many handlers are on the stack of the task, and the channel of the event in the innermost.
handling: ContextVar[tuple[int, str]] = ContextVar(
    "varco_events_handling", default=(0, CHANNEL_DEFAULT)
)


def current_channel() -> str:
    """The channel of the event that is being handled; the default one outside of a handler."""
    return handling.get()[1]


@contextmanager
def channel_context(channel: str) -> Generator[None]:
    """Say which channel the handlers in the block are called for.

    For buses of your own: without it, a dead letter does not know where its event came from.
    """
    token = handling.set((handling.get()[0] + 1, channel))
    try:
        yield
    finally:
        handling.reset(token)
