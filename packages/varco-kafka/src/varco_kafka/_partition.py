"""The events of one partition that this process has in hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from varco_events import Lanes
from varco_kafka._received import Received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import ConsumerRecord, TopicPartition

    from varco_events import Upstream, Workers
    from varco_kafka._progress import Progress

# How far the newest event in hand may be from the first unfinished one: what is between them is
# told in the text of a commit, which servers limit.
_MOST_AHEAD = 8192
# How many times as many as are prefetched may be in hand, when they wait behind their keys.
_MOST_WAITING = 4

type Ready = tuple[Partition, Received]


class Partition(Lanes):
    """One partition of a topic, from when it was assigned until it goes to another process.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self,
        part: TopicPartition,
        channel: str,
        upstream: Upstream[Partition, Received],
        workers: Workers,
    ) -> None:
        super().__init__(upstream, workers)
        self.part = part
        self.channel = channel
        self.progress: Progress | None = None
        """None until it is known what was committed."""
        self.until = 0.0
        """For how long this process may trust that it owns the partition."""
        self.released = False
        """Whether it was let go: nothing more is begun."""
        self.reached = 0
        """What is taken next is not before this, unless the partition was cut short."""
        self.not_before = 0.0
        """When it may be asked what was committed."""
        self.counted_to = 0
        """What comes below it is counted before it is there, and begins without a commit."""

    @property
    def alive(self) -> bool:
        """Whether its events may be begun, as far as this process knows."""
        return not self.released and time.monotonic() < self.until

    @property
    def may_begin(self) -> bool:
        """Whether what is counted already may begin: others may have it since."""
        return self.alive

    @property
    def trusted(self) -> bool:
        """Whether nobody else has it, though it may be about to go."""
        return time.monotonic() < self.until

    @property
    def space(self) -> int:
        """How many more events may be taken."""
        if self.progress is None or not self.alive:
            return 0
        most = _MOST_WAITING * self._workers.settings.prefetch
        ahead = self.progress.next - self.progress.base
        return min(super().space, most - len(self.in_hand), _MOST_AHEAD - ahead)

    def accept(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Begin with what was taken, unless it is in hand or done."""
        progress = self.progress
        assert progress is not None  # noqa: S101  # nothing is taken before
        stream = f"{self.part.topic} {self.part.partition}"
        self.reached = records[-1].offset + 1
        known, counted_to = progress.next, self.counted_to
        found: list[Received] = []
        for record in records:
            offset, attempts, counted = record.offset, 0, False
            if offset >= known:
                counted = offset < counted_to
                progress.begun(offset, int(counted))
            elif self.has(offset) or progress.is_done(offset):
                continue
            else:
                attempts = progress.attempts(offset)
            found.append(
                Received(
                    stream=stream,
                    number=offset,
                    channel=self.channel,
                    key=record.key or b"",
                    record=record,
                    attempts=attempts,
                    counted=counted,
                    claimed=attempts > 0 and offset < progress.restored_to,
                )
            )
        self.admit_all(found)

    async def prepare(self) -> None:
        """Done before it is asked what was committed."""

    async def close(self) -> None:
        """Done when it has gone."""

    def give_back(self) -> None:
        """What is in hand and was not finished has as many attempts as came to an end."""
        if self.progress is not None:
            for received in self.in_hand.values():
                self.progress.begun(int(received.number), received.attempts)
