"""Who watches events on their way, for traces and metrics."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._outbox import OutboxEntry


class EventObserver:
    """Is told of the events of this process; its methods do nothing unless overridden.

    They are called from any task and must be quick. What `sending` and `handling` return is
    entered, and left with the error, if any, a cancellation included; it must not suppress it. An
    error of an observer is one of what it watches.
    """

    def sending(self, entries: Sequence[OutboxEntry]) -> AbstractContextManager[object] | None:  # noqa: ARG002  # for those who override it
        """What to enter while a relay hands a batch of outbox entries to its bus."""
        return None

    def sent(self, entry: OutboxEntry, seconds: float) -> None:
        """A relay has delivered an entry that spent so many seconds in the outbox.

        By the clock of the outbox. It may be told again of an entry that is delivered again.
        """

    def not_sent(self, entry: OutboxEntry, error: BaseException) -> None:
        """An attempt of a relay to deliver an entry has failed, for whatever reason.

        Entries that were only held back by another of their key are no attempts.
        """

    def handling(
        self,
        handler: str,  # noqa: ARG002  # likewise
        event: Event,  # noqa: ARG002
        channel: str,  # noqa: ARG002
    ) -> AbstractContextManager[object] | None:
        """What to enter around one call of a handler, middleware and filter included.

        `current_envelope()` is what the event came in; None where it was published in this process.

        Args:
            handler: Its full name.
            event: What it is called with.
            channel: Where the event was published.
        """
        return None

    def given_up(
        self, envelope: EventEnvelope, handler: str, error: BaseException, attempts: int
    ) -> None:
        """An event was put aside, in a dead letter queue or parked in its outbox.

        It may be told again where putting it aside had to be repeated.

        Args:
            envelope: The event.
            handler: The full name of the handler that could not; `RELAY_HANDLER` where a relay
                could not deliver it.
            error: Of the last attempt.
            attempts: How many there were.
        """


observers: tuple[EventObserver, ...] = ()


def add_event_observer(observer: EventObserver) -> None:
    """Have an observer told of all events in this process; once, if added again."""
    global observers  # noqa: PLW0603  # of the process
    if observer not in observers:
        observers = (*observers, observer)


def remove_event_observer(observer: EventObserver) -> None:
    """Undo `add_event_observer`; an unknown observer is no error."""
    global observers  # noqa: PLW0603  # of the process
    observers = tuple(one for one in observers if one is not observer)


def around_handling(handler: str, event: Event, channel: str) -> ExitStack:
    """What the observers want around a call of a handler."""
    return _entered(one.handling(handler, event, channel) for one in observers)


def around_sending(entries: Sequence[OutboxEntry]) -> ExitStack:
    """What the observers want around a delivery."""
    return _entered(one.sending(entries) for one in observers)


def _entered(around: Iterable[AbstractContextManager[object] | None]) -> ExitStack:
    with ExitStack() as stack:
        for one in around:
            if one is not None:
                stack.enter_context(one)
        return stack.pop_all()


def tell_given_up(
    envelope: EventEnvelope, handler: str, error: BaseException, attempts: int
) -> None:
    """Tell the observers of an event that was put aside."""
    for one in observers:
        one.given_up(envelope, handler, error, attempts)
