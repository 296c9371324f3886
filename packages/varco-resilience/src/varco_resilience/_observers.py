"""Who is told of what happens to any call of this process."""

from __future__ import annotations

from collections.abc import Callable

from varco_resilience._breaker_config import StateChange
from varco_resilience._errors import CallRejectedError
from varco_resilience._retry_events import RetryEvent, notify

type Occurrence = StateChange | RetryEvent | CallRejectedError
"""A breaker that changed its state, a retry, or a call that was refused: its error."""

type Observer = Callable[[Occurrence], object]

observers: tuple[Observer, ...] = ()


def add_call_observer(observer: Observer) -> None:
    """Tell a function of every `Occurrence` in this process; once, if added again.

    It is called by the thread where that happens, and must be quick; what it raises is logged and
    changes nothing. Calls that go through tell nobody anything.
    """
    global observers  # noqa: PLW0603  # of the process
    if observer not in observers:
        observers = (*observers, observer)


def remove_call_observer(observer: Observer) -> None:
    """Undo `add_call_observer`; an unknown observer is no error."""
    global observers  # noqa: PLW0603  # of the process
    observers = tuple(one for one in observers if one != observer)


def told[E: CallRejectedError](error: E) -> E:
    """The error of a refused call, after the observers were told."""
    if observers:
        notify(observers, error)
    return error
