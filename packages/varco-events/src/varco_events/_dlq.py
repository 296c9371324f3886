"""Where events go that could not be handled."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Self
from uuid import UUID, uuid4, uuid5

import anyio

from varco_events._diagnostics import clean, message_of
from varco_events._errors import EventsConfigError
from varco_events._outbox import utcnow
from varco_events._renaming import takes_former_names

if TYPE_CHECKING:
    from datetime import datetime

    from varco_events._bus import AbstractEventBus
    from varco_events._dead_letter_failures import DeadLetterFailureStore
    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event

RELAY_HANDLER = "OutboxRelay"
"""The handler name of an event that an outbox relay gave up on: it failed as a whole."""

_NAMESPACE = UUID("0b1c6c7e-7a52-5d0a-9f7d-6b6b8a3f2f10")


@dataclass(frozen=True, init=False, eq=False)
class DeadLetterEntry:
    """An event in its envelope, the handler that failed on it, and how.

    Give an `event`, which is put into an envelope, or an `envelope`, which is kept as it is. Two
    entries are equal when all but the event objects and `claim_id` are. Stores keep the columns of
    the envelope and these fields; the text of the error is cleaned here, so that every store can.

    Attributes:
        handler_name: The full name of the handler, RELAY_HANDLER for a relay.
        group: The group of processes that the handler is in; empty for a bus without groups.
        origin: Which part gave up, for people: a relay, a bus, a listener, a poller.
        claim_id: Tells one lease of it from another, see `AbstractDeadLetterQueue.nack`; None
            outside of leases, and from a queue that cannot.
    """

    entry_id: UUID
    envelope: EventEnvelope
    channel: str
    handler_name: str
    error_type: str
    error_message: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    group: str
    origin: str
    claim_id: UUID | None

    def __init__(
        self,
        entry_id: UUID | None = None,
        event: Event | None = None,
        channel: str | None = None,
        handler_name: str = "",
        error_type: str = "",
        error_message: str = "",
        attempts: int = 0,
        first_failed_at: datetime | None = None,
        last_failed_at: datetime | None = None,
        *,
        envelope: EventEnvelope | None = None,
        group: str = "",
        origin: str = "",
        claim_id: UUID | None = None,
    ) -> None:
        if envelope is None:
            if event is None:
                raise TypeError("a DeadLetterEntry needs an event or an envelope")
            from varco_events._envelope import EventEnvelope  # noqa: PLC0415  # when needed

            envelope = EventEnvelope.of(event, channel=channel or "default")
        now = utcnow()
        values: dict[str, object] = {
            "entry_id": uuid4() if entry_id is None else entry_id,
            "envelope": envelope,
            "channel": envelope.channel if channel is None else channel,
            "handler_name": handler_name,
            "error_type": clean(error_type, 255),
            "error_message": clean(error_message),
            "attempts": attempts,
            "first_failed_at": now if first_failed_at is None else first_failed_at,
            "last_failed_at": now if last_failed_at is None else last_failed_at,
            "group": group,
            "origin": origin,
            "claim_id": claim_id,
        }
        self.__dict__.update(values)

    @property
    def event(self) -> Event:
        """The event; a `RawEvent` when this process has no class for it or cannot read it."""
        envelope = self.envelope
        if envelope.event is not None:
            return envelope.event
        from varco_events._event_serializer import JsonEventSerializer  # noqa: PLC0415  # likewise

        try:
            return JsonEventSerializer().deserialize(envelope.payload)
        except Exception:  # noqa: BLE001  # whatever the bytes lead to
            return envelope.raw()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeadLetterEntry):
            return False
        no_claim = {"claim_id": None}
        return vars(self) | no_claim == vars(other) | no_claim

    def __hash__(self) -> int:
        return hash(self.entry_id)

    @classmethod
    def from_failure(
        cls,
        *,
        event: Event | None = None,
        channel: str | None = None,
        handler_name: str,
        last_exc: BaseException,
        attempts: int,
        first_failed_at: datetime | None = None,
        entry_id: UUID | None = None,
        envelope: EventEnvelope | None = None,
        group: str = "",
        origin: str = "",
        now: datetime | None = None,
    ) -> Self:
        """The entry of an event whose last attempt ended with `last_exc` just now.

        Unless an `entry_id` is given, it is that of the event on the channel, or of the dead letter
        that was driven again, with the handler in its group: whoever is killed between pushing the
        entry and acknowledging the event, or got the event twice, pushes it again, and queues keep
        it once.
        """
        from varco_events._envelope import EventEnvelope  # noqa: PLC0415  # when needed

        if envelope is None and event is not None:
            envelope = EventEnvelope.of(event, channel=channel or "default")
        if entry_id is None and envelope is not None:
            where = envelope.channel if channel is None else channel
            # As JSON, since a name may hold any separator.
            parts = [*_identity(envelope, handler_name), where, group, handler_name]
            entry_id = uuid5(_NAMESPACE, json.dumps(parts))
        return cls(
            entry_id=entry_id,
            envelope=envelope,
            channel=channel,
            handler_name=handler_name,
            error_type=type(last_exc).__qualname__,
            error_message=message_of(last_exc),
            attempts=attempts,
            first_failed_at=first_failed_at or now,
            last_failed_at=now,
            group=group,
            origin=origin,
        )

    def of_claim(self, claim_id: UUID) -> Self:
        """The same as one lease has it, for queues."""
        leased = copy(self)
        vars(leased)["claim_id"] = claim_id
        return leased

    def redriven(self) -> EventEnvelope:
        """The envelope that only the handler which failed will see, in its group."""
        return redriven(
            self.envelope,
            self.entry_id,
            channel=self.channel,
            handler=self.handler_name,
            group=self.group,
        )


def redriven(
    envelope: EventEnvelope, entry_id: UUID, *, channel: str, handler: str, group: str
) -> EventEnvelope:
    """The envelope of a dead letter that only the handler which failed will see, in its group."""
    from varco_events._envelope import REDRIVEN  # noqa: PLC0415  # likewise

    headers = {**envelope.headers, REDRIVEN: str(entry_id)}
    again = envelope.replace(channel=channel, headers=headers, event=None)
    if handler and handler != RELAY_HANDLER:
        again = again.addressed(handler, group)
    return again


def _identity(envelope: EventEnvelope, handler_name: str) -> tuple[str, str]:
    """What failed: the event, or the dead letter that was driven again to whoever failed."""
    from varco_events._envelope import REDRIVEN  # noqa: PLC0415  # likewise

    of_whole = envelope.handler is None and handler_name not in {"", RELAY_HANDLER}
    again = None if of_whole else envelope.headers.get(REDRIVEN)
    return envelope.event_type, again or str(envelope.event_id)


class AbstractDeadLetterQueue(ABC):
    """Keeps failed events, in order, until somebody acknowledges them.

    Entries that `pop_batch` returned are leased: nobody else gets them until they are acknowledged
    (gone), handed back with `nack` (at their old place), or the lease is over.
    `push`, `pop_batch`, `ack` and `count` are enough for a queue that is redriven.
    """

    @abstractmethod
    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`; an entry id that is there already is kept once.

        Raises:
            DeadLetterQueueFullError: a bounded queue has no room; nothing is dropped for it.
        """

    @abstractmethod
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, for `lease` seconds."""

    @abstractmethod
    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good; an unknown id is no error."""

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:  # noqa: B027  # its lease ends by itself
        """Make a leased entry visible again, at its old place; an unknown id is no error.

        Without an implementation it is visible again when its lease is over.

        Args:
            entry_id: Which.
            claim_id: That of the entry as `pop_batch` returned it: nothing happens when somebody
                else has leased it since. Without one, whoever has it loses it.
        """

    @abstractmethod
    async def count(self) -> int:
        """How many entries are kept, leased ones included."""

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them.

        Raises:
            EventsConfigError: this queue cannot.
        """
        raise EventsConfigError(
            f"{type(self).__name__} cannot show {limit} entries without leasing them; implement "
            f"peek(), or use pop_batch() and nack()"
        )

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailureStore:
        """The entries as operators see them: filtered, grouped, retried and discarded.

        Args:
            bus: Where retries go; without one there are none.

        Raises:
            EventsConfigError: this queue cannot.
        """
        raise EventsConfigError(
            f"{type(self).__name__} cannot show failures to {bus}; implement failures()"
        )

    @takes_former_names(visibility_timeout="lease")
    async def redrive(
        self,
        bus: AbstractEventBus,
        *,
        limit: int | None = None,
        lease: float = 60.0,
    ) -> int:
        """Deliver the entries again in order, each to the handler that failed.

        Goes over the entries that are visible when it begins, and ends at the first one that the
        bus does not take, so that none overtakes it.

        Args:
            bus: Where the handlers are subscribed, or a transport that brings events to them.
            limit: At most so many entries.
            lease: Seconds for which a batch is leased. Deliveries begin in its first
                half: keep it above twice what the slowest handler needs.

        Returns:
            How many were delivered.
        """
        left = await self.count() if limit is None else min(limit, await self.count())
        delivered = 0
        while left > 0:
            last_start = time.monotonic() + lease / 2
            batch = await self._leased(min(left, 100), lease)
            if not batch:
                break
            done = await self._redrive(bus, batch, last_start)
            left -= done
            delivered += done
        return delivered

    async def _leased(self, limit: int, seconds: float) -> list[DeadLetterEntry]:
        # A queue of varco-core 1.0.6 takes a limit alone, and others have a former name.
        takes = signature(self.pop_batch).parameters
        options: dict[str, float] = {}
        if "visibility_timeout" in takes:
            options["visibility_timeout"] = seconds
        elif "lease" in takes or any(one.kind is one.VAR_KEYWORD for one in takes.values()):
            options["lease"] = seconds
        return await self.pop_batch(limit=limit, **options)

    async def _redrive(
        self, bus: AbstractEventBus, batch: list[DeadLetterEntry], last_start: float
    ) -> int:
        delivered = 0
        try:
            for entry in batch:
                if delivered and time.monotonic() >= last_start:
                    break
                await bus.send([entry.redriven()], _raise)
                delivered += 1
                with anyio.CancelScope(shield=True):  # it is handled and must not come again
                    await self.ack(entry.entry_id)
        finally:
            with anyio.CancelScope(shield=True):
                for entry in batch[delivered:]:
                    if entry.claim_id is None:  # a queue that cannot tell need not take it
                        await self.nack(entry.entry_id)
                    else:
                        await self.nack(entry.entry_id, claim_id=entry.claim_id)
        return delivered


def _raise(_envelope: EventEnvelope, error: Exception | None) -> None:
    if error is not None:
        raise error
