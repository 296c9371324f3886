"""Classes whose methods listen to events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from varco_events._handling import Handling
from varco_events._subscription import CHANNEL_ALL, Subscription

if TYPE_CHECKING:
    from varco_events._bus import AbstractEventBus
    from varco_events._deduplication import AbstractDeduplicator
    from varco_events._dlq import AbstractDeadLetterQueue
    from varco_events._event import Event
    from varco_events._inbox import InboxRepository
    from varco_events._subscription import EventFilter
    from varco_resilience import RetryPolicy

_MARK = "__varco_listen__"


@dataclass(frozen=True, slots=True)
class Listening:
    """What one `@listen` says."""

    event_types: tuple[type[Event] | str, ...]
    channel: str | Callable[[Any], str]
    filter: EventFilter[Any] | None
    priority: int
    retry_policy: RetryPolicy | None
    dlq: AbstractDeadLetterQueue | Callable[[Any], AbstractDeadLetterQueue] | None
    deduplicator: AbstractDeduplicator | Callable[[Any], AbstractDeduplicator] | None
    inbox: InboxRepository | Callable[[Any], InboxRepository] | None


def listen[F: Callable[..., Any]](
    *event_types: type[Event] | str,
    channel: str | Callable[[Any], str] = CHANNEL_ALL,
    filter: EventFilter[Any] | None = None,  # noqa: A002  # the reference's name
    priority: int = 0,
    retry_policy: RetryPolicy | None = None,
    dlq: AbstractDeadLetterQueue | Callable[[Any], AbstractDeadLetterQueue] | None = None,
    deduplicator: AbstractDeduplicator | Callable[[Any], AbstractDeduplicator] | None = None,
    inbox: InboxRepository | Callable[[Any], InboxRepository] | None = None,
) -> Callable[[F], F]:
    """Make a method of an `EventConsumer` listen to `event_types`.

    `channel`, `dlq`, `deduplicator` and `inbox` may be functions of the consumer, so that they can
    come from its constructor. Dead letters, deduplicators and inboxes know the method as
    `module.Class.method` of the consumer: two consumers of one class that share an inbox handle
    an event once between them.

    Args:
        event_types: Classes, or exact type names.
        channel: Only events of this channel; "*" for all.
        filter: Only events for which it is true.
        priority: Higher goes first.
        retry_policy: How often, how fast and on what to try again.
        dlq: Where an event goes when the last attempt failed or no other is worth it. Without one
            the error is raised to the bus.
        deduplicator: Recognizes events that this method has handled.
        inbox: Records what is handled, in the transaction of the handler where it can.
    """
    _check_types(event_types)
    listening = Listening(
        event_types, channel, filter, priority, retry_policy, dlq, deduplicator, inbox
    )

    def mark(method: F) -> F:
        marks: tuple[Listening, ...] = getattr(method, _MARK, ())
        setattr(method, _MARK, (listening, *marks))
        return method

    return mark


def _check_types(given: tuple[object, ...]) -> None:
    from varco_events._event import Event  # noqa: PLC0415  # pydantic when needed

    if not given or not all(
        issubclass(one, Event) if isinstance(one, type) else isinstance(one, str) for one in given
    ):
        raise TypeError(
            f"@listen takes event classes and type names, as in @listen(OrderPlaced), not {given!r}"
        )


class EventConsumer:
    """The base of classes with `@listen` methods.

    Belongs to the event loop of the buses it is registered to.
    """

    def register_to(self, bus: AbstractEventBus) -> list[Subscription]:
        """Subscribe every `@listen` method that is not subscribed to `bus`.

        Doing it again changes nothing; after `stop()`, or for subscriptions that were cancelled,
        it subscribes again. A method that overrides a listening one listens as well.
        """
        registered = self._registered()
        pairs = registered.get(bus) or self._subscribe(bus)
        registered[bus] = [(_living(bus, one, handling), handling) for one, handling in pairs]
        return [subscription for subscription, _ in registered[bus]]

    def _subscribe(self, bus: AbstractEventBus) -> list[tuple[Subscription, Handling]]:
        subscriptions: list[tuple[Subscription, Handling]] = []
        for name, marks in _listening(type(self)).items():
            for listening in marks:
                handling = Handling(
                    getattr(self, name),
                    owner=type(self),
                    attribute=name,
                    retry_policy=listening.retry_policy,
                    dlq=self._own(listening.dlq),
                    deduplicator=self._own(listening.deduplicator),
                    inbox=self._own(listening.inbox),
                )
                subscriptions += [
                    (
                        bus.subscribe(
                            event_type,
                            handling.handler,
                            channel=self._own(listening.channel),
                            filter=listening.filter,
                            priority=listening.priority,
                        ),
                        handling,
                    )
                    for event_type in listening.event_types
                ]
        return subscriptions

    def _own(self, given: Any) -> Any:
        return given(self) if callable(given) else given

    async def start(self) -> None:
        """Subscribe again to the buses that `stop()` left."""
        registered = self._registered()
        for bus, subscriptions in registered.items():
            if not subscriptions:
                registered[bus] = self._subscribe(bus)

    async def stop(self) -> None:
        """Get no more events and wait for the handlers in flight."""
        registered = self._registered()
        stopped = [pair for subscriptions in registered.values() for pair in subscriptions]
        for bus in registered:
            registered[bus] = []
        for subscription, _ in stopped:
            subscription.cancel()
        for _, handling in stopped:
            await handling.idle()

    def _registered(self) -> dict[AbstractEventBus, list[tuple[Subscription, Handling]]]:
        """What is subscribed where; made late, for subclasses that do not call __init__."""
        return cast(
            "dict[AbstractEventBus, list[tuple[Subscription, Handling]]]",
            vars(self).setdefault("_varco_registered", {}),
        )


def _living(bus: AbstractEventBus, subscription: Subscription, handling: Handling) -> Subscription:
    if not subscription.is_cancelled:
        return subscription
    return bus.subscribe(
        subscription.event_type,
        handling.handler,
        channel=subscription.channel,
        filter=subscription.filter,
        priority=subscription.priority,
    )


def _listening(cls: type) -> dict[str, tuple[Listening, ...]]:
    marks: dict[str, tuple[Listening, ...]] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            found = getattr(member, _MARK, None)
            if found is not None:
                marks[name] = found
    return marks
