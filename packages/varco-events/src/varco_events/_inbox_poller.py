"""Delivers again what was received but not handled."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from varco_events import _observer
from varco_events._diagnostics import describe
from varco_events._dispatch import is_rejection
from varco_events._dlq import RELAY_HANDLER, DeadLetterEntry
from varco_events._envelope import GROUP, HANDLER
from varco_events._errors import DeadlyEventError
from varco_events._lifecycle import Runner, is_own_cancellation
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from varco_events._bus import AbstractEventBus
    from varco_events._dlq import AbstractDeadLetterQueue
    from varco_events._envelope import EventEnvelope
    from varco_events._event_serializer import EventSerializer
    from varco_events._inbox import InboxEntry, InboxRepository

logger = logging.getLogger("varco_events.inbox")

_DEFAULT_POLICY = RetryPolicy(max_attempts=10, base_delay=1.0, max_delay=60.0)


class InboxPoller(Runner):
    """Delivers the unprocessed entries of an inbox to a bus and marks those that succeed.

    Pollers share an inbox: each claims what nobody has in hand.

    Args:
        inbox: Where the entries are.
        bus: Where the handlers are subscribed, or a transport that brings events to them: then it
            is they who mark their entries, with `@listen(inbox=...)`.
        serializer: Reads payloads for a bus that cannot.
        poll_interval: Seconds between looks at an inbox that had nothing to do.
        batch_size: How many entries are claimed at a time.
        redeliver_after: Seconds for which an entry is in the hand of the handler or the poller
            that began with it; keep it above what the slowest handler needs.
        dlq: Where entries go that cannot be read, or failed too often; without one they are tried
            for ever.
        retry_policy: `max_attempts` and the delay between them.
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
        dlq: AbstractDeadLetterQueue | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__()
        if poll_interval <= 0 or batch_size < 1:
            raise ValueError(
                f"an InboxPoller needs poll_interval > 0 and batch_size >= 1, not "
                f"{poll_interval!r} and {batch_size!r}"
            )
        self._inbox = inbox
        self._bus = bus
        self._serializer = serializer
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._redeliver_after = redeliver_after
        self._dlq = dlq
        self._policy = retry_policy or _DEFAULT_POLICY

    async def run_once(self) -> int:
        """Deliver what is due among the oldest entries and return how many succeeded."""
        delivered = 0
        waiting = await self._claimed()
        last_start = anyio.current_time() + self._redeliver_after / 2
        try:
            while waiting and not self._stopping and anyio.current_time() < last_start:
                delivered += await self._deliver(waiting.pop(0))
        finally:
            with anyio.CancelScope(shield=True):
                for entry in waiting:  # not begun
                    await self._inbox.release(replace(entry, attempts=entry.attempts - 1))
        return delivered

    async def _claimed(self) -> list[InboxEntry]:
        """What to deliver now; what may not be begun once more after this comes alone.

        Else what was claimed beside it would be held to be as deadly, if it is.
        """
        most = self._policy.max_attempts
        limit = self._batch_size if self._dlq is None or most > 1 else 1
        waiting = await self._inbox.claim(limit=limit, lease=self._redeliver_after)
        last = next((one for one in waiting if one.attempts >= most), None)
        if self._dlq is None or last is None:
            return waiting
        for entry in waiting:
            if entry is not last:
                await self._inbox.release(replace(entry, attempts=entry.attempts - 1))
        return [last]

    async def _deliver(self, entry: InboxEntry) -> bool:
        failure: list[BaseException | None] = []
        if self._dlq is not None and entry.attempts > self._policy.max_attempts:
            # Begun as often as it may be, and nobody lived to mark it or to say how it went.
            lost = DeadlyEventError(
                entry.envelope.event_type, entry.envelope.event_id, entry.attempts - 1
            )
            await self._failed(entry, lost)
            return False
        try:
            await self._bus.send([self._envelope(entry)], lambda _, error: failure.append(error))
            error = failure[0]
            if error is None:
                await self._sent(entry)
                return True
        except (Exception, asyncio.CancelledError) as problem:
            if is_own_cancellation(problem):
                raise
            error = problem
        await self._failed(entry, error)
        return False

    async def _sent(self, entry: InboxEntry) -> None:
        if entry.handler_name and self._bus.is_transport:
            # On its way. Marked now, its handler would take it for handled; that marks it.
            await self._inbox.release(entry, delay=self._redeliver_after)
        else:
            with anyio.CancelScope(shield=True):  # it is handled and must not come again
                await self._inbox.mark_processed(entry.entry_id)

    def _envelope(self, entry: InboxEntry) -> EventEnvelope:
        envelope = entry.envelope
        if entry.handler_name:
            headers = {**envelope.headers, HANDLER: entry.handler_name}
            envelope = envelope.replace(headers=headers)
        if self._serializer is not None:
            envelope = envelope.replace(event=self._serializer.deserialize(entry.payload))
        return envelope

    async def _failed(self, entry: InboxEntry, error: BaseException) -> None:
        attempts = entry.attempts
        if not isinstance(error, Exception) or is_rejection(error):
            attempts -= 1
            delay = self._poll_interval
        else:
            hopeless = attempts >= self._policy.max_attempts or not self._policy.is_retryable(error)
            if hopeless and self._dlq is not None and await self._give_up(self._dlq, entry, error):
                return
            delay = self._policy.compute_delay(attempts - 1)
        logger.warning("inbox entry %s was not handled: %s", entry.entry_id, describe(error))
        waits = replace(entry, attempts=attempts, last_error=describe(error))
        await self._inbox.release(waits, delay=delay)

    async def _give_up(
        self, dlq: AbstractDeadLetterQueue, entry: InboxEntry, error: Exception
    ) -> bool:
        headers = dict(entry.envelope.headers)
        group = headers.pop(GROUP, "")
        letter = DeadLetterEntry.from_failure(
            # A repeated push after a crash is then seen as one; that of a handler is its own.
            entry_id=None if entry.handler_name else entry.entry_id,
            envelope=entry.envelope.replace(headers=headers),
            handler_name=entry.handler_name or RELAY_HANDLER,
            group=group,
            last_exc=error,
            attempts=entry.attempts,
            origin="inbox",
        )
        try:
            with anyio.CancelScope(shield=True):  # cancelled in the middle, it would be in both
                await dlq.push(letter)
                await self._inbox.discard(entry.entry_id)
        except Exception:
            logger.exception("%s could be neither delivered nor put aside", entry.entry_id)
            return False
        logger.error("gave up inbox entry %s: %s", entry.entry_id, describe(error))
        _observer.tell_given_up(letter.envelope, letter.handler_name, error, entry.attempts)
        return True

    async def _rest(self) -> None:
        await anyio.sleep(self._poll_interval)
