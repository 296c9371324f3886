"""The unit of work on SQLAlchemy: one connection, one transaction."""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from varco_domain.model import DomainModel
from varco_domain.uow import AsyncUnitOfWork, UnitOfWorkError
from varco_sa._dialects import begin_write
from varco_sa._errors import cause_of, translate
from varco_sa._repository import SQLAlchemyRepository
from varco_sa._transaction import Transaction, begin_nested

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from varco_sa._inbox import Inbox, SQLAlchemyInbox
    from varco_sa._outbox import SQLAlchemyOutbox, TransactionalOutbox
    from varco_sa._queries import Lock, Prepared
    from varco_sa._storage import EntityStorage, Storage

D = TypeVar("D", bound=DomainModel)


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
        self._session: AsyncSession | None = None
        self._transaction = Transaction(engine, storage.dialect)
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
        """A repository of this transaction."""
        return SQLAlchemyRepository[D](self._storage.of(entity_cls), self)

    async def commit(self) -> None:
        """Make the changes permanent and give the connection back.

        Raises:
            RepositoryException: A statement failed before, and nothing is committed.
            CommitUnknownError: The connection broke meanwhile.
        """
        self._transaction.check()
        if self._session is not None:
            await self._leave_session(flush=True)
        await self._transaction.commit()

    async def rollback(self) -> None:
        """Undo the changes and give the connection back."""
        if self._session is not None:
            await self._leave_session(flush=False)
        await self._transaction.rollback()

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
        if transaction and self._read_only:
            raise UnitOfWorkError("this unit of work reads from a replica and cannot write")
        return await self._transaction.run(storage, work, *args, needed=transaction)

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
        if not self._transaction.began:
            return await self.call(storage, work, *args)
        async with self.savepoint():
            return await self.call(storage, work, *args)

    async def stream(
        self, storage: "EntityStorage", prepared: "Prepared"
    ) -> AsyncGenerator[Sequence[Any]]:
        """The rows that a statement selects, a part at a time, from a cursor of the server."""
        self.check_open()
        async with aclosing(self._transaction.stream(storage, prepared)) as parts:
            async for rows in parts:
                yield rows

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
        nested = await self.call(None, begin_nested)
        try:
            yield
            self._transaction.check()
        except BaseException:
            await self._transaction.rollback_nested(nested)
            raise
        else:
            await self._transaction.commit_nested(nested)

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
