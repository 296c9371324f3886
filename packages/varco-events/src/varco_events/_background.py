"""Deliveries that nobody waits for, owned by the bus that started them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from varco_events._errors import DeliveryCutOffError, LifecycleError
from varco_events._event import type_name_of
from varco_events._lifecycle import on_asyncio

if TYPE_CHECKING:
    from varco_events._event import Event

logger = logging.getLogger("varco_events.bus")

type Work = Callable[[], Awaitable[None]]


class Delivery:
    """One delivery in the background; awaiting it waits for the handlers and raises their error."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.scope = anyio.CancelScope()
        self.finished = False
        self._done = anyio.Event()
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def settled(self) -> None:
        """Return when it ended, in whatever way."""
        await self._done.wait()

    async def _wait(self) -> None:
        await self._done.wait()
        if self._error is not None:
            raise self._error

    async def run(self, work: Work) -> None:
        """Do the work; its error is logged and kept for whoever awaits."""
        try:
            with self.scope:
                await work()
                self.finished = True
        except Exception as error:
            self.finished = True
            self._error = error
            logger.exception("handling %s in the background failed", self.event)
        finally:
            if not self.finished:  # whoever awaits must not take it for handled
                self._error = DeliveryCutOffError(type_name_of(self.event), self.event.event_id)
            self._done.set()


class Background:
    """The deliveries of one bus that are in flight; used from one event loop."""

    def __init__(self) -> None:
        self._deliveries: dict[Delivery, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # a task that nobody holds may vanish
        self.group: anyio.abc.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._deliveries)

    def spawn(self, event: Event, work: Work) -> Delivery:
        """Start `work`; on trio the bus must have been entered with `async with`."""
        delivery = Delivery(event)
        if on_asyncio():
            self._deliveries[delivery] = None
            task = asyncio.create_task(self._run(delivery, work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self.group is None:
            raise LifecycleError(
                "a bus that dispatches in the background needs `async with bus:` on trio"
            )
        else:
            self._deliveries[delivery] = None
            self.group.start_soon(self._run, delivery, work)
        return delivery

    async def _run(self, delivery: Delivery, work: Work) -> None:
        try:
            await delivery.run(work)
        finally:
            self._deliveries.pop(delivery, None)

    async def wait(self) -> None:
        """Return when nothing is in flight, what the deliveries started included."""
        while self._deliveries:
            delivery = next(iter(self._deliveries))
            await delivery.settled()

    async def cancel(self) -> list[Event]:
        """Cancel what is in flight and return the events whose handling was cut off."""
        cut = list(self._deliveries)
        for delivery in cut:
            delivery.scope.cancel()
        for delivery in cut:
            await delivery.settled()
        return [delivery.event for delivery in cut if not delivery.finished]
