"""Background work that a cache owns between its start and its stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from varco_cache._flight import loading

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

type Job = Callable[[], Awaitable[object]]

logger = logging.getLogger("varco_cache")


class Background:
    """The tasks of one cache: asyncio tasks from `open`, a task group of the scope on trio."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: TaskGroup | None = None
        self._open = False

    async def open(self, *, scoped: bool) -> None:
        """Allow `spawn`; on trio only a scope (`async with`) can own tasks."""
        if _on_asyncio():
            self._open = True
        elif scoped:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._open = True

    @property
    def running(self) -> bool:
        """Whether `spawn` would take a job."""
        return self._open

    def spawn(self, job: Job) -> bool:
        """Run `job` behind the scenes; False when nobody would own it. Its errors are logged."""
        if not self._open:
            return False
        if self._group is not None:
            self._group.start_soon(_logged, job)
            return True
        task = asyncio.get_running_loop().create_task(_logged(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        self._open = False
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _logged(job: Job) -> None:
    loading.set(None)  # no load waits for what runs behind the scenes
    try:
        await job()
    except Exception:
        logger.exception("background work of a cache failed")


def _on_asyncio() -> bool:
    """Whether the task that runs is one of asyncio's; trio may be a guest in its loop."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
