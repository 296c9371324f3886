"""A process as a member of a consumer group: partitions, taking, counting, committing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from varco_events import back_off, describe
from varco_kafka._partition import Partition
from varco_kafka._progress import Progress
from varco_kafka._upstream import Taking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_events import InHand
    from varco_kafka._partition import Ready
    from varco_kafka._received import Received
    from varco_kafka._upstream import Source

logger = logging.getLogger("varco_kafka.bus")

_BEATS = 4  # signs of life in one lease
_MARGIN = 0.8  # the part of the lease for which a process trusts that it owns a partition
_SOON = 0.02  # how long what is done waits for more to be committed with it
_POLL = 0.25
_DISCOVER = 5.0  # how often it is asked which topics there are, where all are listened to
_FAILURES = 3  # of rounds, after which another consumer is made


class GroupMember(Taking, ConsumerRebalanceListener):
    """Takes events of the partitions that it is assigned. One event loop owns it.

    A commit is what proves that a partition is ours: Kafka refuses that of a member which was left
    behind. Attempts are counted by committing them, so nothing is begun that others may have. The
    lock orders commits, so that a later one never says less than one before it.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._consumer: AIOKafkaConsumer | None = None
        self._listened: dict[str, str] = {}
        self._partitions: dict[TopicPartition, Partition] = {}
        self._dirty: set[Partition] = set()
        self._changed = asyncio.Event()
        self._commits = asyncio.Lock()
        self._taking = True
        self._discovered = 0.0
        self._over: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # An event that dies before its last attempt but one may be counted before it is there.
        many, attempts = self._settings.prefetch, self._settings.max_attempts
        self._ahead = many if attempts > 2 else 0  # noqa: PLR2004
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

    # What partitions report.

    async def count(self, begun: Sequence[Ready]) -> list[Ready]:
        """Count their next attempt; those of them that are still ours."""
        mine: set[Partition] = set()
        along: list[tuple[Partition, InHand]] = []
        for partition, received in begun:
            if partition.alive and partition.progress is not None:
                partition.progress.begun(int(received.number), received.attempts + 1)
                if self._ahead and partition not in mine and not received.claimed:
                    along += self._counted_along(partition)
                mine.add(partition)
        accepted = await self._commit(mine)
        for partition, other in along:
            other.counted = other.counted or partition in accepted
        return [one for one in begun if one[0] in accepted]

    def _counted_along(self, partition: Partition) -> list[tuple[Partition, InHand]]:
        """Count what else is in hand, so that it begins without another commit."""
        assert partition.progress is not None  # noqa: S101  # as its caller has seen
        along = [
            one
            for one in partition.in_hand.values()
            if not (one.counted or one.claimed or one.attempts)
        ]
        for one in along:
            partition.progress.begun(int(one.number), 1)
        return [(partition, one) for one in along]

    async def uncount(self, given_back: Sequence[Ready]) -> None:
        """Give the attempt back that was counted; that is committed soon."""
        for partition, received in given_back:
            self._note(partition, received)

    def finished(self, partition: Partition, received: Received) -> None:
        """Commit it soon."""
        if partition.progress is not None:
            partition.progress.done(int(received.number))
            if partition not in self._dirty:
                self._dirty.add(partition)
                self._changed.set()

    async def settle(self) -> None:
        """Commit what is done."""
        await self._commit(set(self._dirty))

    def dropped(self, partition: Partition, received: Received) -> None:
        """Whoever has the partition goes on with it."""
        self._note(partition, received)

    def _note(self, partition: Partition, received: Received) -> None:
        if partition.progress is not None:
            partition.progress.begun(int(received.number), received.attempts)
            self._dirty.add(partition)
            self._changed.set()

    # Committing.

    async def _commit(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Say how far we are; those of the partitions that are still ours.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
        """
        async with self._commits:
            mine = {one for one in partitions if one.progress is not None and self._has(one)}
            if not mine or self._consumer is None:
                return set()
            self._dirty -= mine
            ahead = {one: 0 if one.released else self._ahead for one in mine}
            offsets = {one.part: _position(one, count) for one, count in ahead.items()}
            counted_to = {one: _next(one) + count for one, count in ahead.items()}
            said = time.monotonic()
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await self._consumer.commit(offsets)
            except (CommitFailedError, IllegalStateError):
                for one in mine:  # they were dealt out anew: others may have them
                    one.until = 0.0
                    one.cut_off()
                return set()
            except (KafkaError, OSError, TimeoutError) as error:
                self._dirty |= mine
                self._changed.set()
                raise self._link.unavailable("commit", error) from error
            for one in mine:
                one.until = max(one.until, said + self._settings.lease * _MARGIN)
                one.counted_to = counted_to[one]
            self._watch()
            return mine

    def _has(self, partition: Partition) -> bool:
        return self._partitions.get(partition.part) is partition

    def _watch(self) -> None:
        """Cut off what runs when no commit has proved for too long that it is ours."""
        if self._over is not None:
            self._over.cancel()
        if not self._partitions:
            return
        last = min(one.until for one in self._partitions.values())
        loop = asyncio.get_running_loop()
        self._over = loop.call_later(max(0.0, last - time.monotonic()), self._cut_off)

    def _cut_off(self) -> None:
        now = time.monotonic()
        for partition in self._partitions.values():
            if partition.until <= now and partition.running:
                logger.warning("handlers of %s are cut off: the lease is over", partition.part)
                partition.cut_off()

    async def _commit_soon(self) -> None:
        """Commit what is done, and what is ours at least `_BEATS` times in a lease."""
        attempt = 0
        while True:
            pause = self._settings.lease / _BEATS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.8 * pause, pause)):  # noqa: S311  # no secret
                    await self._changed.wait()
            self._changed.clear()
            try:
                wanted = self._dirty or {
                    one for one in self._partitions.values() if one.progress is not None
                }
                await self._commit(set(wanted))
                attempt = 0
            except Exception as error:  # noqa: BLE001  # whatever it is, the process lives on
                logger.warning("what is done is committed later: %s", describe(error))
                await asyncio.sleep(back_off(attempt))
                attempt += 1
                self._changed.set()
            await asyncio.sleep(_SOON)

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
                self._partitions[part] = Partition(part, channel, self, self.workers)

    async def _restore(self, consumer: AIOKafkaConsumer) -> None:
        """Learn what was committed of partitions that are new, and say that they are ours."""
        new = [one for one in self._partitions.values() if one.progress is None]
        if not new:
            return
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
        new = Partition(partition.part, partition.channel, self, self.workers)
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


def _position(partition: Partition, ahead: int) -> OffsetAndMetadata:
    progress = partition.progress
    assert progress is not None  # noqa: S101  # of what is committed
    return OffsetAndMetadata(progress.base, progress.text(ahead))


def _next(partition: Partition) -> int:
    return 0 if partition.progress is None else partition.progress.next
