"""Where units of work on MongoDB come from."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import CollectionInvalid, OperationFailure

from varco_beanie._collections import EntityCollection
from varco_beanie._dead_letters import BeanieDeadLetterQueue
from varco_beanie._existing import map_existing
from varco_beanie._inbox import BeanieInbox
from varco_beanie._indexes import Index, create_indexes
from varco_beanie._outbox import BeanieOutbox
from varco_beanie._storage import Storage
from varco_beanie._uow import BeanieUnitOfWork
from varco_domain.backend import utc_now
from varco_domain.model import DomainModel
from varco_domain.providers import RepositoryProvider

if TYPE_CHECKING:
    from beanie import Document
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.database import AsyncDatabase

_EXISTS: Final = 48


class BeanieRepositoryProvider(RepositoryProvider):
    """Models in a database, and units of work over them. Safe to use from several tasks.

    Args:
        database: Where the collections are.
        domain_classes: The models.
        transactions: Whether units of work are transactions, which a replica set is needed for.
            Without them each write is final at once.
        indexes: By model, indexes besides those that it declares, such as those by which its
            documents expire.
        clock: Tells the time for the audit fields and the inbox. Leases go by the server's.
    """

    def __init__(
        self,
        database: "AsyncDatabase[dict[str, Any]]",
        *domain_classes: type[DomainModel],
        transactions: bool = True,
        indexes: Mapping[type[DomainModel], Sequence[Index]] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.database = database
        self.transactions = transactions
        self.clock = clock
        self.storage: Storage = Storage(database, indexes)
        self.outbox: BeanieOutbox = BeanieOutbox(self.storage)
        self.inbox: BeanieInbox = BeanieInbox(self.storage, clock)
        self.dead_letters: BeanieDeadLetterQueue = BeanieDeadLetterQueue(self.storage)
        super().__init__(*domain_classes)

    @property
    def client(self) -> "AsyncMongoClient[dict[str, Any]]":
        """The client."""
        return self.database.client

    def register(self, *domain_classes: type[DomainModel]) -> None:
        """Make models known, with their collections and those of models they refer to by class."""
        super().register(*domain_classes)
        self.storage.add(domain_classes)

    def map(self, model: type[DomainModel], document_cls: "type[Document]") -> None:
        """Store a model in the collection of a document class of beanie with fields of its names.

        Call it instead of `register`. `create_collections` leaves the collection alone. The key
        is the document's `id`; an `ObjectId` is text of 24 hexadecimal digits in the model. A row
        that others refer to has a field more, `varco:held`.

        Raises:
            RepositoryClassCreationFailed: What one writes would not be what the other reads.
        """
        super().register(model)
        self.storage.add_collection(map_existing(model, document_cls))

    def make_uow(self) -> BeanieUnitOfWork:
        """A new unit of work."""
        return BeanieUnitOfWork(
            self.client,
            self.storage,
            self.models_by_table,
            self.clock,
            transactions=self.transactions,
            outbox=self.outbox if self.transactions else None,
            inbox=self.inbox if self.transactions else None,
        )

    async def create_collections(self) -> None:
        """Create the collections and indexes that are missing; those that exist stay as they are.

        Raises:
            RepositoryClassCreationFailed: What the models say of each other does not fit.
            RepositoryException: An index cannot be made beside what is there; it says what to do.
        """
        self.storage.check()
        known = set(await self.database.list_collection_names())
        for entity in self.storage.entities:
            if entity.existing:
                continue
            if entity.name not in known:
                await self._create(entity)
            await create_indexes(self.storage.rows(entity), entity.indexes)
        for store in (self.outbox, self.inbox, self.dead_letters):
            await store.create_indexes()

    async def _create(self, entity: EntityCollection) -> None:
        """Create a collection; another process may do so at the same time."""
        options: dict[str, Any] = {"validator": entity.validator} if entity.checks else {}
        try:
            await self.database.create_collection(entity.name, check_exists=False, **options)
        except CollectionInvalid:
            return
        except OperationFailure as error:
            if error.code != _EXISTS:
                raise
