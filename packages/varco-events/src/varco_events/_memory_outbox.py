"""An outbox in memory, for tests and for events that need not outlive the process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID


@dataclass(slots=True)
class _Kept:
    entry: OutboxEntry
    leased_until: datetime | None = None


class InMemoryOutboxRepository(OutboxRepository):
    """Keeps entries in a dict; no method awaits, so that every operation is atomic.

    Args:
        clock: The current time, with a time zone.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utcnow) -> None:
        self._clock = clock
        # By the number of the id: a UUID takes Python code to be hashed.
        self._kept: dict[int, _Kept] = {}
        self._parked: dict[int, OutboxEntry] = {}

    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry` and wake the relays."""
        self._kept[entry.entry_id.int] = _Kept(entry)
        self.notify()

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store several entries and wake the relays."""
        self._kept.update((entry.entry_id.int, _Kept(entry)) for entry in entries)
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return [kept.entry for kept in islice(self._kept.values(), limit)]

    async def delete(self, entry_id: UUID) -> None:
        """Forget an entry."""
        self._kept.pop(entry_id.int, None)

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget several entries."""
        for entry_id in entry_ids:
            self._kept.pop(entry_id.int, None)

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries, in order, and in order per key."""
        now = self._clock()
        until = now + timedelta(seconds=lease)
        claimed: list[OutboxEntry] = []
        blocked: set[str] = set()
        for kept in self._kept.values():
            if len(claimed) == limit:
                break
            entry, leased_until = kept.entry, kept.leased_until
            key = entry.key
            if key is not None and key in blocked:
                continue
            if (leased_until is None or leased_until <= now) and (
                entry.available_at is None or entry.available_at <= now
            ):
                kept.leased_until = until
                claimed.append(entry)
            elif key is not None:
                blocked.add(key)
        return claimed

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases."""
        for entry in entries:
            kept = self._kept.get(entry.entry_id.int)
            if kept is not None:
                kept.entry, kept.leased_until = entry, None

    async def park(self, entry: OutboxEntry) -> None:
        """Put an entry aside."""
        if self._kept.pop(entry.entry_id.int, None) is not None:
            self._parked[entry.entry_id.int] = entry

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The entries that were put aside."""
        return list(islice(self._parked.values(), limit))
