"""Waking a task from any thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable


def wakeup() -> tuple[anyio.Event, Callable[[], object]]:
    """An event of the running loop, and what sets it from any thread.

    Setting it raises RuntimeError when the loop has ended.
    """
    event = anyio.Event()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # anyio knows no third kind of loop
        import trio  # noqa: PLC0415  # it runs at this moment, so it is there

        token = trio.lowlevel.current_trio_token()
        return event, lambda: token.run_sync_soon(event.set)
    return event, lambda: loop.call_soon_threadsafe(event.set)
