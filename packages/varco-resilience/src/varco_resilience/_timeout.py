"""A limit on how long an async call may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio

from varco_resilience._checks import above_zero
from varco_resilience._deadlines import Deadline, DeadlineQueues, QueuedDeadline
from varco_resilience._errors import CallTimeoutError
from varco_resilience._functions import Kind
from varco_resilience._strategy import AsyncStrategy, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType


def running_task() -> asyncio.Task[Any] | None:
    """The asyncio task that runs now; None on another event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Limit:
    """A limit around a block of async code, which it leaves when its time is up.

    On asyncio it is no scope of anyio's: before anyio 4.16 those take a cancellation from outside
    for their own when both arrive in one round of the loop.
    """

    __slots__ = ("_running", "_scope", "_seconds", "cause")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scope: anyio.CancelScope | None = None
        self._running: tuple[Deadline, asyncio.TimerHandle] | None = None
        self.cause: BaseException | None = None

    def __enter__(self) -> Self:
        task = running_task()
        if task is None:
            self._scope = anyio.move_on_after(self._seconds).__enter__()
        else:
            loop = task.get_loop()
            deadline = Deadline(task)
            timer = loop.call_at(loop.time() + self._seconds, deadline.fire)
            self._running = deadline, timer
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        if self._scope is not None:
            # A scope of trio's answers True as well where there was no error.
            return bool(self._scope.__exit__(kind, error, tb)) and error is not None
        if self._running is None:  # it was never entered
            return False
        deadline, timer = self._running
        timer.cancel()
        late = isinstance(error, asyncio.CancelledError) and deadline.is_the_reason()
        deadline.over()
        if late:
            self.cause = error
        return late


async def limited(
    awaitable: Awaitable[Any],
    seconds: float,
    name: str,
    error_type: type[CallTimeoutError] = CallTimeoutError,
) -> Any:
    """Await with a limit that is each time another one."""
    with Limit(seconds) as limit:
        return await awaitable
    raise error_type(name, seconds) from limit.cause


class Timeout(AsyncStrategy, Part):
    """The decorator that `timeout` returns; it may be shared between event loops."""

    __slots__ = ("_queues", "seconds")

    label = "timeout"
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.ASYNC,)
    remedy = (
        "only an async function can be interrupted; give the timeout to what it waits for "
        "(a socket, a lock, a future), or make it async"
    )

    def __init__(self, seconds: float) -> None:
        above_zero("seconds", seconds)
        self.seconds: float = seconds
        self._queues = DeadlineQueues(seconds)

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:  # noqa: ARG002  # always async
        """The function that surrounds calls of another, and is of the same kind.

        With the guarantees of asyncio.timeout: the task is cancelled once, and only that
        cancellation becomes the error, never one from outside.
        """
        queues, seconds = self._queues, self.seconds

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            deadline = QueuedDeadline(queues)
            pending = deadline.pending
            if pending is None:
                return await limited(func(*args, **kwargs), seconds, name)
            try:
                return await func(*args, **kwargs)
            except asyncio.CancelledError as error:
                if deadline.is_the_reason():
                    raise CallTimeoutError(name, seconds) from error
                raise
            finally:
                if deadline.fired:
                    deadline.over()
                else:  # without a frame of its own, as most calls end so
                    del pending[deadline]

        return wrapper


def timeout(seconds: float) -> Timeout:
    """Cancel calls of an async function that take longer, with `CallTimeoutError`.

    A cancellation from outside passes as it is, and so does a `TimeoutError` of the function's own.
    """
    return Timeout(seconds)
