"""Where units of work on SQLAlchemy come from."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_domain.backend import utc_now
from varco_domain.exception import RepositoryException
from varco_domain.model import DomainModel
from varco_domain.providers import IUoWProvider, RepositoryProvider
from varco_sa._dead_letters import SQLAlchemyDeadLetterQueue
from varco_sa._dialects import dialect_of
from varco_sa._engine import prepare_engine
from varco_sa._existing import map_existing
from varco_sa._fit import check_references
from varco_sa._former import Former
from varco_sa._inbox import SQLAlchemyInbox
from varco_sa._isolation import with_transactions
from varco_sa._outbox import SQLAlchemyOutbox
from varco_sa._storage import Storage
from varco_sa._system_tables import SystemTables, system_tables
from varco_sa._uow import SQLAlchemyUnitOfWork


class SQLAlchemyRepositoryProvider(RepositoryProvider):
    """Models on an engine, and units of work over them. Safe to use from several tasks.

    Args:
        engine: Where the tables are.
        domain_classes: The models.
        replica: Another engine with a copy of the data; see `read_only`.
        schema: The schema (PostgreSQL) or database (MariaDB) to work in, if not the engine's own.
        clock: Tells the time for the audit fields and the inbox. Leases go by the database's.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *domain_classes: type[DomainModel],
        replica: AsyncEngine | None = None,
        schema: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        prepare_engine(engine)
        if replica is not None:
            prepare_engine(replica)
        if schema is not None:
            moved = {"schema_translate_map": {None: schema}}
            engine = engine.execution_options(**moved)
            replica = None if replica is None else replica.execution_options(**moved)
        self.engine = engine
        self.replica = replica
        self.schema = schema
        self.clock = clock
        self.storage: Storage = Storage(dialect_of(engine.dialect))
        self.tables: SystemTables = system_tables(self.storage.metadata)
        self.outbox: SQLAlchemyOutbox = SQLAlchemyOutbox(engine, self.tables.outbox)
        self.inbox: SQLAlchemyInbox = SQLAlchemyInbox(engine, self.tables.inbox, clock)
        self.dead_letters: SQLAlchemyDeadLetterQueue = SQLAlchemyDeadLetterQueue(
            engine, self.tables.dead_letters
        )
        super().__init__(*domain_classes)

    @property
    def metadata(self) -> sa.MetaData:
        """The tables of the models, of the outbox, the inbox and the dead letters."""
        return self.storage.metadata

    def register(self, *domain_classes: type[DomainModel]) -> None:
        """Make models known, with their tables and those of the models they refer to by class."""
        super().register(*domain_classes)
        self.storage.add(domain_classes)

    def map(self, model: type[DomainModel], orm_cls: type[Any]) -> None:
        """Store a model in the table of a declarative class, whose columns have its field names.

        Call it instead of `register`. `create_tables` leaves the table alone.
        """
        super().register(model)
        self.storage.add_table(map_existing(model, orm_cls, self.storage.dialect))

    def make_uow(self) -> SQLAlchemyUnitOfWork:
        """A new unit of work."""
        return SQLAlchemyUnitOfWork(
            self.engine,
            self.storage,
            self.models_by_table,
            self.clock,
            outbox=self.outbox,
            inbox=self.inbox,
        )

    def read_only(self) -> IUoWProvider:
        """A provider whose units of work read from the replica and cannot write.

        What was written a moment ago may not be there yet.
        """
        return _ReadOnly(self)

    async def create_tables(self) -> None:
        """Create the tables that are missing; those that exist are left as they are.

        Processes that start at the same time wait for each other.

        Raises:
            RepositoryException: There are tables of varco-core 1.0.6, see `upgrade_from_1_0_6`.
            RepositoryClassCreationFailed: A foreign key refers to a table of no registered model,
                or to a field that is not unique.
        """
        async with self.engine.connect() as connection:
            await connection.run_sync(self._create_tables)

    async def check_tables(self) -> None:
        """See that all tables and columns are there, and change nothing.

        `schema_drift` tells more, and needs Alembic.

        Raises:
            RepositoryException: Some are missing, or are those of varco-core 1.0.6.
            RepositoryClassCreationFailed: As for `create_tables`.
        """
        async with self.engine.connect() as connection:
            await connection.run_sync(self._check_tables)

    def _check_tables(self, connection: sa.Connection) -> None:
        check_references(self.storage.metadata, self.models_by_table)
        Former(connection, self.models_by_table, self.schema).refuse()
        inspector = sa.inspect(connection)
        there = set(inspector.get_table_names(schema=self.schema))
        missing: list[str] = []
        for table in self.storage.metadata.sorted_tables:
            if table.name not in there:
                missing.append(table.name)
                continue
            columns = inspector.get_columns(table.name, schema=self.schema)
            found = {column["name"] for column in columns}
            missing += [f"{table.name}.{name}" for name in set(table.columns.keys()) - found]
        if missing:
            raise RepositoryException(
                f"the database has no {', '.join(sorted(missing))}: run the migrations that make "
                "them, or have create_tables do it"
            )

    def _create_tables(self, connection: sa.Connection) -> None:
        check_references(self.storage.metadata, self.models_by_table)
        with with_transactions(connection).begin():
            Former(connection, self.models_by_table, self.schema).refuse()
            self._create_missing(connection)

    def _create_missing(self, connection: sa.Connection) -> None:
        dialect = self.storage.dialect
        with dialect.creating(connection):
            if self.schema is not None and dialect.schemas:
                connection.execute(sa.schema.CreateSchema(self.schema, if_not_exists=True))
            self.storage.metadata.create_all(connection)


class _ReadOnly(IUoWProvider):
    def __init__(self, provider: SQLAlchemyRepositoryProvider) -> None:
        self._provider = provider

    def make_uow(self) -> SQLAlchemyUnitOfWork:
        provider = self._provider
        return SQLAlchemyUnitOfWork(
            provider.replica or provider.engine,
            provider.storage,
            provider.models_by_table,
            provider.clock,
            read_only=True,
        )
