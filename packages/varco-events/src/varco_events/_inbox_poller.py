"""Delivers again what was received but not handled."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from varco_events._event_serializer import JsonEventSerializer
from varco_events._lifecycle import Runner, is_own_cancellation
from varco_events._outbox import utcnow
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from varco_events._bus import AbstractEventBus
    from varco_events._event_serializer import EventSerializer
    from varco_events._inbox import InboxEntry, InboxRepository

logger = logging.getLogger("varco_events.inbox")

_BACKOFF = RetryPolicy(max_attempts=1, base_delay=1.0, max_delay=60.0)


class InboxPoller(Runner):
    """Delivers the unprocessed entries of an inbox to a bus and marks those that succeed.

    Args:
        inbox: Where the entries are.
        bus: Where the handlers are subscribed.
        serializer: Reads the payloads.
        poll_interval: Seconds between looks at an inbox that had nothing to do.
        batch_size: How many entries are read at a time.
        redeliver_after: Seconds after which an entry that a handler has begun with is taken for
            abandoned; keep it above what the slowest handler needs.
        clock: The current time, with a time zone.
    """

    def __init__(
        self,
        *,
        inbox: InboxRepository,
        bus: AbstractEventBus,
        serializer: EventSerializer | None = None,
        poll_interval: float = 1.0,
        batch_size: int = 100,
        redeliver_after: float = 60.0,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        super().__init__()
        if poll_interval <= 0 or batch_size < 1:
            raise ValueError(
                f"an InboxPoller needs poll_interval > 0 and batch_size >= 1, not "
                f"{poll_interval!r} and {batch_size!r}"
            )
        self._inbox = inbox
        self._bus = bus
        self._serializer = serializer or JsonEventSerializer()
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._redeliver_after = timedelta(seconds=redeliver_after)
        self._clock = clock
        # Failures in a row and when to try again; only the running poller touches it.
        self._failed: dict[UUID, tuple[int, datetime]] = {}

    async def run_once(self) -> int:
        """Deliver what is due among the oldest entries and return how many succeeded."""
        limit = self._batch_size + len(self._failed)
        entries = await self._inbox.get_unprocessed(limit=limit)
        known = {entry.entry_id for entry in entries}
        self._failed = {key: state for key, state in self._failed.items() if key in known}
        delivered = 0
        for entry in entries:
            if self._stopping:
                break
            if self._is_due(entry):
                delivered += await self._deliver(entry)
        return delivered

    def _is_due(self, entry: InboxEntry) -> bool:
        now = self._clock()
        if entry.handler_name and entry.received_at + self._redeliver_after > now:
            return False
        _, again_at = self._failed.get(entry.entry_id, (0, now))
        return again_at <= now

    async def _deliver(self, entry: InboxEntry) -> bool:
        try:
            event = self._serializer.deserialize(entry.payload)
            await self._bus.deliver(
                event, channel=entry.channel, handler=entry.handler_name or None
            )
            await self._inbox.mark_processed(entry.entry_id)
        except (Exception, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            failures, _ = self._failed.get(entry.entry_id, (0, None))
            delay = timedelta(seconds=_BACKOFF.compute_delay(failures))
            self._failed[entry.entry_id] = (failures + 1, self._clock() + delay)
            logger.exception("inbox entry %s was not handled", entry.entry_id)
            return False
        self._failed.pop(entry.entry_id, None)
        return True

    async def _rest(self) -> None:
        await anyio.sleep(self._poll_interval)
