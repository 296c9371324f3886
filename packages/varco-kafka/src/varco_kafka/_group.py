"""A process as a member of a consumer group: partitions, taking, counting, committing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from varco_events import back_off, describe
from varco_kafka._committing import Committing
from varco_kafka._partition import Partition
from varco_kafka._progress import Progress
from varco_kafka._transaction import TransactionalPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_kafka._upstream import Source

logger = logging.getLogger("varco_kafka.bus")

_SOON = 0.02
_POLL = 0.25
_DISCOVER = 5.0  # how often it is asked which topics there are, where all are listened to
_FAILURES = 3  # of rounds, after which another consumer is made


class GroupMember(Committing, ConsumerRebalanceListener):
    """Takes events of the partitions that it is assigned. One event loop owns it."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._listened: dict[str, str] = {}
        self._taking = True
        self._discovered = 0.0
        self._over: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.rebalances = 0
        """How often partitions were dealt out anew."""

    def start(self) -> None:
        """Begin to take events."""
        self._tasks = [
            asyncio.create_task(work(), name=f"varco-kafka {work.__qualname__}")
            for work in (self._take, self._commit_soon)
        ]

    async def stop_taking(self) -> None:
        """Take no more; what is in hand goes on, and so does polling."""
        self._taking = False

    async def stop(self) -> None:
        """Commit what is done, give back what was cut off, and leave the group."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._over is not None:
            self._over.cancel()
        mine = list(self._partitions.values())
        await self._let_go(mine)
        await self._close()

    def lags(self) -> dict[TopicPartition, int]:
        """How many records of each partition of ours are not handled, as of the last fetch."""
        found: dict[TopicPartition, int] = {}
        for part, one in self._partitions.items():
            if one.progress is not None and self._consumer is not None and not one.released:
                with contextlib.suppress(AssertionError, KafkaError):  # it goes at this moment
                    found[part] = max(0, (self._consumer.highwater(part) or 0) - one.progress.base)
        return found

    # Which partitions are ours.

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what runs, or cut it off; what was not begun goes back."""
        mine = [self._partitions[part] for part in revoked if part in self._partitions]
        if mine:
            self.rebalances += 1
            await self._let_go(mine)
        for one in mine:
            self._partitions.pop(one.part, None)

    async def _let_go(self, mine: Sequence[Partition]) -> None:
        now = time.monotonic()
        for one in mine:
            one.released = True
            if self._is_member and one.until > now:
                # Nobody else gets it before we join again, or have not done so for so long.
                one.until = now + self._settings.hand_over
        self._watch()
        try:
            await self._wind_up(mine, now)
        except Exception as error:  # noqa: BLE001  # whatever it is, others take over
            logger.warning("events of %d partitions come again: %s", len(mine), describe(error))
        for one in mine:
            one.cut_off()
            one.until = 0.0
            await one.close()

    async def _wind_up(self, mine: Sequence[Partition], now: float) -> None:
        """Let what runs finish where it may, and commit how far we came."""
        if running := self._running(one for one in mine if one.until > now):
            await asyncio.wait(running, timeout=self._settings.hand_over)
        for one in mine:
            one.cut_off()
        if running := self._running(mine):
            await asyncio.wait(running, timeout=self._settings.timeout)
        for one in mine:
            one.give_back()
        if self._is_member:
            await self._commit(mine)

    @property
    def _is_member(self) -> bool:
        """Whether Kafka still knows us, as far as heartbeats and commits have told."""
        consumer = self._consumer
        return consumer is not None and consumer._coordinator.generation >= 0  # noqa: SLF001  # there is no public way

    def _running(self, partitions: Iterable[Partition]) -> set[asyncio.Task[None]]:
        running = self.workers.running
        return {
            task
            for one in partitions
            for received in one.running
            if (task := running.get(received)) is not None
        }

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Have the partitions; what was committed is asked for by who takes."""
        by_topic = {topic: channel for channel, topic in self._listened.items()}
        for part in assigned:
            channel = by_topic.get(part.topic)
            if channel is not None and self._consumer is not None:
                self._consumer.pause(part)  # nothing may be taken before it is known what is done
                self._partitions[part] = self._new(part, channel)

    def _new(self, part: TopicPartition, channel: str) -> Partition:
        if self._settings.exactly_once:
            return TransactionalPartition(
                part, channel, self, self.workers, self._link, self._settings.group
            )
        return Partition(part, channel, self, self.workers)

    def reopen(self, partition: Partition) -> None:
        """Begin anew with what was committed, which we do not know any more.

        Not at once: if Kafka has given the partition to another, the next sign of life tells us.
        """
        partition.released, partition.until = True, 0.0
        if self._has(partition):
            new = self._partitions[partition.part] = self._new(partition.part, partition.channel)
            new.unclaimed, new.not_before = True, time.monotonic() + self._settings.lease / 2

    async def _restore(self, consumer: AIOKafkaConsumer) -> None:
        """Learn what was committed of partitions that are new, and say that they are ours."""
        now = time.monotonic()
        new = [
            one
            for one in self._partitions.values()
            if one.progress is None and one.not_before <= now
        ]
        if not new:
            return
        for one in new:
            await one.prepare()
        parts = [one.part for one in new]
        group = self._settings.group
        found = await self._link.ask(
            "say where the group is",
            lambda admin: admin.list_consumer_group_offsets(group, partitions=parts),
        )
        for one in new:
            offset, text = found[one.part].offset, found[one.part].metadata
            if offset < 0:
                async with asyncio.timeout(self._settings.timeout):
                    offset = await consumer.position(one.part)
            if self._has(one):
                one.progress, one.reached = Progress(offset, text or ""), offset
        await self._commit(new)

    # Taking.

    async def _take(self) -> None:
        attempt = 0
        while True:
            try:
                if self._consumer is None:
                    await self._connect()
                await self._round()
                attempt = 0
            except Exception as error:  # noqa: BLE001  # whatever it is, taking goes on
                logger.warning("taking events failed, it goes on: %s", describe(error))
                await asyncio.sleep(back_off(attempt))
                attempt += 1
                if attempt >= _FAILURES:
                    await self._start_over()

    async def _connect(self) -> None:
        milliseconds = int(self._settings.lease * 1000)
        joining = int((self._settings.hand_over + self._settings.timeout) * 1000)
        options = self._link.client_options()
        # Joining is answered when all have finished what they had.
        options["request_timeout_ms"] += joining
        consumer = AIOKafkaConsumer(
            **options,
            group_id=self._settings.group,
            group_instance_id=self._settings.member,
            enable_auto_commit=False,
            auto_offset_reset=self._settings.start_at,
            session_timeout_ms=milliseconds,
            heartbeat_interval_ms=max(100, milliseconds // 6),
            rebalance_timeout_ms=joining,
            max_poll_records=self._settings.prefetch,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            isolation_level="read_committed",
        )
        try:
            async with asyncio.timeout(self._settings.timeout):
                await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        self._consumer, self._listened = consumer, {}
        self._poked.set()

    async def _start_over(self) -> None:
        """Make another consumer: this one does not come to itself."""
        for one in self._partitions.values():
            one.released, one.until = True, 0.0
            one.cut_off()
            await one.close()
        self._partitions.clear()
        await self._close()

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._settings.timeout):
                    await consumer.stop()

    async def _round(self) -> None:
        """Take what there is from partitions that have space."""
        consumer = self._consumer
        assert consumer is not None  # noqa: S101  # as its caller has seen
        await self._listen(consumer)
        if not self._listened:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await self._poked.wait()
            return
        await self._restore(consumer)
        self._retake(consumer)
        full = False
        ours = consumer.assignment()
        for part, one in list(self._partitions.items()):
            if part not in ours:
                continue
            if one.space > 0 and self._taking:
                consumer.resume(part)
            else:
                consumer.pause(part)
                full = True
        seconds = _SOON if full else _POLL
        if not ours:
            await asyncio.sleep(_SOON)
        found = await consumer.getmany(timeout_ms=int(seconds * 1000))
        for part, records in found.items():
            partition = self._partitions.get(part)
            if partition is None:
                continue
            if partition.alive and not partition.unclaimed:
                if records[0].offset < partition.reached:
                    partition = await self._begin_anew(partition, records[0].offset)
                partition.accept(records)
            else:
                partition.unclaimed = True  # its position is past what was not accepted
        await asyncio.sleep(0)

    async def _begin_anew(self, partition: Partition, offset: int) -> Partition:
        """Forget what was done: the same numbers are those of other events now."""
        logger.error(
            "%s ends before what was taken from it: it was made anew, or has lost records; "
            "all that is in it now is handled",
            partition.part,
        )
        partition.released, partition.until = True, 0.0
        partition.cut_off()
        await partition.close()
        new = self._new(partition.part, partition.channel)
        await new.prepare()
        new.progress = Progress(offset)
        self._partitions[partition.part] = new
        await self._commit([new])
        return new

    def _retake(self, consumer: AIOKafkaConsumer) -> None:
        """Go back to the first unfinished event, where something was left."""
        for part, one in self._partitions.items():
            if one.unclaimed and one.alive and one.progress is not None:
                one.unclaimed, one.reached = False, one.progress.base
                with contextlib.suppress(IllegalStateError):  # it goes at this moment
                    consumer.seek(part, one.progress.base)

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        """Subscribe to the topics of the channels that are listened to now."""
        now = time.monotonic()
        wanted = self._channels()
        everything = "*" in wanted and now - self._discovered > _DISCOVER
        if not (self._poked.is_set() or everything):
            return
        self._poked.clear()
        named = {one for one in wanted if one != "*" and not self._settings.is_broadcast(one)}
        try:
            refused = await self._topics.ensure(named)
            for channel, error in refused.items():
                logger.warning("nothing is taken from channel %r: %s", channel, describe(error))
            topics = {one: self._settings.topic_of(one) for one in named - refused.keys()}
            if "*" in wanted:
                self._discovered = now
                topics |= {
                    channel: topic
                    for channel, topic in (await self._topics.channels()).items()
                    if not self._settings.is_broadcast(channel)
                }
        except BaseException:
            self._poked.set()
            raise
        if topics != self._listened:
            # While the old ones can still be committed.
            await self.on_partitions_revoked(list(self._partitions))
            self._listened = topics
            if topics:
                consumer.subscribe(sorted(topics.values()), listener=self)
            else:
                consumer.unsubscribe()
