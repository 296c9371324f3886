"""The unit of work on MongoDB: one session, one transaction."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from varco_beanie._inbox import Inbox
from varco_beanie._outbox import TransactionalOutbox
from varco_beanie._repository import BeanieRepository
from varco_beanie._transaction import Transaction
from varco_domain.model import DomainModel
from varco_domain.uow import AsyncUnitOfWork, UnitOfWorkError

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._inbox import BeanieInbox
    from varco_beanie._outbox import BeanieOutbox
    from varco_beanie._storage import EntityStorage, Storage

D = TypeVar("D", bound=DomainModel)


class BeanieUnitOfWork(AsyncUnitOfWork):
    """One transaction, which begins with the first write. Belongs to one task.

    Reads that come before it see what is committed. A write that fails undoes the transaction, as
    MongoDB has no savepoints: if others came before it, the unit of work has to be left. With
    `transactions=False` each write is final at once, and a rollback undoes nothing.
    """

    def __init__(
        self,
        client: "AsyncMongoClient[dict[str, Any]]",
        storage: "Storage",
        models: Mapping[str, type[DomainModel]],
        clock: Callable[[], datetime],
        *,
        transactions: bool = True,
        outbox: "BeanieOutbox | None" = None,
        inbox: "BeanieInbox | None" = None,
    ) -> None:
        super().__init__(models)
        self._relayed = outbox
        self._received = inbox
        self._storage = storage
        self._clock = clock
        self._transaction = Transaction(client, transactions=transactions)

    def now(self) -> datetime:
        """The time for audit fields."""
        return self._clock()

    @property
    def session(self) -> "AsyncClientSession | None":
        """The session of the transaction, for commands of your own; do not end it.

        None before the first write, and without transactions.
        """
        return self._transaction.session

    @property
    def outbox(self) -> "TransactionalOutbox | None":  # pyright: ignore[reportIncompatibleVariableOverride]  # made when it is asked for
        """The outbox whose entries are committed with the entities; None without transactions."""
        if self._relayed is None:
            return None
        return TransactionalOutbox(self, self._relayed)

    @property
    def inbox(self) -> "Inbox":
        """The events that were handled, remembered with what handling them changed.

        Raises:
            UnitOfWorkError: There are no transactions that could do so.
        """
        if self._received is None:
            raise UnitOfWorkError("without transactions a unit of work has no inbox")
        return Inbox(self, self._received)

    def _make_repository(self, entity_cls: type[D]) -> BeanieRepository[D]:
        """A repository of this transaction."""
        return BeanieRepository[D](self._storage.of(entity_cls), self)

    async def commit(self) -> None:
        """Make the changes permanent.

        Raises:
            RepositoryException: A command failed before, and nothing is committed.
            CommitUnknownError: The connection broke meanwhile.
        """
        self._transaction.check()
        await self._transaction.commit()

    async def rollback(self) -> None:
        """Undo the changes."""
        await self._transaction.rollback()

    @asynccontextmanager
    async def reading(
        self, storage: "EntityStorage | None"
    ) -> "AsyncGenerator[AsyncClientSession | None]":
        """Run commands that read, in the session that it gives."""
        self.check_open()
        async with self._transaction.reading(None if storage is None else storage.entity):
            yield self._transaction.session

    async def write[T](
        self,
        storage: "EntityStorage | None",
        work: Callable[[Transaction], Awaitable[T]],
        *,
        bulk: bool = False,
    ) -> T:
        """Run commands that write; see `Transaction.write`."""
        self.check_open()
        transaction = self._transaction
        entity = None if storage is None else storage.entity
        return await transaction.write(entity, lambda: work(transaction), bulk=bulk)

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Refuse what MongoDB does not have.

        Raises:
            UnitOfWorkError: Always.
        """
        raise UnitOfWorkError(
            "MongoDB has no savepoints: a command that fails undoes the whole transaction; put "
            "what may fail into a unit of work of its own"
        )
