"""The time limits of anyio, which take no cancellation from outside for their own.

Before anyio 4.16 its scopes swallow a cancellation of the task that arrives in the round of
asyncio's loop in which their time is over.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType


class move_on_after:  # noqa: N801  # reads like the function it replaces
    """Leave the block when the time is over."""

    def __init__(self, seconds: float | None, *, shield: bool = False) -> None:
        deadline = math.inf if seconds is None else anyio.current_time() + seconds
        self._scope = anyio.CancelScope(deadline=deadline, shield=shield)
        self._before = _cancellations()

    def __enter__(self) -> anyio.CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        handled = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught and _cancellations() > self._before:
            raise asyncio.CancelledError
        return bool(handled)


@contextmanager
def fail_after(seconds: float, *, shield: bool = False) -> Generator[None]:
    """Raise a TimeoutError when the time is over."""
    with move_on_after(seconds, shield=shield) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError


def _cancellations() -> int:
    """How many cancellations the running task has not undone; only asyncio counts them."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()
