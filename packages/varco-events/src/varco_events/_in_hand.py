"""An event that a bus has taken from its broker and not given back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from varco_events import _observer
from varco_events._dispatch import Delivery
from varco_events._dlq import DeadLetterEntry
from varco_events._errors import EventDecodeError
from varco_events._outcome import HandlerOutcome, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer


@dataclass(slots=True, eq=False, kw_only=True)
class InHand:
    """An event as it came from a broker, and what is known of its attempts.

    A backend derives from it: it says in `_read` what lies there, in `origin` which bus it is, and
    in `poison` which error says that every attempt ended with its process.
    """

    origin: ClassVar[str]
    poison: ClassVar[type[Exception]]

    stream: str
    """Where it lies."""
    number: str | int
    """Its place there; unique, for ever."""
    channel: str
    key: bytes = b""
    """What its order is kept for; none when empty."""
    attempts: int = 0
    """How many were begun and not given back, the one that runs left out."""
    counted: bool = False
    """Whether the attempt that runs, or comes next, is counted already."""
    claimed: bool = False
    """Whether it was taken before, by a process that may have died of it."""
    rejections: int = 0
    handlers: Collection[str] | None = None
    """Those that are left after an attempt; all when None."""
    first_failed_at: datetime | None = None
    envelope: EventEnvelope | None = None

    @property
    def place(self) -> str:
        """Where it lies; unique, for ever."""
        return f"{self.stream} {self.number}"

    def read(self) -> EventEnvelope:
        """The envelope; one around the bytes when there is no more than these."""
        if self.envelope is None:
            self.envelope = self._read()
        return self.envelope

    def _read(self) -> EventEnvelope:
        raise NotImplementedError

    def forget(self) -> None:  # most have it at hand
        """Its bytes may be read again when its turn comes: so many wait that they take too much."""

    def event(self, serializer: EventSerializer) -> Event:
        """The event; as it came when it cannot be read."""
        envelope = self.read()
        try:
            return envelope.event or serializer.deserialize(envelope.payload)
        except Exception:  # noqa: BLE001  # whatever the bytes lead to
            return envelope.raw()

    def undelivered(self) -> Delivery:
        """What is to be said of it when the attempts are used up and nobody can say by what."""
        return self._given_up(Outcome.FAILED, type(self).poison(self.attempts))

    def unreadable(self) -> Delivery:
        """What is to be said when nobody can tell what it is: it has no type."""
        envelope = self.read()
        error = EventDecodeError(f"{len(envelope.payload)} bytes that name no event type")
        return self._given_up(Outcome.UNREADABLE, error)

    def _given_up(self, outcome: Outcome, error: Exception) -> Delivery:
        envelope = self.read()
        return Delivery(envelope, (HandlerOutcome(envelope.handler or "", outcome, error),))

    def dead_letters(
        self, failed: Iterable[HandlerOutcome], group: str
    ) -> Iterator[DeadLetterEntry]:
        """One for each handler that failed, the same whenever it is made."""
        now = datetime.now(UTC)
        for one in failed:
            assert one.error is not None  # noqa: S101  # of what failed
            yield DeadLetterEntry.from_failure(
                envelope=self.read(),
                handler_name=one.handler,
                last_exc=one.error,
                attempts=self.attempts,
                first_failed_at=self.first_failed_at or now,
                group=group,
                origin=self.origin,
                now=now,
            )
            _observer.tell_given_up(self.read(), one.handler, one.error, self.attempts)
