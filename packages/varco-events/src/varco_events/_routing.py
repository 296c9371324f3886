"""Finds the handlers of an event by its type and channel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

from varco_events._event import Event, RawEvent
from varco_events._outcome import HandlerOutcome, Outcome
from varco_events._subscription import CHANNEL_ALL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from varco_events._subscription import Deliver, Subscription


# Classes can be made in a loop; what is forgotten is made again.
_MAX_PLANS = 4096


@dataclass(slots=True)
class Route:
    """The subscriptions an event goes to, in order, and what is known of them side by side.

    `names` are unique; `handled` is what the outcomes are when all goes well.
    """

    subscriptions: tuple[Subscription, ...]
    deliveries: tuple[Deliver, ...]
    names: tuple[str, ...]
    handled: tuple[HandlerOutcome, ...]

    def only(self, names: Collection[str]) -> Route:
        """The part with these names."""
        return self._part([name in names for name in self.names])

    def of_raw(self) -> Route:
        """The part that asked for raw events."""
        return self._part([one.event_type is RawEvent for one in self.subscriptions])

    def _part(self, wanted: Sequence[bool]) -> Route:
        return Route(
            tuple(compress(self.subscriptions, wanted)),
            tuple(compress(self.deliveries, wanted)),
            tuple(compress(self.names, wanted)),
            tuple(compress(self.handled, wanted)),
        )


NOWHERE = Route((), (), (), ())


@dataclass(slots=True)
class Plan:
    """The routes of one event type: per channel that is named, and for any other channel.

    A route of a named channel is made when something is published there: a thousand channels of
    one type cost no more than those that are used.
    """

    named: dict[str, list[Subscription]]
    everywhere: list[Subscription]
    other: Route
    channels: dict[str, Route] = field(default_factory=dict[str, Route])

    def route(self, channel: str) -> Route:
        route = self.channels.get(channel)
        if route is None:
            named = self.named.get(channel)
            if named is None:
                return self.other
            route = self.channels[channel] = _route([*named, *self.everywhere])
        return route


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
            if not issubclass(cls, Event):  # pyright: ignore[reportUnnecessaryIsInstance]  # not all callers are checked
                raise TypeError(
                    f"only instances of Event are published, not a {cls.__qualname__}; publish "
                    f"OrderPlaced(...), not the class itself"
                )
            if len(self.plans) >= _MAX_PLANS:
                self.plans.clear()
            plan = self.plans[cls] = _plan(self._of_class(cls, cls.event_type_name()))
        return plan

    def route(self, event: Event, channel: str) -> Route:
        """Where `event` goes on `channel`."""
        if isinstance(event, RawEvent):
            return self.of_unknown(event.raw_type, channel)
        return self.plan(type(event)).route(channel)

    def of_unknown(self, name: str, channel: str) -> Route:
        """Where an event goes of a type that has no class; no plan, for names are not bounded."""
        return _plan(self._of_class(RawEvent, name)).route(channel)

    def named(self, name: str, channel: str) -> bool:
        """Whether a listener asked for this unknown type by name, or for raw events."""
        wanted = [*self._by_type.get(name, ()), *self._by_type.get(RawEvent, ())]
        return any(one.channel in {CHANNEL_ALL, channel} for one in wanted)

    def has_raw(self) -> bool:
        """Whether anybody listens to raw events."""
        return RawEvent in self._by_type

    def channels(self) -> set[str]:
        """The channels that are named in subscriptions; "*" stands for all."""
        return {one.channel for some in self._by_type.values() for one in some}

    def _of_class(self, cls: type[Event], name: str) -> list[Subscription]:
        found = [*self._by_type.get(name, ())]
        for base in cls.__mro__:
            if issubclass(base, Event):
                found += self._by_type.get(base, ())
        return found


def _route(chosen: list[Subscription]) -> Route:
    names: dict[Subscription, str] = {}
    seen: Counter[str] = Counter()
    for one in sorted(chosen, key=lambda one: one.number):
        seen[one.name] += 1
        names[one] = one.name if seen[one.name] == 1 else f"{one.name}#{seen[one.name]}"
    chosen.sort(key=lambda one: (-one.priority, one.number))
    ordered = tuple(names[one] for one in chosen)
    return Route(
        tuple(chosen),
        tuple(one.deliver for one in chosen),
        ordered,
        tuple(HandlerOutcome(name, Outcome.HANDLED) for name in ordered),
    )


def _plan(subscriptions: list[Subscription]) -> Plan:
    everywhere: list[Subscription] = []
    named: dict[str, list[Subscription]] = {}
    for one in subscriptions:
        if one.channel == CHANNEL_ALL:
            everywhere.append(one)
        else:
            named.setdefault(one.channel, []).append(one)
    return Plan(named, everywhere, _route([*everywhere]))
