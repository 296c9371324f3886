"""Waking relays of other processes: LISTEN on PostgreSQL, where no pooler is in the way."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from varco_sa._engine import listening_engine

CHANNEL: Final = "varco_outbox"

_SECONDS: Final = 5

_log = logging.getLogger("varco_sa.notify")


class Listener:
    """A connection that listens; whoever made it stops it. Belongs to one event loop."""

    def __init__(self, engine: AsyncEngine, wake: Callable[[], None]) -> None:
        self._engine = listening_engine(engine)
        self._wake = wake
        if self._engine is None:
            _log.info("a pooler in transaction mode cannot listen on %s: relays poll", CHANNEL)
        # Out of the pool's count; replaced under _lock, so that two who wait open one.
        self._connection: Any = None
        # SQLAlchemy closes it when nobody holds this.
        self._pooled: Any = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Listen unless it does already; a failure is logged, and polling goes on without."""
        if self._engine is None:
            return
        async with self._lock:
            if self._connection is not None and not self._connection.is_closed():
                return
            self._connection = None
            try:
                async with asyncio.timeout(_SECONDS):
                    connection = await self._connect(self._engine)
            except Exception as error:  # noqa: BLE001  # drivers and pools have errors of their own
                _log.warning("cannot listen on %s, polling instead: %r", CHANNEL, error)
                return
            self._connection = connection
        # What was committed before it listened has been missed.
        self._wake()

    async def _connect(self, engine: AsyncEngine) -> Any:
        # As the engine connects, with its arguments and events, but never waiting for its pool.
        pool = engine.sync_engine.pool.recreate()
        self._pooled = await greenlet_spawn(pool.connect)
        connection = self._pooled.driver_connection
        self._pooled.detach()
        try:
            await connection.add_listener(CHANNEL, self._heard)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _heard(self, *_args: object) -> None:
        self._wake()

    async def stop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=_SECONDS)
            except (OSError, TimeoutError) as error:
                _log.debug("the listening connection was broken: %r", error)
