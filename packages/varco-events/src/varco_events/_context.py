"""Where in the handling of events the running task is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from varco_events._bus import CHANNEL_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Generator

    from varco_events._envelope import EventEnvelope


class Surrounding(NamedTuple):
    """What surrounds the innermost handler of a task."""

    depth: int = 0
    """How many handlers are on the stack of the task."""
    channel: str = CHANNEL_DEFAULT
    envelope: EventEnvelope | None = None
    """What the event came in; None for one that was published within the process."""
    group: str | None = None


_NOTHING = Surrounding()
handling: ContextVar[Surrounding] = ContextVar("varco_events_handling", default=_NOTHING)


def current_channel() -> str:
    """The channel of the event that is being handled; the default one outside of a handler."""
    return handling.get().channel


def current_envelope() -> EventEnvelope | None:
    """What the event that is being handled came in; None for one published in this process."""
    return handling.get().envelope


@contextmanager
def channel_context(channel: str) -> Generator[None]:
    """Say which channel the handlers in the block are called for.

    For buses of your own: without it, a dead letter does not know where its event came from.
    """
    around = handling.get()
    token = handling.set(around._replace(depth=around.depth + 1, channel=channel))
    try:
        yield
    finally:
        handling.reset(token)
