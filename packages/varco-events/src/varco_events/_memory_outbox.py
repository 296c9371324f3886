"""An outbox in memory, for tests and for events that need not outlive the process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from varco_events._memory_failures import InMemoryOutboxFailures, OutboxState
from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow
from varco_events._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from varco_events._failure_store import OutboxFailureStore


class InMemoryOutboxRepository(OutboxRepository):
    """Keeps entries in a dict; no method awaits, so that every operation is atomic.

    A claim takes as long as what it returns, whatever is parked, postponed or held back.

    Args:
        clock: The current time, with a time zone.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utcnow) -> None:
        self._clock = clock
        self._turns = Turns()
        self._state = OutboxState(clock, self.notify, self._turns)

    def now(self) -> datetime:
        """The time of the clock."""
        return self._clock()

    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry` and wake the relays."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store several entries and wake the relays."""
        self._turns.add(entries)
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return list(islice(self._turns.kept.values(), limit))

    async def delete(self, entry_id: UUID) -> None:
        """Forget an entry."""
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget several entries."""
        pop = self._turns.pop
        for entry_id in entry_ids:
            pop(entry_id)
        if self._state.parked:
            for entry_id in entry_ids:
                self._state.parked.pop(entry_id.int, None)

    async def acknowledge(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget delivered entries, but none that another claim has by now."""
        is_of_claim = self._turns.is_of_claim
        await self.delete_many([entry.entry_id for entry in entries if is_of_claim(entry)])

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries, in order, and in order per key."""
        now, turns = self._clock(), self._turns
        kept, ran_out = turns.kept, turns.ran_out
        taken = turns.take(now, now + timedelta(seconds=lease), limit)
        if len(taken) != 1 and not ran_out:
            return [kept[place] for place in taken]
        # What is claimed for the first time is as it was saved; later claims tell themselves apart.
        claim_id = uuid4()
        claimed = self.batch_of(
            [
                replace(kept[place], leased_until=ran_out.get(place), claim_id=claim_id)
                for place in taken
            ]
        )
        for place, entry in zip(taken, claimed, strict=False):
            kept[place] = _stored(entry)
            ran_out.pop(place, None)
        for place in taken[len(claimed) :]:
            turns.give_back(place)
        return claimed

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold entries for so many seconds from now."""
        until = self._clock() + timedelta(seconds=lease)
        for entry in filter(self._turns.is_of_claim, entries):
            self._turns.hold(entry.entry_id, until)

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases."""
        claim_id = uuid4()  # of nobody: who gave it back has it no more
        for entry in filter(self._turns.is_of_claim, entries):
            self._turns.put(replace(_stored(entry), claim_id=claim_id))

    async def park(self, entry: OutboxEntry) -> None:
        """Put an entry aside."""
        place = self._turns.place_of(entry.entry_id)
        if place is not None and self._turns.is_of_claim(entry):
            self._turns.pop(entry.entry_id)
            self._state.park(entry, place)

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The entries that were put aside."""
        return [entry for _, entry in islice(self._state.parked.values(), limit)]

    def failures(self) -> OutboxFailureStore:
        """The parked entries and the held-back keys as operators see them."""
        return InMemoryOutboxFailures(self._state)


def _stored(entry: OutboxEntry) -> OutboxEntry:
    """Without what says something about one claim."""
    return replace(entry, leased_until=None, is_counted=False, was_interrupted=False)
