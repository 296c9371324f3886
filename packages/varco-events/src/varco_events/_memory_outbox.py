"""An outbox in memory, for tests and for events that need not outlive the process."""

from __future__ import annotations

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
        self._entries: dict[UUID, OutboxEntry] = {}
        self._leases: dict[UUID, datetime] = {}
        self._parked: dict[UUID, OutboxEntry] = {}

    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry` and wake the relays."""
        self._entries[entry.entry_id] = entry
        self.notify()

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store several entries and wake the relays."""
        self._entries.update((entry.entry_id, entry) for entry in entries)
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return list(islice(self._entries.values(), limit))

    async def delete(self, entry_id: UUID) -> None:
        """Forget an entry."""
        self._entries.pop(entry_id, None)
        self._leases.pop(entry_id, None)

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget several entries."""
        for entry_id in entry_ids:
            self._entries.pop(entry_id, None)
            self._leases.pop(entry_id, None)

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries, in order, and in order per key."""
        now = self._clock()
        leases = self._leases
        claimed: list[OutboxEntry] = []
        blocked: set[str] = set()
        for entry_id, entry in self._entries.items():
            if len(claimed) == limit:
                break
            key = entry.key
            if key is not None and key in blocked:
                continue
            leased_until = leases.get(entry_id)
            if (leased_until is None or leased_until <= now) and (
                entry.available_at is None or entry.available_at <= now
            ):
                claimed.append(entry)
            elif key is not None:
                blocked.add(key)
        until = now + timedelta(seconds=lease)
        leases.update((entry.entry_id, until) for entry in claimed)
        return claimed

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases."""
        for entry in entries:
            if entry.entry_id in self._entries:
                self._entries[entry.entry_id] = entry
                self._leases.pop(entry.entry_id, None)

    async def park(self, entry: OutboxEntry) -> None:
        """Put an entry aside."""
        if self._entries.pop(entry.entry_id, None) is not None:
            self._leases.pop(entry.entry_id, None)
            self._parked[entry.entry_id] = entry

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The entries that were put aside."""
        return list(islice(self._parked.values(), limit))
