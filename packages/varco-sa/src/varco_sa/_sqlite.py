"""SQLite with one visit to its thread for each statement, where the stock adapter makes four.

aiosqlite runs a database in a thread. Making a cursor, executing, fetching and closing are a visit
each; together they are most of what a small statement costs.
"""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util import await_only

type _Answer = tuple[Any, list[Any], int, int | None]

_NO_ANSWER: _Answer = (None, [], -1, None)


def dbapi_module() -> AsyncAdapt_aiosqlite_dbapi:
    """What `create_async_engine` takes as its `module`."""
    return _Module(aiosqlite, sqlite3)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that has its rows as soon as it has executed, and nothing to close."""

    __slots__ = ("_answer",)

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001  # of the base class
        self._rows = deque()
        self._answer: Any = _NO_ANSWER

    @property
    def description(self) -> Any:
        return self._answer[0]

    @property
    def rowcount(self) -> int:
        return int(self._answer[2])

    @property
    def lastrowid(self) -> Any:
        return self._answer[3]

    @property
    def arraysize(self) -> int:
        return 1

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        """Rows are fetched already."""

    async def _async_soft_close(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        self._rows.clear()

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._visit(_execute, operation, parameters or ())

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._visit(_execute_many, operation, seq_of_parameters)

    async def _visit(self, call: Any, operation: Any, parameters: Any) -> None:
        connection: Any = self._connection
        adapted: Any = self._adapt_connection
        async with adapted._execute_mutex:  # noqa: SLF001  # of the base class
            adapted.visiting = True
            raw = connection._conn  # noqa: SLF001  # as SQLAlchemy's own adapter does
            visit = connection._execute  # noqa: SLF001  # it has no public way in
            try:
                self._answer = await visit(_try, call, raw, operation, parameters)
            except asyncio.CancelledError:
                # Nobody waits for what the thread computes, and the thread has other work.
                with contextlib.suppress(sqlite3.Error):
                    raw.interrupt()
                raise
            adapted.visiting = False
        if isinstance(self._answer, Exception):
            error, self._answer = self._answer, _NO_ANSWER
            raise error
        self._rows = deque(self._answer[1])

    def fetchall(self) -> Sequence[Any]:
        rows = self._answer[1] if len(self._rows) == len(self._answer[1]) else list(self._rows)
        self._rows.clear()
        return rows


def _try(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except Exception as error:  # noqa: BLE001  # raised again by who asked
        return error


def _execute(connection: sqlite3.Connection, operation: str, parameters: Any) -> _Answer:
    cursor = connection.execute(operation, parameters)
    rows = cursor.fetchall() if cursor.description else []
    answer = cursor.description, rows, cursor.rowcount, cursor.lastrowid
    cursor.close()
    return answer


def _execute_many(connection: sqlite3.Connection, operation: str, parameters: Any) -> _Answer:
    cursor = connection.executemany(operation, parameters)
    answer: _Answer = (None, [], cursor.rowcount, cursor.lastrowid)
    cursor.close()
    return answer


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("visiting",)

    _cursor_cls = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        # Whether a visit was abandoned by a cancellation: its statement may yet run.
        self.visiting = False

    def _idle(self) -> bool:
        connection: Any = self._connection
        return not self.visiting and bool(connection._connection) and not connection.in_transaction  # noqa: SLF001  # as SQLAlchemy's own adapter does

    def rollback(self) -> None:
        # Outside of a transaction there is nothing to visit the thread for.
        if not self._idle():
            super().rollback()
            self.visiting = False

    def commit(self) -> None:
        if not self._idle():
            super().commit()


class _Module(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arg: Any, **kw: Any) -> _Connection:
        connection: Any = self.aiosqlite.connect(*arg, **kw)
        # A process that forgets to dispose of its engine ends nevertheless.
        connection._thread.daemon = True  # noqa: SLF001  # as SQLAlchemy's own adapter does
        return _Connection(self, await_only(_opened(connection)))


async def _opened(connection: Any) -> Any:
    """Open the connection; cancelled meanwhile, close what the thread opens all the same."""
    opening: asyncio.Future[Any] = asyncio.ensure_future(connection)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # Not awaited here: a cancel scope goes on cancelling whatever this task waits for.
        opening.add_done_callback(lambda _: connection.stop())
        raise
