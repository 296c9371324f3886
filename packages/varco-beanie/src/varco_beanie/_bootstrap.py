"""Everything a program needs of a MongoDB database, in one call."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError

from varco_beanie._dead_letters import BeanieDeadLetterQueue
from varco_beanie._errors import cause_of, translate
from varco_beanie._inbox import BeanieInbox
from varco_beanie._outbox import BeanieOutbox
from varco_beanie._provider import BeanieRepositoryProvider
from varco_domain.backend import Opening, utc_now
from varco_domain.exception import RepositoryException
from varco_domain.model import DomainModel

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    type Database = AsyncDatabase[dict[str, Any]]


class Backend:
    """A database with its collections made; ``async with`` closes it. Safe for several tasks.

    Attributes:
        client: The client.
        uow_provider: Makes units of work; what services ask for as ``IUoWProvider``.
    """

    def __init__(self, provider: BeanieRepositoryProvider, *, owns_client: bool) -> None:
        self.client: AsyncMongoClient[dict[str, Any]] = provider.client
        self.uow_provider = provider
        self._owns_client = owns_client

    @property
    def outbox(self) -> BeanieOutbox:
        """The outbox, for relays: each call is a transaction of its own."""
        return self.uow_provider.outbox

    @property
    def inbox(self) -> BeanieInbox:
        """The inbox, for consumers."""
        return self.uow_provider.inbox

    @property
    def dead_letters(self) -> BeanieDeadLetterQueue:
        """The dead letter queue."""
        return self.uow_provider.dead_letters

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; those of a database you gave stay open."""
        if self._owns_client:
            await self.client.close()


class bootstrap(Opening[Backend]):  # noqa: N801  # called like a function, awaited or entered
    """Open a database and create the collections and indexes that are missing.

    ``async with bootstrap("mongodb://localhost/shop", Post) as backend:`` closes it at the end;
    after ``backend = await bootstrap(url, Post)`` the caller does, with ``await backend.aclose()``.

    Args:
        database: A URL that names a database, or one of PyMongo's ``AsyncMongoClient``.
        models: The models.
        transactions: Whether units of work are transactions. A standalone server has none; with
            False each write is final at once, and a rollback undoes nothing.
        clock: Tells the time.
        client_options: Passed on to ``AsyncMongoClient`` when a URL is given.
    """

    def __init__(
        self,
        database: "str | Database",
        *models: type[DomainModel],
        transactions: bool = True,
        clock: Callable[[], datetime] = utc_now,
        **client_options: Any,
    ) -> None:
        self._database = database
        self._models = models
        self._transactions = transactions
        self._clock = clock
        self._options = client_options

    async def open(self) -> Backend:
        """Open the database; see ``Opening``."""
        owns = isinstance(self._database, str)
        if isinstance(self._database, str):
            database = _named(self._database, self._options)
        else:
            database = self._database
        try:
            provider = BeanieRepositoryProvider(
                database, *self._models, transactions=self._transactions, clock=self._clock
            )
            backend = Backend(provider, owns_client=owns)
            if self._transactions:
                await _check_transactions(database)
            await provider.create_collections()
        except BaseException as error:
            if owns:
                await database.client.close()
            if isinstance(error, Exception) and (meant := translate(error)) is not error:
                raise meant from cause_of(error)
            raise
        return backend


def _named(url: str, options: Mapping[str, Any]) -> "Database":
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **options)
    try:
        return client.get_default_database()
    except ConfigurationError:
        raise RepositoryException(
            "the URL names no database: write mongodb://host:27017/name"
        ) from None


async def _check_transactions(database: "Database") -> None:
    hello = await database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise RepositoryException(
            "this server has no transactions: make it a replica set, of one member if need be, or "
            "say transactions=False and read in the README what that gives up"
        )
