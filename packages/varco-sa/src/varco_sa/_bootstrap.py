"""Everything a program needs of a database, in one call."""

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_domain.backend import Opening, utc_now
from varco_domain.model import DomainModel
from varco_sa._dead_letters import SQLAlchemyDeadLetterQueue
from varco_sa._engine import dispose_engine, make_engine
from varco_sa._errors import cause_of, translate
from varco_sa._inbox import SQLAlchemyInbox
from varco_sa._outbox import SQLAlchemyOutbox
from varco_sa._provider import SQLAlchemyRepositoryProvider


class Backend:
    """A database with its tables made; `async with` closes it. Safe to use from several tasks.

    It is a part of an application that can be asked whether it can serve (`check_health`).

    Args:
        provider: What makes units of work on it.
        owns_engine: Whether the provider's engine is closed with it.
        owns_replica: Whether that of the replica is.
        create_tables: Whether `async with` makes the tables that are missing.

    Attributes:
        engine: The engine.
        uow_provider: Makes units of work; what services ask for as `IUoWProvider`.
        health_name: What it is called where the parts of an application are asked.
    """

    health_name: str = "database"

    def __init__(
        self,
        provider: SQLAlchemyRepositoryProvider,
        *,
        owns_engine: bool,
        owns_replica: bool = False,
        create_tables: bool = False,
    ) -> None:
        self._creates_tables = create_tables
        self.engine: AsyncEngine = provider.engine
        self.uow_provider = provider
        self._owns_engine = owns_engine
        self._owns_replica = owns_replica

    @classmethod
    def at(cls, url: str | sa.URL, *models: type[DomainModel], **engine_options: Any) -> Self:
        """The backend of a URL, which nothing connects to before `async with`.

        That makes the tables that are missing, and closes the engine at the end: a part of an
        application, where `bootstrap` opens one at once.

        Args:
            url: Of the database.
            models: The models.
            engine_options: Those of `make_engine`.
        """
        provider = SQLAlchemyRepositoryProvider(make_engine(url, **engine_options), *models)
        return cls(provider, owns_engine=True, create_tables=True)

    @property
    def outbox(self) -> SQLAlchemyOutbox:
        """The outbox, for relays: each call is a transaction of its own."""
        return self.uow_provider.outbox

    @property
    def inbox(self) -> SQLAlchemyInbox:
        """The inbox, for consumers: each call is a transaction of its own."""
        return self.uow_provider.inbox

    @property
    def dead_letters(self) -> SQLAlchemyDeadLetterQueue:
        """The dead letter queue."""
        return self.uow_provider.dead_letters

    async def check_health(self) -> None:
        """Return if the database answers.

        Raises:
            Exception: It does not.
        """
        async with self.engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def __aenter__(self) -> Self:
        if self._creates_tables:
            try:
                await self.uow_provider.create_tables()
            except BaseException:
                await self.aclose()
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and close the connections; those of an engine you gave stay open."""
        await self.outbox.aclose()
        replica = self.uow_provider.replica
        try:
            if self._owns_replica and replica is not None:
                await dispose_engine(replica)
        finally:
            if self._owns_engine:
                await dispose_engine(self.engine)


class bootstrap(Opening[Backend]):  # noqa: N801  # called like a function, awaited or entered
    """Open a database and create the tables that are missing, or see that none is.

    `async with bootstrap(url, Post) as backend:` closes it at the end; after
    `backend = await bootstrap(url, Post)` the caller does, with `await backend.aclose()`.

    Args:
        database: A URL, or an engine of your own.
        models: The models.
        create: Whether to create the tables that are missing; False leaves that to migrations,
            and a table or column that is not there is an error.
        replica: A URL or an engine to read from; see `SQLAlchemyRepositoryProvider.read_only`.
        schema: The schema (PostgreSQL) or database (MariaDB) to work in.
        clock: Tells the time.
        engine_options: Passed on to `make_engine` when a URL is given: `pgbouncer`,
            `listen_url` and what `create_async_engine` takes.
    """

    def __init__(
        self,
        database: str | sa.URL | AsyncEngine,
        *models: type[DomainModel],
        create: bool = True,
        replica: str | sa.URL | AsyncEngine | None = None,
        schema: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        **engine_options: Any,
    ) -> None:
        self._create = create
        self._database = database
        self._models = models
        self._replica = replica
        self._schema = schema
        self._clock = clock
        self._options = engine_options

    async def open(self) -> Backend:
        """Open the database; see `Opening`."""
        owns = not isinstance(self._database, AsyncEngine)
        owns_replica = self._replica is not None and not isinstance(self._replica, AsyncEngine)
        engine = self._engine(self._database)
        provider = SQLAlchemyRepositoryProvider(
            engine,
            *self._models,
            replica=None if self._replica is None else self._engine(self._replica),
            schema=self._schema,
            clock=self._clock,
        )
        backend = Backend(provider, owns_engine=owns, owns_replica=owns_replica)
        try:
            await (provider.create_tables() if self._create else provider.check_tables())
        except BaseException as error:
            await backend.aclose()
            if isinstance(error, Exception) and (meant := translate(error)) is not error:
                raise meant from cause_of(error)
            raise
        return backend

    def _engine(self, database: str | sa.URL | AsyncEngine) -> AsyncEngine:
        if isinstance(database, AsyncEngine):
            return database
        return make_engine(database, **self._options)
