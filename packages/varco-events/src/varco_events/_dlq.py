"""Where events go that could not be handled."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from uuid import UUID, uuid4

import anyio

from varco_events._outbox import utcnow

if TYPE_CHECKING:
    from datetime import datetime

    from varco_events._bus import AbstractEventBus
    from varco_events._event import Event

# The dead letter that is being driven again.
redriven: ContextVar[UUID | None] = ContextVar("varco_events_redriven", default=None)

#: The handler name of an event that an outbox relay gave up on: it failed as a whole.
RELAY_HANDLER = "OutboxRelay"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterEntry:
    """An event, the handler that failed on it, and how."""

    event: Event
    channel: str = "default"
    handler_name: str = ""
    error_type: str = ""
    error_message: str = ""
    attempts: int = 0
    first_failed_at: datetime = field(default_factory=utcnow)
    last_failed_at: datetime = field(default_factory=utcnow)
    entry_id: UUID = field(default_factory=uuid4)

    @classmethod
    def from_failure(
        cls,
        *,
        event: Event,
        channel: str,
        handler_name: str,
        last_exc: BaseException,
        attempts: int,
        first_failed_at: datetime,
    ) -> Self:
        """The entry of an event whose last attempt ended with `last_exc` just now."""
        return cls(
            event=event,
            channel=channel,
            handler_name=handler_name,
            error_type=type(last_exc).__qualname__,
            error_message=str(last_exc),
            attempts=attempts,
            first_failed_at=first_failed_at,
        )


class AbstractDeadLetterQueue(ABC):
    """Keeps failed events, in order, until somebody acknowledges them.

    Entries that `pop_batch` returned are leased: nobody else gets them until they are acknowledged
    (gone), handed back with `nack` (at their old place), or the visibility timeout is over.
    """

    @abstractmethod
    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`; an entry id that is there already is kept once.

        Raises:
            DeadLetterQueueFullError: a bounded queue has no room; nothing is dropped for it.
        """

    @abstractmethod
    async def pop_batch(
        self, *, limit: int = 10, visibility_timeout: float = 30.0
    ) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, for `visibility_timeout` seconds."""

    @abstractmethod
    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good; an unknown id is no error."""

    @abstractmethod
    async def nack(self, entry_id: UUID) -> None:
        """Make a leased entry visible again, at its old place; an unknown id is no error."""

    @abstractmethod
    async def count(self) -> int:
        """How many entries are kept, leased ones included."""

    @abstractmethod
    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""

    async def redrive(
        self,
        bus: AbstractEventBus,
        *,
        limit: int | None = None,
        visibility_timeout: float = 60.0,
    ) -> int:
        """Deliver the entries again in order, each to the handler that failed.

        Goes over the entries that are visible when it begins, and ends at the first one that the
        bus does not take, so that none overtakes it.

        Args:
            bus: Where the handlers are subscribed, or a transport that brings events to them.
            limit: At most so many entries.
            visibility_timeout: Seconds for which a batch is leased. Deliveries begin in its first
                half: keep it above twice what the slowest handler needs.

        Returns:
            How many were delivered.
        """
        left = await self.count() if limit is None else min(limit, await self.count())
        delivered = 0
        while left > 0:
            last_start = time.monotonic() + visibility_timeout / 2
            batch = await self.pop_batch(
                limit=min(left, 100), visibility_timeout=visibility_timeout
            )
            if not batch:
                break
            done = await self._redrive(bus, batch, last_start)
            left -= done
            delivered += done
        return delivered

    async def _redrive(
        self, bus: AbstractEventBus, batch: list[DeadLetterEntry], last_start: float
    ) -> int:
        delivered = 0
        try:
            for entry in batch:
                if delivered and time.monotonic() >= last_start:
                    break
                handler = None if entry.handler_name == RELAY_HANDLER else entry.handler_name
                token = redriven.set(entry.entry_id)
                try:
                    await bus.deliver(entry.event, channel=entry.channel, handler=handler or None)
                finally:
                    redriven.reset(token)
                delivered += 1
                with anyio.CancelScope(shield=True):  # it is handled and must not come again
                    await self.ack(entry.entry_id)
        finally:
            with anyio.CancelScope(shield=True):
                for entry in batch[delivered:]:
                    await self.nack(entry.entry_id)
        return delivered
