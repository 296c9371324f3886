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

    __slots__ = ("_cancelling", "_fired", "_task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self._fired = False

    def fire(self) -> None:
        """Cancel the task."""
        self._fired = True
        self._task.cancel()

    def is_the_reason(self) -> bool:
        """Whether a cancellation that has arrived comes from here, and from nowhere else."""
        # Whoever else has cancelled the task has also raised its count.
        return self._fired and self._task.cancelling() - 1 <= self._cancelling

    def over(self) -> None:
        """Take the cancellation back, if there was one."""
        if self._fired:
            self._task.uncancel()


class QueuedDeadline(Deadline):
    """A deadline that waits in a queue."""

    __slots__ = ("_pending", "at")

    def __init__(
        self, task: asyncio.Task[object], at: float, pending: dict[QueuedDeadline, None]
    ) -> None:
        # No super().__init__: this is on the way of every call.
        self._task = task
        self._cancelling = task.cancelling()
        self._fired = False
        self._pending = pending
        self.at = at

    def over(self) -> None:
        """Leave the queue, or take the cancellation back."""
        if self._fired:
            self._task.uncancel()
        else:
            del self._pending[self]


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
