"""A handler's place on a bus."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from varco_events._outcome import Outcome

if TYPE_CHECKING:
    from varco_events._event import Event

CHANNEL_ALL: Final = "*"
"""Every channel: what a subscription listens to unless it is told otherwise."""

type Handler[E: "Event"] = Callable[[E], Awaitable[None] | None]
type EventFilter[E: "Event"] = Callable[[E], bool]
type Deliver = Callable[["Event"], Awaitable[Any]]

_numbers = count()


class Subscription:
    """One handler on one event type and channel; `cancel()` ends it."""

    def __init__(
        self,
        event_type: type[Event] | str,
        handler: Callable[..., Any],
        *,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[Any] | None = None,  # noqa: A002  # the reference's name
        priority: int = 0,
        on_cancel: Callable[[Subscription], None] | None = None,
    ) -> None:
        _check(event_type, handler, channel, filter)
        self.event_type = event_type
        self.channel = channel
        self.filter = filter
        self.priority = priority
        self.number: int = next(_numbers)
        self.name: str = handler_name(handler)
        self.deliver: Deliver = _deliverer(handler, filter)
        self._on_cancel = on_cancel
        self._cancelled = False

    def cancel(self) -> None:
        """Receive no more events; a delivery in flight goes on."""
        if not self._cancelled:
            self._cancelled = True
            if self._on_cancel is not None:
                self._on_cancel(self)

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel()` was called."""
        return self._cancelled

    def __repr__(self) -> str:
        return f"<Subscription {self.name} to {self.event_type!r} on {self.channel!r}>"


def handler_name(handler: Callable[..., Any]) -> str:
    """What a handler is called in dead letters, inboxes and logs: its module and qualified name."""
    while isinstance(handler, partial):
        handler = handler.func
    named: Any = handler if hasattr(handler, "__qualname__") else type(handler)
    module: str | None = getattr(named, "__module__", None)
    return f"{module}.{named.__qualname__}" if module else str(named.__qualname__)


def _check(event_type: object, handler: object, channel: object, condition: object) -> None:
    """Refuse at once what would never be called, or only fail when an event comes."""
    from varco_events._event import Event  # noqa: PLC0415  # pydantic when needed

    if not (event_type if isinstance(event_type, str) else _is_subclass(event_type, Event)):
        raise TypeError(
            f"events are subscribed to by a subclass of Event or a type name, not {event_type!r}"
        )
    if not callable(handler):
        raise TypeError(f"a handler must be a function of the event, not {handler!r}")
    if not isinstance(channel, str):
        raise TypeError(f"a channel must be a string, not {channel!r}")
    if condition is not None and (
        not callable(condition) or inspect.iscoroutinefunction(condition)
    ):
        raise TypeError(f"a filter must be a sync function of the event, not {condition!r}")


def _is_subclass(candidate: object, base: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, base)


def _deliverer(handler: Callable[..., Any], condition: EventFilter[Any] | None) -> Deliver:
    """One coroutine function of the event, whatever `handler` is."""
    call: Deliver = handler if inspect.iscoroutinefunction(handler) else _awaiting(handler)
    if condition is None:
        return call

    async def filtered(event: Event) -> Any:
        return await call(event) if condition(event) else Outcome.NOT_ADDRESSED

    return filtered


def _awaiting(handler: Callable[..., Any]) -> Deliver:
    async def call(event: Event) -> None:
        result = handler(event)
        if inspect.isawaitable(result):
            await result

    return call
