"""Everything a program needs of a MongoDB database, in one call."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError

from varco_beanie._dead_letters import BeanieDeadLetterQueue
from varco_beanie._errors import cause_of, translate
from varco_beanie._inbox import BeanieInbox
from varco_beanie._indexes import Index
from varco_beanie._outbox import BeanieOutbox
from varco_beanie._provider import BeanieRepositoryProvider
from varco_domain.backend import Opening, utc_now
from varco_domain.exception import RepositoryException
from varco_domain.model import DomainModel

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    type Database = AsyncDatabase[dict[str, Any]]


class Backend:
    """A database with its collections made; `async with` closes it. Safe for several tasks.

    It is a part of an application that can be asked whether it can serve (`check_health`).

    Args:
        provider: What makes units of work on it.
        owns_client: Whether its client is closed with it.
        create_collections: Whether `async with` makes the collections and indexes that are
            missing.

    Attributes:
        client: The client.
        uow_provider: Makes units of work; what services ask for as `IUoWProvider`.
        health_name: What it is called where the parts of an application are asked.
    """

    health_name: str = "database"

    def __init__(
        self,
        provider: BeanieRepositoryProvider,
        *,
        owns_client: bool,
        create_collections: bool = False,
    ) -> None:
        self._creates_collections = create_collections
        self.client: AsyncMongoClient[dict[str, Any]] = provider.client
        self.uow_provider = provider
        self._owns_client = owns_client

    @classmethod
    def at(
        cls,
        url: str,
        *models: type[DomainModel],
        indexes: Mapping[type[DomainModel], Sequence[Index]] | None = None,
        **client_options: Any,
    ) -> Self:
        """The backend of a URL, which nothing connects to before `async with`.

        That makes the collections and indexes that are missing, and closes the client at the end:
        a part of an application, where `bootstrap` opens one at once.

        Args:
            url: `mongodb://host:27017/name`.
            models: The models.
            indexes: As for `bootstrap`.
            client_options: What `AsyncMongoClient` takes besides.

        Raises:
            RepositoryException: The URL names no database.
        """
        database = open_database(url, **client_options)
        provider = BeanieRepositoryProvider(database, *models, indexes=indexes)
        return cls(provider, owns_client=True, create_collections=True)

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

    async def check_health(self) -> None:
        """Return if the database answers.

        Raises:
            Exception: It does not.
        """
        await self.uow_provider.database.command("ping")

    async def __aenter__(self) -> Self:
        if self._creates_collections:
            try:
                await self._create()
            except BaseException:
                await self.aclose()
                raise
        return self

    async def _create(self) -> None:
        try:
            if self.uow_provider.transactions:
                await _check_transactions(self.uow_provider.database)
            await self.uow_provider.create_collections()
        except Exception as error:
            if (meant := translate(error)) is error:
                raise
            raise meant from cause_of(error)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; those of a database you gave stay open."""
        await self.outbox.aclose()
        if self._owns_client:
            await self.client.close()


class bootstrap(Opening[Backend]):  # noqa: N801  # called like a function, awaited or entered
    """Open a database and create the collections and indexes that are missing.

    `async with bootstrap("mongodb://localhost/shop", Post) as backend:` closes it at the end;
    after `backend = await bootstrap(url, Post)` the caller does, with `await backend.aclose()`.

    Args:
        database: A URL that names a database, or one of PyMongo's `AsyncMongoClient`.
        models: The models.
        transactions: Whether units of work are transactions. A standalone server has none; with
            False each write is final at once, and a rollback undoes nothing.
        indexes: By model, indexes besides those that it declares, such as those by which its
            documents expire.
        clock: Tells the time.
        client_options: Passed on to `AsyncMongoClient` when a URL is given.
    """

    def __init__(
        self,
        database: "str | Database",
        *models: type[DomainModel],
        transactions: bool = True,
        indexes: Mapping[type[DomainModel], Sequence[Index]] | None = None,
        clock: Callable[[], datetime] = utc_now,
        **client_options: Any,
    ) -> None:
        self._indexes = indexes
        self._database = database
        self._models = models
        self._transactions = transactions
        self._clock = clock
        self._options = client_options

    async def open(self) -> Backend:
        """Open the database; see `Opening`."""
        owns = isinstance(self._database, str)
        if isinstance(self._database, str):
            database = open_database(self._database, **self._options)
        else:
            database = self._database
        provider = BeanieRepositoryProvider(
            database,
            *self._models,
            transactions=self._transactions,
            indexes=self._indexes,
            clock=self._clock,
        )
        backend = Backend(provider, owns_client=owns, create_collections=True)
        return await backend.__aenter__()


def open_database(url: str, **client_options: Any) -> "Database":
    """The database that a URL names, with a client of its own, which connects when it is used.

    Args:
        url: `mongodb://host:27017/name`.
        client_options: What `AsyncMongoClient` takes besides.

    Raises:
        RepositoryException: The URL names no database.
    """
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **client_options)
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
