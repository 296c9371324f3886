"""Engines, and what a connection needs so that a query means the same on each of them."""

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, finalize

import sqlalchemy as sa
from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from varco_query.compile import fold_case
from varco_sa._dialects import DRIVERS, POOLED, dialect_named, dialect_of

_BUSY_SECONDS = 30
_SET_UP = "varco_set_up"
# The execution option that says where an engine behind a pooler listens; None for nowhere.
_LISTEN = "varco_listen_url"


def make_engine(
    url: str | sa.URL,
    *,
    pgbouncer: bool = False,
    listen_url: str | sa.URL | None = None,
    **options: Any,
) -> AsyncEngine:
    """An engine for the URL; a URL without a driver gets the asynchronous one.

    SQLite without a file is a private database in a temporary file, removed with the engine or when
    the process ends: a database in memory has one connection, on which units of work would mix.

    Args:
        url: Of SQLite, PostgreSQL, MariaDB or MySQL.
        pgbouncer: The URL leads to PgBouncer, or another pooler, in transaction mode: each
            transaction may meet another server process. No statement is then prepared for the next
            transaction, and connections are pooled there alone.
        listen_url: Where to listen for commits that wake relays, past the pooler. Without one,
            relays behind it poll.
        options: Passed on to `create_async_engine`.

    Raises:
        ValueError: `pgbouncer` is set for a driver other than asyncpg.
    """
    parsed = sa.make_url(url)
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    options.setdefault("hide_parameters", True)
    dialect = dialect_named(parsed.get_backend_name())
    if pgbouncer:
        needed = dialect.behind_pooler(parsed.drivername)
        if needed is None:
            raise ValueError(f"pgbouncer=True is for {POOLED}, not for {parsed.drivername}")
        arguments = {**needed, **options.get("connect_args", {})}
        options = {"poolclass": NullPool, **options, "connect_args": arguments}
    if pgbouncer or listen_url is not None:
        given = options.get("execution_options", {})
        options["execution_options"] = {**given, _LISTEN: listen_url}
    temporary: Path | None = None
    if dialect.embedded and parsed.database in {None, "", ":memory:"}:
        handle, name = tempfile.mkstemp(prefix="varco-", suffix=".sqlite")
        os.close(handle)
        temporary = Path(name)
        parsed = parsed.set(database=name)
    if dialect.embedded:
        from varco_sa._sqlite import dbapi_module  # noqa: PLC0415  # other engines need no aiosqlite

        options.setdefault("module", dbapi_module())
    engine = create_async_engine(parsed, **options)
    prepare_engine(engine)
    if temporary is not None:
        _temporary[engine.sync_engine] = finalize(engine.sync_engine, _remove, temporary)
    return engine


def listening_engine(engine: AsyncEngine) -> AsyncEngine | None:
    """The engine by which to listen for commits: this one, or one past its pooler, or none."""
    options = engine.sync_engine.get_execution_options()
    if _LISTEN not in options:
        return engine
    url = options[_LISTEN]
    return None if url is None else make_engine(url, poolclass=NullPool)


# What removes the files of engines on temporary ones; written at start and stop only.
_temporary: "WeakKeyDictionary[sa.Engine, finalize[..., sa.Engine]]" = WeakKeyDictionary()


def _remove(temporary: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


async def dispose_engine(engine: AsyncEngine) -> None:
    """Close the connections, and remove the file if it was a temporary one."""
    await engine.dispose()
    remove = _temporary.pop(engine.sync_engine, None)
    if remove is not None:
        remove()


def prepare_engine(engine: AsyncEngine) -> None:
    """Have the connections of an engine set up; calling it again changes nothing.

    Those that it has made already are set up when they are next taken from its pool.
    """
    sync = engine.sync_engine
    if dialect_of(sync.dialect).embedded and not event.contains(sync, "checkout", _checked_out):
        event.listen(sync, "checkout", _checked_out)


def _checked_out(connection: Any, record: Any, _proxy: object) -> None:
    # Cleared with each new connection of the record.
    if _SET_UP not in record.info:
        _set_up_sqlite(connection)
        record.info[_SET_UP] = True


def _set_up_sqlite(connection: Any) -> None:
    connection.create_function("varco_fold", 1, _fold, deterministic=True)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    _write_ahead(connection, cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _write_ahead(connection: Any, cursor: Any) -> None:
    """Switch the file to a write-ahead log.

    While another connection is about to write to a file that has none, SQLite refuses at once,
    whatever the busy timeout: processes that start together on a new file meet that.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        else:
            return
        connection.run_async(_pause)


async def _pause(_connection: Any) -> None:
    await asyncio.sleep(0.01)


def _fold(text: str | None) -> str | None:
    return None if text is None else fold_case(text)
