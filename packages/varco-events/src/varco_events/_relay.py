"""Brings events from the outbox to the bus."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from varco_events import _observer
from varco_events._context import handling
from varco_events._diagnostics import describe
from varco_events._dispatch import is_rejection
from varco_events._dlq import RELAY_HANDLER, AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._errors import (
    BusUnavailableError,
    ChannelUnavailableError,
    DeadlyEventError,
    HandlersFailedError,
    HeldBackError,
)
from varco_events._lifecycle import Runner, is_own_cancellation
from varco_events._outbox import OutboxEntry, OutboxRepository, utcnow
from varco_events._relay_status import RelayRecord
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anyio.abc import TaskGroup

    from varco_events._bus import AbstractEventBus
    from varco_events._envelope import EventEnvelope
    from varco_events._event_serializer import EventSerializer
    from varco_events._relay_status import RelayStatus

logger = logging.getLogger("varco_events.relay")

# The part of a lease in which entries are delivered; the rest is for writing down what happened.
_WORKING_SHARE = 0.9
# The part in which deliveries begin, so that each one has the other half to end in.
_STARTING_SHARE = 0.45

# Seconds after which what goes to a channel that takes nothing is tried again at the latest.
_LONGEST_REST = 60.0

_DEFAULT_POLICY = RetryPolicy(max_attempts=10, base_delay=1.0, max_delay=60.0)


@dataclass(slots=True)
class _Batch:
    """What became of the entries of one claim."""

    entries: Sequence[OutboxEntry]
    begun: float
    # By the id() of their envelopes: those the bus has taken and not reported.
    taken: dict[int, OutboxEntry] = field(default_factory=dict[int, "OutboxEntry"])
    delivered: list[OutboxEntry] = field(default_factory=list["OutboxEntry"])
    failed: list[tuple[OutboxEntry, BaseException]] = field(
        default_factory=list["tuple[OutboxEntry, BaseException]"]
    )

    def report(self, envelope: EventEnvelope, error: Exception | None) -> None:
        """What a bus calls."""
        if error is None:
            self.delivered.append(self.taken.pop(id(envelope)))
        else:
            self.failed.append((self.taken.pop(id(envelope)), error))

    def fail(self, error: BaseException) -> None:
        """What was taken and not reported failed."""
        self.failed += [(entry, error) for entry in self.taken.values()]
        self.taken.clear()

    def unfinished(self) -> list[OutboxEntry]:
        """What has to be held: all but what was delivered."""
        delivered = set(map(id, self.delivered))
        return [entry for entry in self.entries if id(entry) not in delivered]

    def untouched(self) -> list[OutboxEntry]:
        """What is neither delivered nor failed."""
        if len(self.delivered) == len(self.entries):
            return []
        # By id(), for two entries are compared by all that they have.
        touched = set(map(id, self.delivered)).union(id(entry) for entry, _ in self.failed)
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
            slowest handler needs. What cannot be cancelled, a thread, keeps its lease by renewal
            until it ends, unless the event loop is blocked or the store cannot be reached.
        clock: The current time, with a time zone, for dead letters. Leases and delays are judged by
            the time of the outbox.
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
        self._in_hand: _Batch | None = None
        # Since when a channel has taken nothing.
        self._closed: dict[str, datetime] = {}
        self._beside: TaskGroup | None = None
        self._renewing: anyio.CancelScope | None = None
        self._record = RelayRecord(clock)

    @property
    def status(self) -> RelayStatus:
        """What it did last, and how fast it is; costs nothing and asks nobody."""
        return self._record.status(is_running=self._ended is not None)

    async def run_once(self) -> int:
        """Claim one batch, deliver it, and return how many entries it had."""
        try:
            return await self._run_once()
        except Exception as error:
            self._record.erred(error)
            raise

    async def _run_once(self) -> int:
        begun = time.monotonic()
        entries = await self._outbox.claim(limit=self._batch_size, lease=self._lease)
        self._record.looked()
        if not entries:
            return 0
        batch = self._in_hand = _Batch(entries, begun)
        self._record.began(len(entries), self._lag(batch))
        self._hold()
        try:
            await self._send_all(batch)
        finally:
            self._in_hand = None
            # What was delivered must be written down, also when the relay is cancelled; the lease
            # bounds how long that may take.
            rest = self._lease * (1 - _WORKING_SHARE)
            with anyio.move_on_after(rest, shield=True):
                await self._settle(batch)
            tried = sum(not isinstance(error, HeldBackError) for _, error in batch.failed)
            self._record.ended(len(batch.delivered), tried)
        return len(entries)

    def _lag(self, batch: _Batch) -> float | None:
        """Seconds for which the first of a batch has been in the outbox."""
        first = batch.entries[0]
        now = self._now(batch, first)
        if (first.created_at.tzinfo is None) != (now.tzinfo is None):
            return None  # a store of somebody else's that keeps no time zone
        return max((now - first.created_at).total_seconds(), 0.0)

    async def _send_all(self, batch: _Batch) -> None:
        """Send what there is time for."""
        with anyio.move_on_after(self._lease * _WORKING_SHARE) as scope:
            if _observer.observers:
                with _observer.around_sending(batch.entries):
                    await self._send(batch)
            else:
                await self._send(batch)
        if scope.cancelled_caught:
            late = TimeoutError(f"the delivery was cut off: the batch's lease is {self._lease} s")
            # A transport that had many in hand was slow, which is no fault of theirs.
            batch.fail(late if len(batch.taken) == 1 else BusUnavailableError(str(late)))

    async def _send(self, batch: _Batch) -> None:
        while True:
            waiting = self._taken(batch)
            try:
                await self._bus.send(waiting, batch.report)
            except (Exception, asyncio.CancelledError) as error:
                if is_own_cancellation(error) or not batch.taken:
                    raise
                batch.fail(error)
            else:
                return

    async def _work(self) -> None:
        # Renewing goes on beside the work, so that a batch that is done at once costs nothing. It
        # is shielded, for a handler in a thread goes on although the relay is cancelled.
        async with anyio.create_task_group() as group:
            self._beside = group
            try:
                await super()._work()
            finally:
                self._beside = None
                if self._renewing is not None:
                    self._renewing.cancel()
                self._renewing = None

    def _hold(self) -> None:
        """Begin to renew, when there is something in hand for the first time."""
        if self._beside is not None and self._renewing is None:
            self._renewing = anyio.CancelScope(shield=True)
            self._beside.start_soon(self._renew, self._renewing)

    async def _renew(self, scope: anyio.CancelScope) -> None:
        """Hold what is in hand for as long as it takes."""
        with scope:
            while True:
                await anyio.sleep(self._lease / 3)
                entries = () if self._in_hand is None else self._in_hand.unfinished()
                if entries:
                    try:
                        await self._outbox.renew(entries, lease=self._lease)
                    except Exception:
                        logger.exception("the lease of %d entries was not renewed", len(entries))

    def _taken(self, batch: _Batch) -> Iterator[EventEnvelope]:
        """The envelopes of what is neither delivered nor failed, while time is left."""
        last_start = batch.begun + self._lease * _STARTING_SHARE
        clock, taken, serializer = time.monotonic, batch.taken, self._serializer
        most, around = self._policy.max_attempts, handling.get()
        blocked = {entry.key for entry, _ in batch.failed}
        for entry in batch.untouched():
            # Handlers that never suspend cannot be cut off, so the time is looked at here too.
            if self._stopping or clock() >= last_start:
                return
            if entry.key is not None and entry.key in blocked:
                continue
            if entry.was_interrupted and entry.attempts > most:
                batch.failed.append((entry, _deadly(entry)))
                continue
            envelope = entry.envelope
            if serializer is not None:
                handling.set(around)  # a bus may not have left what it set for the last event
                try:
                    event = serializer.deserialize(entry.payload)
                except Exception as error:  # noqa: BLE001  # whatever a serializer raises
                    batch.failed.append((entry, error))
                    if entry.key is not None:
                        blocked.add(entry.key)
                    continue
                envelope = envelope.replace(event=event)
            taken[id(envelope)] = entry
            yield envelope

    async def _settle(self, batch: _Batch) -> None:
        if batch.delivered:
            await self._outbox.acknowledge(batch.delivered)
            if self._closed:
                for entry in batch.delivered:
                    self._closed.pop(entry.channel, None)
        if _observer.observers:
            self._tell(batch)
        released = [_given_back(entry) for entry in batch.untouched()]
        for entry, error in batch.failed:
            left = await self._failed(batch, entry, error)
            if left is not None:
                released.append(left)
        if released:
            await self._outbox.release(released)

    def _tell(self, batch: _Batch) -> None:
        for observer in _observer.observers:
            for entry in batch.delivered:
                spent = self._now(batch, entry) - entry.created_at
                observer.sent(entry, max(spent.total_seconds(), 0.0))
            for entry, error in batch.failed:
                if not isinstance(error, HeldBackError):
                    observer.not_sent(entry, error)

    async def _failed(
        self, batch: _Batch, entry: OutboxEntry, error: BaseException
    ) -> OutboxEntry | None:
        """The entry as it waits for another attempt; None when it was given up."""
        if isinstance(error, HeldBackError):
            return _given_back(entry)
        self._record.erred(error)
        if not isinstance(error, Exception) or is_rejection(error):
            # Nothing was tried, or what the handler awaited was cancelled: it is not counted.
            logger.warning("%s was not taken: %s", entry.entry_id, describe(error))
            waits, delay = _given_back(entry), self._rest_after(batch, entry, error)
        else:
            attempts = entry.attempts + (not entry.is_counted)
            waits = replace(entry, attempts=attempts, last_error=describe(error))
            hopeless = attempts >= self._policy.max_attempts or not self._is_retryable(error)
            if hopeless and await self._give_up(waits, error):
                return None
            if isinstance(error, DeadlyEventError):
                return None  # never to be begun again: it stays leased, and is given up after that
            logger.warning(
                "delivery %d of %s failed: %s", attempts, entry.entry_id, describe(error)
            )
            delay = self._policy.compute_delay(attempts - 1)
        return replace(
            waits,
            available_at=self._now(batch, entry) + timedelta(seconds=delay) if delay else None,
            last_error=describe(error),
        )

    def _rest_after(self, batch: _Batch, entry: OutboxEntry, error: BaseException) -> float:
        """For how many seconds an entry rests that was not taken.

        Those of one channel as long again as it has taken nothing: were they many, and came again
        at once, they would have all the turns.
        """
        if not isinstance(error, ChannelUnavailableError):
            return self._poll_interval
        now = self._now(batch, entry)
        closed = (now - self._closed.setdefault(entry.channel, now)).total_seconds()
        return max(self._poll_interval, min(closed, _LONGEST_REST))

    def _now(self, batch: _Batch, entry: OutboxEntry) -> datetime:
        """The time of the store, which the end of the lease tells; the host's may be another."""
        if entry.leased_until is None:
            return self._outbox.now()
        spent = time.monotonic() - batch.begun - self._lease
        return entry.leased_until + timedelta(seconds=spent)

    def _is_retryable(self, error: Exception) -> bool:
        """Whether another attempt may do what one of the handlers could not."""
        if isinstance(error, HandlersFailedError):
            return any(map(self._is_retryable, error.exceptions))
        return self._policy.is_retryable(error)

    async def _give_up(self, entry: OutboxEntry, error: Exception) -> bool:
        """Hand the entry to the dead letter queue, or park it; False when that failed."""
        try:
            # Cancelled in the middle, the entry would be in both places.
            with anyio.fail_after(self._lease * (1 - _WORKING_SHARE), shield=True):
                if self._dlq is None:
                    await self._outbox.park(entry)
                else:
                    await self._dlq.push(self._dead_letter(entry, error))
                    await self._outbox.acknowledge([entry])
        except Exception:
            logger.exception("%s could be neither delivered nor put aside", entry.entry_id)
            return False
        logger.error(
            "gave up %s after %d attempts: %s", entry.entry_id, entry.attempts, entry.last_error
        )
        _observer.tell_given_up(entry.envelope, RELAY_HANDLER, error, entry.attempts)
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


def _given_back(entry: OutboxEntry) -> OutboxEntry:
    """The entry without the attempt that was counted for nothing."""
    if not entry.is_counted:
        return entry
    return replace(entry, attempts=entry.attempts - 1, is_counted=False)


def _deadly(entry: OutboxEntry) -> DeadlyEventError:
    envelope = entry.envelope
    return DeadlyEventError(envelope.event_type, envelope.event_id, entry.attempts - 1)
