"""Background work that somebody owns, on asyncio and trio."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

import anyio
import anyio.abc
import anyio.lowlevel

from varco_events._errors import LifecycleError

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger("varco_events")


def on_asyncio() -> bool:
    """Whether the running loop is asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def is_own_cancellation(error: BaseException) -> bool:
    """Whether `error` cancels the running task.

    A CancelledError that comes out of awaiting something which somebody else cancelled does not:
    it is a failure like any other. On trio there is no such thing.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0 or anyio.current_effective_deadline() == -math.inf


class Runner(ABC):
    """Does steps until it is stopped, and rests when a step found nothing to do.

    `async with runner:` works everywhere, so does `await runner.run()` in a task of your own;
    `start()` and `stop()` own a task, which only asyncio has. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._scope: anyio.CancelScope | None = None
        self._nap: anyio.CancelScope | None = None
        self._ended: anyio.Event | None = None
        self._stopping = False

    @abstractmethod
    async def run_once(self) -> int:
        """Do one step and return how many things there were to do."""

    @abstractmethod
    async def _rest(self) -> None:
        """Return when there may be something to do."""

    async def run(self) -> None:
        """Work until `stop()`, or until the running task is cancelled."""
        self._begin()
        await self._work()

    def _begin(self) -> None:
        if self._ended is not None:
            raise LifecycleError(f"this {type(self).__name__} is running already")
        self._ended = anyio.Event()
        self._stopping = False

    async def _work(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                while not self._stopping:
                    await self._turn()
        finally:
            self._end()

    def _end(self, _task: object = None) -> None:
        ended, self._ended, self._scope = self._ended, None, None
        self._stopping = False  # what has ended can be told to do a step again
        if ended is not None:
            ended.set()

    async def _turn(self) -> None:
        found = 0
        try:
            found = await self.run_once()
        except (Exception, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            logger.exception("%s goes on after an error", type(self).__name__)
        if found:
            # No step needs to suspend, but others want to run, and to cancel this one.
            await anyio.lowlevel.checkpoint()
        elif not self._stopping:
            with anyio.CancelScope() as self._nap:
                try:
                    await self._rest()
                except (Exception, asyncio.CancelledError) as error:
                    if is_own_cancellation(error):
                        raise
                    logger.exception("%s could not wait for work", type(self).__name__)
                    await anyio.sleep(1)
            self._nap = None

    async def start(self) -> None:
        """Work in a task of its own until `stop()`."""
        if not on_asyncio():
            raise LifecycleError(
                f"start() needs asyncio; on trio use `async with` or `await run()` of the "
                f"{type(self).__name__}"
            )
        self._begin()
        self._task = asyncio.create_task(self._work(), name=type(self).__name__)
        self._task.add_done_callback(self._end)  # also of a task that is cancelled before it begins

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as of a bus
        """End after the step in hand, cancel it after `timeout` seconds."""
        ended = self._ended
        if ended is not None:
            self._stopping = True
            if self._nap is not None:
                self._nap.cancel()
            with anyio.move_on_after(timeout):
                await ended.wait()
            if not ended.is_set() and self._scope is not None:
                self._scope.cancel()
            await ended.wait()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled():  # else somebody cancelled it, which is not to cancel this one
                task.result()

    async def __aenter__(self) -> Self:
        if on_asyncio():
            await self.start()
        else:
            self._begin()
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(self._work)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        try:
            await self.stop()
        finally:
            if group is not None:
                await group.__aexit__(kind, error, trace)
