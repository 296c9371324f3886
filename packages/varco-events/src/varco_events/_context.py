"""Where in the handling of events the running task is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from varco_events._subscription import CHANNEL_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Generator

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event


# What surrounds the innermost handler of a task: how many handlers are on the stack, the channel,
# the envelope that the event came in (None for one published within the process), the event that
# was read from it, and the group. A plain tuple: every publish makes one.
type Surrounding = tuple[int, str, EventEnvelope | None, Event | None, str | None]

handling: ContextVar[Surrounding] = ContextVar(
    "varco_events_handling", default=(0, CHANNEL_DEFAULT, None, None, None)
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
    depth, _, envelope, event, group = handling.get()
    token = handling.set((depth + 1, channel, envelope, event, group))
    try:
        yield
    finally:
        handling.reset(token)
