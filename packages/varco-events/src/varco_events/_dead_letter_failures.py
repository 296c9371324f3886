"""Operating a dead letter queue: failures are leased, sent to who failed, and forgotten."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

import anyio

from varco_events._diagnostics import describe
from varco_events._dlq import DeadLetterEntry, redriven
from varco_events._errors import (
    BusUnavailableError,
    ChannelUnavailableError,
    EventsConfigError,
    HeldBackError,
)
from varco_events._failure_store import FailureStore, check_ids, outcomes_of
from varco_events._failures import ActionResult, Failure, FailureOutcome
from varco_events._lifecycle import is_own_cancellation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from varco_events._bus import AbstractEventBus
    from varco_events._envelope import EventEnvelope


class DeadLetterFailureStore(FailureStore):
    """The failures of a dead letter queue; an implementation supplies `hold` and `settle` besides.

    A retry leases an entry, sends it, and forgets it once the bus has taken it: a process that dies
    in between leaves it leased, and it can be retried when the lease is over.

    Args:
        bus: Where retries go; without one there are none.
        lease: Seconds for which a retry leases what it sends. Sending begins in the first half.
    """

    def __init__(self, bus: AbstractEventBus | None = None, *, lease: float = 60.0) -> None:
        if lease <= 0:
            raise ValueError(f"lease must be above zero, not {lease!r}")
        self._bus = bus
        self._lease = lease

    @abstractmethod
    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand, atomically.

        Returns:
            What was leased, in the order of the store, and the ids that somebody else has.
        """

    @abstractmethod
    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Send failures to the handlers that failed, in order."""
        ids = check_ids(entry_ids)
        if self._bus is None:
            raise EventsConfigError(
                f"{type(self).__name__} has no bus to send to; give one, as in "
                f"dead_letters.failures(bus)"
            )
        last_start = time.monotonic() + self._lease / 2
        held, in_hand = await self.hold(ids, self._lease)
        sending = _Sending(held, last_start)
        try:
            await self._bus.send(sending.envelopes(), sending.report)
        except (Exception, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            sending.fail(error)
        finally:
            with anyio.CancelScope(shield=True):  # what was sent must not come again
                done, back = sending.settled()
                await self.settle(done, back)
        if sending.outage is not None:
            raise sending.outage
        known = dict.fromkeys(in_hand, FailureOutcome.IN_HAND) | sending.outcomes
        return outcomes_of(ids, known, sending.errors)

    @staticmethod
    def failure_of(
        letter: DeadLetterEntry,
        *,
        failed_at: datetime | None = None,
        in_hand: bool = False,
        position: str = "",
    ) -> Failure:
        """A dead letter as a failure.

        Args:
            letter: The dead letter.
            failed_at: When the store took it; its `last_failed_at` unless given.
            in_hand: Whether it is leased.
            position: Its place.
        """
        return Failure(
            entry_id=letter.entry_id,
            envelope=letter.envelope,
            channel=letter.channel,
            handler=letter.handler_name,
            consumer_group=letter.group,
            error_type=letter.error_type,
            error_message=letter.error_message,
            attempts=letter.attempts,
            failed_at=letter.last_failed_at if failed_at is None else failed_at,
            first_failed_at=letter.first_failed_at,
            in_hand=in_hand,
            origin=letter.origin,
            position=position,
        )

    @staticmethod
    def letter_of(failure: Failure) -> DeadLetterEntry:
        """A failure as a dead letter."""
        return DeadLetterEntry(
            entry_id=failure.entry_id,
            envelope=failure.envelope,
            channel=failure.channel,
            handler_name=failure.handler,
            error_type=failure.error_type,
            error_message=failure.error_message,
            attempts=failure.attempts,
            first_failed_at=failure.first_failed_at or failure.failed_at,
            last_failed_at=failure.failed_at,
            group=failure.consumer_group,
            origin=failure.origin,
        )


class _Sending:
    """What became of the failures that one retry has leased."""

    def __init__(self, held: Sequence[Failure], last_start: float) -> None:
        self.held = held
        self.last_start = last_start
        self.outcomes = {one.entry_id: FailureOutcome.NOT_REACHED for one in held}
        self.errors: dict[UUID, str] = {}
        self.outage: BusUnavailableError | None = None
        # By the id() of the envelopes, which stay alive here.
        self.taken: dict[int, tuple[Failure, EventEnvelope]] = {}

    def envelopes(self) -> Iterator[EventEnvelope]:
        """What there is time to send."""
        for number, failure in enumerate(self.held):
            if self.outage or (number and time.monotonic() >= self.last_start):
                return
            envelope = redriven(
                failure.envelope,
                failure.entry_id,
                channel=failure.channel,
                handler=failure.handler,
                group=failure.consumer_group,
            )
            self.taken[id(envelope)] = failure, envelope
            yield envelope

    def report(self, envelope: EventEnvelope, error: Exception | None) -> None:
        """What a bus calls."""
        failure, _ = self.taken.pop(id(envelope))
        if error is None:
            self.outcomes[failure.entry_id] = FailureOutcome.DONE
        elif isinstance(error, HeldBackError):
            self.outcomes[failure.entry_id] = FailureOutcome.HELD_BACK
        elif isinstance(error, BusUnavailableError) and not isinstance(
            error, ChannelUnavailableError
        ):
            self.outage = error
        else:
            self._failed(failure, error)

    def fail(self, error: BaseException) -> None:
        """What was taken and not reported failed."""
        for failure, _ in self.taken.values():
            self._failed(failure, error)

    def _failed(self, failure: Failure, error: BaseException) -> None:
        self.outcomes[failure.entry_id] = FailureOutcome.FAILED
        self.errors[failure.entry_id] = describe(error)

    def settled(self) -> tuple[list[UUID], list[UUID]]:
        """What is done, and what is not."""
        done = [one for one, outcome in self.outcomes.items() if outcome is FailureOutcome.DONE]
        back = [one for one, outcome in self.outcomes.items() if outcome is not FailureOutcome.DONE]
        return done, back
