"""Transactions of their own for the outbox, the inbox and the dead letters."""

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from varco_domain.exception import StorageUnavailableError
from varco_sa._dialects import dialect_of
from varco_sa._errors import CommitUnknownError, TransactionAbortedError, cause_of, translate
from varco_sa._isolation import with_transactions
from varco_sa._types import Timestamp


class Transactions:
    """Runs synchronous work in a transaction of its own. Safe to use from several tasks."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def run[T](
        self, work: Callable[[sa.Connection], T], *, isolation: str | None = None
    ) -> T:
        """Commit what `work` did, or undo it and raise what a repository would.

        A transaction that the engine aborted, or that found its connection broken, is run again
        once: nothing of it has happened.

        Raises:
            CommitUnknownError: The connection broke during the commit.
        """
        try:
            return await self._once(work, isolation)
        except CommitUnknownError:
            raise
        except StorageUnavailableError:
            return await self._once(work, isolation)

    async def _once[T](self, work: Callable[[sa.Connection], T], isolation: str | None) -> T:
        committing = False

        def run() -> T:
            nonlocal committing
            with self.engine.sync_engine.connect() as connection:
                if isolation is not None and dialect_of(connection.dialect).locks_gaps:
                    connection.execution_options(isolation_level=isolation)
                else:
                    with_transactions(connection)
                with connection.begin():
                    done = work(connection)
                    committing = True
                return done

        try:
            return await greenlet_spawn(run)
        except Exception as error:
            meant = translate(error)
            if meant is error:
                raise
            unknown = isinstance(meant, StorageUnavailableError) and not isinstance(
                meant, TransactionAbortedError
            )
            if committing and unknown:
                raise CommitUnknownError from cause_of(error)
            raise meant from cause_of(error)


def store_time(connection: sa.Connection) -> datetime:
    """The time of the database, which is one for all who share it; that of a host is not."""
    now = sa.select(sa.type_coerce(dialect_of(connection.dialect).now(), Timestamp()))
    moment: datetime = connection.execute(now).scalar_one()
    return moment.astimezone(UTC)
