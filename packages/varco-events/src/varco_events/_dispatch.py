"""Calls the handlers of one process, and says for each what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from varco_events import _observer, _registry
from varco_events._context import handling
from varco_events._envelope import GROUP, HANDLER, EventEnvelope
from varco_events._errors import (
    BusUnavailableError,
    HandlersFailedError,
    NoSuchHandlerError,
    UnknownEventTypeError,
)
from varco_events._event import is_raw
from varco_events._event_serializer import JsonEventSerializer
from varco_events._outcome import HandlerOutcome, Outcome
from varco_events._routing import NOWHERE, Route, Routes
from varco_events._subscription import Subscription
from varco_events._surroundings import attached
from varco_resilience import CallRejectedError, RetryExhaustedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Sequence
    from uuid import UUID

    from varco_events._bus import EventMiddleware, Next
    from varco_events._context import Surrounding
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer
    from varco_events._subscription import EventFilter, Handler

# How many partly failed deliveries a dispatcher remembers.
_MAX_PARTIAL = 10_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one envelope in the handlers of one process, in the order they were called.

    A bus decides from this value alone: nothing failed, so it may be acknowledged; only
    rejections, so it comes again and no attempt is counted; else another attempt, for the failed
    handlers alone, or dead letters, one for each of them.
    """

    envelope: EventEnvelope
    outcomes: tuple[HandlerOutcome, ...]

    @property
    def failed(self) -> tuple[HandlerOutcome, ...]:
        """The handlers that should have handled the event and did not: FAILED or UNREADABLE."""
        return tuple(one for one in self.outcomes if one.error is not None)

    @property
    def is_done(self) -> bool:
        """Whether the envelope may be acknowledged: no handler here still needs it."""
        return not self.failed

    @property
    def is_rejected(self) -> bool:
        """Whether what failed was rejected before it was tried: no attempt is counted."""
        failed = self.failed
        return bool(failed) and all(map(is_rejection, (one.error for one in failed)))

    @property
    def error(self) -> Exception | None:
        """What a bus that handles at once raises: the error, or several as one."""
        return error_of(self.envelope.event_type, self.outcomes)


def is_rejection(error: BaseException | None) -> bool:
    """Whether an error says that nothing was tried: an open circuit, a bus that is down."""
    if isinstance(error, HandlersFailedError):
        return all(map(is_rejection, error.exceptions))
    if isinstance(error, RetryExhaustedError):
        return is_rejection(error.last_exc)
    return isinstance(error, CallRejectedError | BusUnavailableError)


def error_of(event_type: str, outcomes: Sequence[HandlerOutcome]) -> Exception | None:
    """The error of the outcomes, several as one."""
    for outcome in outcomes:
        if outcome.error is not None:
            break
    else:  # as nearly always: no list is made
        return None
    errors = [one.error for one in outcomes if one.error is not None]
    # Alone, that of a handler would say that this bus is down.
    return as_one(event_type, errors, as_group=isinstance(errors[0], BusUnavailableError))


def as_one(event_type: str, errors: Sequence[Exception], *, as_group: bool = False) -> Exception:
    """The error itself when there is one and it need not be a group."""
    if len(errors) == 1 and not as_group:
        return errors[0]
    noun = "handler" if len(errors) == 1 else "handlers"
    group = HandlersFailedError(f"{len(errors)} {noun} of {event_type} failed", errors)
    group.__suppress_context__ = True  # what went before is in it
    return group


class Dispatcher:
    """The subscriptions of a bus in this process, and the one way in which they are called.

    Filters, middleware, deserializers, upcasters and handlers run inside the accounting: whatever
    one of them raises is the outcome of the handlers that it kept from the event. Handlers are
    called one after the other, each in the surroundings of the event (`add_context`). When some
    fail, a repeated dispatch of the event on the channel calls those alone, as long as this object
    remembers (10,000 partly failed deliveries).

    Belongs to one event loop: between two awaits nothing else runs, and that protects its state.

    Args:
        serializer: Reads payloads; JSON unless given.
        middleware: Wrapped around every call of a handler, the first outermost.
        refuses_unknown: Whether an event whose type has neither a class nor a listener by name is
            FAILED with `UnknownEventTypeError`, because nobody after this one could have it.
        group: The name of the group of processes this one is of. An envelope that is addressed to
            a handler of another group is not for anybody here.
    """

    def __init__(
        self,
        *,
        serializer: EventSerializer | None = None,
        middleware: Iterable[EventMiddleware] = (),
        group: str | None = None,
        refuses_unknown: bool = False,
    ) -> None:
        self._refuses_unknown = refuses_unknown
        self.group = group
        self.routes: Routes = Routes()
        self.middleware: tuple[EventMiddleware, ...] = tuple(middleware)
        self._serializer: EventSerializer = serializer or JsonEventSerializer()
        # Which handlers a partly failed delivery has reached; oldest first. One that is addressed
        # to a handler says nothing of that to all.
        self.partial: dict[tuple[UUID, str, str | None], frozenset[Subscription]] = {}

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Handler[E],
        *,
        channel: str,
        filter: EventFilter[E] | None = None,  # noqa: A002  # as of a bus
        priority: int = 0,
    ) -> Subscription:
        """Call `handler` for what `AbstractEventBus.subscribe` says."""
        subscription = Subscription(
            event_type,
            handler,
            channel=channel,
            filter=filter,
            priority=priority,
            on_cancel=self.routes.remove,
        )
        self.routes.add(subscription)
        return subscription

    def knows(self, event_type: str, channel: str) -> bool:
        """Whether this process has the class of a type, or a listener that can do without."""
        return _registry.event_class(event_type) is not None or self.routes.named(
            event_type, channel
        )

    def channels(self) -> set[str]:
        """The channels of living subscriptions; "*" stands for all."""
        return self.routes.channels()

    async def dispatch(
        self, envelope: EventEnvelope, *, handlers: Collection[str] | None = None
    ) -> Delivery:
        """Bring `envelope` to the handlers of its type and channel.

        The payload is read at most once, and only when a handler needs the object. Where this
        process has the class but cannot read the bytes (a newer version, an upcaster that fails,
        changed fields), every listener is UNREADABLE but those to `RawEvent`. Where it has no
        class, listeners by name, to `RawEvent` and to `Event` get a `RawEvent`.

        Args:
            envelope: Addressed to one handler of one group when its headers say so, as those of a
                redrive do; one whose handler is not subscribed here is FAILED with
                `NoSuchHandlerError`.
            handlers: Only those of these full names, as in the outcomes of an earlier delivery.

        Raises:
            Nothing of a handler's: only cancellation and the like come through. What was reached
            before is remembered then.
        """
        around = handling.get()
        try:
            return Delivery(envelope, await self.outcomes(envelope, around, handlers))
        finally:
            handling.set(around)

    def outcomes(
        self,
        envelope: EventEnvelope,
        around: Surrounding,
        handlers: Collection[str] | None = None,
    ) -> Awaitable[tuple[HandlerOutcome, ...]]:
        """Those of `dispatch`, for the caller of many; see `deliver` for `around`."""
        event = envelope.event
        if event is None or is_raw(event):  # its class may be known by now
            return self._read(envelope, around, handlers)
        route = self._route(envelope, type(event), handlers)
        if not route.subscriptions:
            return self._of_nobody(envelope)
        return self.deliver(event, envelope.channel, route, around, envelope)

    def _read(
        self, envelope: EventEnvelope, around: Surrounding, handlers: Collection[str] | None
    ) -> Awaitable[tuple[HandlerOutcome, ...]]:
        """The outcomes of an envelope whose event is not at hand."""
        handling.set(around)  # what a serializer sees are not the surroundings of the one before
        cls = _registry.event_class(envelope.event_type)
        route = self._route(envelope, cls, handlers)
        if not route.subscriptions and not self.routes.has_raw():
            return self._of_nobody(envelope)
        if cls is None:
            event: Event = envelope.raw()
        else:
            read = self._serializer.deserialize
            try:
                event = read(envelope.payload)
                if is_raw(event):
                    event = read(envelope.payload, cls)  # says why it cannot be lifted
            except Exception as error:  # noqa: BLE001  # whatever a serializer raises
                return self._unreadable(envelope, around, handlers, route, error)
        if not route.subscriptions:
            return self._of_nobody(envelope)
        return self.deliver(event, envelope.channel, route, around, envelope)

    def _route(
        self, envelope: EventEnvelope, cls: type[Event] | None, handlers: Collection[str] | None
    ) -> Route:
        name, channel = envelope.event_type, envelope.channel
        if cls is not None:
            plan = self.routes.plans.get(cls) or self.routes.plan(cls)
            route = plan.route(channel) if plan.named else plan.other
        elif self._refuses_unknown and not self.routes.named(name, channel):
            return NOWHERE
        else:
            route = self.routes.of_unknown(name, channel)
        if HANDLER in envelope.headers:
            handlers = (envelope.headers[HANDLER],) if self._is_of_this_group(envelope) else ()
        return route if handlers is None else route.only(handlers)

    def _is_of_this_group(self, envelope: EventEnvelope) -> bool:
        return self.group is None or envelope.headers.get(GROUP, self.group) == self.group

    async def _of_nobody(self, envelope: EventEnvelope) -> tuple[HandlerOutcome, ...]:
        """What came of an envelope that no subscription here is for."""
        name = envelope.headers.get(HANDLER)
        error: Exception | None = None
        known = envelope.event_type, envelope.channel
        if name is not None and self._is_of_this_group(envelope):
            error = NoSuchHandlerError(name, *known)
        elif self._refuses_unknown and not self.knows(*known):
            error = UnknownEventTypeError(*known)
        return () if error is None else (HandlerOutcome(name or "", Outcome.FAILED, error),)

    async def _unreadable(
        self,
        envelope: EventEnvelope,
        around: Surrounding,
        handlers: Collection[str] | None,
        route: Route,
        error: Exception,
    ) -> tuple[HandlerOutcome, ...]:
        """What cannot be read goes to who asked for raw events, and to nobody else."""
        outcomes = _all(route, Outcome.UNREADABLE, error)
        raw = self._route(envelope, None, handlers).of_raw()
        if raw.subscriptions:
            event = envelope.raw()
            outcomes += await self.deliver(event, envelope.channel, raw, around, envelope)
        return outcomes

    async def deliver(
        self,
        event: Event,
        channel: str,
        route: Route,
        around: Surrounding,
        envelope: EventEnvelope | None = None,
    ) -> tuple[HandlerOutcome, ...]:
        """Call the handlers of `route` that an earlier delivery did not reach.

        With an `envelope`, in its surroundings. `around` is what surrounds the caller, who sets it
        again after the last of many: that takes as long as calling a handler.
        """
        reached: frozenset[Subscription] = frozenset()
        subscriptions: Sequence[Subscription] = route.subscriptions
        handler = None if envelope is None else envelope.headers.get(HANDLER)
        if self.partial:
            reached = self.partial.pop((event.event_id, channel, handler), reached)
            if reached:
                subscriptions = [one for one in subscriptions if one not in reached]
        results: list[Outcome | Exception] = []
        ids = around[5] if envelope is None else envelope
        handling.set((around[0] + 1, channel, envelope, event, self.group, ids))
        try:
            if envelope is None:
                clean = await self.call(subscriptions, event, channel, results)
            else:
                surroundings = attached(envelope)
                try:
                    clean = await self.call(subscriptions, event, channel, results)
                finally:
                    if surroundings is not None:
                        surroundings.close()
        except Exception as error:  # noqa: BLE001  # a context's: none of a handler comes up here
            results[:] = [error] * len(subscriptions)
            clean = False
        except BaseException:
            self._remember((event.event_id, channel, handler), subscriptions, results, reached)
            raise
        if clean:
            return route.handled
        if any(isinstance(one, Exception) for one in results):
            self._remember((event.event_id, channel, handler), subscriptions, results, reached)
        found = dict(zip(subscriptions, results, strict=True))
        return tuple(
            _outcome(name, found.get(one, Outcome.HANDLED))
            for one, name in zip(route.subscriptions, route.names, strict=True)
        )

    async def call(
        self,
        subscriptions: Iterable[Subscription],
        event: Event,
        channel: str,
        results: list[Outcome | Exception],
        *,
        fail_fast: bool = False,
    ) -> bool:
        """Call one after the other and note what came of each in `results`; whether all handled.

        The one loop of all buses. `fail_fast` ends it at the first that fails.
        """
        clean = True
        for subscription in subscriptions:
            try:
                if _observer.observers:
                    with _observer.around_handling(subscription.name, event, channel):
                        result = await self._wrapped(subscription, event, channel)
                elif self.middleware:
                    result = await self._wrapped(subscription, event, channel)
                else:
                    result = await subscription.deliver(event)
            except Exception as error:  # noqa: BLE001  # whatever a handler raises
                results.append(error)
                clean = False
                if fail_fast:
                    break
            else:
                if result is Outcome.NOT_ADDRESSED:
                    results.append(Outcome.NOT_ADDRESSED)
                    clean = False
                else:
                    results.append(Outcome.HANDLED)
        return clean

    async def _wrapped(self, subscription: Subscription, event: Event, channel: str) -> object:
        """The result of the handler's last call, which a middleware may repeat, or leave out."""
        result: object = None

        async def last(event: Event, _channel: str) -> None:
            nonlocal result
            result = await subscription.deliver(event)

        chain: Next = last
        for middleware in reversed(self.middleware):
            chain = partial(middleware, next=chain)
        await chain(event, channel)
        return result

    def _remember(
        self,
        delivery: tuple[UUID, str, str | None],
        subscriptions: Sequence[Subscription],
        results: Sequence[Outcome | Exception],
        reached: frozenset[Subscription],
    ) -> None:
        done = reached.union(
            one
            for one, result in zip(subscriptions, results, strict=False)
            if not isinstance(result, Exception)
        )
        if done:
            while len(self.partial) >= _MAX_PARTIAL:
                del self.partial[next(iter(self.partial))]
            self.partial[delivery] = done


def _all(route: Route, outcome: Outcome, error: Exception) -> tuple[HandlerOutcome, ...]:
    return tuple(HandlerOutcome(name, outcome, error) for name in route.names)


def _outcome(name: str, result: Outcome | Exception) -> HandlerOutcome:
    if isinstance(result, Exception):
        return HandlerOutcome(name, Outcome.FAILED, result)
    return HandlerOutcome(name, result)
