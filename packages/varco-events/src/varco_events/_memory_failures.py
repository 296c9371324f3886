"""The failures of what is kept in memory: all are looked at, and nothing awaits in between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from varco_events._dead_letter_failures import DeadLetterFailureStore
from varco_events._entry_failures import error_of_parts, inbox_failure, relay_failure
from varco_events._failure_store import OutboxFailureStore, check_ids, outcomes_of
from varco_events._failures import (
    ActionResult,
    Failure,
    FailureOutcome,
    HeldKey,
)
from varco_events._outbox import OutboxEntry, utcnow
from varco_events._scanned_failures import Aside, ScannedFailures

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from varco_events._bus import AbstractEventBus
    from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
    from varco_events._inbox import InboxEntry
    from varco_events._turns import Turns


class Made[Source]:
    """The failures that were made of what is kept: to make them all takes longer than to count.

    One that was made stays for as long as it is of the same object.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Source, bool, tuple[Aside, Failure]]] = {}

    def of(
        self,
        kept: Iterable[tuple[int, Source, bool]],
        make: Callable[[Source, bool], tuple[Aside, Failure]],
    ) -> list[tuple[Aside, Failure]]:
        """Those of what is kept now: the number of its id, itself, and whether it is in hand."""
        before, known = self._known.get, dict[int, tuple[Source, bool, tuple[Aside, Failure]]]()
        for number, source, in_hand in kept:
            made = before(number)
            if made is None or made[0] is not source or made[1] is not in_hand:
                made = source, in_hand, make(source, in_hand)
            known[number] = made
        self._known = known
        return [made for _, _, made in known.values()]


@dataclass(slots=True)
class OutboxState:
    """What an outbox in memory keeps; what is parked by the number of its id."""

    clock: Callable[[], datetime]
    notify: Callable[[], None]
    turns: Turns
    parked: dict[int, tuple[Aside, OutboxEntry]] = field(
        default_factory=dict[int, "tuple[Aside, OutboxEntry]"]
    )
    last: int = 0
    made: Made[tuple[Aside, OutboxEntry]] = field(default_factory=Made["tuple[Aside, OutboxEntry]"])

    def park(self, entry: OutboxEntry, place: int) -> None:
        """Put an entry aside."""
        self.last += 1
        self.parked[entry.entry_id.int] = Aside(place, self.last, self.clock()), entry

    def unpark(self, numbers: Iterable[int]) -> None:
        """Put entries back to where they were."""
        parked = [self.parked.pop(number) for number in numbers]
        self.turns.put_back(
            (
                aside.order,
                replace(
                    entry,
                    attempts=0,
                    available_at=None,
                    leased_until=None,
                    is_counted=False,
                    was_interrupted=False,
                ),
            )
            for aside, entry in parked
        )
        self.notify()


class InMemoryOutboxFailures(ScannedFailures, OutboxFailureStore):
    """The parked entries of an outbox in memory."""

    def __init__(self, state: OutboxState) -> None:
        self._state = state

    def scan(self) -> list[tuple[Aside, Failure]]:
        parked = sorted(self._state.parked.items(), key=lambda one: one[1][0].order)
        return self._state.made.of(
            ((number, one, False) for number, one in parked),
            lambda one, _: (one[0], relay_failure(one[1], one[0].at)),
        )

    def now(self) -> datetime:
        return self._state.clock()

    def last(self) -> int:
        return self._state.last

    def waiting(self) -> Iterable[tuple[str, datetime]]:
        return ((entry.channel, entry.created_at) for entry in self._state.turns.kept.values())

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give parked entries back to the relays."""
        ids = check_ids(entry_ids)
        parked = [one for one in ids if one.int in self._state.parked]
        self._state.unpark([one.int for one in parked])
        return outcomes_of(ids, dict.fromkeys(parked, FailureOutcome.DONE))

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove parked entries."""
        ids = check_ids(entry_ids)
        parked = [one for one in ids if one.int in self._state.parked]
        for one in parked:
            del self._state.parked[one.int]
        return outcomes_of(ids, dict.fromkeys(parked, FailureOutcome.DONE))

    async def add(self, failure: Failure) -> None:
        """Park an entry."""
        self._state.park(
            replace(
                OutboxEntry.of(failure.envelope),
                entry_id=failure.entry_id,
                attempts=failure.attempts,
                last_error=error_of_parts(failure.error_type, failure.error_message),
            ),
            self._state.turns.next_place(),
        )

    async def held_keys(self, *, limit: int = 100) -> list[HeldKey]:
        """Keys whose first entry is not due yet."""
        now = self._state.clock()
        heads: dict[str, OutboxEntry] = {}
        counts: dict[str, int] = {}
        for entry in self._state.turns.kept.values():
            if entry.key is not None:
                heads.setdefault(entry.key, entry)
                counts[entry.key] = counts.get(entry.key, 0) + 1
        found = [
            HeldKey(
                key=key,
                channel=entry.channel,
                entry_id=entry.entry_id,
                event_type=entry.event_type,
                attempts=entry.attempts,
                error=entry.last_error or "",
                until=entry.available_at,
                waiting=counts[key],
            )
            for key, entry in heads.items()
            if entry.available_at is not None and entry.available_at > now
        ]
        return sorted(found, key=lambda one: (one.until, one.key))[:limit]

    async def release_keys(self, keys: Sequence[str]) -> int:
        """Make the next attempt of such keys due now."""
        asked = set(check_ids(keys))
        turns, now = self._state.turns, self._state.clock()
        due = [
            replace(entry, available_at=None)
            for place, entry in turns.kept.items()
            if entry.key in asked
            and entry.available_at is not None
            and entry.available_at > now
            and not turns.is_held(place)
        ]
        for entry in due:
            turns.put(entry)
        self._state.notify()
        return len({entry.key for entry in due})


class InMemoryDeadLetterFailures(ScannedFailures, DeadLetterFailureStore):
    """The entries of a dead letter queue in memory."""

    def __init__(
        self,
        queue: AbstractDeadLetterQueue,
        entries: dict[UUID, DeadLetterEntry],
        leased_until: dict[UUID, float],
        numbers: dict[UUID, int],
        clock: Callable[[], float],
        claims: dict[UUID, UUID],
        made: Made[DeadLetterEntry],
        bus: AbstractEventBus | None,
    ) -> None:
        super().__init__(bus)
        self._claims = claims
        self._made = made
        self._held: dict[UUID, UUID] = {}
        self._queue = queue
        self._entries = entries
        self._leased_until = leased_until
        self._numbers = numbers
        self._clock = clock

    def scan(self) -> list[tuple[Aside, Failure]]:
        leased, now = self._leased_until, self._clock()
        return self._made.of(
            (
                (one.int, letter, bool(leased) and leased.get(one, now) > now)
                for one, letter in self._entries.items()
            ),
            self._make,
        )

    def _make(self, letter: DeadLetterEntry, in_hand: bool) -> tuple[Aside, Failure]:
        number = self._numbers[letter.entry_id]
        failure = self.failure_of(letter, in_hand=in_hand)
        return Aside(number, number, failure.failed_at), failure

    def _is_in_hand(self, entry_id: UUID) -> bool:
        now = self._clock()
        return self._leased_until.get(entry_id, now) > now

    def now(self) -> datetime:
        return utcnow()

    def last(self) -> int:
        return max(self._numbers.values(), default=0)

    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand."""
        in_hand = [one for one in entry_ids if one in self._entries and self._is_in_hand(one)]
        free = {one for one in entry_ids if one in self._entries}.difference(in_hand)
        until = self._clock() + lease
        self._leased_until.update(dict.fromkeys(free, until))
        held = dict.fromkeys(free, uuid4())
        self._claims.update(held)
        self._held.update(held)
        return [failure for _, failure in self.scan() if failure.entry_id in free], in_hand

    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""
        for entry_id in done:
            await self._queue.ack(entry_id)
        for entry_id in given_back:
            await self._queue.nack(entry_id, claim_id=self._held.pop(entry_id, None))

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove entries that nobody has in hand."""
        ids = check_ids(entry_ids)
        known: dict[UUID, FailureOutcome] = {}
        for entry_id in ids:
            if entry_id in self._entries:
                if self._is_in_hand(entry_id):
                    known[entry_id] = FailureOutcome.IN_HAND
                else:
                    known[entry_id] = FailureOutcome.DONE
                    await self._queue.ack(entry_id)
        return outcomes_of(ids, known)

    async def add(self, failure: Failure) -> None:
        """Push an entry."""
        await self._queue.push(self.letter_of(failure))


@dataclass(slots=True)
class InboxState:
    """What an inbox in memory keeps of what was not handled."""

    clock: Callable[[], datetime]
    waiting: dict[UUID, InboxEntry] = field(default_factory=dict[UUID, "InboxEntry"])
    aside: dict[UUID, Aside] = field(default_factory=dict[UUID, Aside])
    last: int = 0
    made: Made[InboxEntry] = field(default_factory=Made["InboxEntry"])

    def failed(self, entry_id: UUID) -> None:
        """Note that an attempt failed; the place is that of the first time."""
        self.last += 1
        known = self.aside.get(entry_id)
        order = self.last if known is None else known.order
        self.aside[entry_id] = Aside(order, self.last, self.clock())


class InMemoryInboxFailures(ScannedFailures):
    """The entries of an inbox in memory that failed and wait for another attempt."""

    def __init__(self, state: InboxState, done: Callable[[UUID], None]) -> None:
        self._state = state
        self._done = done

    def scan(self) -> list[tuple[Aside, Failure]]:
        state = self._state
        waiting, aside, now = state.waiting, state.aside, state.clock()

        def make(entry: InboxEntry, in_hand: bool) -> tuple[Aside, Failure]:
            where = aside[entry.entry_id]
            return where, inbox_failure(entry, where.at, in_hand=in_hand)

        failed = map(waiting.__getitem__, aside)
        found = state.made.of(
            (
                (one.entry_id.int, one, one.leased_until is not None and one.leased_until > now)
                for one in failed
            ),
            make,
        )
        return sorted(found, key=lambda one: one[0].order)

    def _is_in_hand(self, entry: InboxEntry) -> bool:
        return entry.leased_until is not None and entry.leased_until > self._state.clock()

    def now(self) -> datetime:
        return self._state.clock()

    def last(self) -> int:
        return self._state.last

    def waiting(self) -> Iterable[tuple[str, datetime]]:
        return (
            (entry.channel, entry.received_at)
            for entry in self._state.waiting.values()
            if entry.entry_id not in self._state.aside
        )

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give entries back to the pollers, to be tried at once."""
        return self._act(entry_ids, self._due)

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Mark entries as handled, so that they are not handled when they come again."""
        return self._act(entry_ids, self._done)

    def _due(self, entry_id: UUID) -> None:
        self._state.aside.pop(entry_id, None)
        entry = self._state.waiting[entry_id]
        self._state.waiting[entry_id] = replace(
            entry,
            attempts=0,
            available_at=None,
            leased_until=None,
            last_error=None,
            claim_id=uuid4(),  # of nobody
        )

    def _act(self, entry_ids: Sequence[UUID], act: Callable[[UUID], None]) -> ActionResult:
        ids = check_ids(entry_ids)
        known: dict[UUID, FailureOutcome] = {}
        for entry_id in ids:
            if entry_id in self._state.aside:
                if self._is_in_hand(self._state.waiting[entry_id]):
                    known[entry_id] = FailureOutcome.IN_HAND
                else:
                    known[entry_id] = FailureOutcome.DONE
                    act(entry_id)
        return outcomes_of(ids, known)
