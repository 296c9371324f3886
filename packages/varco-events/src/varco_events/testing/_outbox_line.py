"""Random use of one outbox: its claims keep the order of each key, and everything has its turn."""

# ruff: noqa: S101, S311  # these are tests: they assert, and what they draw is no secret

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from varco_events._outbox import OutboxEntry, OutboxRepository

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

_WORKS = ("save", "claim", "claim", "delete", "release", "postpone", "park")


class Line:
    """What is done to an outbox, and what has to be true of every claim."""

    def __init__(self, outbox: OutboxRepository, seed: int, now: Callable[[], datetime]) -> None:
        self.outbox = outbox
        self.random = random.Random(seed)
        self.now = now
        self.kept: dict[UUID, OutboxEntry] = {}
        self.in_hand: list[OutboxEntry] = []
        self.postponed: set[UUID] = set()

    async def play(self, steps: int) -> None:
        """So many steps, and what waits then has its turn."""
        for name in self.random.choices(_WORKS, k=steps):
            work: Any = getattr(self, name)
            await work()
        await self.drain()

    async def save(self) -> None:
        """Some more come."""
        keys = self.random.choices([None, "a", "b", "c"], k=self.random.randint(1, 6))
        entries = [OutboxEntry(event_type="t", key=key) for key in keys]
        await self.outbox.save_many(entries)
        self.kept |= {entry.entry_id: entry for entry in entries}

    async def claim(self, limit: int | None = None) -> list[OutboxEntry]:
        """Some are taken in hand."""
        claimed = await self.outbox.claim(limit=limit or self.random.randint(1, 6), lease=600)
        ids = [entry.entry_id for entry in claimed]
        assert ids == [one for one in self.kept if one in set(ids)]
        for entry in claimed:
            assert entry.entry_id not in self.postponed
            assert entry.entry_id not in {one.entry_id for one in self.in_hand}
            line = [one for one, other in self.kept.items() if other.key == entry.key]
            earlier = line[: line.index(entry.entry_id)]
            assert entry.key is None or set(earlier) <= set(ids)
        self.in_hand += claimed
        return claimed

    def _some(self, most: int = 100) -> list[OutboxEntry]:
        self.random.shuffle(self.in_hand)
        cut = self.random.randint(0, min(most, len(self.in_hand)))
        some, self.in_hand = self.in_hand[:cut], self.in_hand[cut:]
        return some

    async def delete(self) -> None:
        """Some are delivered."""
        some = [entry.entry_id for entry in self._some()]
        await self.outbox.delete_many(some)
        for entry_id in some:
            del self.kept[entry_id]

    async def release(self) -> None:
        """Some are given back."""
        await self.outbox.release(self._some())

    async def postpone(self) -> None:
        """Some failed, and are not due for long."""
        later = self.now() + timedelta(days=1)
        some = [replace(entry, available_at=later) for entry in self._some(2)]
        await self.outbox.release(some)
        self.postponed |= {entry.entry_id for entry in some}

    async def park(self) -> None:
        """Some failed for good."""
        for entry in self._some(2):
            await self.outbox.park(entry)
            del self.kept[entry.entry_id]

    async def drain(self) -> None:
        """When what holds others is gone, everything has its turn."""
        await self.outbox.delete_many([*self.postponed])
        await self.outbox.release(self.in_hand)
        self.kept = {one: entry for one, entry in self.kept.items() if one not in self.postponed}
        self.in_hand, self.postponed = [], set()
        while claimed := await self.claim(limit=50):
            await self.outbox.delete_many([entry.entry_id for entry in claimed])
            self.in_hand = []
            for entry in claimed:
                del self.kept[entry.entry_id]
        assert not self.kept
