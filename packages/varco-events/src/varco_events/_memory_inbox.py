"""An inbox in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from varco_events._inbox import InboxEntry, InboxRepository, is_free
from varco_events._memory_failures import InboxState, InMemoryInboxFailures
from varco_events._outbox import utcnow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from varco_events._failure_store import FailureStore


class InMemoryInboxRepository(InboxRepository):
    """Keeps entries in dicts; no method awaits, so that every operation is atomic.

    Args:
        clock: The current time, with a time zone.
        max_size: How many processed entries are remembered.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utcnow, max_size: int = 100_000) -> None:
        self._clock = clock
        self._max_size = max_size
        self._state = InboxState(clock)
        self._waiting = self._state.waiting
        self._processed: dict[UUID, InboxEntry] = {}

    def now(self) -> datetime:
        """The time of the clock."""
        return self._clock()

    async def save(self, entry: InboxEntry) -> None:
        """Store `entry` unless it is there."""
        if entry.entry_id not in self._processed:
            self._waiting.setdefault(entry.entry_id, entry)

    async def claim(self, *, limit: int = 100, lease: float = 60.0) -> list[InboxEntry]:
        """Take the oldest entries that nobody has in hand."""
        now = self._clock()
        until, claim_id = now + timedelta(seconds=lease), uuid4()
        free = (entry for entry in self._waiting.values() if is_free(entry, {}, now, lease))
        claimed = [
            replace(entry, leased_until=until, attempts=entry.attempts + 1, claim_id=claim_id)
            for entry in islice(free, limit)
        ]
        self._waiting.update((entry.entry_id, entry) for entry in claimed)
        return claimed

    async def release(self, entry: InboxEntry, *, delay: float = 0.0) -> None:
        """Keep what happened to a claimed entry."""
        known = self._waiting.get(entry.entry_id)
        if known is None or entry.claim_id not in {None, known.claim_id}:
            return
        due = self._clock() + timedelta(seconds=delay) if delay else None
        self._waiting[entry.entry_id] = replace(entry, leased_until=None, available_at=due)
        if entry.last_error is not None and entry.attempts >= known.attempts:
            self._state.failed(entry.entry_id)

    def failures(self) -> FailureStore:
        """The entries that failed and wait for another attempt, as operators see them."""
        return InMemoryInboxFailures(self._state, self._mark)

    async def mark_processed(self, entry_id: UUID) -> None:
        """Move the entry to those that were handled."""
        self._mark(entry_id)

    def _mark(self, entry_id: UUID) -> None:
        self._state.aside.pop(entry_id, None)
        entry = self._waiting.pop(entry_id, None)
        if entry is not None:
            self._processed[entry_id] = replace(entry, processed_at=self._clock(), payload=b"")
            if len(self._processed) > self._max_size:
                del self._processed[next(iter(self._processed))]

    async def discard(self, entry_id: UUID) -> None:
        """Remove the entry."""
        self._state.aside.pop(entry_id, None)
        self._waiting.pop(entry_id, None)
        self._processed.pop(entry_id, None)

    async def get_unprocessed(self, *, limit: int = 100) -> list[InboxEntry]:
        """The oldest entries that were not handled."""
        return list(islice(self._waiting.values(), limit))

    async def is_processed(self, entry_id: UUID) -> bool:
        """Whether the entry was handled."""
        return entry_id in self._processed
