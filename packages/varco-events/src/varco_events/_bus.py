"""What every event bus offers."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

from varco_events._outcome import Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from varco_events._consumer import EventConsumer
    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event

CHANNEL_ALL: Final = "*"
CHANNEL_DEFAULT: Final = "default"

type Handler[E: "Event"] = Callable[[E], Awaitable[None] | None]
type EventFilter[E: "Event"] = Callable[[E], bool]
type Deliver = Callable[["Event"], Awaitable[Any]]
type Report = Callable[["EventEnvelope", Exception | None], object]
type Next = Callable[["Event", str], Awaitable[None]]

_numbers = count()


class DispatchMode(StrEnum):
    """Whether a publish waits for the handlers."""

    SYNC = "sync"
    BACKGROUND = "background"


class ErrorPolicy(StrEnum):
    """What a publish does about handlers that fail."""

    COLLECT_ALL = "collect_all"
    FAIL_FAST = "fail_fast"
    FIRE_FORGET = "fire_forget"


class EventMiddleware(ABC):
    """Wraps every delivery of one event to one handler."""

    @abstractmethod
    async def __call__(self, event: Event, channel: str, next: Next) -> None:  # noqa: A002  # the reference's name
        """Do something around `await next(event, channel)`."""


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """How a broker should lay out a channel."""

    num_partitions: int = 1
    replication_factor: int = 1
    retention_ms: int | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


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


class AbstractEventBus(ABC):
    """Takes events and brings them to the handlers that subscribed.

    An async context manager; on asyncio `start()` and `stop()` do the same.
    """

    @abstractmethod
    async def publish(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT
    ) -> Awaitable[None] | None:
        """Publish `event`; what it returns, if anything, can be awaited until it is handled."""

    @abstractmethod
    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Handler[E],
        *,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[E] | None = None,  # noqa: A002  # the reference's name
        priority: int = 0,
    ) -> Subscription:
        """Call `handler` for events of `event_type`, its subclasses included.

        Args:
            event_type: A class, or the exact type name of one.
            handler: A function or coroutine function of the event.
            channel: Only events of this channel; "*" for all.
            filter: Only events for which it is true.
            priority: Higher goes first; equal priorities in order of subscription.
        """

    async def deliver(
        self,
        event: Event,
        *,
        channel: str = CHANNEL_DEFAULT,
        handler: str | None = None,  # noqa: ARG002  # for buses that know their handlers
    ) -> None:
        """Publish and return only when the event may be forgotten by whoever stored it.

        A relay calls this. It raises when the event was not taken, or, on a bus that runs the
        handlers itself, when one failed, whatever the error policy.

        Args:
            event: What to deliver.
            channel: Where.
            handler: Only to the handler of this name, on a bus that runs the handlers itself.
        """
        handled = await self.publish(event, channel=channel)
        if handled is not None:
            await handled

    async def deliver_many(self, deliveries: Iterable[tuple[Event, str]]) -> None:
        """`deliver` pairs of event and channel one after the other; the first failure ends it.

        The next pair is taken when the one before was delivered.
        """
        for event, channel in deliveries:
            await self.deliver(event, channel=channel)

    async def send(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        """Take envelopes as they are and say of each what became of it. A relay calls this.

        The payload travels byte for byte: a transport does not read it. What was not sent holds
        back the later envelopes of its key, which get `HeldBackError`; a
        `ChannelUnavailableError` those of its channel; any other `BusUnavailableError` is that of
        all that are left.

        This default reads each event and calls `deliver`, for buses that have nothing better.

        Args:
            envelopes: Taken in order, one at a time or many, as suits the transport. Asking for
                the next one may end, because whoever sends has run out of time: take no more than
                what can be sent at once.
            report: To be called once per envelope that was taken, with None when it may be
                forgotten by whoever stored it (on a bus that runs the handlers itself: when they
                have handled it), else with the error. Called before the next one is asked for
                where they are sent one at a time. After a cancellation, what was not reported may
                or may not have been sent.

        Raises:
            Nothing that is one envelope's: that is reported.
        """
        from varco_events._sending import send_each  # noqa: PLC0415  # pydantic when needed

        await send_each(self.deliver, envelopes, report)

    async def publish_many(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish pairs of event and channel in order; the first failure ends it."""
        for event, channel in events:
            await self.publish(event, channel=channel)

    def on[F: Callable[..., Any]](
        self,
        *event_types: type[Event] | str,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[Any] | None = None,  # noqa: A002  # the reference's name
    ) -> Callable[[F], F]:
        """Subscribe the decorated function to each of `event_types`."""

        def subscribe(handler: F) -> F:
            for event_type in event_types:
                self.subscribe(event_type, handler, channel=channel, filter=filter)
            return handler

        return subscribe

    def register_consumer(self, consumer: EventConsumer) -> list[Subscription]:
        """Subscribe every `@listen` method of `consumer`."""
        return consumer.register_to(self)

    async def start(self) -> None:  # noqa: B027  # a bus may have nothing to do
        """Begin to take events."""

    async def stop(self, timeout: float | None = None) -> Sequence[Event]:  # noqa: ARG002, ASYNC109  # the reference's name
        """Finish what is in flight and take no more.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Returns:
            The events whose handling was cut off.
        """
        return ()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


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
