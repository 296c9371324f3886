"""What a member of a group tells Kafka: what is begun, what is done, and that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from varco_events import back_off, describe
from varco_kafka._upstream import Taking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiokafka import AIOKafkaProducer

    from varco_events import InHand
    from varco_kafka._partition import Partition, Ready
    from varco_kafka._progress import Progress
    from varco_kafka._received import Received
    from varco_kafka._upstream import Source

logger = logging.getLogger("varco_kafka.bus")

_BEATS = 4  # signs of life in one lease
_MARGIN = 0.8  # the part of the lease for which a process trusts that it owns a partition
# An event that dies before its last attempt but one may be counted before it is there.
_ATTEMPTS_TO_COUNT_AHEAD = 3
_SOON = 0.02  # how long what is done waits for more to be committed with it


class Committing(Taking):
    """Commits for the partitions that it is assigned. One event loop owns it.

    A commit is what proves that a partition is ours: Kafka refuses that of a member which was left
    behind. Attempts are counted by committing them, so nothing is begun that others may have. The
    lock orders commits, so that a later one never says less than one before it.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: dict[TopicPartition, Partition] = {}
        self._dirty: set[Partition] = set()
        self._changed = asyncio.Event()
        self._commits = asyncio.Lock()
        self._over: asyncio.TimerHandle | None = None
        counts_ahead = self._settings.max_attempts >= _ATTEMPTS_TO_COUNT_AHEAD
        self._ahead = self._settings.prefetch if counts_ahead else 0

    async def count(self, begun: Sequence[Ready]) -> list[Ready]:
        """Count their next attempt; those of them that are still ours."""
        mine: set[Partition] = set()
        along: list[tuple[Partition, InHand]] = []
        for partition, received in begun:
            progress = partition.progress
            if partition.alive and progress is not None:
                progress.begun(int(received.number), received.attempts + 1)
                if self._ahead and partition not in mine and not received.claimed:
                    along += self._counted_along(partition, progress)
                mine.add(partition)
        accepted = await self._commit(mine)
        for partition, other in along:
            other.counted = other.counted or partition in accepted
        return [one for one in begun if one[0] in accepted]

    def _counted_along(
        self, partition: Partition, progress: Progress
    ) -> list[tuple[Partition, InHand]]:
        """Count what else is in hand, so that it begins without another commit."""
        along = [
            one
            for one in partition.in_hand.values()
            if not (one.counted or one.claimed or one.attempts)
        ]
        for one in along:
            progress.begun(int(one.number), 1)
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
            mine = {
                one: one.progress
                for one in partitions
                if one.progress is not None and self._has(one)
            }
            if not mine or self._consumer is None:
                return set()
            self._dirty -= mine.keys()
            ahead = {one: 0 if one.released else self._ahead for one in mine}
            offsets = {one.part: _said(progress, ahead[one]) for one, progress in mine.items()}
            counted_to = {one: progress.next + ahead[one] for one, progress in mine.items()}
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
                self._dirty |= mine.keys()
                self._changed.set()
                raise self._link.unavailable("commit", error) from error
            for one in mine:
                one.until = max(one.until, said + self._settings.lease * _MARGIN)
                one.counted_to = counted_to[one]
            self._watch()
            return set(mine)

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

    async def commit_in(
        self, producer: AIOKafkaProducer, partition: Partition, offset: int
    ) -> None:
        """Commit the transaction of `producer`, and with it that the event at `offset` is done.

        Raises:
            KafkaError: It was not committed, or nobody knows; TimeoutError and OSError likewise.
        """
        async with self._commits:
            if partition.progress is None or not self._has(partition):
                raise IllegalStateError(f"{partition.part} has gone")
            ahead = 0 if partition.released else self._ahead
            offsets = {partition.part: _said(partition.progress.after(offset), ahead)}
            async with asyncio.timeout(self._settings.timeout):
                await producer.send_offsets_to_transaction(offsets, self._settings.group)
                await producer.commit_transaction()


def _said(progress: Progress, ahead: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(progress.base, progress.text(ahead))
