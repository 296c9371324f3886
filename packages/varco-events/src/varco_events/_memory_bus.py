"""The bus of one process."""

from __future__ import annotations

import logging
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

import anyio

from varco_events._background import Background
from varco_events._bus import (
    CHANNEL_ALL,
    CHANNEL_DEFAULT,
    AbstractEventBus,
    ChannelConfig,
    Deliver,
    DispatchMode,
    ErrorPolicy,
    EventFilter,
    EventMiddleware,
    Handler,
    Next,
    Subscription,
)
from varco_events._channel import ChannelManager
from varco_events._context import handling
from varco_events._errors import (
    BusStoppedError,
    BusUnavailableError,
    HandlersFailedError,
    LifecycleError,
    NoSuchHandlerError,
    UnknownEventTypeError,
)
from varco_events._event import Event, RawEvent, type_name_of
from varco_events._lifecycle import on_asyncio
from varco_events._routing import Routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Sequence
    from types import TracebackType
    from uuid import UUID

logger = logging.getLogger("varco_events.bus")

# Publishes that are nested deeper than this go on in a task, which has a stack of its own.
_MAX_DEPTH = 30
# How many partly failed deliveries a bus remembers.
_MAX_PARTIAL = 10_000


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
    """

    def __init__(
        self,
        *,
        error_policy: ErrorPolicy = ErrorPolicy.COLLECT_ALL,
        dispatch_mode: DispatchMode = DispatchMode.SYNC,
        middleware: Iterable[EventMiddleware] | None = None,
    ) -> None:
        self._error_policy = ErrorPolicy(error_policy)
        self._dispatch_mode = DispatchMode(dispatch_mode)
        self._middleware = tuple(middleware or ())
        self._routes = Routes()
        self._plans = self._routes.plans
        self._channels: dict[str, ChannelConfig] = {}
        self._background = Background()
        self._running = 0
        self._idle: anyio.Event | None = None
        self._stopping = False
        self._stopped = False
        # Which handlers a partly failed delivery has reached; oldest first.
        self._partial: dict[tuple[UUID, str], set[Subscription]] = {}
        self._plain = False
        self._set_plain()

    def _set_plain(self) -> None:
        """Whether nothing but the depth stands between a publish and its handlers."""
        background = self._dispatch_mode is DispatchMode.BACKGROUND
        self._plain = not (background or self._middleware or self._stopping or self._stopped)

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
        subscription = Subscription(
            event_type,
            handler,
            channel=channel,
            filter=filter,
            priority=priority,
            on_cancel=self._routes.remove,
        )
        self._routes.add(subscription)
        return subscription

    async def publish(
        self, event: Event, *, channel: str = CHANNEL_DEFAULT
    ) -> Awaitable[None] | None:
        """Handle `event`, or in BACKGROUND mode begin to."""
        depth = handling.get()[0]
        if not self._plain or depth >= _MAX_DEPTH:
            return await self._publish_with_care(event, channel, depth)
        plan = self._plans.get(event.__class__)
        if plan is None:
            route = self._routes.route(event, channel)
        elif plan.named:
            route = plan.channels.get(channel) or plan.route(channel)
        else:
            route = plan.other
        # The body of _dispatch once more: awaiting it costs as much as calling a handler.
        remaining = iter(route.deliveries)
        token = handling.set((depth + 1, channel))
        self._running += 1
        try:
            for deliver in remaining:
                await deliver(event)
        except Exception as error:  # noqa: BLE001  # raised there, as the policy says
            await self._go_on(event, remaining, error)
        finally:
            handling.reset(token)
            self._running -= 1
            if self._idle is not None:
                self._wake_idle()
        return None

    async def _dispatch(
        self, event: Event, channel: str, deliveries: Sequence[Deliver], depth: int
    ) -> None:
        remaining = iter(deliveries)
        token = handling.set((depth + 1, channel))
        self._running += 1
        try:
            for deliver in remaining:
                await deliver(event)
        except Exception as error:  # noqa: BLE001  # raised there, as the policy says
            await self._go_on(event, remaining, error)
        finally:
            handling.reset(token)
            self._running -= 1
            self._wake_idle()

    async def _go_on(self, event: Event, remaining: Iterator[Deliver], first: Exception) -> None:
        """Call the handlers after one that failed, and do with the errors what the policy says."""
        if self._error_policy is ErrorPolicy.FAIL_FAST:
            raise first
        errors = [first]
        for deliver in remaining:
            try:
                await deliver(event)
            except Exception as error:  # noqa: BLE001  # all are raised below
                errors.append(error)
        if self._error_policy is ErrorPolicy.FIRE_FORGET:
            for failure in errors:
                logger.error("a handler of %s failed", event, exc_info=failure)
        else:
            _raise(event, errors)

    def _wake_idle(self) -> None:
        if self._idle is not None and not self._running:
            self._idle.set()

    async def _publish_with_care(
        self, event: Event, channel: str, depth: int
    ) -> Awaitable[None] | None:
        self._admit(event, depth)
        route = self._routes.route(event, channel)
        if not route.deliveries:
            return None
        deliveries = [self._wrapped(deliver, channel) for deliver in route.deliveries]
        if self._dispatch_mode is DispatchMode.BACKGROUND:
            return self._background.spawn(
                event, partial(self._dispatch, event, channel, deliveries, 0)
            )
        if depth >= _MAX_DEPTH:
            await _on_new_stack(partial(self._dispatch, event, channel, deliveries, 0))
        else:
            await self._dispatch(event, channel, deliveries, depth)
        return None

    def _admit(self, event: Event, depth: int) -> None:
        # While the bus drains, what its handlers publish still belongs to what it drains.
        if self._stopped or (self._stopping and not depth):
            raise BusStoppedError(type_name_of(event))

    def _wrapped(self, deliver: Deliver, channel: str) -> Deliver:
        if not self._middleware:
            return deliver

        async def last(event: Event, _channel: str) -> None:
            await deliver(event)

        chain: Next = last
        for middleware in reversed(self._middleware):
            chain = partial(middleware, next=chain)

        async def first(event: Event) -> None:
            await chain(event, channel)

        return first

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
        depth = handling.get()[0]
        if depth >= _MAX_DEPTH:
            await _on_new_stack(partial(self._deliver_nested, event, channel, handler))
            return
        subscriptions = self._addressed(event, channel, handler, depth)
        reached: Iterable[Subscription] = ()
        if self._partial:
            reached = self._partial.pop((event.event_id, channel), ())
            subscriptions = [one for one in subscriptions if one not in reached]
        token = handling.set((depth + 1, channel))
        self._running += 1
        try:
            await self._deliver_to(subscriptions, event, channel, 0, {}, reached)
        finally:
            handling.reset(token)
            self._running -= 1
            self._wake_idle()

    async def deliver_many(self, deliveries: Iterable[tuple[Event, str]]) -> None:
        """`deliver` pairs of event and channel one after the other; the first failure ends it."""
        depth = handling.get()[0]
        if depth >= _MAX_DEPTH:
            await super().deliver_many(deliveries)
            return
        # What `deliver` does for each event is done for all, or when the channel changes.
        within = outside = None
        self._running += 1
        try:
            for event, channel in deliveries:
                plan = self._plans.get(event.__class__)
                if (
                    plan is None
                    or not self._plain
                    or (self._partial and (event.event_id, channel) in self._partial)
                ):
                    if outside is not None:
                        handling.reset(outside)
                        within = outside = None
                    await self.deliver(event, channel=channel)
                    continue
                if channel != within:
                    within, token = channel, handling.set((depth + 1, channel))
                    outside = outside or token
                route = plan.route(channel) if plan.named else plan.other
                remaining = iter(route.deliveries)
                try:
                    for deliver in remaining:
                        await deliver(event)
                except BaseException as error:
                    ended = len(route.deliveries) - length_hint(remaining) - 1
                    await self._end_delivery(route.subscriptions, event, channel, ended, error)
                    raise
        finally:
            if outside is not None:
                handling.reset(outside)
            self._running -= 1
            self._wake_idle()

    async def _end_delivery(
        self,
        subscriptions: Sequence[Subscription],
        event: Event,
        channel: str,
        ended: int,
        error: BaseException,
    ) -> None:
        """Go on after the handler at `ended` failed, unless it was cancelled."""
        if isinstance(error, Exception):
            failed = {subscriptions[ended]: error}
            await self._deliver_to(subscriptions, event, channel, ended + 1, failed)
        else:
            self._remember((event.event_id, channel), {*subscriptions[:ended]})

    async def _deliver_to(
        self,
        subscriptions: Sequence[Subscription],
        event: Event,
        channel: str,
        ended: int,
        failed: dict[Subscription, Exception],
        reached: Iterable[Subscription] = (),
    ) -> None:
        """Call the handlers from the one at `ended` on, and raise what failed of all.

        Those before were called now, with these failures, those `reached` in earlier deliveries.
        """
        try:
            for subscription in subscriptions[ended:]:
                deliver = subscription.deliver
                try:
                    if self._middleware:
                        deliver = self._wrapped(deliver, channel)
                    await deliver(event)
                except Exception as error:  # noqa: BLE001  # all are raised below
                    failed[subscription] = error
                ended += 1
        finally:
            if failed or ended < len(subscriptions):
                done = {one for one in subscriptions[:ended] if one not in failed}
                self._remember((event.event_id, channel), done.union(reached))
        if failed:
            errors = list(failed.values())
            # Alone, that of a handler would say that this bus is down.
            _raise(event, errors, as_group=isinstance(errors[0], BusUnavailableError))

    async def _deliver_nested(self, event: Event, channel: str, handler: str | None) -> None:
        handling.set((1, channel))  # in a task of its own: nothing to reset
        await self.deliver(event, channel=channel, handler=handler)

    def _addressed(
        self, event: Event, channel: str, handler: str | None, depth: int
    ) -> Sequence[Subscription]:
        if self._stopping or self._stopped:
            self._admit(event, depth)
        plan = self._plans.get(event.__class__)  # a RawEvent never has one
        if plan is not None and handler is None:
            return (plan.route(channel) if plan.named else plan.other).subscriptions
        subscriptions = self._routes.route(event, channel).subscriptions
        if handler is not None:
            # Without its module a name is taken too: buses that wrap handlers put theirs before it.
            addressed = [one for one in subscriptions if one.name == handler] or [
                one for one in subscriptions if one.name.endswith(f".{handler}")
            ]
            if not addressed:
                raise NoSuchHandlerError(handler, type_name_of(event), channel)
            return addressed
        if isinstance(event, RawEvent) and not self._routes.named(event, channel):
            raise UnknownEventTypeError(event.raw_type, channel)
        return subscriptions

    def _remember(self, key: tuple[UUID, str], done: set[Subscription]) -> None:
        if done:
            while len(self._partial) >= _MAX_PARTIAL:
                del self._partial[next(iter(self._partial))]
            self._partial[key] = done

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


def _raise(event: Event, errors: list[Exception], *, as_group: bool = False) -> None:
    if len(errors) == 1 and not as_group:
        raise errors[0]
    noun = "handler" if len(errors) == 1 else "handlers"
    message = f"{len(errors)} {noun} of {type_name_of(event)} failed"
    raise HandlersFailedError(message, errors) from None


async def _on_new_stack(work: Any) -> None:
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
