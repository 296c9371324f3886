"""What waits because it failed, as people who operate a system see it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from varco_events._envelope import EDITED, REDRIVEN
from varco_events._surroundings import CORRELATION_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from varco_events._envelope import EventEnvelope

_NO_ERRORS: Mapping[UUID, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One event that failed and waits for somebody to decide: a dead letter, a parked entry.

    Attributes:
        entry_id: Its identity within its store.
        envelope: The event, with the producer's bytes.
        channel: Where it goes when it is retried.
        handler: The full name of the handler that failed; `RELAY_HANDLER` for a relay.
        consumer_group: The group of processes that the handler is in; empty without groups.
        error_type: The class of the last error.
        error_message: Its message, cleaned.
        attempts: How many were counted.
        failed_at: When it was put aside, by the clock of the store where it has one. Filters,
            groups and charts go by it.
        first_failed_at: When the first attempt failed, by the clock of that host; None where
            nobody noted it.
        in_hand: Whether somebody had it leased when it was read.
        origin: Which part gave up, for people.
        position: Its place in its store, for cursors.
    """

    entry_id: UUID
    envelope: EventEnvelope
    channel: str
    handler: str
    consumer_group: str = ""
    error_type: str = ""
    error_message: str = field(default="", repr=False)
    attempts: int = 0
    failed_at: datetime
    first_failed_at: datetime | None = None
    in_hand: bool = False
    origin: str = ""
    position: str = field(default="", compare=False, repr=False)

    @property
    def correlation_id(self) -> str | None:
        """What the event is part of."""
        return self.envelope.headers.get(CORRELATION_ID)

    @property
    def trace_parent(self) -> str | None:
        """The W3C trace context that the event was made in."""
        return self.envelope.headers.get("traceparent")

    @property
    def retry_of(self) -> str | None:
        """The id of the dead letter that was retried and came back as this one."""
        return self.envelope.headers.get(REDRIVEN)

    @property
    def edit_of(self) -> str | None:
        """The id of the failure that this is an edited copy of."""
        return self.envelope.headers.get(EDITED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFilter:
    """Which failures; None stands for all.

    Attributes:
        channel: Where they go when they are retried.
        event_type: The type name of the event.
        error_type: The class of the error.
        handler: The full name of the handler.
        consumer_group: The group of the handler; empty for those without one.
        key: What the order of the event is kept for.
        since: Put aside at this moment or later.
        until: Put aside before this moment.
    """

    channel: str | None = None
    event_type: str | None = None
    error_type: str | None = None
    handler: str | None = None
    consumer_group: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            moment: datetime | None = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name} needs a time zone: {moment!r} has none")

    def matches(self, failure: Failure) -> bool:
        """Whether `failure` is one of them."""
        envelope = failure.envelope
        return (
            (self.error_type is None or self.error_type == failure.error_type)
            and (self.handler is None or self.handler == failure.handler)
            and (self.channel is None or self.channel == failure.channel)
            and (self.key is None or self.key == envelope.key)
            and (self.event_type is None or self.event_type == envelope.event_type)
            and (self.consumer_group is None or self.consumer_group == failure.consumer_group)
            and (self.since is None or self.since <= failure.failed_at)
            and (self.until is None or failure.failed_at < self.until)
        )

    def named(self) -> dict[str, str | datetime]:
        """What is not None, by name."""
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) is not None
        }


ALL_FAILURES: Final = FailureFilter()
"""Every failure of a store."""


@dataclass(frozen=True, slots=True)
class FailurePage:
    """Some of a list, and where it goes on.

    Attributes:
        items: The failures, in order.
        next: The cursor of the next page; None at the end.
    """

    items: tuple[Failure, ...]
    next: str | None


@dataclass(slots=True, kw_only=True)  # not frozen, which costs as much again: a chart has many
class FailureTally:
    """How many of one error in one handler, in one stretch of time: what a store counts.

    Attributes:
        error_type: The class of the error.
        handler: The full name of the handler.
        consumer_group: Its group.
        stretch: How many of the moments that divide time are not after these.
        count: How many.
        first_at: When the first was put aside.
        last_at: When the last was.
    """

    error_type: str
    handler: str
    consumer_group: str
    stretch: int
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """The failures of one error in one handler.

    Attributes:
        error_type: The class of the error.
        handler: The full name of the handler.
        consumer_group: Its group.
        count: How many.
        first_at: When the first was put aside.
        last_at: When the last was.
        counts: How many between each two of the moments that were asked for.
    """

    error_type: str
    handler: str
    consumer_group: str
    count: int
    first_at: datetime
    last_at: datetime
    counts: tuple[int, ...] = ()

    def within(self, wanted: FailureFilter = ALL_FAILURES) -> FailureFilter:
        """The filter of this group's members among those of `wanted`."""
        return replace(
            wanted,
            error_type=self.error_type,
            handler=self.handler,
            consumer_group=self.consumer_group,
        )


class FailureOutcome(StrEnum):
    """What an action did to one failure.

    DONE: it was sent again or given back to its relay or poller, or discarded.
    FAILED: it was sent again, and failed at once; it waits as before.
    IN_HAND: somebody else has it leased; nothing was done.
    HELD_BACK: an earlier one of its key failed in this action; nothing was done.
    NOT_REACHED: time was up before its turn; nothing was done.
    GONE: it is not there any more.
    """

    DONE = "done"
    FAILED = "failed"
    IN_HAND = "in_hand"
    HELD_BACK = "held_back"
    NOT_REACHED = "not_reached"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What one call of an action did.

    Attributes:
        outcomes: What came of each failure that the call looked at, in order.
        errors: Of those that FAILED, the error.
        seen: How many the action has looked at so far, calls before this one included.
        total: How many matched when the action began.
        continuation: What the next call takes to go on; None when the action has ended.
    """

    outcomes: Mapping[UUID, FailureOutcome]
    errors: Mapping[UUID, str] = _NO_ERRORS
    seen: int = 0
    total: int = 0
    continuation: str | None = None

    @property
    def done(self) -> int:
        """How many this call did."""
        return self.count(FailureOutcome.DONE)

    def count(self, outcome: FailureOutcome) -> int:
        """How many of this call had an outcome."""
        return Counter(self.outcomes.values())[outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFigures:
    """How much of one channel is in a store.

    Attributes:
        waiting: How many are on their way and did not fail for good.
        oldest_waiting_at: Since when the oldest of them is there.
        failed: How many failures.
        oldest_failed_at: When the oldest of them was put aside.
    """

    waiting: int = 0
    oldest_waiting_at: datetime | None = None
    failed: int = 0
    oldest_failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """How much is in a store.

    Attributes:
        at: The time of the store.
        channels: By channel; only those that have something.
    """

    at: datetime
    channels: Mapping[str, ChannelFigures]

    @classmethod
    def of(
        cls,
        at: datetime,
        waiting: Mapping[str, tuple[int, datetime]],
        failed: Mapping[str, tuple[int, datetime]],
    ) -> Self:
        """The figures of what waits and of what failed: by channel, how many and the first moment.

        Args:
            at: The time of the store.
            waiting: Of what is on its way.
            failed: Of failures.
        """
        none: tuple[int, datetime | None] = (0, None)
        channels: dict[str, ChannelFigures] = {}
        for name in sorted({*waiting, *failed}):
            number, since = waiting.get(name, none)
            failures, failing_since = failed.get(name, none)
            channels[name] = ChannelFigures(
                waiting=number,
                oldest_waiting_at=since,
                failed=failures,
                oldest_failed_at=failing_since,
            )
        return cls(at, channels)

    @property
    def waiting(self) -> int:
        """How many are on their way."""
        return sum(one.waiting for one in self.channels.values())

    @property
    def failed(self) -> int:
        """How many failures there are."""
        return sum(one.failed for one in self.channels.values())

    @property
    def waiting_age(self) -> float:
        """Seconds since the oldest that is on its way came; 0 without one."""
        return self._age([one.oldest_waiting_at for one in self.channels.values()])

    @property
    def failed_age(self) -> float:
        """Seconds since the oldest failure was put aside; 0 without one."""
        return self._age([one.oldest_failed_at for one in self.channels.values()])

    def _age(self, moments: list[datetime | None]) -> float:
        known = [moment for moment in moments if moment is not None]
        return max((self.at - min(known)).total_seconds(), 0.0) if known else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """A key of an outbox whose first entry waits for another attempt, and holds back the rest.

    Attributes:
        key: What the order is kept for.
        channel: That of the entry.
        entry_id: The entry.
        event_type: Its type name.
        attempts: How many were counted.
        error: What the last one said.
        until: When the next one is due.
        waiting: How many entries of the key there are, this one included.
    """

    key: str
    channel: str
    entry_id: UUID
    event_type: str
    attempts: int
    error: str = field(default="", repr=False)
    until: datetime
    waiting: int
