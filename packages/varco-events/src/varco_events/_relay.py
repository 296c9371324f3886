"""Brings events from the outbox to the bus."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from varco_events._dlq import RELAY_HANDLER, AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._errors import BusUnavailableError, HandlersFailedError
from varco_events._event_serializer import JsonEventSerializer, raw_event
from varco_events._lifecycle import Runner, is_own_cancellation
from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow
from varco_resilience import CallRejectedError, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from varco_events._bus import AbstractEventBus
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer

logger = logging.getLogger("varco_events.relay")

# The part of a lease in which entries are delivered; the rest is for writing down what happened.
_WORKING_SHARE = 0.9
# The part in which deliveries begin, so that each one has the other half to end in.
_STARTING_SHARE = 0.45

_DEFAULT_POLICY = RetryPolicy(max_attempts=10, base_delay=1.0, max_delay=60.0)


@dataclass(slots=True)
class _Batch:
    """What became of the entries of one claim."""

    entries: list[OutboxEntry]
    current: OutboxEntry
    delivered: list[OutboxEntry] = field(default_factory=list["OutboxEntry"])
    failed: list[OutboxEntry] = field(default_factory=list["OutboxEntry"])
    blocked: set[str] = field(default_factory=set[str])
    # The id() of what failed or was given up, for the hash of an entry is that of all its fields.
    touched: set[int] = field(default_factory=set[int])

    def untouched(self) -> list[OutboxEntry]:
        """What is neither delivered nor failed nor given up."""
        if len(self.delivered) + len(self.touched) == len(self.entries):
            return []
        touched = self.touched.union(map(id, self.delivered))
        return [entry for entry in self.entries if id(entry) not in touched]


class OutboxRelay(Runner):
    """Delivers what is in an outbox to a bus, at least once and in order per key.

    Any number of relays may share an outbox that implements `claim`. An entry that cannot be
    delivered holds back its key alone; after `retry_policy.max_attempts` it goes to the dead
    letter queue, or is parked in the outbox without one. Register consumers before the relay runs.

    Args:
        outbox: Where the entries are.
        bus: Where they go; `deliver` decides whether an entry may be forgotten.
        serializer: Reads the payloads.
        poll_interval: Seconds between looks at an outbox that had nothing and did not notify.
        batch_size: How many entries are claimed at a time.
        dlq: Where entries go that failed too often.
        retry_policy: `max_attempts`, the delay between them and which errors deserve another.
        lease: Seconds for which a batch is claimed. Deliveries begin in its first half, and one
            that goes on to its end is cancelled and counts as failed: keep it above twice what the
            slowest handler needs.
        clock: The current time, with a time zone.
    """

    def __init__(
        self,
        *,
        outbox: OutboxRepository,
        bus: AbstractEventBus,
        serializer: EventSerializer | None = None,
        poll_interval: float = 1.0,
        batch_size: int = 100,
        dlq: AbstractDeadLetterQueue | None = None,
        retry_policy: RetryPolicy | None = None,
        lease: float = 30.0,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        super().__init__()
        if poll_interval <= 0 or batch_size < 1 or lease <= 0:
            raise ValueError(
                f"an OutboxRelay needs poll_interval > 0, batch_size >= 1 and lease > 0, not "
                f"{poll_interval!r}, {batch_size!r} and {lease!r}"
            )
        self._outbox = outbox
        self._bus = bus
        self._serializer = serializer or JsonEventSerializer()
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._dlq = dlq
        self._policy = retry_policy or _DEFAULT_POLICY
        self._lease = lease
        self._clock = clock

    async def run_once(self) -> int:
        """Claim one batch, deliver it, and return how many entries it had."""
        deadline = anyio.current_time() + self._lease * _WORKING_SHARE
        entries = await self._outbox.claim(limit=self._batch_size, lease=self._lease)
        if not entries:
            return 0
        batch = _Batch(entries, entries[0])
        try:
            await self._deliver_all(batch, deadline)
        finally:
            # What was delivered must be written down, also when the relay is cancelled; the lease
            # bounds how long that may take.
            rest = self._lease * (1 - _WORKING_SHARE)
            with anyio.move_on_after(rest, shield=True):
                await self._settle(batch)
        return len(entries)

    async def _deliver_all(self, batch: _Batch, deadline: float) -> None:
        waiting, deliver_many = iter(batch.entries), self._bus.deliver_many
        last_start = time.monotonic() + self._lease * _STARTING_SHARE
        with anyio.CancelScope(deadline=deadline) as scope:
            while True:
                try:
                    await deliver_many(self._read(waiting, batch, last_start))
                except (Exception, asyncio.CancelledError) as error:
                    if is_own_cancellation(error):
                        raise
                    if not await self._goes_on(batch, batch.current, error):
                        return
                else:
                    return
        if scope.cancelled_caught and batch.current in batch.untouched():
            late = TimeoutError(f"the delivery was cut off: the batch's lease is {self._lease} s")
            await self._fail(batch, batch.current, late)

    def _read(
        self, waiting: Iterator[OutboxEntry], batch: _Batch, last_start: float
    ) -> Iterator[tuple[Event, str]]:
        """The events of the entries whose turn it is; who asks for the next delivered the last."""
        read, clock = self._serializer.deserialize, time.monotonic
        delivered, blocked = batch.delivered, batch.blocked
        for entry in waiting:
            # Handlers that never suspend cannot be cut off, so the time is looked at here too.
            if self._stopping or clock() >= last_start:
                return
            if blocked and entry.key in blocked:
                continue
            batch.current = entry
            yield read(entry.payload), entry.channel
            delivered.append(entry)

    async def _goes_on(self, batch: _Batch, entry: OutboxEntry, error: BaseException) -> bool:
        """Note why an entry was not delivered; False when nothing else will be either."""
        if isinstance(error, BusUnavailableError):
            logger.warning("the bus is unavailable, %s waits: %s", entry.entry_id, error)
            for waiting in batch.untouched():
                self._postpone(batch, waiting, error, self._poll_interval)
            return False
        if isinstance(error, Exception) and not _is_rejected(error):
            await self._fail(batch, entry, error)
        else:  # nothing was tried, or what the handler awaited was cancelled: it is not counted
            self._postpone(batch, entry, error, self._poll_interval)
        return True

    async def _fail(self, batch: _Batch, entry: OutboxEntry, error: Exception) -> None:
        """Postpone an entry that failed, or give it up; one given up no longer holds its key."""
        attempts = entry.attempts + 1
        counted = replace(entry, attempts=attempts, last_error=f"{type(error).__name__}: {error}")
        hopeless = attempts >= self._policy.max_attempts or not self._is_retryable(error)
        if hopeless and await self._give_up(counted, error):
            batch.touched.add(id(entry))
            return
        delay = self._policy.compute_delay(attempts - 1)
        logger.warning("delivery %d of %s failed: %r", attempts, entry.entry_id, error)
        self._postpone(batch, entry, error, delay, attempts)

    def _is_retryable(self, error: Exception) -> bool:
        """Whether another attempt may do what one of the handlers could not."""
        if isinstance(error, HandlersFailedError):
            return any(map(self._is_retryable, error.exceptions))
        return self._policy.is_retryable(error)

    def _postpone(
        self,
        batch: _Batch,
        entry: OutboxEntry,
        error: BaseException,
        delay: float,
        attempts: int | None = None,
    ) -> None:
        batch.touched.add(id(entry))
        if entry.key is not None:
            batch.blocked.add(entry.key)
        batch.failed.append(
            replace(
                entry,
                attempts=entry.attempts if attempts is None else attempts,
                available_at=self._clock() + timedelta(seconds=delay),
                last_error=f"{type(error).__name__}: {error}",
            )
        )

    async def _give_up(self, entry: OutboxEntry, error: Exception) -> bool:
        """Hand the entry to the dead letter queue, or park it; False when that failed."""
        try:
            # Cancelled in the middle, the entry would be in both places.
            with anyio.fail_after(self._lease * (1 - _WORKING_SHARE), shield=True):
                if self._dlq is None:
                    await self._outbox.park(entry)
                else:
                    await self._dlq.push(self._dead_letter(entry, error))
                    await self._outbox.delete_many([entry.entry_id])
        except Exception:
            logger.exception("%s could be neither delivered nor put aside", entry.entry_id)
            return False
        logger.error(
            "gave up %s after %d attempts: %s", entry.entry_id, entry.attempts, entry.last_error
        )
        return True

    def _dead_letter(self, entry: OutboxEntry, error: Exception) -> DeadLetterEntry:
        try:
            event = self._serializer.deserialize(entry.payload)
        except Exception:  # noqa: BLE001  # whatever a serializer raises
            event = raw_event(entry.event_type, 1, {}, entry.payload)
        now = self._clock()
        return DeadLetterEntry(
            entry_id=entry.entry_id,  # a repeated push after a crash is then seen as one
            event=event,
            channel=entry.channel,
            handler_name=RELAY_HANDLER,
            error_type=type(error).__qualname__,
            error_message=str(error),
            attempts=entry.attempts,
            first_failed_at=now,
            last_failed_at=now,
        )

    async def _settle(self, batch: _Batch) -> None:
        if batch.delivered:
            await self._outbox.delete_many([entry.entry_id for entry in batch.delivered])
        released = [*batch.failed, *batch.untouched()]
        if released:
            await self._outbox.release(released)

    async def _rest(self) -> None:
        await self._outbox.wait_for_work(self._poll_interval)


def _is_rejected(error: Exception) -> bool:
    """Whether all that the handlers met was an open circuit, or a bus of theirs that is down."""
    if isinstance(error, HandlersFailedError):
        return all(map(_is_rejected, error.exceptions))
    return isinstance(error, CallRejectedError | BusUnavailableError)
