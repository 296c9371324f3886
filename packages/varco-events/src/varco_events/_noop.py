"""A bus for where events do not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varco_events._bus import AbstractEventBus
from varco_events._context import CHANNEL_DEFAULT
from varco_events._subscription import CHANNEL_ALL, Subscription

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from varco_events._event import Event
    from varco_events._subscription import EventFilter, Handler


class NoopEventBus(AbstractEventBus):
    """Takes every event and calls nobody."""

    async def publish(
        self,
        event: Event,  # noqa: ARG002  # nothing happens
        *,
        channel: str = CHANNEL_DEFAULT,  # noqa: ARG002  # nothing happens
    ) -> Awaitable[None] | None:
        """Do nothing."""
        return None

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Handler[E],
        *,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[E] | None = None,  # noqa: A002  # the reference's name
        priority: int = 0,
    ) -> Subscription:
        """A subscription that never gets an event."""
        return Subscription(event_type, handler, channel=channel, filter=filter, priority=priority)
