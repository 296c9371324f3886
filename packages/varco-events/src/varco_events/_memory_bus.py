"""The bus of one process."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

import anyio

from varco_events import _observer
from varco_events._background import Background
from varco_events._bus import (
    AbstractEventBus,
    ChannelConfig,
    DispatchMode,
    ErrorPolicy,
    EventMiddleware,
    Report,
)
from varco_events._channel import ChannelManager
from varco_events._consumer_state import MOST_CONSUMERS, ConsumerState
from varco_events._context import CHANNEL_DEFAULT, handling
from varco_events._dispatch import Dispatcher, as_one, error_of
from varco_events._errors import (
    BusStoppedError,
    LifecycleError,
    NoSuchHandlerError,
    UnknownEventTypeError,
)
from varco_events._event import Event, RawEvent, type_name_of
from varco_events._lifecycle import on_asyncio
from varco_events._sending import HoldingBack
from varco_events._subscription import (
    CHANNEL_ALL,
    EventFilter,
    Handler,
    Subscription,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterable, Sequence
    from types import TracebackType

    from varco_events._envelope import EventEnvelope
    from varco_events._event_serializer import EventSerializer
    from varco_events._outcome import Outcome

logger = logging.getLogger("varco_events.bus")

# Publishes that are nested deeper than this go on in a task, which has a stack of its own.
_MAX_DEPTH = 30


class InMemoryEventBus(AbstractEventBus, ChannelManager):
    """Calls the handlers in this process, those of one event one after the other.

    Takes events from the start; `stop()` ends that. Belongs to one event loop: between two awaits
    nothing else runs, and that is what protects its state.

    Args:
        error_policy: COLLECT_ALL calls all handlers and raises what failed (one error as it is,
            several as `HandlersFailedError`); FAIL_FAST raises the first error and calls no
            further handler; FIRE_FORGET logs errors.
        dispatch_mode: SYNC handles before `publish` returns; BACKGROUND returns at once with
            something that can be awaited, and events may overtake each other.
        middleware: Wrapped around every delivery to a handler, the first outermost.
        serializer: Reads what a relay brings; JSON unless given.
    """

    def __init__(
        self,
        *,
        error_policy: ErrorPolicy = ErrorPolicy.COLLECT_ALL,
        dispatch_mode: DispatchMode = DispatchMode.SYNC,
        middleware: Iterable[EventMiddleware] | None = None,
        serializer: EventSerializer | None = None,
    ) -> None:
        self._error_policy = ErrorPolicy(error_policy)
        self._dispatch_mode = DispatchMode(dispatch_mode)
        self._dispatcher = Dispatcher(
            serializer=serializer, middleware=middleware or (), refuses_unknown=True
        )
        self._plans = self._dispatcher.routes.plans
        self._channels: dict[str, ChannelConfig] = {}
        self._background = Background()
        self._running = 0
        self._idle: anyio.Event | None = None
        self._stopping = False
        self._stopped = False
        self._plain = False
        self._set_plain()

    def _set_plain(self) -> None:
        """Whether nothing but the depth stands between a publish and its handlers."""
        background = self._dispatch_mode is DispatchMode.BACKGROUND
        self._plain = not (
            background or self._dispatcher.middleware or self._stopping or self._stopped
        )

    def subscribe[E: Event](
        self,
        event_type: type[E] | str,
        handler: Handler[E],
        *,
        channel: str = CHANNEL_ALL,
        filter: EventFilter[E] | None = None,  # noqa: A002  # the reference's name
        priority: int = 0,
    ) -> Subscription:
        """Call `handler` for events of `event_type`, its subclasses included."""
        return self._dispatcher.subscribe(
            event_type, handler, channel=channel, filter=filter, priority=priority
        )

    async def publish(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT
    ) -> Awaitable[None] | None:
        """Handle `event`, or in BACKGROUND mode begin to."""
        depth, _, _, _, _, ids = handling.get()
        if not self._plain or depth >= _MAX_DEPTH or _observer.observers:
            return await self._publish_with_care(event, channel, depth)
        plan = self._plans.get(event.__class__)
        if plan is None:
            route = self._dispatcher.routes.route(event, channel)
        elif plan.named:
            route = plan.channels.get(channel) or plan.route(channel)
        else:
            route = plan.other
        # What _handle does without its calls, which cost as much as calling a handler.
        remaining = iter(route.deliveries)
        token = handling.set((depth + 1, channel, None, None, None, ids))
        self._running += 1
        try:
            for deliver in remaining:
                await deliver(event)
        except Exception as error:  # noqa: BLE001  # raised there, as the policy says
            left = route.subscriptions[len(route.deliveries) - length_hint(remaining) :]
            await self._handle(event, channel, left, error)
        finally:
            handling.reset(token)
            self._running -= 1
            if self._idle is not None:
                self._wake_idle()
        return None

    async def _handle(
        self,
        event: Event,
        channel: str,
        subscriptions: Sequence[Subscription],
        first: Exception | None = None,
    ) -> None:
        """Call the handlers after one that may have failed; errors go as the policy says."""
        fail_fast = self._error_policy is ErrorPolicy.FAIL_FAST
        results: list[Outcome | Exception] = [] if first is None else [first]
        if first is None or not fail_fast:
            await self._dispatcher.call(subscriptions, event, channel, results, fail_fast=fail_fast)
        errors = [one for one in results if isinstance(one, Exception)]
        if self._error_policy is ErrorPolicy.FIRE_FORGET:
            for failure in errors:
                logger.error("a handler of %s failed", event, exc_info=failure)
        elif errors:
            raise as_one(type_name_of(event), errors)

    async def _publish_with_care(
        self, event: Event, channel: str, depth: int
    ) -> Awaitable[None] | None:
        self._admit(event, depth)
        route = self._dispatcher.routes.route(event, channel)
        if not route.subscriptions:
            return None
        work = partial(self._publish_to, event, channel, route.subscriptions)
        if self._dispatch_mode is DispatchMode.BACKGROUND:
            return self._background.spawn(event, partial(work, 0))
        if depth >= _MAX_DEPTH:
            await on_new_stack(partial(work, 0))
        else:
            await work(depth)
        return None

    async def _publish_to(
        self, event: Event, channel: str, subscriptions: Sequence[Subscription], depth: int
    ) -> None:
        ids = handling.get()[5]
        token = handling.set((depth + 1, channel, None, None, None, ids))
        try:
            with self._in_flight():
                await self._handle(event, channel, subscriptions)
        finally:
            handling.reset(token)

    @contextmanager
    def _in_flight(self) -> Generator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._wake_idle()

    def _wake_idle(self) -> None:
        if self._idle is not None and not self._running:
            self._idle.set()

    def _admit(self, event: Event, depth: int) -> None:
        # While the bus drains, what its handlers publish still belongs to what it drains.
        if self._stopped or (self._stopping and not depth):
            raise BusStoppedError(type_name_of(event))

    async def deliver(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT, handler: str | None = None
    ) -> None:
        """Handle `event` before returning and raise what failed, whatever mode and policy.

        Every handler is called. When some fail, a repeated delivery skips those that succeeded,
        as long as this process remembers (10,000 partly failed events).

        Raises:
            UnknownEventTypeError: a `RawEvent` whose type nobody listens to by name.
            NoSuchHandlerError: no subscription is called `handler`.
        """
        around = handling.get()
        depth = around[0]
        if depth >= _MAX_DEPTH:
            await on_new_stack(partial(self._deliver_nested, event, channel, handler))
            return
        route = self._dispatcher.routes.route(event, channel)
        self._admit(event, depth)
        name = type_name_of(event)
        if handler is not None:
            route = route.only((handler,))
            if not route.subscriptions:
                raise NoSuchHandlerError(handler, name, channel)
        elif isinstance(event, RawEvent) and not self._dispatcher.routes.named(name, channel):
            is_raw = self._dispatcher.knows(name, channel)  # that is, its class
            raise UnknownEventTypeError(name, channel, is_raw=is_raw)
        try:
            with self._in_flight():
                outcomes = await self._dispatcher.deliver(event, channel, route, around)
        finally:
            handling.set(around)
        error = error_of(name, outcomes)
        if error is not None:
            raise error

    async def _deliver_nested(self, event: Event, channel: str, handler: str | None) -> None:
        _surface(channel)
        await self.deliver(event, channel=channel, handler=handler)

    async def send(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        """Handle each envelope before the next, whatever mode and policy."""
        if getattr(self.deliver, "__func__", None) is not InMemoryEventBus.deliver:
            await super().send(envelopes, report)  # what overrides it is called
            return
        around = handling.get()
        if around[0] >= _MAX_DEPTH:
            await on_new_stack(partial(self._send_nested, envelopes, report))
            return
        held, outcomes = HoldingBack(), self._dispatcher.outcomes
        try:
            with self._in_flight():
                for envelope in envelopes:
                    error = held.of(envelope) if held.is_holding else None
                    if error is None:
                        if self._stopped or (self._stopping and not around[0]):
                            error = BusStoppedError(envelope.event_type)
                        else:
                            found = await outcomes(envelope, around)
                            error = error_of(envelope.event_type, found)
                        if error is not None:
                            held.add(envelope, error)
                    report(envelope, error)
        finally:
            handling.set(around)

    async def _send_nested(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        _surface(CHANNEL_DEFAULT)
        await self.send(envelopes, report)

    async def drain(self) -> None:
        """Return when no event is being handled, nested and background ones included."""
        while self._running or len(self._background):
            if handling.get()[0]:
                raise LifecycleError("a handler cannot wait for its own bus to drain or stop")
            if self._running:
                idle = self._idle = self._idle or anyio.Event()
                await idle.wait()
                self._idle = None
            await self._background.wait()

    async def start(self) -> None:
        """Take events again after `stop()`."""
        self._stopping = self._stopped = False
        self._set_plain()

    async def stop(self, timeout: float | None = None) -> Sequence[Event]:  # noqa: ASYNC109  # the reference's name
        """Refuse new events, wait for those in flight and what they publish.

        Returns:
            The background events that were cancelled because `timeout` seconds were over.
        """
        if self._stopped:
            return ()
        self._stopping = True
        self._set_plain()
        dropped: Sequence[Event] = ()
        try:
            with anyio.move_on_after(timeout) as waited:
                await self.drain()
            if waited.cancelled_caught:
                dropped = await self._background.cancel()
                logger.warning(
                    "stopped after %s s: %d events cut off, %d still handled by their publishers",
                    timeout,
                    len(dropped),
                    self._running,
                )
        finally:
            self._stopped = True
        return dropped

    async def __aenter__(self) -> Self:
        await self.start()
        if self._dispatch_mode is DispatchMode.BACKGROUND and not on_asyncio():
            group = anyio.create_task_group()
            self._background.group = await group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        group, self._background.group = self._background.group, None
        try:
            await self.stop()
        finally:
            if group is not None:
                await group.__aexit__(kind, error, trace)

    async def declare_channel(self, channel: str, config: ChannelConfig | None = None) -> None:
        """Note the channel; nothing here depends on it."""
        self._channels[channel] = config or ChannelConfig()

    async def delete_channel(self, channel: str) -> None:
        """Forget the channel; its subscriptions stay."""
        self._channels.pop(channel, None)

    async def channel_exists(self, channel: str) -> bool:
        """Whether `channel` was declared."""
        return channel in self._channels

    async def list_channels(self) -> list[str]:
        """The declared channels, sorted."""
        return sorted(self._channels)

    async def consumers(self, *, limit: int = MOST_CONSUMERS) -> list[ConsumerState]:
        """What the handlers of this process have in hand, all channels together.

        Nothing waits on a bus of one process: its lag is what is in hand.
        """
        in_hand = max(self._running, len(self._background))
        here = ConsumerState(group="", channel=CHANNEL_ALL, lag=in_hand, in_hand=in_hand)
        return [here][:limit]


def _surface(channel: str) -> None:
    """Count from the first handler again, in a task of its own: there is nothing to reset."""
    handling.set((1, channel, None, None, None, handling.get()[5]))


async def on_new_stack(work: Any) -> None:
    """Wait for `work` in a task of its own; cancelling the waiter cancels it."""
    failures: list[Exception] = []

    async def run() -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  # raised below, where the waiter is
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
    if failures:
        raise failures[0]
