"""What a service publishes through, without knowing a bus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from varco_events._bus import AbstractEventBus  # noqa: TC001  # providify resolves it
from varco_events._context import CHANNEL_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_events._event import Event


class AbstractEventProducer(ABC):
    """Publishes events."""

    @abstractmethod
    async def produce(self, event: Event, *, channel: str = CHANNEL_DEFAULT) -> None:
        """Publish `event`."""

    async def produce_many(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish pairs of event and channel in order; the first failure ends it."""
        for event, channel in events:
            await self.produce(event, channel=channel)


class BusEventProducer(AbstractEventProducer):
    """Publishes to a bus."""

    def __init__(self, bus: AbstractEventBus) -> None:
        self._bus = bus

    async def produce(self, event: Event, *, channel: str = CHANNEL_DEFAULT) -> None:
        """Publish `event`; in BACKGROUND mode it may not be handled yet."""
        await self._bus.publish(event, channel=channel)


class NoopEventProducer(AbstractEventProducer):
    """Publishes nothing."""

    async def produce(self, event: Event, *, channel: str = CHANNEL_DEFAULT) -> None:
        """Do nothing."""
