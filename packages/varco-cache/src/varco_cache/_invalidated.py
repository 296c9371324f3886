"""Invalidation across processes, over an event bus; needs varco-events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary, ref

from pydantic import Field

from varco_cache._channel import INVALIDATION_CHANNEL
from varco_events import AbstractEventBus, Event, EventConsumer, listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from varco_cache._strategies import InvalidationStrategy

logger = logging.getLogger("varco_cache")


class CacheInvalidated(Event):
    """Keys, or what carries tags, were invalidated: forget your copies.

    A message that is late leaves other processes' copies for that long; one that is lost leaves
    them to the end of their ttl. Neither can bring an old value back into a shared layer: that
    one was invalidated before the message was sent. A message that comes twice costs one load.
    """

    __event_type__ = "varco.cache.invalidated"

    keys: list[str] = Field(default_factory=list[str])
    namespace: str = ""
    operation: str = ""
    tags: list[str] = Field(default_factory=list[str])


CacheInvalidationEvent = CacheInvalidated


class _Near(Protocol):
    async def invalidate_near(self, keys: Iterable[str] = (), tags: Iterable[str] = ()) -> None: ...


class CacheInvalidationConsumer(EventConsumer):
    """Makes the caches of a strategy, whatever its kind, forget what `CacheInvalidated` names."""

    def __init__(
        self, strategy: InvalidationStrategy, *, channel: str = INVALIDATION_CHANNEL
    ) -> None:
        self._strategy = strategy
        self.channel = channel

    @listen(CacheInvalidated, channel=lambda self: self.channel)
    async def on_invalidated(self, event: CacheInvalidated) -> None:
        """Forget."""
        self._strategy.forget(event.keys, event.tags)


async def announce(
    publish: Callable[..., Awaitable[object]], event: CacheInvalidated, channel: str
) -> None:
    """Publish, or log that the others were not told: the write it follows has succeeded."""
    try:
        await publish(event, channel=channel)
    except Exception:
        logger.exception("other processes were not told of an invalidation")


# Which caches follow which bus on which channels; neither is kept alive by it. One event loop owns
# it, and nothing awaits in between.
_followers: WeakKeyDictionary[AbstractEventBus, WeakKeyDictionary[_Near, set[str]]] = (
    WeakKeyDictionary()
)


def follow(bus: AbstractEventBus, near: _Near, channel: str) -> None:
    """Have a cache forget its in-process copies of what others invalidate; once is enough."""
    channels = _followers.setdefault(bus, WeakKeyDictionary()).setdefault(near, set())
    if channel in channels:
        return
    channels.add(channel)
    alive = ref(near)

    async def forget(event: CacheInvalidated) -> None:
        cache = alive()
        if cache is None:
            subscription.cancel()
        else:
            await cache.invalidate_near(event.keys, event.tags)

    subscription = bus.subscribe(CacheInvalidated, forget, channel=channel)
