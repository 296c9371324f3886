"""Recognizing what was handled before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


class AbstractDeduplicator(ABC):
    """Remembers the ids of what was handled.

    `@listen` asks with an id made of the event and the handler, so that several handlers may share
    a deduplicator.
    """

    @abstractmethod
    async def is_duplicate(self, event_id: UUID) -> bool:
        """Whether `event_id` was marked before."""

    @abstractmethod
    async def mark_seen(self, event_id: UUID) -> None:
        """Remember `event_id`."""


class InMemoryDeduplicator(AbstractDeduplicator):
    """Remembers the last `max_size` ids; no method awaits, so that every operation is atomic."""

    def __init__(self, *, max_size: int = 10_000) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be 1 or more, not {max_size!r}")
        self._max_size = max_size
        self._seen: dict[UUID, None] = {}

    async def is_duplicate(self, event_id: UUID) -> bool:
        """Whether `event_id` is among the last that were marked."""
        return event_id in self._seen

    async def mark_seen(self, event_id: UUID) -> None:
        """Remember `event_id` and forget the oldest one when there are too many."""
        self._seen.pop(event_id, None)
        self._seen[event_id] = None
        if len(self._seen) > self._max_size:
            del self._seen[next(iter(self._seen))]
