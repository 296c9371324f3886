"""Finds the handlers of an event by its type and channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from varco_events._bus import CHANNEL_ALL
from varco_events._event import Event, RawEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_events._bus import Deliver, Subscription


@dataclass(slots=True)
class Route:
    """The subscriptions an event goes to, in order, and their deliveries side by side."""

    subscriptions: tuple[Subscription, ...]
    deliveries: tuple[Deliver, ...]


@dataclass(slots=True)
class Plan:
    """The routes of one event type: per channel that is named, and for any other channel."""

    channels: dict[str, Route]
    other: Route


class Routes:
    """The subscriptions of a bus, and a plan per event class that was published.

    A plan depends on the class and on the channels that are named in subscriptions, both bounded;
    finding it is one look-up. Used from one event loop, and no method awaits.
    """

    def __init__(self) -> None:
        self.plans: dict[type[Event], Plan] = {}
        # A dict as an ordered set: cancelling one of a thousand costs one deletion.
        self._by_type: dict[type[Event] | str, dict[Subscription, None]] = {}

    def add(self, subscription: Subscription) -> None:
        self._by_type.setdefault(subscription.event_type, {})[subscription] = None
        self.plans.clear()

    def remove(self, subscription: Subscription) -> None:
        subscriptions = self._by_type.get(subscription.event_type, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            self._by_type.pop(subscription.event_type, None)
        self.plans.clear()

    def __len__(self) -> int:
        return sum(map(len, self._by_type.values()))

    def plan(self, cls: type[Event]) -> Plan:
        """The plan of a class, made on its first event since the subscriptions changed."""
        plan = self.plans.get(cls)
        if plan is None:
            plan = self.plans[cls] = _plan(self._of_class(cls, cls.event_type_name()))
        return plan

    def route(self, event: Event, channel: str) -> Route:
        """Where `event` goes on `channel`."""
        if isinstance(event, RawEvent):  # type names from outside are not bounded: no plan
            return _route(self._of_class(type(event), event.raw_type), channel)
        plan = self.plan(type(event))
        return plan.channels.get(channel, plan.other)

    def named(self, event: RawEvent, channel: str) -> bool:
        """Whether a listener asked for this unknown type by name, or for raw events."""
        wanted = [*self._by_type.get(event.raw_type, ()), *self._by_type.get(RawEvent, ())]
        return bool(_route(wanted, channel).subscriptions)

    def _of_class(self, cls: type[Event], name: str) -> list[Subscription]:
        found = [*self._by_type.get(name, ())]
        for base in cls.__mro__:
            if issubclass(base, Event):
                found += self._by_type.get(base, ())
        return found


def _route(subscriptions: Iterable[Subscription], channel: str) -> Route:
    chosen = [one for one in subscriptions if one.channel in {CHANNEL_ALL, channel}]
    chosen.sort(key=lambda one: (-one.priority, one.number))
    return Route(tuple(chosen), tuple(one.deliver for one in chosen))


def _plan(subscriptions: list[Subscription]) -> Plan:
    named = {one.channel for one in subscriptions} - {CHANNEL_ALL}
    routes = {channel: _route(subscriptions, channel) for channel in named}
    return Plan(routes, _route(subscriptions, CHANNEL_ALL))
