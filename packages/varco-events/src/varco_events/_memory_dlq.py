"""Dead letters in memory."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._errors import DeadLetterQueueFullError
from varco_events._renaming import takes_former_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from varco_events._bus import AbstractEventBus
    from varco_events._dead_letter_failures import DeadLetterFailureStore


class InMemoryDeadLetterQueue(AbstractDeadLetterQueue):
    """Keeps up to `max_size` entries; no method awaits, so that every operation is atomic.

    Args:
        max_size: A push beyond it is refused.
        clock: Seconds, monotonic; leases are measured with it.
    """

    def __init__(
        self, *, max_size: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be 1 or more, not {max_size!r}")
        self._max_size = max_size
        self._clock = clock
        self._entries: dict[UUID, DeadLetterEntry] = {}
        self._leased_until: dict[UUID, float] = {}
        self._claims: dict[UUID, UUID] = {}
        self._numbers: dict[UUID, int] = {}
        self._last = 0

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`, or refuse it with `DeadLetterQueueFullError`."""
        if entry.entry_id in self._entries:
            return
        if len(self._entries) >= self._max_size:
            raise DeadLetterQueueFullError(entry.entry_id, self._max_size)
        self._entries[entry.entry_id] = entry
        self._last += 1
        self._numbers[entry.entry_id] = self._last

    @takes_former_names(visibility_timeout="lease")
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest visible entries."""
        now = self._clock()
        leased = self._leased_until
        visible = (entry for key, entry in self._entries.items() if leased.get(key, now) <= now)
        batch = list(islice(visible, max(limit, 0)))
        leased.update((entry.entry_id, now + lease) for entry in batch)
        claim_id = uuid4()
        self._claims.update((entry.entry_id, claim_id) for entry in batch)
        return [entry.of_claim(claim_id) for entry in batch]

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry."""
        self._entries.pop(entry_id, None)
        self._numbers.pop(entry_id, None)
        self._leased_until.pop(entry_id, None)
        self._claims.pop(entry_id, None)

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:
        """Make an entry visible again, unless another has leased it."""
        if claim_id in {None, self._claims.get(entry_id)}:
            self._leased_until.pop(entry_id, None)

    async def count(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries."""
        return list(islice(self._entries.values(), max(limit, 0)))

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailureStore:
        """The entries as operators see them."""
        from varco_events._memory_failures import InMemoryDeadLetterFailures, Made  # noqa: PLC0415  # when needed

        made: Made[DeadLetterEntry] = vars(self).setdefault("_made", Made())
        return InMemoryDeadLetterFailures(
            self,
            self._entries,
            self._leased_until,
            self._numbers,
            self._clock,
            self._claims,
            made,
            bus,
        )
