"""What happens around one `@listen` method: deduplication, inbox, retries, dead letters."""

from __future__ import annotations

import inspect
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import anyio

from varco_events import _observer
from varco_events._context import handling
from varco_events._diagnostics import describe
from varco_events._dispatch import is_rejection
from varco_events._dlq import DeadLetterEntry
from varco_events._envelope import GROUP, REDRIVEN, EventEnvelope
from varco_events._errors import DeadLetterFailedError
from varco_events._inbox import InboxEntry, InboxRepository
from varco_events._outbox import utcnow
from varco_events._subscription import handler_name
from varco_events._tracing import handling_of
from varco_resilience import RetryExhaustedError, retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from varco_events._deduplication import AbstractDeduplicator
    from varco_events._dlq import AbstractDeadLetterQueue
    from varco_events._event import Event
    from varco_events._subscription import Deliver
    from varco_resilience import RetryPolicy

logger = logging.getLogger("varco_events.consumer")


@dataclass(slots=True, eq=False)
class _InHand:
    """A deduplicated handling that has not ended, and the one that it is part of."""

    around: _InHand | None
    ended: anyio.Event = field(default_factory=anyio.Event)

    def is_part_of(self, other: _InHand) -> bool:
        part: _InHand | None = self
        while part is not None and part is not other:
            part = part.around
        return part is other


_innermost: ContextVar[_InHand | None] = ContextVar("varco_events_in_hand", default=None)

# How many seconds writing down an outcome may take, cancelled or not.
_PATIENCE = 30.0


@dataclass(slots=True)
class _Delivery:
    """One event on its way through one method."""

    event: Event
    entry: InboxEntry | None
    attempts: int = 0
    first_failed_at: datetime | None = None


class Handling:
    """Handles events with one method; used from one event loop.

    `handler` is what a bus subscribes: it returns when the event was handled, recognized as
    handled before, or dead-lettered, and raises when it must come again.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        *,
        owner: type,
        attribute: str,
        retry_policy: RetryPolicy | None,
        dlq: AbstractDeadLetterQueue | None,
        deduplicator: AbstractDeduplicator | None,
        inbox: InboxRepository | None,
    ) -> None:
        self._method = method
        self._dlq = dlq
        self._deduplicator = deduplicator
        self._inbox = inbox
        self._marks_dead_letters = (
            dlq is not None and inbox is not None and type(inbox).discard is InboxRepository.discard
        )
        attempt: Callable[[_Delivery], Awaitable[None]] = self._attempt
        self._attempts = attempt if retry_policy is None else retry(retry_policy)(attempt)
        self._running = 0
        self._idle: anyio.Event | None = None
        # Events that are being handled: the same one must wait to see whether it is a duplicate.
        self._in_hand: dict[UUID, _InHand] = {}
        self.handler = self._make_handler(owner, attribute)
        self.name = handler_name(self.handler)

    def _make_handler(self, owner: type, attribute: str) -> Deliver:
        async def handler(event: Event) -> None:
            self._running += 1
            try:
                with handling_of(event.event_id, event.correlation_id):
                    await self._handle(event)
            finally:
                self._running -= 1
                if self._idle is not None and not self._running:
                    self._idle.set()

        # The class of the consumer, not the one that defines the method: what two subclasses do
        # with an event are two things, which an inbox must tell apart.
        handler.__module__ = owner.__module__
        handler.__qualname__ = f"{owner.__qualname__}.{attribute}"
        return handler

    async def idle(self) -> None:
        """Return when no event is in hand."""
        while self._running:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
            self._idle = None

    async def _handle(self, event: Event) -> None:
        if self._deduplicator is None:
            await self._handle_once(event)
            return
        identity = self._identity(event)
        around = _innermost.get()
        while (in_hand := self._in_hand.get(identity)) is not None:
            if around is not None and around.is_part_of(in_hand):
                return  # the method itself published it again, and cannot wait for its own outcome
            await in_hand.ended.wait()
        # Background handlers may publish for ever: what has ended is forgotten on the way.
        while around is not None and around.ended.is_set():
            around = around.around
        while around is not None and around.around is not None and around.around.ended.is_set():
            around.around = around.around.around
        in_hand = self._in_hand[identity] = _InHand(around)
        token = _innermost.set(in_hand)
        try:
            if await self._deduplicator.is_duplicate(identity):
                return
            if await self._handle_once(event):
                # A cancellation must not make it come again.
                with anyio.move_on_after(_PATIENCE, shield=True):
                    await self._deduplicator.mark_seen(identity)
        finally:
            _innermost.reset(token)
            del self._in_hand[identity]
            in_hand.ended.set()

    async def _handle_once(self, event: Event) -> bool:
        """Whether the method handled it; a dead letter must not be taken for a duplicate later."""
        delivery = _Delivery(event, None if self._inbox is None else self._inbox_entry(event))
        try:
            await self._attempts(delivery)
        except Exception as error:
            if self._dlq is None or (is_rejection(error) and handling.get()[2] is not None):
                raise  # nothing was tried, and whoever sent the envelope sends it again
            await self._dead_letter(self._dlq, delivery, error)
            return False
        return True

    async def _attempt(self, delivery: _Delivery) -> None:
        delivery.attempts += 1
        try:
            if self._inbox is None or delivery.entry is None:
                await self._call(delivery.event)
            else:
                async with self._inbox.handling(delivery.entry) as is_new:
                    if is_new:
                        await self._call(delivery.event)
        except Exception:
            delivery.first_failed_at = delivery.first_failed_at or utcnow()
            raise

    async def _call(self, event: Event) -> None:
        result = self._method(event)
        if inspect.isawaitable(result):
            await result

    async def _dead_letter(
        self, dlq: AbstractDeadLetterQueue, delivery: _Delivery, error: Exception
    ) -> None:
        last = error.last_exc if isinstance(error, RetryExhaustedError) else error
        envelope = _envelope_of(delivery.event)
        entry = DeadLetterEntry.from_failure(
            envelope=envelope,
            channel=envelope.channel,
            handler_name=self.name,
            group=handling.get()[4] or "",
            last_exc=last,
            attempts=delivery.attempts,
            first_failed_at=delivery.first_failed_at or utcnow(),
        )
        try:
            # Cancelled in the middle, the event would be in the queue and come again.
            with anyio.fail_after(_PATIENCE, shield=True):
                await dlq.push(entry)
                if self._inbox is not None and delivery.entry is not None:
                    await self._inbox.discard(delivery.entry.entry_id)
        except Exception as failure:  # noqa: BLE001  # whatever a queue raises
            raise DeadLetterFailedError(delivery.event.event_id, self.name, failure) from error
        logger.error(
            "%s gave up %r after %d attempts: %s",
            self.name,
            envelope,
            delivery.attempts,
            describe(last),
        )
        _observer.tell_given_up(envelope, self.name, last, delivery.attempts)

    def _inbox_entry(self, event: Event) -> InboxEntry:
        entry = InboxEntry.of(_envelope_of(event))
        group = handling.get()[4]
        headers = {**entry.headers, GROUP: group} if group else entry.headers
        return replace(
            entry, entry_id=self._identity(event), handler_name=self.name, headers=headers
        )

    def _identity(self, event: Event) -> UUID:
        """What must be handled once in a group: the event.

        Where the inbox would take a dead letter for something handled, its redrive is another.
        """
        _, _, envelope, _, group, _ = handling.get()
        of = event.event_id
        if (
            self._marks_dead_letters
            and envelope is not None
            and envelope.handler == self.name
            and REDRIVEN in envelope.headers
        ):
            of = UUID(envelope.headers[REDRIVEN])
        return uuid5(of, f"{group} {self.name}" if group else self.name)


def _envelope_of(event: Event) -> EventEnvelope:
    """What the event came in, or the one that it would have been sent in."""
    _, channel, envelope, *_ = handling.get()
    if envelope is not None and envelope.event_id == event.event_id:
        return envelope
    return EventEnvelope.of(event, channel=channel)
