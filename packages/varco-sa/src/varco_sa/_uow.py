"""The unit of work on SQLAlchemy: one connection, one transaction."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.util import greenlet_spawn

from varco_domain.exception import RepositoryException, StorageUnavailableError
from varco_domain.model import DomainModel
from varco_domain.uow import AsyncUnitOfWork, UnitOfWorkError
from varco_sa._dialect import begin_write
from varco_sa._errors import (
    FAILED,
    CommitUnknownError,
    TransactionAbortedError,
    breaks_transaction,
    cause_of,
    ends_transaction,
    translate,
)
from varco_sa._repository import SQLAlchemyRepository

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

    from varco_sa._inbox import Inbox, SQLAlchemyInbox
    from varco_sa._outbox import SQLAlchemyOutbox, TransactionalOutbox
    from varco_sa._queries import Lock, Prepared
    from varco_sa._storage import EntityStorage, Storage

D = TypeVar("D", bound=DomainModel)

_STREAMED = 500


class SQLAlchemyUnitOfWork(AsyncUnitOfWork):
    """One transaction on one connection, taken from the pool when the first statement needs it.

    Reads that come before any write run outside of a transaction where the engine isolates single
    statements anyway (SQLite, and PostgreSQL at READ COMMITTED): it means the same and saves two
    round trips. Belongs to one task.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        storage: "Storage",
        models: Mapping[str, type[DomainModel]],
        clock: Callable[[], datetime],
        *,
        outbox: "SQLAlchemyOutbox | None" = None,
        inbox: "SQLAlchemyInbox | None" = None,
        read_only: bool = False,
    ) -> None:
        super().__init__(models)
        self._engine = engine
        self._storage = storage
        self._clock = clock
        self._relayed = outbox
        self._received = inbox
        self._read_only = read_only
        self._connection: Connection | None = None
        self._session: AsyncSession | None = None
        # Open streams, and of each the rows that had to be read ahead.
        self._streams: dict[CursorResult[Any], list[Any]] = {}
        # PostgreSQL's adapter is told not to begin; True until a statement needs a transaction.
        self._autocommits = False
        # Whether a statement failed so that the engine refuses more of them until a savepoint.
        self._failed = False
        # Whether the engine or a cancellation has undone the transaction: nothing may follow.
        self._lost = False
        # Whether something in this transaction would be lost by rolling all of it back.
        self._began = False
        self.lock: Lock = None

    def now(self) -> datetime:
        """The time for audit fields."""
        return self._clock()

    @property
    def outbox(self) -> "TransactionalOutbox | None":  # pyright: ignore[reportIncompatibleVariableOverride]  # made when it is asked for
        """The outbox whose entries are committed with the entities, if the backend has one."""
        if self._relayed is None:
            return None
        from varco_sa._outbox import TransactionalOutbox  # noqa: PLC0415  # it imports this module

        return TransactionalOutbox(self, self._relayed)

    @property
    def inbox(self) -> "Inbox":
        """The events that were handled, remembered with what handling them changed."""
        from varco_sa._inbox import Inbox  # noqa: PLC0415  # it imports this module

        if self._received is None:
            raise UnitOfWorkError("a unit of work that reads from a replica has no inbox")
        return Inbox(self, self._received)

    async def _begin(self) -> None:
        """Do nothing: the first statement begins."""

    def _make_repository(self, entity_cls: type[D]) -> SQLAlchemyRepository[D]:
        """Return a repository of this transaction."""
        return SQLAlchemyRepository[D](self._storage.of(entity_cls), self)

    async def commit(self) -> None:
        """Make the changes permanent and give the connection back.

        Raises:
            RepositoryException: A statement failed before, and nothing is committed.
            CommitUnknownError: The connection broke meanwhile.
        """
        self._check_not_failed()
        if self._session is not None:
            await self._leave_session(flush=True)
        if self._connection is None:
            return
        try:
            await self._translated(None, self._commit)
        except TransactionAbortedError:
            raise
        except StorageUnavailableError as error:
            if not self._began:
                raise
            raise CommitUnknownError from error.__cause__

    async def rollback(self) -> None:
        """Undo the changes and give the connection back."""
        self._failed = self._lost = False
        if self._session is not None:
            await self._leave_session(flush=False)
        if self._connection is not None:
            await self._translated(None, self._rollback)

    def _commit(self) -> None:
        connection = cast("Connection", self._connection)
        self._close_streams()
        connection.commit()
        self._release(connection)

    def _rollback(self) -> None:
        connection = cast("Connection", self._connection)
        try:
            self._close_streams()
            if not connection.invalidated:
                connection.rollback()
        except BaseException:
            connection.invalidate()
            raise
        finally:
            self._release(connection)

    def _release(self, connection: "Connection") -> None:
        self._connection = None
        self._began = False
        if self._autocommits and not connection.invalidated:
            _set_autocommit(connection, value=False)
        self._autocommits = False
        connection.close()

    def _close_streams(self) -> None:
        while self._streams:
            self._streams.popitem()[0].close()

    def _ready(self, *, transaction: bool) -> "Connection":
        """The connection, in a transaction if the statement needs one."""
        connection = self._connection
        if connection is None:
            connection = self._engine.sync_engine.connect()
            self._connection = connection
            if not transaction and self._storage.dialect.isolates_statements(connection):
                _set_autocommit(connection, value=True)
                self._autocommits = True
        if self._streams and self._storage.dialect.one_result:
            self._read_streams_ahead()
        if transaction and self._autocommits:
            _set_autocommit(connection, value=False)
            self._autocommits = False
        return connection

    async def call(
        self,
        storage: "EntityStorage | None",
        work: "Callable[..., Any]",
        *args: Any,
        transaction: bool = True,
    ) -> Any:
        """Run synchronous work that takes the connection first, in SQLAlchemy's greenlet.

        Args:
            storage: The model it is about, for the errors.
            work: What to run.
            args: What it takes besides the connection.
            transaction: Whether it needs one; reads do not.
        """
        self.check_open()
        self._check_not_failed()
        if transaction and self._read_only and work != self._open_stream:
            raise UnitOfWorkError("this unit of work reads from a replica and cannot write")

        def run() -> Any:
            return work(self._ready(transaction=transaction), *args)

        first = self._connection is None
        try:
            done = await self._translated(storage, run)
        except StorageUnavailableError:
            if not first or self._connection is None or not self._connection.invalidated:
                raise
            # The connection had broken while it lay in the pool, and nothing has happened yet.
            await self._translated(storage, self._rollback)
            self._failed = self._lost = False
            done = await self._translated(storage, run)
        except BaseException:
            if self._connection is not None and not self._began:
                # Nothing but what failed is undone, and the transaction can go on.
                await _shielded(self._translated(storage, self._rollback))
                self._failed = self._lost = False
            raise
        self._began = self._began or transaction
        return done

    def _check_not_failed(self) -> None:
        if self._failed or self._lost:
            raise RepositoryException(FAILED)

    async def _translated(self, storage: "EntityStorage | None", run: Callable[[], Any]) -> Any:
        try:
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
                    self._storage.dialect.aborts_on_error
                    and not self._autocommits
                    and breaks_transaction(error)
                )
            meant = translate(error, None if storage is None else storage.entity)
            if meant is error:
                raise
            raise meant from cause_of(error)

    async def read(self, storage: "EntityStorage", prepared: "Prepared") -> list[Any]:
        """The entities that a statement selects."""
        locks = self.lock is not None

        def run(connection: "Connection") -> list[Any]:
            if locks:
                begin_write(connection)
            return storage.mapper.load(connection.execute(*prepared).fetchall())

        found: list[Any] = await self.call(storage, run, transaction=locks)
        return found

    async def scalar(self, storage: "EntityStorage", prepared: "Prepared") -> Any:
        """The first column of the first row that a statement selects, if there is one."""

        def run(connection: "Connection") -> Any:
            row = connection.execute(*prepared).fetchone()
            return None if row is None else row[0]

        return await self.call(storage, run, transaction=False)

    async def write_all(
        self, storage: "EntityStorage", work: "Callable[..., Any]", *args: Any
    ) -> Any:
        """Run work of several statements: if one fails, none of them has happened."""
        if not self._began:
            return await self.call(storage, work, *args)
        async with self.savepoint():
            return await self.call(storage, work, *args)

    async def stream(
        self, storage: "EntityStorage", prepared: "Prepared"
    ) -> AsyncGenerator[Sequence[Any]]:
        """The rows that a statement selects, a part at a time, from a cursor of the server."""
        result = await self.call(storage, self._open_stream, prepared)
        try:
            while rows := await self._translated(storage, lambda: self._next_rows(result)):
                yield rows
        finally:
            if self._streams.pop(result, None) is not None:
                await _shielded(greenlet_spawn(result.close))

    def _next_rows(self, result: "CursorResult[Any]") -> Sequence[Any]:
        ahead = self._streams.get(result)
        if ahead is None:
            raise UnitOfWorkError("this stream ended with the transaction that it read in")
        if ahead:
            rows = ahead[:_STREAMED]
            del ahead[:_STREAMED]
            return rows
        return result.fetchmany(_STREAMED)

    def _read_streams_ahead(self) -> None:
        """Read the rest of what is streamed: MariaDB's connections do one thing at a time."""
        for result, ahead in self._streams.items():
            ahead.extend(result.fetchall())

    def _open_stream(self, connection: "Connection", prepared: "Prepared") -> "CursorResult[Any]":
        options = {"stream_results": True, "max_row_buffer": _STREAMED}
        result = connection.execute(*prepared, execution_options=options)
        self._streams[result] = []
        return result

    @contextmanager
    def for_update(self, *, nowait: bool = False, skip_locked: bool = False) -> Generator[None]:
        """Lock the rows that are read inside the block until the transaction ends.

        SQLite has no locks of rows: there the first statement that writes, or reads in this block,
        takes the one lock of the database.

        Args:
            nowait: Fail at once when another transaction holds a row.
            skip_locked: Leave out rows that another transaction holds.
        """
        before, self.lock = self.lock, (nowait, skip_locked)
        try:
            yield
        finally:
            self.lock = before

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """Undo what happened inside the block, and only that, when it ends with an exception."""
        nested = await self.call(None, _begin_nested)
        try:
            yield
            self._check_not_failed()
        except BaseException:
            if self._connection is not None and not self._lost:
                self._failed = False
                await _shielded(self._translated(None, nested.rollback))
            raise
        else:
            await self._translated(None, nested.commit)

    async def connection(self) -> AsyncConnection:
        """This transaction's connection, for statements of your own; do not commit or close it."""

        def wrap(connection: "Connection") -> AsyncConnection:
            return AsyncConnection(self._engine, connection)

        found: AsyncConnection = await self.call(None, wrap)
        return found

    async def session(self) -> AsyncSession:
        """An ORM session in this transaction; it is flushed before the commit. Do not close it."""
        if self._session is None:
            self._session = AsyncSession(
                await self.connection(),
                expire_on_commit=False,
                join_transaction_mode="rollback_only",
            )
        return self._session

    async def _leave_session(self, *, flush: bool) -> None:
        session = cast("AsyncSession", self._session)
        try:
            if flush:
                await session.flush()
        except SQLAlchemyError as error:
            raise translate(error) from cause_of(error)
        finally:
            self._session = None
            session.expunge_all()


def _begin_nested(connection: "Connection") -> Any:
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
