"""Brings events from the outbox to the bus."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from varco_events._diagnostics import describe
from varco_events._dispatch import is_rejection
from varco_events._dlq import RELAY_HANDLER, AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._errors import BusUnavailableError, HandlersFailedError, HeldBackError
from varco_events._lifecycle import Runner, is_own_cancellation
from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from varco_events._bus import AbstractEventBus
    from varco_events._envelope import EventEnvelope
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

    entries: Sequence[OutboxEntry]
    # By the id() of their envelopes: those the bus has taken and not reported.
    taken: dict[int, tuple[EventEnvelope, OutboxEntry]] = field(
        default_factory=dict[int, "tuple[EventEnvelope, OutboxEntry]"]
    )
    delivered: list[OutboxEntry] = field(default_factory=list["OutboxEntry"])
    failed: list[tuple[OutboxEntry, BaseException]] = field(
        default_factory=list["tuple[OutboxEntry, BaseException]"]
    )

    def report(self, envelope: EventEnvelope, error: Exception | None) -> None:
        """What a bus calls."""
        _, entry = self.taken.pop(id(envelope))
        if error is None:
            self.delivered.append(entry)
        else:
            self.failed.append((entry, error))

    def fail(self, error: BaseException) -> None:
        """What was taken and not reported failed."""
        self.failed += [(entry, error) for _, entry in self.taken.values()]
        self.taken.clear()

    def untouched(self) -> list[OutboxEntry]:
        """What is neither delivered nor failed."""
        if len(self.delivered) == len(self.entries):
            return []
        # By id(), for the hash of an entry is that of all its fields.
        touched = {id(entry) for entry in self.delivered}
        touched.update(id(entry) for entry, _ in self.failed)
        return [entry for entry in self.entries if id(entry) not in touched]


class OutboxRelay(Runner):
    """Delivers what is in an outbox to a bus, at least once and in order per key.

    Any number of relays may share an outbox that implements `claim`. An entry that cannot be
    delivered holds back its key alone; after `retry_policy.max_attempts` it goes to the dead
    letter queue, or is parked in the outbox without one. Register consumers before the relay runs.

    Args:
        outbox: Where the entries are.
        bus: Where they go; what its `send` reports decides whether an entry may be forgotten.
        serializer: Reads payloads for a bus of this process that cannot. Without one the bytes
            go as they are, and the classes of the events need not be known here.
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
        self._serializer = serializer
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
        batch = _Batch(entries)
        try:
            await self._send_all(batch, deadline)
        finally:
            # What was delivered must be written down, also when the relay is cancelled; the lease
            # bounds how long that may take.
            rest = self._lease * (1 - _WORKING_SHARE)
            with anyio.move_on_after(rest, shield=True):
                await self._settle(batch)
        return len(entries)

    async def _send_all(self, batch: _Batch, deadline: float) -> None:
        last_start = time.monotonic() + self._lease * _STARTING_SHARE
        waiting = self._taken(batch, last_start)
        with anyio.CancelScope(deadline=deadline) as scope:
            while True:
                try:
                    await self._bus.send(waiting, batch.report)
                except (Exception, asyncio.CancelledError) as error:
                    if is_own_cancellation(error) or not batch.taken:
                        raise
                    batch.fail(error)
                    waiting = self._taken(batch, last_start)
                else:
                    return
        if scope.cancelled_caught:
            late = TimeoutError(f"the delivery was cut off: the batch's lease is {self._lease} s")
            # A transport that had many in hand was slow, which is no fault of theirs.
            batch.fail(late if len(batch.taken) == 1 else BusUnavailableError(str(late)))

    def _taken(self, batch: _Batch, last_start: float) -> Iterator[EventEnvelope]:
        """The envelopes of what is neither delivered nor failed, while time is left."""
        blocked = {entry.key for entry, _ in batch.failed}
        for entry in batch.untouched():
            # Handlers that never suspend cannot be cut off, so the time is looked at here too.
            if self._stopping or time.monotonic() >= last_start:
                return
            if entry.key is not None and entry.key in blocked:
                continue
            envelope = entry.envelope
            if self._serializer is not None:
                try:
                    event = self._serializer.deserialize(entry.payload)
                except Exception as error:  # noqa: BLE001  # whatever a serializer raises
                    batch.failed.append((entry, error))
                    if entry.key is not None:
                        blocked.add(entry.key)
                    continue
                envelope = envelope.replace(event=event)
            batch.taken[id(envelope)] = (envelope, entry)
            yield envelope

    async def _settle(self, batch: _Batch) -> None:
        if batch.delivered:
            await self._outbox.delete_many([entry.entry_id for entry in batch.delivered])
        released = batch.untouched()
        for entry, error in batch.failed:
            left = await self._failed(entry, error)
            if left is not None:
                released.append(left)
        if released:
            await self._outbox.release(released)

    async def _failed(self, entry: OutboxEntry, error: BaseException) -> OutboxEntry | None:
        """The entry as it waits for another attempt; None when it was given up."""
        if isinstance(error, HeldBackError):
            return entry
        if not isinstance(error, Exception) or is_rejection(error):
            # Nothing was tried, or what the handler awaited was cancelled: it is not counted.
            logger.warning("%s was not taken: %s", entry.entry_id, describe(error))
            return self._postponed(entry, error, self._poll_interval, entry.attempts)
        attempts = entry.attempts + 1
        counted = replace(entry, attempts=attempts, last_error=describe(error))
        hopeless = attempts >= self._policy.max_attempts or not self._is_retryable(error)
        if hopeless and await self._give_up(counted, error):
            return None
        logger.warning("delivery %d of %s failed: %s", attempts, entry.entry_id, describe(error))
        return self._postponed(entry, error, self._policy.compute_delay(attempts - 1), attempts)

    def _is_retryable(self, error: Exception) -> bool:
        """Whether another attempt may do what one of the handlers could not."""
        if isinstance(error, HandlersFailedError):
            return any(map(self._is_retryable, error.exceptions))
        return self._policy.is_retryable(error)

    def _postponed(
        self, entry: OutboxEntry, error: BaseException, delay: float, attempts: int
    ) -> OutboxEntry:
        return replace(
            entry,
            attempts=attempts,
            available_at=self._clock() + timedelta(seconds=delay),
            last_error=describe(error),
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
        return DeadLetterEntry.from_failure(
            entry_id=entry.entry_id,  # a repeated push after a crash is then seen as one
            envelope=entry.envelope,
            handler_name=RELAY_HANDLER,
            last_exc=error,
            attempts=entry.attempts,
            origin="relay",
            now=self._clock(),
        )

    async def _rest(self) -> None:
        await self._outbox.wait_for_work(self._poll_interval)
