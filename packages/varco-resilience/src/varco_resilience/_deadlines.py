"""Deadlines of asyncio tasks: cheap to set, since most are never reached."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """Cancels a task, and knows that cancellation from all others."""

    __slots__ = ("_cancelling", "_task", "fired")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self.fired = False

    def fire(self) -> None:
        """Cancel the task."""
        self.fired = True
        self._task.cancel()

    def is_the_reason(self) -> bool:
        """Whether a cancellation that has arrived comes from here, and from nowhere else."""
        # Whoever else has cancelled the task has also raised its count.
        return self.fired and self._task.cancelling() - 1 <= self._cancelling

    def over(self) -> None:
        """Take the cancellation back, if there was one."""
        if self.fired:
            self._task.uncancel()


class QueuedDeadline(Deadline):
    """A deadline of the task that runs now, in a queue; who sets it takes it out, or `over`.

    `pending` is the queue, and None when no task of asyncio runs.
    """

    __slots__ = ("at", "pending")

    def __init__(self, queues: DeadlineQueues) -> None:
        # All of it in one frame: this is on the way of every call.
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None:
            self.pending: dict[QueuedDeadline, None] | None = None
            return
        loop = task.get_loop()
        queue = queues.known.get(loop) or queues.make(loop)
        self._task = task
        self._cancelling = task.cancelling()
        self.fired = False
        self.at: float = queue.clock() + queues.seconds
        self.pending = pending = queue.pending
        pending[self] = None
        if queue.timer is None:
            queue.arm(self)


class DeadlineQueue:
    """The deadlines on one event loop that are all equally far away when they are set.

    So they come due in the order of setting, and one timer is enough for all of them, armed for
    the earliest. Only its loop's thread uses it. The loop holds the timer, and the timer holds the
    queue weakly: what was decorated for a single call goes without waiting for its limit.
    """

    __slots__ = ("__weakref__", "_context", "_loop", "clock", "pending", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer: asyncio.TimerHandle | None = None
        self._loop = loop
        # The usual loop.time, without its frame.
        usual = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
        self.clock: Callable[[], float] = time.monotonic if usual else loop.time
        self._context = Context()  # the caller's would be kept alive as long as the timer
        self.pending: dict[QueuedDeadline, None] = {}

    def __del__(self) -> None:
        # Not from another thread: there it rings, for nobody.
        with contextlib.suppress(RuntimeError):
            if self.timer is not None and asyncio.get_running_loop() is self._loop:
                self.timer.cancel()

    def arm(self, earliest: QueuedDeadline) -> None:
        """Set the timer; for who has put the first deadline into `pending`."""
        self.timer = self._loop.call_at(
            earliest.at, _ring, weakref.ref(self), context=self._context
        )

    def ring(self) -> None:
        """Fire the deadlines that are due, and set the timer for the next one."""
        pending = self.pending
        now = self.clock()
        while pending:
            earliest = next(iter(pending))
            if earliest.at > now:
                self.arm(earliest)
                return
            del pending[earliest]
            earliest.fire()
        self.timer = None


def _ring(queue: Callable[[], DeadlineQueue | None]) -> None:
    alive = queue()
    if alive is not None:
        alive.ring()


class DeadlineQueues:
    """One queue for each event loop, which only that loop's thread looks up and uses."""

    __slots__ = ("known", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds
        self.known: dict[asyncio.AbstractEventLoop, DeadlineQueue] = {}

    def make(self, loop: asyncio.AbstractEventLoop) -> DeadlineQueue:
        """The queue of one more loop; those of closed loops go."""
        for other in list(self.known):
            if other.is_closed():
                self.known.pop(other, None)
        queue = self.known[loop] = DeadlineQueue(loop)
        return queue
