"""What the buses over a broker share: publishing, sending, and a life with handlers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

from varco_events._bus import AbstractEventBus
from varco_events._context import CHANNEL_DEFAULT
from varco_events._dispatch import Dispatcher
from varco_events._envelope import EventEnvelope
from varco_events._sending import HoldingBack
from varco_events._subscription import CHANNEL_ALL
from varco_events._workers import HandlingSettings, Workers

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Iterable, Sequence

    from varco_events._bus import EventMiddleware, Report
    from varco_events._dispatch import Delivery
    from varco_events._dlq import AbstractDeadLetterQueue
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer
    from varco_events._in_hand import InHand
    from varco_events._lanes import Lanes
    from varco_events._subscription import EventFilter, Handler, Subscription


class TransportSettings(HandlingSettings, Protocol):
    """What the settings of a bus over a broker say."""

    @property
    def group(self) -> str:
        """Of the processes with one group each event goes to one."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds for one operation."""
        ...


class TransportLink(Protocol):
    """The connections of a bus to its broker."""

    async def is_healthy(self) -> bool:
        """Whether the broker answers."""
        ...

    async def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        ...


class TransportLetters(Protocol):
    """A dead letter queue that is closed with the bus that made it."""

    async def stop(self) -> None:
        """Close its connections."""
        ...


class TransportMember(Protocol):
    """This process in its group."""

    def start(self) -> None:
        """Begin to take events."""
        ...

    def poke(self) -> None:
        """The channels have changed."""
        ...

    async def stop_taking(self) -> None:
        """Take no more; what is in hand goes on."""
        ...

    async def stop(self) -> None:
        """Tell the broker what is done and leave."""
        ...


class TransportListener(Protocol):
    """What reads the events that go to everybody."""

    ready: asyncio.Event
    """Whether what is published from now on comes here, as far as is known."""

    def poke(self) -> None:
        """The channels have changed."""
        ...

    async def run(self) -> None:
        """Listen until it is cancelled."""
        ...


class TransportUpstream[L: Lanes, E: InHand]:
    """An `Upstream` without a group: nothing is counted or acknowledged but in this process.

    A backend derives from it and says otherwise where its broker keeps count.
    """

    def __init__(self, workers: Workers, dead_letters: AbstractDeadLetterQueue, group: str) -> None:
        """Of one bus.

        Args:
            workers: They handle what is taken.
            dead_letters: Where events go that failed too often.
            group: What dead letters are redriven to.
        """
        self.workers: Workers = workers
        self._dead_letters = dead_letters
        self._group = group

    async def count(self, begun: Sequence[tuple[L, E]], /) -> list[tuple[L, E]]:
        """Count their next attempt; those of them that are still ours."""
        return list(begun)

    async def uncount(self, given_back: Sequence[tuple[L, E]], /) -> None:
        """Give the attempt back that was counted."""

    def finished(self, lanes: L, received: E, /) -> None:
        """It was handled, or dead-lettered."""

    async def settle(self) -> None:
        """Tell the broker of all that is finished."""

    def dropped(self, lanes: L, received: E, /) -> None:
        """Leave it to whoever has the lanes."""

    async def dead_letter(self, received: E, delivery: Delivery, /) -> None:
        """Push it for each handler that failed; pushed twice, it is kept once."""
        for entry in received.dead_letters(delivery.failed, self._group):
            await self._dead_letters.push(entry)


class TransportBus[S: TransportSettings, L: TransportLink](AbstractEventBus):
    """A bus that hands events to a broker, and handles what comes from it between start and stop.

    A backend derives from it: it says in `_sent` how envelopes are written and in `_parts` what
    takes them. Belongs to one event loop; asyncio only.
    """

    is_transport: ClassVar[bool] = True
    chunk: ClassVar[int] = 1000
    """How many envelopes are handed over at once."""

    def __init__(
        self,
        settings: S,
        link: L,
        *,
        serializer: EventSerializer,
        dead_letters: AbstractDeadLetterQueue,
        own_letters: TransportLetters | None,
        middleware: Iterable[EventMiddleware],
        logger: logging.Logger,
    ) -> None:
        """Nothing is connected before the first operation.

        Args:
            settings: Of the bus.
            link: Its connections.
            serializer: Events to bytes and back.
            dead_letters: Where events go that failed too often.
            own_letters: The same when it was made for this bus, which closes it then.
            middleware: Wrapped around every delivery to a handler, the first outermost.
            logger: Of the backend.
        """
        self.settings: S = settings
        self.serializer: EventSerializer = serializer
        self._link: L = link
        self._dispatcher = Dispatcher(
            serializer=self.serializer, middleware=middleware, group=settings.group
        )
        self._own_letters = own_letters
        self.dead_letters: AbstractDeadLetterQueue = dead_letters
        """Where events go that failed too often."""
        self._logger = logger
        self._workers: Workers | None = None
        self._member: TransportMember | None = None
        self._listener: TransportListener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopped = False

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Handler[E],
        *,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[E] | None = None,  # noqa: A002  # the reference's name
        priority: int = 0,
    ) -> Subscription:
        """Call `handler` for events of `event_type`, its subclasses included."""
        subscription = self._dispatcher.subscribe(
            event_type, handler, channel=channel, filter=filter, priority=priority
        )
        self._poke()
        return subscription

    async def publish(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT
    ) -> Awaitable[None] | None:
        """Hand `event` to the broker; when this returns it is kept there."""
        await self._publish([self._envelope(event, channel)])
        return None

    async def deliver(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT, handler: str | None = None
    ) -> None:
        """Hand `event` over, to be handled by all or, in this group, by this handler only."""
        envelope = self._envelope(event, channel)
        if handler is not None:
            envelope = envelope.addressed(handler, self.settings.group)
        await self._publish([envelope])

    async def publish_many(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish pairs of event and channel in order, in batches."""
        await self._publish([self._envelope(event, channel) for event, channel in events])

    async def send(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        """Hand over envelopes as they are, in batches.

        What was not taken holds back the later ones of its key, and of its channel when that
        refuses.
        """
        waiting, held = iter(envelopes), HoldingBack()
        while some := list(itertools.islice(waiting, self.chunk)):
            errors = await self._sent(some, held)
            for envelope in some:
                report(envelope, errors.get(id(envelope)))

    async def is_healthy(self) -> bool:
        """Whether the broker answers; waits no longer than the time limit."""
        return await self._link.is_healthy()

    async def start(self) -> None:
        """Begin to handle events; again after `stop()`. The broker need not be there yet."""
        self._stopped = False
        if self._workers is not None:
            return
        workers = Workers(self._dispatcher, self.settings, self.serializer, self._logger)
        self._workers = workers
        self._member, self._listener = self._parts(workers)
        if self._member is not None:
            self._member.start()
        self._poke()
        name = f"{type(self).__name__} listens"
        self._listening = asyncio.create_task(self._listener.run(), name=name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.timeout):
                await self._listener.ready.wait()

    async def stop(self, timeout: float | None = None) -> Sequence[Event]:  # noqa: ASYNC109  # the reference's name
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
            if self._own_letters is not None:
                await self._own_letters.stop()
        if cut:
            self._logger.warning("stopped after %s s: %d events come again", timeout, len(cut))
        return cut

    @abstractmethod
    def _parts(self, workers: Workers) -> tuple[TransportMember | None, TransportListener]:
        """What takes events for the group, and for everybody."""

    @abstractmethod
    async def _sent(
        self, envelopes: Sequence[EventEnvelope], held: HoldingBack
    ) -> dict[int, Exception]:
        """What was not taken, and why, by the id() of the envelope; it is added to `held`."""

    async def _publish(self, envelopes: Sequence[EventEnvelope]) -> None:
        """Send all, or raise the first error."""
        for at in range(0, len(envelopes), self.chunk):
            errors = await self._sent(envelopes[at : at + self.chunk], HoldingBack())
            for error in errors.values():
                raise error

    def _envelope(self, event: Event, channel: str) -> EventEnvelope:
        return EventEnvelope.of(event, channel=channel, serializer=self.serializer)

    def _poke(self) -> None:
        for one in (self._member, self._listener):
            if one is not None:
                one.poke()
