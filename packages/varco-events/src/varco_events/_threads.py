"""Sync handlers that would block the loop."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


def in_thread[**P, T](handler: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a sync handler in a worker thread, so that the loop goes on meanwhile.

    A thread cannot be cancelled: cancellation waits until the handler has returned.
    """

    @wraps(handler)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await to_thread.run_sync(partial(handler, *args, **kwargs))

    return run
