"""That a connection has transactions, and that they see nothing of others that is not committed."""

from typing import Any
from weakref import WeakSet

import sqlalchemy as sa

from varco_domain.uow import UnitOfWorkError
from varco_sa._dialects import dialect_of

# Engines whose level is known to be enough; an engine does not change its own.
_checked: "WeakSet[sa.Engine]" = WeakSet()


def with_transactions(connection: sa.Connection) -> sa.Connection:
    """The connection, which has begun nothing yet; it commits and rolls back from now on.

    An engine that was made with AUTOCOMMIT keeps it for those who use it otherwise.

    Raises:
        UnitOfWorkError: The engine reads what others have not committed.
    """
    driver: Any = connection.connection.dbapi_connection
    dialect = dialect_of(connection.dialect)
    if connection.dialect.detect_autocommit_setting(driver):
        connection.execution_options(isolation_level=connection.default_isolation_level)
    elif connection.engine not in _checked:
        if dialect.reads_uncommitted(connection):
            raise UnitOfWorkError(
                "the engine is at READ UNCOMMITTED, where transactions see what others may still "
                "undo; make it with READ COMMITTED or more"
            )
        _checked.add(connection.engine)
    dialect.wait_for_locks(driver)
    return connection
