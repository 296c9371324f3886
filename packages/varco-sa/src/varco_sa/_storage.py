"""All that a provider knows: its tables and the statements of its models."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import RLock

import sqlalchemy as sa

from varco_domain.backend import MetaReader
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel
from varco_sa._dialect import Dialect
from varco_sa._mapper import RowMapper
from varco_sa._queries import Queries
from varco_sa._tables import EntityTable, build_table
from varco_sa._writes import Writes


@dataclass(frozen=True, slots=True)
class EntityStorage:
    """The table of one model and everything that is prepared for it."""

    dialect: Dialect
    entity: EntityTable
    mapper: RowMapper
    queries: Queries
    writes: Writes


class Storage:
    """Tables and statements of models for one kind of engine. Safe to share between threads."""

    def __init__(self, dialect: Dialect, metadata: sa.MetaData | None = None) -> None:
        self.dialect = dialect
        self.metadata: sa.MetaData = sa.MetaData() if metadata is None else metadata
        # Written under _lock, read without: a reader sees a whole storage or none.
        self._by_model: dict[type[DomainModel], EntityStorage] = {}
        self._lock = RLock()

    def add(self, models: Iterable[type[DomainModel]]) -> None:
        """Make the tables of models, and of the models they refer to by class."""
        with self._lock:
            waiting = list(models)
            while waiting:
                model = waiting.pop(0)
                if model in self._by_model:
                    continue
                entity = build_table(self.metadata, model, self.dialect)
                self._by_model[model] = self._prepared(entity)
                waiting.extend(
                    key.reference
                    for key in MetaReader.read(model).foreign_keys.values()
                    if isinstance(key.reference, type)
                )

    def add_table(self, entity: EntityTable) -> None:
        """Use a table that exists for a model."""
        with self._lock:
            if entity.entity_cls in self._by_model:
                raise RepositoryClassCreationFailed(
                    f"{entity.entity_cls.__name__} has a table already", entity.entity_cls
                )
            self._by_model[entity.entity_cls] = self._prepared(entity)

    def _prepared(self, entity: EntityTable) -> EntityStorage:
        mapper = RowMapper(entity)
        queries = Queries(entity, self.dialect)
        return EntityStorage(
            self.dialect, entity, mapper, queries, Writes(entity, mapper, queries, self.dialect)
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
