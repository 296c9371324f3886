"""The event bus on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
import zlib
from typing import TYPE_CHECKING, Any

from varco_events import (
    CHANNEL_ALL,
    CHANNEL_DEFAULT,
    AbstractDeadLetterQueue,
    AbstractEventBus,
    BusStoppedError,
    Event,
    EventMiddleware,
    EventSerializer,
    JsonEventSerializer,
    RawEvent,
    Subscription,
)
from varco_redis._bus_scripts import PUBLISH
from varco_redis._bus_settings import BusMode, Names, RedisEventBusSettings
from varco_redis._dead_letters import RedisDeadLetterQueue, RedisDeadLetterQueueSettings
from varco_redis._errors import RedisBackPressureError, refusals_as_data_errors
from varco_redis._group import GroupMember
from varco_redis._handlers import Handlers
from varco_redis._link import Link, all_right
from varco_redis._listening import BroadcastListener, PubSubListener
from varco_redis._partition import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

logger = logging.getLogger("varco_redis.bus")

_CHUNK = 250
_PAUSE, _MOST_PAUSE = 0.01, 0.25


class RedisEventBus(AbstractEventBus):
    """Brings events to the handlers of all processes that listen, through Redis Streams.

    At least once: an event that `publish` returned for is handled although processes die at any
    moment, by one process of each group. Events of a channel that have one `event_key()` are
    handled in the order in which they were published, by whichever process. A handler that fails
    is tried again, alone, with back-off; then the event goes to the dead letter queue. Events
    that not every group has handled are never dropped: a channel that is full of them makes
    publishing wait, then fail.

    Publishing needs no `start()`; handlers run between `start()` and `stop()`. Belongs to one
    event loop.

    Raises:
        RedisUnavailableError: From publishing, when Redis does not answer in time.
        RedisBackPressureError: Likewise, when the channel is full.
        RedisDataError: Likewise, when there is something else under the keys of the channel.
    """

    def __init__(
        self,
        settings: RedisEventBusSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
        dead_letters: AbstractDeadLetterQueue | None = None,
        middleware: Iterable[EventMiddleware] = (),
    ) -> None:
        """Nothing is connected before the first operation.

        Args:
            settings: The defaults of `RedisEventBusSettings` when None.
            serializer: Events to bytes and back.
            dead_letters: Where events go that failed too often; a `RedisDeadLetterQueue` beside
                the bus when None.
            middleware: Wrapped around every delivery to a handler, the first outermost.
        """
        self.settings: RedisEventBusSettings = settings or RedisEventBusSettings()
        self.serializer: EventSerializer = serializer or JsonEventSerializer()
        self._link = Link(self.settings)
        self._names = Names(self.settings)
        self._handlers = Handlers(self.serializer, middleware)
        self._owns_letters = dead_letters is None
        self.dead_letters: AbstractDeadLetterQueue = dead_letters or RedisDeadLetterQueue(
            _letters_beside(self.settings), serializer=self.serializer
        )
        """Where events go that failed too often."""
        self._known: set[str] = set()
        self._round_robin = itertools.count(random.randrange(1000))  # noqa: S311 # not for secrets
        self._workers: Workers | None = None
        self._member: GroupMember | None = None
        self._listener: BroadcastListener | PubSubListener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopped = False

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Callable[[E], Awaitable[None] | None],
        *,
        channel: str = CHANNEL_ALL,
        filter: Callable[[E], bool] | None = None,  # noqa: A002 # the reference's name
        priority: int = 0,
    ) -> Subscription:
        """Call `handler` for events of `event_type`, its subclasses included."""
        subscription = self._handlers.add(
            event_type, handler, channel=channel, condition=filter, priority=priority
        )
        self._poke()
        return subscription

    async def publish(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT
    ) -> Awaitable[None] | None:
        """Hand `event` to Redis; when this returns it is kept there."""
        await self._publish([(event, channel)], None)
        return None

    async def deliver(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT, handler: str | None = None
    ) -> None:
        """Hand `event` to Redis, to be handled by all or only by the handler of this name."""
        await self._publish([(event, channel)], handler)

    async def publish_many(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish pairs of event and channel in order, hundreds in one round trip."""
        await self._publish(events, None)

    async def is_healthy(self) -> bool:
        """Whether Redis answers and takes writes; waits no longer than the time limit."""
        return await self._link.is_healthy()

    async def start(self) -> None:
        """Begin to handle events; again after `stop()`. Redis need not be there yet."""
        self._stopped = False
        if self._workers is not None:
            return
        workers = self._workers = Workers(self._handlers, self.settings)
        if self.settings.mode == BusMode.PUBSUB:
            listener = self._listener = PubSubListener(self._link, self._names, workers)
            self._listening = asyncio.create_task(listener.run(), name="varco-redis listen")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.timeout):
                    await listener.ready.wait()
            return
        shared = (
            self._link,
            self._names,
            self.settings,
            workers,
            self.dead_letters,
            self._handlers.channels,
        )
        self._member = GroupMember(*shared)
        self._member.start()
        self._listener = BroadcastListener(*shared)
        with contextlib.suppress(Exception):  # it tries again
            await self._listener.synchronize()
        self._listening = asyncio.create_task(self._listener.run(), name="varco-redis broadcast")

    async def stop(self, timeout: float | None = None) -> Sequence[Event]:  # noqa: ASYNC109 # the reference's name
        """Finish the handlers that run, leave the rest to others, and take no more events.

        Returns:
            The events whose handling was cut off after `timeout` seconds; they come again.
        """
        cut: Sequence[Event] = ()
        workers, member, listening = self._workers, self._member, self._listening
        self._workers = self._member = self._listener = self._listening = None
        try:
            if listening is not None:
                listening.cancel()
                await asyncio.wait([listening])
            if member is not None:
                await member.stop_taking()
            if workers is not None:
                cut = await workers.drain(timeout)
            if member is not None:
                await member.stop()
        finally:
            self._stopped = True
            await self._link.close()
            if self._owns_letters and isinstance(self.dead_letters, RedisDeadLetterQueue):
                await self.dead_letters.stop()
        if cut:
            logger.warning("stopped after %s s: %d events come again", timeout, len(cut))
        return cut

    async def _publish(self, events: Sequence[tuple[Event, str]], handler: str | None) -> None:
        if self._stopped:
            name = events[0][0].event_type_name() if events else "nothing"
            raise BusStoppedError(name)
        if self.settings.mode == BusMode.PUBSUB:
            subject, write = self._names.subject, self.serializer.serialize
            commands = [("PUBLISH", subject + channel, write(event)) for event, channel in events]
            with refusals_as_data_errors(subject):
                all_right(await self._link.pipeline(commands))
            return
        await self._declare({channel for _, channel in events})
        for channel, run in itertools.groupby(events, key=lambda pair: pair[1]):
            parts: list[Any] = []
            for event, _ in run:
                parts += self._parts(event, handler)
            await self._append(channel, parts)

    def _parts(self, event: Event, handler: str | None) -> tuple[int, str, str, bytes]:
        key = event.event_key()
        if key is None and event.__class__ is not RawEvent:
            number = next(self._round_robin)
        else:
            # An event of a type that is unknown here may have a key, but nobody can tell.
            number = zlib.crc32((key or "").encode())
        return number, key or "", handler or "", self.serializer.serialize(event)

    async def _append(self, channel: str, parts: list[Any]) -> None:
        """Append all, a few hundred at once; waits for space within the time limit."""
        keys = (self._names.config(channel), self._names.base(channel))
        until, pause = time.monotonic() + self.settings.timeout, _PAUSE
        while parts:
            chunk = parts[: 4 * _CHUNK]
            with refusals_as_data_errors(keys[1]):
                taken: int = await self._link.run(PUBLISH, keys, self.settings.max_length, *chunk)
            if taken < 0:  # Redis was flushed since the channel was declared
                self._known.discard(channel)
                await self._declare({channel})
                continue
            parts = parts[4 * taken :]
            if 4 * taken == len(chunk):
                continue
            if time.monotonic() > until:
                raise RedisBackPressureError(channel, self.settings.max_length)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 # not for secrets
            pause = min(2 * pause, _MOST_PAUSE)

    async def _declare(self, channels: set[str]) -> None:
        """Let others find channels that are new to this process."""
        new = channels - self._known
        if not new:
            return
        with refusals_as_data_errors(self._names.channels):
            await self._link.call("SADD", self._names.channels, *new)
        for channel in new:
            count = 1 if self.settings.is_broadcast(channel) else self.settings.partitions
            config = self._names.config(channel)
            with refusals_as_data_errors(config):
                await self._link.call("HSETNX", config, "partitions", count)
        self._known |= new
        self._poke()

    def _poke(self) -> None:
        for one in (self._member, self._listener):
            if one is not None:
                one.poke()


def _letters_beside(settings: RedisEventBusSettings) -> RedisDeadLetterQueueSettings:
    shared = RedisDeadLetterQueueSettings.__mro__[1]
    values = {name: getattr(settings, name) for name in shared.__slots__}  # type: ignore[attr-defined] # a dataclass with slots
    return RedisDeadLetterQueueSettings(key_prefix=settings.key_prefix, **values)
