"""What every event bus offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from varco_events._context import CHANNEL_DEFAULT
from varco_events._subscription import CHANNEL_ALL, Subscription

if TYPE_CHECKING:
    from types import TracebackType

    from varco_events._consumer import EventConsumer
    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._subscription import EventFilter, Handler

type Report = Callable[["EventEnvelope", Exception | None], object]
type Next = Callable[["Event", str], Awaitable[None]]


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


class AbstractEventBus(ABC):
    """Takes events and brings them to the handlers that subscribed.

    An async context manager; on asyncio `start()` and `stop()` do the same.

    Attributes:
        is_transport: Whether what `send` reports as taken is kept for handlers that run later, or
            elsewhere, and not handled yet.
    """

    is_transport: ClassVar[bool] = False

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
