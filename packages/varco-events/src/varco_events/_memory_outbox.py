"""An outbox in memory, for tests and for events that need not outlive the process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from varco_events._outbox import OutboxEntry, OutboxRepository, is_claimable, utcnow

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
        self._parked: dict[UUID, OutboxEntry] = {}

    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry` and wake the relays."""
        self._entries[entry.entry_id] = entry
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return [entry for entry, _ in zip(self._entries.values(), range(limit), strict=False)]

    async def delete(self, entry_id: UUID) -> None:
        """Forget an entry."""
        self._entries.pop(entry_id, None)

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries, in order, and in order per key."""
        now = self._clock()
        until = now + timedelta(seconds=lease)
        claimed: list[OutboxEntry] = []
        blocked: set[str] = set()
        for entry in self._entries.values():
            if len(claimed) == limit:
                break
            if entry.key in blocked:
                continue
            if is_claimable(entry, now):
                claimed.append(replace(entry, leased_until=until))
            elif entry.key is not None:
                blocked.add(entry.key)
        self._entries.update((entry.entry_id, entry) for entry in claimed)
        return claimed

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases."""
        for entry in entries:
            if entry.entry_id in self._entries:
                self._entries[entry.entry_id] = replace(entry, leased_until=None)

    async def park(self, entry: OutboxEntry) -> None:
        """Put an entry aside."""
        if self._entries.pop(entry.entry_id, None) is not None:
            self._parked[entry.entry_id] = replace(entry, leased_until=None)

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The entries that were put aside."""
        return [entry for entry, _ in zip(self._parked.values(), range(limit), strict=False)]
