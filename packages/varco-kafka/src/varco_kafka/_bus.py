"""The event bus on Kafka."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from varco_events import (
    AbstractDeadLetterQueue,
    BusStoppedError,
    EventEnvelope,
    EventMiddleware,
    EventSerializer,
    HoldingBack,
    JsonEventSerializer,
    TransportBus,
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
from varco_kafka._transaction import current
from varco_kafka._upstream import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_kafka._batches import Record

logger = logging.getLogger("varco_kafka.bus")


class KafkaEventBus(TransportBus[KafkaEventBusSettings, Link]):
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
        settings = settings or KafkaEventBusSettings()
        serializer, own = serializer or JsonEventSerializer(), None
        if dead_letters is None:
            own = dead_letters = KafkaDeadLetterQueue(
                _letters_beside(settings), serializer=serializer
            )
        super().__init__(
            settings,
            Link(settings, compression=settings.compression, max_bytes=settings.max_event_bytes),
            serializer=serializer,
            dead_letters=dead_letters,
            own_letters=own,
            middleware=middleware,
            logger=logger,
        )
        self._topics = Topics(self._link, self.settings)

    def lags(self) -> dict[str, dict[int, int]]:
        """How far the handlers of this process are behind, for metrics; costs no round trip.

        Returns:
            By channel and partition of those that are assigned to it, how many records there were
            at the last fetch from the first unfinished one on.
        """
        found: dict[str, dict[int, int]] = {}
        if isinstance(self._member, GroupMember):
            for part, lag in self._member.lags().items():
                channel = self.settings.channel_of(part.topic) or part.topic
                found.setdefault(channel, {})[part.partition] = lag
        return found

    @property
    def rebalances(self) -> int:
        """How often partitions were dealt out anew since `start()`, for metrics."""
        return self._member.rebalances if isinstance(self._member, GroupMember) else 0

    def _parts(self, workers: Workers) -> tuple[GroupMember, BroadcastListener]:
        source = Source(
            self._link,
            self._topics,
            self.settings,
            workers,
            self.dead_letters,
            self._dispatcher.channels,
        )
        return GroupMember(source), BroadcastListener(source)

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
        topics: dict[str, str] = {}
        for one in envelopes:
            channel = one.channel
            why = (held.of(one) if held.is_holding else None) or refused.get(channel)
            if why is None:
                key, value, headers = written(one, self.settings.cloudevents_source)
                if len(value) > self.settings.max_event_bytes:
                    why = _too_large(one, f"{len(value)} bytes")
                else:
                    topic = topics.get(channel)
                    if topic is None:
                        topic = topics[channel] = self.settings.topic_of(channel)
                    records.append((topic, key, value, headers))
                    sending.append(one)
                    continue
            found[id(one)] = why
            held.add(one, why)
        transaction = current.get()
        inside = transaction is not None and transaction.is_of(self._link)
        send = transaction.send if transaction is not None and inside else self._link.send
        for one, result in zip(sending, await send(records), strict=True):
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


def _too_large(envelope: EventEnvelope, reason: str) -> KafkaEventTooLargeError:
    return KafkaEventTooLargeError(envelope.event_type, envelope.channel, reason)


def _letters_beside(settings: KafkaEventBusSettings) -> KafkaDeadLetterQueueSettings:
    values = {one.name: getattr(settings, one.name) for one in dataclasses.fields(KafkaSettings)}
    return KafkaDeadLetterQueueSettings(replication=settings.replication, **values)
