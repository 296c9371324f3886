"""Waking relays of other processes: a change stream on the outbox, where the server has them."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import OperationFailure, PyMongoError

if TYPE_CHECKING:
    from pymongo.asynchronous.change_stream import AsyncChangeStream
    from pymongo.asynchronous.collection import AsyncCollection

_SECONDS: Final = 5
# What is new, and what operators give back.
_CHANGES: Final[list[dict[str, Any]]] = [
    {
        "$match": {
            "$or": [
                {"operationType": "insert"},
                {"updateDescription.removedFields": "parked_at"},
            ]
        }
    },
    {"$project": {"_id": 1}},
]

_log = logging.getLogger("varco_beanie.watch")


class Watch:
    """A change stream and the task that reads it; whoever made it stops it. Of one event loop."""

    def __init__(self, rows: "AsyncCollection[dict[str, Any]]", wake: Callable[[], None]) -> None:
        self._rows = rows
        self._wake = wake
        # Replaced under _lock, so that two who wait open one.
        self._task: asyncio.Task[None] | None = None
        self._stream: AsyncChangeStream[dict[str, Any]] | None = None
        self._lock = asyncio.Lock()
        self._has_none = False

    async def start(self) -> None:
        """Watch unless it does already; a failure is logged, and polling goes on without."""
        if self._has_none or (self._task is not None and not self._task.done()):
            return
        async with self._lock:
            if self._task is not None and not self._task.done():
                return
            try:
                async with asyncio.timeout(_SECONDS):
                    stream = await self._rows.watch(_CHANGES)
            except OperationFailure as error:
                self._has_none = True
                _log.info("the server has no change streams: relays poll (%s)", error.code)
                return
            except (PyMongoError, OSError) as error:
                _log.warning("cannot watch %s, polling instead: %r", self._rows.name, error)
                return
            self._stream = stream
            self._task = asyncio.create_task(self._read(stream), name="varco outbox watch")
        # What was committed before it watched has been missed.
        self._wake()

    async def _read(self, stream: "AsyncChangeStream[dict[str, Any]]") -> None:
        try:
            async with stream:
                async for _ in stream:
                    self._wake()
        except (PyMongoError, OSError) as error:
            if self._stream is stream:
                _log.warning("watching %s broke off: %r", self._rows.name, error)

    async def stop(self) -> None:
        """End the task, and wait for that."""
        task, self._task = self._task, None
        stream, self._stream = self._stream, None
        if task is None or stream is None:
            return
        # It ends with its cursor; PyMongo would leave the connection open that it waits on.
        await stream.close()
        await asyncio.wait([task], timeout=_SECONDS)
        task.cancel()
        await asyncio.wait([task])
