"""An outbox in memory, for tests and for events that need not outlive the process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID


class InMemoryOutboxRepository(OutboxRepository):
    """Keeps entries in a dict; no method awaits, so that every operation is atomic.

    Args:
        clock: The current time, with a time zone.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utcnow) -> None:
        self._clock = clock
        # By the number of the id: a UUID takes Python code to be hashed.
        self._kept: dict[int, OutboxEntry] = {}
        self._leased_until: dict[int, datetime] = {}
        self._parked: dict[int, OutboxEntry] = {}

    def now(self) -> datetime:
        """The time of the clock."""
        return self._clock()

    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry` and wake the relays."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store several entries and wake the relays."""
        for entry in entries:
            self._kept[entry.entry_id.int] = entry
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return list(islice(self._kept.values(), limit))

    async def delete(self, entry_id: UUID) -> None:
        """Forget an entry."""
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget several entries."""
        for entry_id in entry_ids:
            self._kept.pop(entry_id.int, None)
            self._leased_until.pop(entry_id.int, None)

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries, in order, and in order per key."""
        now = self._clock()
        claimable: list[OutboxEntry] = []
        blocked: set[str] = set()
        leases = self._leased_until
        plain = True
        for number, entry in self._kept.items():
            if len(claimable) == limit:
                break
            key = entry.key
            if key is not None and key in blocked:
                continue
            leased_until = leases.get(number)
            if leased_until is not None and leased_until <= now:
                plain = False
                claimable.append(replace(entry, leased_until=leased_until))
            elif leased_until is None and (entry.available_at is None or entry.available_at <= now):
                claimable.append(entry)
            elif key is not None:
                blocked.add(key)
        if not plain or len(claimable) == 1:
            claimable = self.batch_of(claimable)
            for entry in claimable:
                self._kept[entry.entry_id.int] = _stored(entry)
        until = now + timedelta(seconds=lease)
        leases.update((entry.entry_id.int, until) for entry in claimable)
        return claimable

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold entries for so many seconds from now."""
        until = self._clock() + timedelta(seconds=lease)
        for entry in entries:
            if entry.entry_id.int in self._kept:
                self._leased_until[entry.entry_id.int] = until

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases."""
        for entry in entries:
            number = entry.entry_id.int
            if number in self._kept:
                self._kept[number] = _stored(entry)
                self._leased_until.pop(number, None)

    async def park(self, entry: OutboxEntry) -> None:
        """Put an entry aside."""
        if self._kept.pop(entry.entry_id.int, None) is not None:
            self._leased_until.pop(entry.entry_id.int, None)
            self._parked[entry.entry_id.int] = entry

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The entries that were put aside."""
        return list(islice(self._parked.values(), limit))


def _stored(entry: OutboxEntry) -> OutboxEntry:
    """Without what says something about one claim."""
    return replace(entry, leased_until=None, is_counted=False, was_interrupted=False)
