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


@contextmanager
def move_on_after(seconds: float | None, *, shield: bool = False) -> Generator[anyio.CancelScope]:
    """Leave the block when the time is over."""
    deadline = math.inf if seconds is None else anyio.current_time() + seconds
    before = _cancellations()
    with anyio.CancelScope(deadline=deadline, shield=shield) as scope:
        yield scope
    if scope.cancelled_caught and _cancellations() > before:
        raise asyncio.CancelledError


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
