"""Invalidation by what other processes tell on an event bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from varco_cache._channel import INVALIDATION_CHANNEL
from varco_cache._names import load
from varco_cache._strategies import ExplicitStrategy, TaggedStrategy

if TYPE_CHECKING:
    from varco_cache._invalidated import CacheInvalidationConsumer


class EventDrivenStrategy(ExplicitStrategy, TaggedStrategy):
    """Forgets what `CacheInvalidated` events on `channel` name (needs `[events]`)."""

    def __init__(self, *, channel: str = INVALIDATION_CHANNEL) -> None:
        super().__init__()
        self.channel = channel
        self._consumer: CacheInvalidationConsumer | None = None

    @property
    def consumer(self) -> CacheInvalidationConsumer:
        """The event consumer to register with a bus: `strategy.consumer.register_to(bus)`."""
        if self._consumer is None:
            make = cast("type[CacheInvalidationConsumer]", load("CacheInvalidationConsumer"))
            self._consumer = make(self, channel=self.channel)
        return self._consumer
