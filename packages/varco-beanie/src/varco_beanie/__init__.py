"""MongoDB backend of varco: documents, repositories and unit of work, on beanie and PyMongo.

What you touch is loaded when you touch it.
"""

import sys

if sys.version_info >= (3, 14):
    raise ImportError(
        "varco-beanie stands on beanie 2.2, which has no release for Python 3.14; use 3.12 or 3.13"
    )

# Not from typing: importing that costs more than importing this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from varco_beanie._bootstrap import Backend, bootstrap, open_database
    from varco_beanie._dead_letters import BeanieDeadLetterQueue
    from varco_beanie._di import BeanieConfiguration
    from varco_beanie._drift import schema_drift
    from varco_beanie._errors import CommitUnknownError, TransactionAbortedError
    from varco_beanie._inbox import BeanieInbox
    from varco_beanie._indexes import Index
    from varco_beanie._outbox import BeanieOutbox
    from varco_beanie._provider import BeanieRepositoryProvider
    from varco_beanie._repository import BeanieRepository
    from varco_beanie._uow import BeanieUnitOfWork
else:
    _HOMES = {
        "_bootstrap": "Backend bootstrap open_database",
        "_dead_letters": "BeanieDeadLetterQueue",
        "_di": "BeanieConfiguration",
        "_drift": "schema_drift",
        "_errors": "CommitUnknownError TransactionAbortedError",
        "_inbox": "BeanieInbox",
        "_indexes": "Index",
        "_outbox": "BeanieOutbox",
        "_provider": "BeanieRepositoryProvider",
        "_repository": "BeanieRepository",
        "_uow": "BeanieUnitOfWork",
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
    "BeanieConfiguration",
    "BeanieDeadLetterQueue",
    "BeanieInbox",
    "BeanieOutbox",
    "BeanieRepository",
    "BeanieRepositoryProvider",
    "BeanieUnitOfWork",
    "CommitUnknownError",
    "Index",
    "TransactionAbortedError",
    "bootstrap",
    "open_database",
    "schema_drift",
)
