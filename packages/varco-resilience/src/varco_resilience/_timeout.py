"""A limit on how long an async call may take."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

import anyio

from varco_resilience._checks import above_zero
from varco_resilience._errors import CallTimeoutError
from varco_resilience._functions import Kind
from varco_resilience._fuse import Layer
from varco_resilience._strategy import AsyncStrategy, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from varco_resilience._strategy import Rest


@types.coroutine
def limited(  # noqa: C901  # one frame: every call pays for it
    awaitable: Awaitable[Any],
    seconds: float,
    name: str,
    error_type: type[CallTimeoutError] = CallTimeoutError,
) -> Generator[Any, Any, Any]:
    """Await with a limit; the error when it is reached.

    On asyncio it keeps the guarantees of `asyncio.timeout`: the waiting task is cancelled once,
    and only that cancellation becomes the error, never one from outside. The timer is armed when
    the call first waits, since a call that never waits cannot be cancelled.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another event loop runs
        task = None
    if task is None:
        return (yield from _limited_by_scope(awaitable, seconds, name, error_type).__await__())
    cancelling = task.cancelling()
    loop = task.get_loop()
    deadline = loop.time() + seconds
    steps = awaitable.__await__()
    try:
        waiting = next(steps)
    except StopIteration as done:
        return done.value
    fired: list[bool] = []
    timer = loop.call_at(deadline, _expire, task, fired)
    try:
        while True:
            try:
                yield waiting
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as thrown:  # noqa: BLE001  # handed on
                waiting = steps.throw(thrown)
            else:
                return (yield from steps)
    except StopIteration as done:
        return done.value
    except asyncio.CancelledError as error:
        # Whoever else has cancelled the task has also raised its count.
        if fired and task.cancelling() - 1 <= cancelling:
            raise error_type(name, seconds) from error
        raise
    finally:
        timer.cancel()
        if fired:
            task.uncancel()


def _expire(task: asyncio.Task[Any], fired: list[bool]) -> None:
    fired.append(True)
    task.cancel()


async def _limited_by_scope(
    awaitable: Awaitable[Any], seconds: float, name: str, error_type: type[CallTimeoutError]
) -> Any:
    with anyio.move_on_after(seconds):
        return await awaitable
    raise error_type(name, seconds)


class Timeout(AsyncStrategy, Part):
    """The decorator that `timeout` returns; it holds no state between calls."""

    __slots__ = ("seconds",)

    label = "timeout"
    kinds = (Kind.ASYNC,)
    remedy = (
        "only an async function can be interrupted; give the timeout to what it waits for "
        "(a socket, a lock, a future), or make it async"
    )

    def __init__(self, seconds: float) -> None:
        above_zero("seconds", seconds)
        self.seconds = seconds

    def layer(self, kind: Kind, name: str, rest: Rest) -> Layer:  # noqa: ARG002  # always async
        """How calls of a function are surrounded."""
        return Layer(
            "result = await limited@(rest@(*args, **kwargs), seconds@, name@)",
            {"limited": limited, "rest": rest(), "seconds": self.seconds, "name": name},
        )


def timeout(seconds: float) -> Timeout:
    """Cancel calls of an async function that take longer, with `CallTimeoutError`.

    A cancellation from outside passes as it is, and so does a `TimeoutError` of the function's own.
    """
    return Timeout(seconds)
