"""Where in the handling of events the running task is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from uuid import UUID

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event


CHANNEL_DEFAULT: Final = "default"
"""The channel of what is published without one."""

# The correlation id and the cause of what is made here, or the envelope that tells both. The id of
# the event that begins a correlation becomes text when somebody asks.
type Ids = tuple[str | UUID | None, UUID | None] | EventEnvelope

# What surrounds the innermost handler of a task: how many handlers are on the stack, the channel,
# the envelope that the event came in (None for one published within the process), the event that
# was read from it, the group, and the ids. A plain tuple in one variable: every publish makes one,
# and every event on its way sets and resets it.
type Surrounding = tuple[int, str, EventEnvelope | None, Event | None, str | None, Ids]

handling: ContextVar[Surrounding] = ContextVar(
    "varco_events_handling", default=(0, CHANNEL_DEFAULT, None, None, None, (None, None))
)


def current_channel() -> str:
    """The channel of the event that is being handled; the default one outside of a handler."""
    return handling.get()[1]


def current_envelope() -> EventEnvelope | None:
    """What the event that is being handled came in; None for one published in this process."""
    return handling.get()[2]


@contextmanager
def channel_context(channel: str) -> Generator[None]:
    """Say which channel the handlers in the block are called for.

    For buses of your own: without it, a dead letter does not know where its event came from.
    """
    depth, _, envelope, event, group, ids = handling.get()
    token = handling.set((depth + 1, channel, envelope, event, group, ids))
    try:
        yield
    finally:
        handling.reset(token)
