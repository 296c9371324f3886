"""The dead letters in Kafka as operators see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from varco_events import (
    ActionResult,
    Aside,
    DeadLetterFailureStore,
    Failure,
    FailureOutcome,
    ScannedFailures,
    check_ids,
    outcomes_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from varco_events import AbstractEventBus
    from varco_kafka._dead_letters import KafkaDeadLetterQueue
    from varco_kafka._letter_log import Kept, LetterLog

# For what is discarded at once.
_MOMENT = 10.0


class LetterFailures(ScannedFailures, DeadLetterFailureStore):
    """Looks at all of a queue, which is in memory once it was read."""

    def __init__(
        self, queue: KafkaDeadLetterQueue, log: LetterLog, bus: AbstractEventBus | None
    ) -> None:
        DeadLetterFailureStore.__init__(self, bus)
        self._queue = queue
        self._log = log
        # By what this object has leased: nobody's lease but that one is ended.
        self._held: dict[UUID, UUID] = {}

    async def refresh(self) -> None:
        """Read what other processes wrote."""
        await self._queue.refresh()

    def scan(self) -> list[tuple[Aside, Failure]]:
        """All failures in order."""
        return [
            (Aside(one.order, one.order, one.at), self._failure(one))
            for one in self._log.kept.values()
        ]

    def now(self) -> datetime:
        """The time of this machine."""
        return datetime.now(UTC)

    def last(self) -> int:
        """The number of what was put aside last."""
        return self._log.last

    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand."""
        await self.refresh()
        there = [one for one in entry_ids if one in self._log.kept]
        free = [one for one in there if self._log.is_free(one)]
        claim_id = uuid4()
        held = await self._queue.lease(free, lease, claim_id) if free else []
        self._held.update(dict.fromkeys(held, claim_id))
        kept = [self._log.kept[one] for one in held if one in self._log.kept]
        failures = [self._failure(one) for one in sorted(kept, key=lambda one: one.order)]
        return failures, set(there) - set(held)

    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""
        claims = {one: self._held.pop(one, None) for one in (*done, *given_back)}
        if done:
            await self._log.remove(done)
        back = [(one, held.hex) for one in given_back if (held := claims[one])]
        if back:
            await self._log.give_back(back)

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove entries that nobody has in hand."""
        ids = check_ids(entry_ids)
        held, in_hand = await self.hold(ids, _MOMENT)
        done = [one.entry_id for one in held]
        await self.settle(done, ())
        known = dict.fromkeys(done, FailureOutcome.DONE)
        return outcomes_of(ids, known | dict.fromkeys(in_hand, FailureOutcome.IN_HAND))

    async def add(self, failure: Failure) -> None:
        """Push an entry."""
        await self._queue.push(self.letter_of(failure))

    def _failure(self, kept: Kept) -> Failure:
        return self.failure_of(
            kept.letter, failed_at=kept.at, in_hand=not self._log.is_free(kept.letter.entry_id)
        )
