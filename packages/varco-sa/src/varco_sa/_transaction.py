"""One transaction on one connection, and what has become of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.util import greenlet_spawn

from varco_domain.exception import RepositoryException, StorageUnavailableError
from varco_sa._dialects import begin_write
from varco_sa._errors import (
    FAILED,
    CommitUnknownError,
    TransactionAbortedError,
    breaks_transaction,
    cause_of,
    ends_transaction,
    translate,
)
from varco_sa._isolation import with_transactions
from varco_sa._streams import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from sqlalchemy import Connection, CursorResult
    from sqlalchemy.ext.asyncio import AsyncEngine

    from varco_sa._dialect import Dialect
    from varco_sa._queries import Prepared
    from varco_sa._storage import EntityStorage


class Transaction:
    """Takes a connection when the first statement needs it, and gives it back at the end.

    Reads that come before any write run outside of a transaction where the engine isolates single
    statements anyway. Belongs to one task.
    """

    def __init__(self, engine: "AsyncEngine", dialect: "Dialect") -> None:
        self._engine = engine
        self._dialect = dialect
        self._connection: Connection | None = None
        # Held while the connection is used. A stream that was left is closed by the loop, in a task
        # of its own, which may begin while the owner's next statement reads.
        self._used: Final = asyncio.Lock()
        self._streams: Final = Streams(one_result=dialect.one_result)
        # The driver is told not to begin; True until a statement needs a transaction.
        self._autocommits = False
        # Whether a statement failed so that the engine refuses more of them until a savepoint.
        self._failed = False
        # Whether the engine or a cancellation has undone the transaction: nothing may follow.
        self._lost = False
        # Whether something in this transaction would be lost by rolling all of it back.
        self.began = False

    def check(self) -> None:
        """Refuse to go on after what has undone the transaction.

        Raises:
            RepositoryException: A statement failed before.
        """
        if self._failed or self._lost:
            raise RepositoryException(FAILED)

    async def run(
        self,
        storage: "EntityStorage | None",
        work: Callable[..., Any],
        *args: Any,
        needed: bool = True,
    ) -> Any:
        """Run synchronous work that takes the connection first, in SQLAlchemy's greenlet.

        Args:
            storage: The model it is about, for the errors.
            work: What to run.
            args: What it takes besides the connection.
            needed: Whether it needs a transaction; reads do not.
        """
        self.check()

        def run() -> Any:
            return work(self._ready(needed=needed), *args)

        first = self._connection is None
        try:
            done = await self._translated(storage, run)
        except StorageUnavailableError:
            if not first or self._connection is None or not self._connection.invalidated:
                raise
            # The connection had broken while it lay in the pool, and nothing has happened yet.
            await self.rollback()
            done = await self._translated(storage, run)
        except BaseException:
            if self._connection is not None and not self.began:
                # Nothing but what failed is undone, and the transaction can go on.
                await _shielded(self._translated(None, self._rollback))
                self._failed = self._lost = False
            raise
        self.began = self.began or needed
        return done

    def _ready(self, *, needed: bool) -> "Connection":
        connection = self._connection
        if connection is None:
            connection = self._connection = self._engine.sync_engine.connect()
            with_transactions(connection)
            if not needed and self._dialect.isolates_statements(connection):
                _set_autocommit(connection, value=True)
                self._autocommits = True
        self._streams.make_way()
        if needed and self._autocommits:
            _set_autocommit(connection, value=False)
            self._autocommits = False
        return connection

    async def _translated(self, storage: "EntityStorage | None", run: Callable[[], Any]) -> Any:
        try:
            async with self._used:
                return await greenlet_spawn(run)
        except asyncio.CancelledError:
            # SQLAlchemy gives up a connection that was cut off in the middle of a statement.
            self._lost = self._connection is not None
            raise
        except Exception as error:
            connection = self._connection
            if connection is not None:
                self._lost = self._lost or connection.invalidated or ends_transaction(error)
                self._failed = self._failed or (
                    self._dialect.aborts_on_error
                    and not self._autocommits
                    and breaks_transaction(error)
                )
            meant = translate(error, None if storage is None else storage.entity)
            if meant is error:
                raise
            raise meant from cause_of(error)

    async def stream(
        self, storage: "EntityStorage", prepared: "Prepared"
    ) -> "AsyncGenerator[Sequence[Any]]":
        """The rows that a statement selects, a part at a time, from a cursor of the server."""
        streams = self._streams
        result = await self.run(storage, streams.open, *prepared)
        try:
            while rows := await self._translated(storage, lambda: streams.rows(result)):
                yield rows
        finally:
            if streams.is_open(result):
                await _shielded(self._end(result))

    async def _end(self, result: "CursorResult[Any]") -> None:
        async with self._used:
            if self._streams.forget(result):
                await greenlet_spawn(result.close)

    async def commit(self) -> None:
        """Make the changes permanent and give the connection back.

        Raises:
            CommitUnknownError: The connection broke meanwhile.
        """
        if self._connection is None:
            return
        try:
            await self._translated(None, self._commit)
        except TransactionAbortedError:
            raise
        except StorageUnavailableError as error:
            if not self.began:
                raise
            raise CommitUnknownError from error.__cause__

    async def rollback(self) -> None:
        """Undo the changes and give the connection back."""
        self._failed = self._lost = False
        if self._connection is not None:
            await self._translated(None, self._rollback)

    async def rollback_nested(self, nested: Any) -> None:
        """Undo what happened since a savepoint, if there is still a transaction."""
        if self._connection is not None and not self._lost:
            self._failed = False
            await _shielded(self._translated(None, nested.rollback))

    async def commit_nested(self, nested: Any) -> None:
        """Keep what happened since a savepoint."""
        await self._translated(None, nested.commit)

    def _commit(self) -> None:
        connection = self._held()
        self._streams.close()
        connection.commit()
        self._release(connection)

    def _rollback(self) -> None:
        connection = self._held()
        try:
            self._streams.close()
            if not connection.invalidated:
                connection.rollback()
        except BaseException:
            connection.invalidate()
            raise
        finally:
            self._release(connection)

    def _held(self) -> "Connection":
        connection = self._connection
        if connection is None:
            raise AssertionError("asked only where there is a connection")
        return connection

    def _release(self, connection: "Connection") -> None:
        self._connection = None
        self.began = False
        if self._autocommits and not connection.invalidated:
            _set_autocommit(connection, value=False)
        self._autocommits = False
        connection.close()


def begin_nested(connection: "Connection") -> Any:
    """A savepoint."""
    begin_write(connection)
    return connection.begin_nested()


def _set_autocommit(connection: "Connection", *, value: bool) -> None:
    adapted: Any = connection.connection.dbapi_connection
    adapted.autocommit = value


async def _shielded(work: Awaitable[Any]) -> None:
    """Wait until work has ended although the task is cancelled meanwhile, once or again."""
    from anyio import CancelScope  # noqa: PLC0415  # only when something went wrong

    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    await running
