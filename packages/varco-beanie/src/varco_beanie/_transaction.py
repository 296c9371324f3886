"""One transaction in one session, and what has become of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from varco_beanie._errors import (
    FAILED,
    CommitUnknownError,
    cause_of,
    is_transient,
    is_unknown_commit,
    translate,
)
from varco_domain.exception import FieldNotFound, ModelValueError, RepositoryException

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._collections import EntityCollection

# How long a transaction's first write waits, as for a lock, for others that write the same.
_PATIENCE: Final = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1


class Transaction:
    """Begins with the first write, and ends with a commit or a rollback. Belongs to one task.

    Reads that come before it run outside of it: they see what is committed. A first write that
    conflicts with another transaction is tried again for some seconds, as if it waited for a lock;
    a later one cannot be, for MongoDB has undone what came before it.
    """

    def __init__(self, client: "AsyncMongoClient[dict[str, Any]]", *, transactions: bool) -> None:
        self._client = client
        self._transactions = transactions
        self._session: AsyncClientSession | None = None
        # Whether the server has undone it: nothing may follow.
        self._lost = False
        # Whether something in it would be lost by rolling all of it back.
        self.began: bool = False

    @property
    def session(self) -> "AsyncClientSession | None":
        """What commands run in; None before the first write, and where there are none."""
        return self._session

    @property
    def transactions(self) -> bool:
        """Whether writes are undone together."""
        return self._transactions

    def check(self) -> None:
        """Refuse to go on after what has undone the transaction.

        Raises:
            RepositoryException: A command failed before.
        """
        if self._lost:
            raise RepositoryException(FAILED)

    @asynccontextmanager
    async def reading(self, entity: "EntityCollection | None") -> "AsyncGenerator[None]":
        """Translate the errors of commands that read."""
        self.check()
        try:
            yield
        except asyncio.CancelledError:
            self._lost = self._session is not None
            raise
        except Exception as error:  # noqa: BLE001  # looked at, and raised
            self._lost = self._lost or (self._session is not None and _undoes(error))
            raise_meant(error, entity)

    async def write[T](
        self, entity: "EntityCollection | None", work: Callable[[], Awaitable[T]], *, bulk: bool
    ) -> T:
        """Run commands that write.

        Args:
            entity: The model they are about, for the errors.
            work: Runs them in `session`.
            bulk: Whether an error may come when some of them are done.
        """
        self.check()
        if not self._transactions:
            async with self.reading(entity):
                return await work()
        end = monotonic() + _PATIENCE
        wait = _FIRST_WAIT
        while True:
            if self._session is None:
                self._session = self._client.start_session()
                await self._session.start_transaction(
                    read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
                )
            try:
                done = await work()
            except asyncio.CancelledError:
                self._lost = True
                raise
            except Exception as error:  # noqa: BLE001  # looked at, and raised
                if self.began:
                    harmless = isinstance(error, ModelValueError | FieldNotFound)
                    self._lost = _undoes(error) or (bulk and not harmless)
                else:
                    # Nothing but what failed is undone, and the unit of work can go on.
                    await self._end(commit=False)
                    if is_transient(error) and monotonic() < end:
                        await asyncio.sleep(uniform(0, wait))  # noqa: S311  # no secret
                        wait = min(2 * wait, _LONGEST_WAIT)
                        continue
                raise_meant(error, entity)
            self.began = True
            return done

    async def commit(self) -> None:
        """Make the changes permanent.

        Raises:
            CommitUnknownError: The connection broke meanwhile.
        """
        try:
            await self._end(commit=True)
        except Exception as error:  # noqa: BLE001  # looked at, and raised
            if is_unknown_commit(error):
                raise CommitUnknownError from cause_of(error)
            raise_meant(error, None)

    async def rollback(self) -> None:
        """Undo the changes."""
        self._lost = False
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        session, self._session = self._session, None
        self.began = False
        if session is None:
            return
        try:
            if commit:
                await session.commit_transaction()
            elif session.in_transaction:
                await session.abort_transaction()
        finally:
            await session.end_session()


async def in_transaction[T](
    client: "AsyncMongoClient[dict[str, Any]]", work: "Callable[[AsyncClientSession], Awaitable[T]]"
) -> T:
    """Run commands in a transaction of their own, again when it conflicts with another."""
    transaction = Transaction(client, transactions=True)

    async def run() -> T:
        session = transaction.session
        if session is None:
            raise RepositoryException(FAILED)
        return await work(session)

    try:
        done = await transaction.write(None, run, bulk=True)
        await transaction.commit()
    finally:
        await transaction.rollback()
    return done


def _undoes(error: Exception) -> bool:
    """Whether the server undid the transaction: it, or the network, said the error."""
    return isinstance(error, PyMongoError | OSError)


def raise_meant(error: Exception, entity: "EntityCollection | None") -> NoReturn:
    """Raise the error of a repository for one of PyMongo; any other one as it is."""
    meant = translate(error, entity)
    if meant is error:
        raise error
    raise meant from cause_of(error)
