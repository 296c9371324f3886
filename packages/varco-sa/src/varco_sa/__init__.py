"""SQLAlchemy backend of varco: tables, repositories, unit of work and outbox.

What you touch is loaded when you touch it.
"""

# Not from typing: importing that costs more than importing this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
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
else:
    _HOMES = {
        "_alembic": "metadata_for migration_source render_item schema_drift",
        "_bootstrap": "Backend bootstrap",
        "_dead_letters": "SQLAlchemyDeadLetterQueue",
        "_di": "SQLAlchemyConfiguration",
        "_engine": "make_engine",
        "_errors": "CommitUnknownError TransactionAbortedError",
        "_inbox": "SQLAlchemyInbox",
        "_outbox": "SQLAlchemyOutbox",
        "_provider": "SQLAlchemyRepositoryProvider",
        "_repository": "SQLAlchemyRepository",
        "_uow": "SQLAlchemyUnitOfWork",
        "_upgrade": "upgrade_from_1_0_6",
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 # lazy

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


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
