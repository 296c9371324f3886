"""SQLAlchemy backend of varco: tables, repositories, unit of work and outbox."""

from varco_sa._alembic import metadata_for, migration_source, render_item, schema_drift
from varco_sa._bootstrap import Backend, bootstrap
from varco_sa._dead_letters import SQLAlchemyDeadLetterQueue
from varco_sa._di import SQLAlchemyConfiguration
from varco_sa._engine import make_engine
from varco_sa._errors import CommitUnknownError, TransactionAbortedError
from varco_sa._inbox import SQLAlchemyInbox
from varco_sa._outbox import SQLAlchemyOutbox
from varco_sa._provider import SQLAlchemyRepositoryProvider
from varco_sa._repository import SQLAlchemyRepository
from varco_sa._uow import SQLAlchemyUnitOfWork
from varco_sa._upgrade import upgrade_from_1_0_6

__all__: tuple[str, ...] = (
    "Backend",
    "CommitUnknownError",
    "SQLAlchemyConfiguration",
    "SQLAlchemyDeadLetterQueue",
    "SQLAlchemyInbox",
    "SQLAlchemyOutbox",
    "SQLAlchemyRepository",
    "SQLAlchemyRepositoryProvider",
    "SQLAlchemyUnitOfWork",
    "TransactionAbortedError",
    "bootstrap",
    "make_engine",
    "metadata_for",
    "migration_source",
    "render_item",
    "schema_drift",
    "upgrade_from_1_0_6",
)
