"""The dead letter queue in Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from varco_events import (
    AbstractDeadLetterQueue,
    ChannelConfig,
    DeadLetterEntry,
    DeadLetterQueueFullError,
    EventSerializer,
    takes_former_names,
)
from varco_kafka._bus_settings import KafkaEventBusSettings
from varco_kafka._errors import (
    KafkaChannelRefusedError,
    KafkaConfigError,
    KafkaTopicMismatchError,
)
from varco_kafka._letter_log import LetterLog
from varco_kafka._link import Link
from varco_kafka._settings import KafkaSettings
from varco_kafka._topics import Topics

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from varco_events import AbstractEventBus, DeadLetterFailureStore

# What was asked for and not granted must not outlive what it was not granted for.
_MOST_LEASE = 12 * 3600.0
_CONFIG = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "min.compaction.lag.ms": str(int(2 * _MOST_LEASE * 1000)),
    "min.insync.replicas": "1",
}
# Without these, letters are lost in time, or leases go by clocks that differ.
_NEEDED = ("cleanup.policy", "message.timestamp.type")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KafkaDeadLetterQueueSettings(KafkaSettings):
    """Where the queue is.

    Attributes:
        topic: Its topic: one partition, compacted; made when it is not there.
        replication: On how many servers a topic is that is made; -1 for 3, or all of less.
        max_size: A push beyond it is refused; None for no limit. Several processes that push at
            one moment may each see the last room.
    """

    topic: str = "varco.dead-letters"
    replication: int = -1
    max_size: int | None = None

    def __post_init__(self) -> None:
        KafkaSettings.__post_init__(self)
        self.check_above_zero("max_size")
        if not self.topic:
            raise KafkaConfigError("topic", self.topic, "name the topic of the queue")


class KafkaDeadLetterQueue(AbstractDeadLetterQueue):
    """Failed events in a compacted topic, with leases that every process sees alike.

    The order of the one partition decides who has a letter, and Kafka's clock for how long. Pushing
    writes one record; everything else reads on to the end of the topic first, and keeps what is
    there in memory: it is a queue for what an operator looks at, not for millions. Safe for any
    number of processes; a queue belongs to one event loop.

    Raises:
        KafkaUnavailableError: From any operation, when Kafka does not answer in time.
        KafkaTopicMismatchError: Likewise, when the topic is there and is something else.
    """

    def __init__(
        self,
        settings: KafkaDeadLetterQueueSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
    ) -> None:
        self.settings: KafkaDeadLetterQueueSettings = settings or KafkaDeadLetterQueueSettings()
        self._link = Link(self.settings)
        self._topics = Topics(self._link, KafkaEventBusSettings(url=self.settings.url))
        self._log = LetterLog(self._link, self.settings.topic, serializer)
        self._is_there = False

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`; an entry id that is there already is kept once.

        Raises:
            DeadLetterQueueFullError: The queue holds `max_size` entries.
        """
        await self._ensure()
        limit = self.settings.max_size
        if limit is not None:
            await self._log.refresh()
            if len(self._log.kept) >= limit and entry.entry_id not in self._log.kept:
                raise DeadLetterQueueFullError(entry.entry_id, limit)
        await self._log.push(entry)

    @takes_former_names(visibility_timeout="lease")
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, for `lease` seconds.

        Raises:
            KafkaConfigError: They are more than 12 hours.
        """
        found: list[UUID] = []
        claim_id = uuid4()
        asked: set[UUID] = set()
        await self.refresh()
        while len(found) < limit:
            free = (one for one in self._log.kept if one not in asked and self._log.is_free(one))
            wanted = list(islice(free, limit - len(found)))
            if not wanted:
                break
            asked.update(wanted)
            found += await self.lease(wanted, lease, claim_id)
        kept = self._log.kept
        letters = [kept[one] for one in found if one in kept]
        return [one.letter.of_claim(claim_id) for one in sorted(letters, key=lambda one: one.order)]

    async def lease(
        self, entry_ids: list[UUID], seconds: float, claim_id: UUID | None = None
    ) -> list[UUID]:
        """Lease these entries as far as nobody has them; those that were.

        Raises:
            KafkaConfigError: It is for more than 12 hours.
        """
        if not 0 < seconds <= _MOST_LEASE:
            raise KafkaConfigError(
                "lease", seconds, f"above zero, and at most {_MOST_LEASE:.0f} seconds"
            )
        await self._ensure()
        return await self._log.lease(entry_ids, (claim_id or uuid4()).hex, seconds)

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good; an unknown id is no error."""
        await self._ensure()
        await self._log.remove([entry_id])

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:
        """Make a leased entry visible again, at its old place; an unknown id is no error.

        Nothing happens to one that another has leased since the claim.
        """
        await self._ensure()
        if claim_id is None:
            await self._log.free([entry_id])
        else:
            await self._log.give_back([(entry_id, claim_id.hex)])

    async def count(self) -> int:
        """How many entries are kept, leased ones included."""
        await self.refresh()
        return len(self._log.kept)

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""
        await self.refresh()
        return [one.letter for one in islice(self._log.kept.values(), max(limit, 0))]

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailureStore:
        """The entries as operators see them: filtered, grouped, retried and discarded.

        Args:
            bus: Where retries go; without one there are none.
        """
        from varco_kafka._letter_failures import LetterFailures  # noqa: PLC0415  # when needed

        return LetterFailures(self, self._log, bus)

    async def refresh(self) -> None:
        """Read what other processes wrote; every operation that looks does so."""
        await self._ensure()
        await self._log.refresh()

    async def is_healthy(self) -> bool:
        """Whether Kafka answers; waits no longer than the time limit."""
        return await self._link.is_healthy()

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Close the connections; they are opened again when needed."""
        await self._log.close()
        await self._link.close()

    async def _ensure(self) -> None:
        if self._is_there:
            return
        topic = self.settings.topic
        if topic in await self._link.ask("list topics", lambda admin: admin.list_topics()):
            needed = ChannelConfig(1, -1, extra={name: _CONFIG[name] for name in _NEEDED})
            if differences := await self._topics.differences(topic, needed):
                raise KafkaTopicMismatchError(topic, topic, differences)
        else:
            config = ChannelConfig(1, self.settings.replication, extra=dict(_CONFIG))
            refusal = await self._topics.create(topic, config)
            if refusal is not None:
                raise KafkaChannelRefusedError(topic, topic, refusal)
        self._is_there = True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
