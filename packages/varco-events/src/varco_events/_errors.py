"""What can go wrong with events.

EventsError
├── EventTypeClashError        two importable event classes share a type name
├── EventTypeNameError         a type name that cannot travel
├── EventFieldError            a field whose values would not come back
├── EventDecodeError           bytes or a mapping that are no event
│   └── UpcastError            an event of a version this process cannot lift
├── UnknownEventTypeError      an event type without a class and without a listener
├── NoSuchHandlerError         a delivery to a handler that is not subscribed
├── HandlersFailedError        several handlers failed (an ExceptionGroup)
├── BusUnavailableError        the transport cannot take events now
│   ├── BusStoppedError        a publish after stop()
│   ├── ChannelUnavailableError  one channel takes no events now
│   ├── HeldBackError          an earlier event of the key was not sent
│   └── DeliveryCutOffError    handling was cancelled before it ended
├── DeadlyEventError           whoever handled an event did not live to say how it went
├── DeadLetterQueueFullError   a bounded queue refused an entry
├── DeadLetterFailedError      a failed event could not be dead-lettered either
├── FailureActionError         something that an operator asks for and that cannot be
│   ├── NoSuchFailureError     a failure that is not there
│   ├── FailureTokenError      a cursor or continuation that leads nowhere
│   ├── FailureLimitError      more at once than a call takes
│   └── FailureNotEditableError  a store that takes no edited copies
├── EventsConfigError          a part that is missing where events need it, or there twice
└── LifecycleError             start() or stop() at the wrong moment or place
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


class EventsError(Exception):
    """The base of every error of varco-events."""

    code: ClassVar[str] = "events.error"
    http_status: ClassVar[int] = 500


class EventTypeClashError(EventsError, TypeError):
    """Two importable event classes share one type name."""

    code = "events.type_clash"

    def __init__(self, event_type: str, existing: str, new: str) -> None:
        self.event_type = event_type
        self.existing = existing
        self.new = new
        super().__init__(
            f"event type {event_type!r} is taken by {existing}, so {new} cannot have it too; "
            f"give one of them another name with __event_type__ = '...'"
        )


class EventTypeNameError(EventsError, ValueError):
    """A type name or version that cannot be written into an envelope."""

    code = "events.type_name"


class EventFieldError(EventsError, TypeError):
    """A field of an event class whose values would not come back."""

    code = "events.field"


class EventDecodeError(EventsError, ValueError):
    """Bytes or a mapping that do not describe an event."""

    code = "events.decode"
    http_status = 422


class UpcastError(EventDecodeError):
    """An event of a version that the class of this process cannot be lifted from."""

    code = "events.upcast"

    def __init__(self, event_type: str, version: int, current: int, reason: str) -> None:
        self.event_type = event_type
        self.version = version
        self.current = current
        super().__init__(
            f"{event_type} version {version} cannot become version {current}: {reason}"
        )


class UnknownEventTypeError(EventsError, LookupError):
    """An event that this process has no class for, or no listener who takes it raw."""

    code = "events.unknown_type"
    http_status = 422

    def __init__(self, event_type: str, channel: str, *, is_raw: bool = False) -> None:
        self.event_type = event_type
        self.channel = channel
        self.is_raw = is_raw
        super().__init__(
            f"event type {event_type!r} has a class here, whose listeners take no RawEvent, and "
            f"nobody on channel {channel!r} listens to its name; read it first (see the error of "
            f"its upcaster, or its version), or subscribe to its name or to RawEvent"
            if is_raw
            else f"no class and no listener is known for event type {event_type!r} on channel "
            f"{channel!r}; import the module that defines it, or subscribe to its name"
        )


class NoSuchHandlerError(EventsError, LookupError):
    """A delivery addressed to a handler that is not subscribed."""

    code = "events.no_such_handler"

    def __init__(self, handler: str, event_type: str, channel: str) -> None:
        self.handler = handler
        self.event_type = event_type
        self.channel = channel
        super().__init__(
            f"no handler named {handler!r} listens to {event_type!r} on channel {channel!r}; "
            f"register its consumer first"
        )


class HandlersFailedError(EventsError, ExceptionGroup[Exception]):
    """Several handlers of one event failed; the errors are in `exceptions`."""

    code = "events.handlers_failed"

    def __new__(cls, message: str, exceptions: Sequence[Exception], /) -> Self:
        """An ExceptionGroup takes its members when it is created."""
        return super().__new__(cls, message, exceptions)

    def derive(self, excs: Sequence[Exception], /) -> HandlersFailedError:  # type: ignore[override]  # the overloads of typeshed
        """The same error with fewer members, for `except*`."""
        return HandlersFailedError(self.message, excs)


class BusUnavailableError(EventsError):
    """The transport cannot take events now; a relay tries again without counting an attempt."""

    code = "events.bus_unavailable"
    http_status = 503


class BusStoppedError(BusUnavailableError):
    """An event was published to a bus that does not take any more."""

    code = "events.bus_stopped"

    def __init__(self, event_type: str) -> None:
        self.event_type = event_type
        super().__init__(f"{event_type} was not published: the bus is stopped; start() it again")


class ChannelUnavailableError(BusUnavailableError):
    """One channel takes no events now: it is full, forbidden or missing. Others go on.

    Raise it, or a subclass, from a transport whose other channels may still work.
    """

    code = "events.channel_unavailable"

    def __init__(self, channel: str, reason: str) -> None:
        self.channel = channel
        self.reason = reason
        super().__init__(f"channel {channel!r} takes no events now: {reason}")


class HeldBackError(BusUnavailableError):
    """An event was not sent because an earlier one of its key, or of its channel, was not."""

    code = "events.held_back"

    def __init__(self, channel: str, key: str | None) -> None:
        self.channel = channel
        self.key = key
        super().__init__(f"an earlier event on {channel!r} with key {key!r} was not sent")


class DeliveryCutOffError(BusUnavailableError):
    """The handling of an event in the background was cancelled: it is not acknowledged."""

    code = "events.cut_off"

    def __init__(self, event_type: str, event_id: UUID) -> None:
        self.event_type = event_type
        self.event_id = event_id
        super().__init__(
            f"the handling of {event_type} {event_id} was cancelled before it ended; publish it "
            f"again, or give stop() more time"
        )


class DeadlyEventError(EventsError):
    """An event was begun as often as it may be, and no process lived to say how it went."""

    code = "events.deadly"

    def __init__(self, event_type: str, event_id: UUID, attempts: int) -> None:
        self.event_type = event_type
        self.event_id = event_id
        self.attempts = attempts
        super().__init__(
            f"{event_type} {event_id} was begun {attempts} times, and whoever handled it did not "
            f"live to say how it went"
        )


class DeadLetterQueueFullError(EventsError):
    """A bounded dead letter queue refused an entry."""

    code = "events.dlq_full"
    http_status = 507

    def __init__(self, entry_id: UUID, max_size: int) -> None:
        self.entry_id = entry_id
        self.max_size = max_size
        super().__init__(
            f"dead letter {entry_id} was refused: the queue holds its {max_size} entries; "
            f"redrive or ack some, or raise max_size"
        )


class DeadLetterFailedError(EventsError):
    """A failed event could not be dead-lettered either, so it stays unacknowledged."""

    code = "events.dead_letter_failed"

    def __init__(self, event_id: UUID, handler: str, reason: BaseException) -> None:
        self.event_id = event_id
        self.handler = handler
        super().__init__(
            f"event {event_id} failed in {handler} and the dead letter queue did not take it "
            f"({reason!r}); it is not acknowledged and will come again"
        )


class FailureActionError(EventsError):
    """The base of what an operator of failures may ask for in vain."""

    code = "events.failure_action"
    http_status = 400


class NoSuchFailureError(FailureActionError, LookupError):
    """A failure that is not in its store, or not any more."""

    code = "events.no_such_failure"
    http_status = 404

    def __init__(self, entry_id: UUID) -> None:
        self.entry_id = entry_id
        super().__init__(
            f"there is no failure {entry_id}: it was retried, discarded, or is in another store"
        )


class FailureTokenError(FailureActionError, ValueError):
    """A cursor, continuation, position or mark that does not belong to what it is given to."""

    code = "events.failure_token"

    def __init__(self, purpose: str, reason: str) -> None:
        self.purpose = purpose
        super().__init__(f"this is nowhere to go on with {purpose!r}: {reason}; begin without one")


class FailureLimitError(FailureActionError, ValueError):
    """More, or less, than one call lists or acts on."""

    code = "events.failure_limit"

    def __init__(self, count: int, most: int) -> None:
        self.count = count
        self.most = most
        super().__init__(
            f"one call takes from 1 to {most} failures, not {count}; use several calls, or "
            f"retry_all() and discard_all(), which say how to go on"
        )


class FailureNotEditableError(FailureActionError):
    """A store that takes no edited copies of what failed."""

    code = "events.failure_not_editable"
    http_status = 409

    def __init__(self, entry_id: UUID, store: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"no copy of {entry_id} can be put beside it: {store} takes none")


class EventsConfigError(EventsError):
    """Events have nowhere to go, or two ways where there can be one."""

    code = "events.config"


class LifecycleError(EventsError, RuntimeError):
    """start(), stop() or run() at the wrong moment, or on a loop that cannot own a task."""

    code = "events.lifecycle"
