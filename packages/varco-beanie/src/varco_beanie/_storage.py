"""All that a provider knows: its collections and what is prepared for its models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion

from varco_beanie._collections import EntityCollection, build_collection
from varco_beanie._counters import COUNTERS, Counter
from varco_beanie._indexes import Index
from varco_beanie._mapper import DocumentMapper
from varco_beanie._queries import Queries
from varco_beanie._references import References
from varco_beanie._writes import Writes
from varco_domain.backend import MetaReader
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

# Whatever the client's own options are: UUIDs as binary, moments without a timezone.
OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


@dataclass(frozen=True, slots=True)
class EntityStorage:
    """The collection of one model and everything that is prepared for it."""

    entity: EntityCollection
    rows: "AsyncCollection[dict[str, Any]]"
    mapper: DocumentMapper
    queries: Queries
    writes: Writes


class Storage:
    """Collections of models in one database. Safe to share between threads."""

    def __init__(
        self,
        database: "AsyncDatabase[dict[str, Any]]",
        indexes: Mapping[type[DomainModel], Sequence[Index]] | None = None,
    ) -> None:
        self.database = database
        self._more = dict(indexes or {})
        # Written under _lock, read without: a reader sees a whole storage or none.
        self._by_model: dict[type[DomainModel], EntityStorage] = {}
        self._by_table: dict[str, EntityCollection] = {}
        self._lock = RLock()
        self.references: References = References(self._by_table, self.rows)

    @property
    def entities(self) -> tuple[EntityCollection, ...]:
        """The collections of all models."""
        return tuple(self._by_table.values())

    def rows(self, entity: EntityCollection) -> "AsyncCollection[dict[str, Any]]":
        """The documents of a model."""
        return self.collection(entity.name)

    def collection(self, name: str) -> "AsyncCollection[dict[str, Any]]":
        """A collection, read and written as this package does."""
        return self.database.get_collection(name, codec_options=OPTIONS)

    def add(self, models: Iterable[type[DomainModel]]) -> None:
        """Make the collections of models, and of the models they refer to by class."""
        with self._lock:
            waiting = list(models)
            while waiting:
                model = waiting.pop(0)
                if model in self._by_model:
                    continue
                self._keep(build_collection(model, self._more.get(model, ())))
                waiting.extend(
                    key.reference
                    for key in MetaReader.read(model).foreign_keys.values()
                    if isinstance(key.reference, type)
                )

    def add_collection(self, entity: EntityCollection) -> None:
        """Use a collection that exists for a model."""
        with self._lock:
            if entity.model in self._by_model:
                raise RepositoryClassCreationFailed(
                    f"{entity.model.__name__} has a collection already", entity.model
                )
            self._keep(entity)

    def check(self) -> None:
        """See that what the models say of each other fits together.

        Raises:
            RepositoryClassCreationFailed: A foreign key refers to a table of no registered model,
                or to a field that is not unique; an index is of no registered model, or would
                remove documents that others refer to.
        """
        for entity in self.entities:
            for field, key in entity.meta.foreign_keys.items():
                self.references.target(entity, field, key)
        for model, indexes in self._more.items():
            entity = self.of(model).entity
            expires = any(each.expire_after is not None for each in indexes)
            if entity.existing or (expires and self.references.is_referred_to(entity)):
                why = (
                    "others made its collection" if entity.existing else "other models refer to it"
                )
                raise RepositoryClassCreationFailed(
                    f"{model.__name__} cannot have the indexes that are given: {why}", model
                )

    def _keep(self, entity: EntityCollection) -> None:
        mapper = DocumentMapper(entity)
        rows = self.rows(entity)
        counter = Counter(self.collection(COUNTERS), rows, entity.meta)
        self._by_table[entity.meta.table] = entity
        self._by_model[entity.model] = EntityStorage(
            entity,
            rows,
            mapper,
            Queries(entity),
            Writes(entity, rows, mapper, self.references, counter),
        )

    def of(self, model: type[DomainModel]) -> EntityStorage:
        """What is prepared for a model.

        Raises:
            RepositoryClassCreationFailed: The model is not registered.
        """
        found = self._by_model.get(model)
        if found is None:
            raise RepositoryClassCreationFailed(
                f"{model.__name__} is not registered; give it to the provider", model
            )
        return found
