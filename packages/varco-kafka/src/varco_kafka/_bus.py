"""The event bus on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
from typing import TYPE_CHECKING, ClassVar

from varco_events import (
    CHANNEL_ALL,
    CHANNEL_DEFAULT,
    AbstractDeadLetterQueue,
    AbstractEventBus,
    BusStoppedError,
    Dispatcher,
    Event,
    EventEnvelope,
    EventMiddleware,
    EventSerializer,
    HoldingBack,
    JsonEventSerializer,
    Subscription,
    Workers,
)
from varco_kafka._broadcast import BroadcastListener
from varco_kafka._bus_settings import KafkaEventBusSettings
from varco_kafka._dead_letters import KafkaDeadLetterQueue, KafkaDeadLetterQueueSettings
from varco_kafka._errors import (
    KafkaChannelRefusedError,
    KafkaEventTooLargeError,
    KafkaUnavailableError,
    is_refusal,
    is_too_large,
    reason_of,
)
from varco_kafka._group import GroupMember
from varco_kafka._link import Link
from varco_kafka._received import written
from varco_kafka._settings import KafkaSettings
from varco_kafka._topics import Topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from varco_kafka._link import Record

logger = logging.getLogger("varco_kafka.bus")

_CHUNK = 1000


class KafkaEventBus(AbstractEventBus):
    """Brings events to the handlers of all processes that listen, through topics of Kafka.

    At least once: an event that `publish` returned for is handled although processes die at any
    moment, by one process of each group. Events of a channel that have one `event_key()` are
    handled in the order in which they were published, by whichever process; those of other keys
    side by side with them. A handler that fails is tried again, alone, with back-off, while its
    key waits and nothing else; then the event goes to the dead letter queue. An attempt is counted
    before it begins, so an event that kills its process is dead-lettered too.

    Publishing needs no `start()`; handlers run between `start()` and `stop()`. Belongs to one
    event loop.

    Raises:
        KafkaUnavailableError: From publishing, when Kafka does not answer in time.
        KafkaChannelRefusedError: Likewise, when the topic is not there or may not be written.
        KafkaEventTooLargeError: Likewise, when the event is larger than `max_event_bytes`.
    """

    is_transport: ClassVar[bool] = True

    def __init__(
        self,
        settings: KafkaEventBusSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
        dead_letters: AbstractDeadLetterQueue | None = None,
        middleware: Iterable[EventMiddleware] = (),
    ) -> None:
        """Nothing is connected before the first operation.

        Args:
            settings: The defaults of `KafkaEventBusSettings` when None.
            serializer: Events to bytes and back.
            dead_letters: Where events go that failed too often, as a queue in the database; a
                `KafkaDeadLetterQueue` beside the bus when None.
            middleware: Wrapped around every delivery to a handler, the first outermost.
        """
        self.settings: KafkaEventBusSettings = settings or KafkaEventBusSettings()
        self.serializer: EventSerializer = serializer or JsonEventSerializer()
        self._link = Link(
            self.settings,
            compression=self.settings.compression,
            max_bytes=self.settings.max_event_bytes,
        )
        self._topics = Topics(self._link, self.settings)
        self._dispatcher = Dispatcher(
            serializer=self.serializer, middleware=middleware, group=self.settings.group
        )
        self._owns_letters = dead_letters is None
        self.dead_letters: AbstractDeadLetterQueue = dead_letters or KafkaDeadLetterQueue(
            _letters_beside(self.settings), serializer=self.serializer
        )
        """Where events go that failed too often."""
        self._workers: Workers | None = None
        self._member: GroupMember | None = None
        self._listener: BroadcastListener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopped = False

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Callable[[E], Awaitable[None] | None],
        *,
        channel: str = CHANNEL_ALL,
        filter: Callable[[E], bool] | None = None,  # noqa: A002  # the reference's name
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
        """Hand `event` to Kafka; when this returns all replicas in sync have it."""
        await self._publish([self._envelope(event, channel)])
        return None

    async def deliver(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT, handler: str | None = None
    ) -> None:
        """Hand `event` to Kafka, to be handled by all or, in this group, by this handler only."""
        envelope = self._envelope(event, channel)
        if handler is not None:
            envelope = envelope.addressed(handler, self.settings.group)
        await self._publish([envelope])

    async def publish_many(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish pairs of event and channel in order, in batches."""
        await self._publish([self._envelope(event, channel) for event, channel in events])

    async def send(
        self,
        envelopes: Iterable[EventEnvelope],
        report: Callable[[EventEnvelope, Exception | None], object],
    ) -> None:
        """Hand over envelopes as they are, in batches.

        A topic that refuses holds back the later ones of its channel, an event that is too large
        those of its key.
        """
        waiting = iter(envelopes)
        held = HoldingBack()
        while some := list(itertools.islice(waiting, _CHUNK)):
            errors = await self._sent(some, held)
            for envelope in some:
                report(envelope, errors.get(id(envelope)))

    async def is_healthy(self) -> bool:
        """Whether Kafka answers; waits no longer than the time limit."""
        return await self._link.is_healthy()

    def lags(self) -> dict[str, dict[int, int]]:
        """How far the handlers of this process are behind, for metrics; costs no round trip.

        Returns:
            By channel and partition of those that are assigned to it, how many records there were
            at the last fetch from the first unfinished one on.
        """
        found: dict[str, dict[int, int]] = {}
        if self._member is not None:
            for part, lag in self._member.lags().items():
                channel = self.settings.channel_of(part.topic) or part.topic
                found.setdefault(channel, {})[part.partition] = lag
        return found

    @property
    def rebalances(self) -> int:
        """How often partitions were dealt out anew since `start()`, for metrics."""
        return 0 if self._member is None else self._member.rebalances

    async def start(self) -> None:
        """Begin to handle events; again after `stop()`. Kafka need not be there yet."""
        self._stopped = False
        if self._workers is not None:
            return
        workers = Workers(self._dispatcher, self.settings, self.serializer, logger)
        self._workers = workers
        shared = (
            self._link,
            self._topics,
            self.settings,
            workers,
            self.dead_letters,
            self._dispatcher.channels,
        )
        self._member = GroupMember(*shared)
        self._member.start()
        self._poke()
        self._listener = BroadcastListener(*shared)
        self._listening = asyncio.create_task(self._listener.run(), name="varco-kafka broadcast")
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
                member.stop_taking()
            if workers is not None:
                cut = await workers.drain(timeout)
            if member is not None:
                await member.stop()
        finally:
            self._stopped = True
            await self._link.close()
            if self._owns_letters and isinstance(self.dead_letters, KafkaDeadLetterQueue):
                await self.dead_letters.stop()
        if cut:
            logger.warning("stopped after %s s: %d events come again", timeout, len(cut))
        return cut

    def _envelope(self, event: Event, channel: str) -> EventEnvelope:
        return EventEnvelope.of(event, channel=channel, serializer=self.serializer)

    async def _publish(self, envelopes: Sequence[EventEnvelope]) -> None:
        for at in range(0, len(envelopes), _CHUNK):
            errors = await self._sent(envelopes[at : at + _CHUNK], HoldingBack())
            for error in errors.values():
                raise error

    async def _sent(
        self, envelopes: Sequence[EventEnvelope], held: HoldingBack
    ) -> dict[int, Exception]:
        """What was not taken, and why, by the id() of the envelope."""
        if self._stopped:
            return {id(one): BusStoppedError(one.event_type) for one in envelopes}
        made = self._topics.made
        try:
            refused = await self._topics.ensure(one.channel for one in envelopes)
        except KafkaUnavailableError as error:
            refused = dict.fromkeys((one.channel for one in envelopes), error)
        if self._topics.made > made:
            self._poke()
        found: dict[int, Exception] = {}
        sending: list[EventEnvelope] = []
        records: list[Record] = []
        for one in envelopes:
            why = held.of(one) or refused.get(one.channel)
            if why is None:
                key, value, headers = written(one)
                if len(value) > self.settings.max_event_bytes:
                    why = _too_large(one, f"{len(value)} bytes")
                else:
                    records.append((self.settings.topic_of(one.channel), key, value, headers))
                    sending.append(one)
                    continue
            found[id(one)] = why
            held.add(one, why)
        for one, result in zip(sending, await self._link.send(records), strict=True):
            if isinstance(result, BaseException):
                found[id(one)] = why = self._refusal(one, result)
                held.add(one, why)
        return found

    def _refusal(self, envelope: EventEnvelope, error: BaseException) -> Exception:
        if is_too_large(error):
            return _too_large(envelope, reason_of(error))
        self._topics.forget()  # it may have been deleted
        if is_refusal(error):
            channel = envelope.channel
            return KafkaChannelRefusedError(
                channel, self.settings.topic_of(channel), reason_of(error)
            )
        if isinstance(error, KafkaUnavailableError):
            return error
        return self._link.unavailable("take events", error)

    def _poke(self) -> None:
        for one in (self._member, self._listener):
            if one is not None:
                one.poke()


def _too_large(envelope: EventEnvelope, reason: str) -> KafkaEventTooLargeError:
    return KafkaEventTooLargeError(envelope.event_type, envelope.channel, reason)


def _letters_beside(settings: KafkaEventBusSettings) -> KafkaDeadLetterQueueSettings:
    values = {one.name: getattr(settings, one.name) for one in dataclasses.fields(KafkaSettings)}
    return KafkaDeadLetterQueueSettings(replication=settings.replication, **values)
