"""Waking relays of other processes: LISTEN on PostgreSQL."""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

CHANNEL: Final = "varco_outbox"

_log = logging.getLogger("varco_sa.notify")


class Listener:
    """A connection that listens; whoever made it stops it. Belongs to one event loop."""

    def __init__(self, engine: AsyncEngine, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._wake = wake
        self._connection: Any = None

    async def start(self) -> None:
        """Listen unless it does already; a failure is logged, and polling goes on without."""
        if self._connection is not None and not self._connection.is_closed():
            return
        asyncpg: Any = import_module("asyncpg")  # only those on PostgreSQL have it

        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        for name in ("prepared_statement_cache_size", "prepared_statement_name_func"):
            options.pop(name, None)
        try:
            connection: Any = await asyncpg.connect(*arguments, timeout=5, **options)
            await connection.add_listener(CHANNEL, self._heard)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("cannot listen on %s, polling instead: %r", CHANNEL, error)
            return
        self._connection = connection
        # What was committed before it listened has been missed.
        self._wake()

    def _heard(self, *_args: object) -> None:
        self._wake()

    async def stop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(timeout=5)
