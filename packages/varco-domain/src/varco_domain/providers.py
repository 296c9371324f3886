"""Where units of work come from."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

from varco_domain._errors import ModelDefinitionError
from varco_domain._lookup import count_rows
from varco_domain._parse import is_abstract
from varco_domain._streams import closing
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository
from varco_domain.uow import AsyncUnitOfWork, bind_tenancy
from varco_query import AggregationQuery, QueryParams, TransformerNode

__all__ = ("IUoWProvider", "RepositoryProvider")


class IUoWProvider(ABC):
    """Makes units of work; what a service asks for."""

    separates_tenants: ClassVar[bool] = False
    """Whether each tenant's rows are in a store of their own, so that models name no tenant."""

    @abstractmethod
    def make_uow(self) -> AsyncUnitOfWork:
        """A new unit of work, not begun yet."""


class RepositoryProvider(IUoWProvider):
    """A backend: knows its models and makes units of work over them.

    Models are registered while the application starts, before units of work are made.
    """

    def __init__(self, *domain_classes: type[DomainModel]) -> None:
        self._models: dict[str, type[DomainModel]] = {}
        self.register(*domain_classes)

    @property
    def models_by_table(self) -> Mapping[str, type[DomainModel]]:
        """The registered models by the names of their tables."""
        return self._models

    @property
    def models(self) -> tuple[type[DomainModel], ...]:
        """The registered models."""
        return tuple(self._models.values())

    def register(self, *domain_classes: type[DomainModel]) -> None:
        """Make models known; a table belongs to one class.

        Raises:
            ModelDefinitionError: A class is abstract, or its table is another class's.
        """
        for cls in domain_classes:
            if is_abstract(cls):
                raise ModelDefinitionError(cls.__name__, None, "an abstract base has no table")
            meta = MetaReader.read(cls)
            taken = self._models.setdefault(meta.table, cls)
            if taken is not cls:
                raise ModelDefinitionError(
                    cls.__name__,
                    None,
                    f"the table {meta.table!r} is already that of "
                    f"{taken.__module__}.{taken.__qualname__}; "
                    "set another one with 'class Meta: table = ...'",
                )

    def autodiscover(self, *targets: str | ModuleType) -> None:
        """Register all concrete models defined in modules or packages (searched to the bottom)."""
        for target in targets:
            module = importlib.import_module(target) if isinstance(target, str) else target
            self._register_from(module)
            if hasattr(module, "__path__"):
                for info in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
                    self._register_from(importlib.import_module(info.name))

    def _register_from(self, module: ModuleType) -> None:
        for item in list(vars(module).values()):
            if (
                isinstance(item, type)
                and issubclass(item, DomainModel)
                and item.__module__ == module.__name__
                and not is_abstract(item)
            ):
                self.register(item)

    def get_repository[D: DomainModel](self, entity_cls: type[D]) -> AsyncRepository[D, Any]:
        """A repository that commits each call by itself; for scripts and tests."""
        return AutoCommitRepository(self, entity_cls)


class AutoCommitRepository[D: DomainModel](AsyncRepository[D, Any]):
    """Runs each call in a unit of work of its own. Safe to use from several tasks."""

    def __init__(self, provider: IUoWProvider, entity_cls: type[D]) -> None:
        self._provider = provider
        self._entity_cls = entity_cls

    async def find_by_id(self, pk: Any, *, where: TransformerNode | None = None) -> D | None:
        """The entity with this key."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).find_by_id(pk, where=where)

    async def find_all(self) -> list[D]:
        """All entities."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).find_all()

    async def save(self, entity: D) -> D:
        """Insert or update."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).save(entity)

    async def delete(self, entity: D) -> None:
        """Remove the row."""
        async with self._provider.make_uow() as uow:
            await uow.repository(self._entity_cls).delete(entity)

    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The entities that a query selects."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).find_by_query(params)

    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the rows that a query selects."""
        async with self._provider.make_uow() as uow:
            return await count_rows(uow.repository(self._entity_cls), params, up_to)

    async def aggregate(
        self, query: AggregationQuery, node: TransformerNode | None = None
    ) -> list[dict[str, Any]]:
        """The groups of the rows that a filter selects."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).aggregate(query, node)

    async def exists(self, pk: Any, *, where: TransformerNode | None = None) -> bool:
        """Tell whether the key has a row."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).exists(pk, where=where)

    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save all or none."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).save_many(entities)

    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove all or none."""
        async with self._provider.make_uow() as uow:
            await uow.repository(self._entity_cls).delete_many(entities)

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert or update, all or none."""
        async with self._provider.make_uow() as uow:
            await uow.repository(self._entity_cls).upsert(entities, by=by)

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on all rows that a query selects."""
        async with self._provider.make_uow() as uow:
            return await uow.repository(self._entity_cls).update_many_by_query(params, update)

    def stream_by_query(self, params: QueryParams) -> AsyncGenerator[D]:
        """Iterate over the entities that a query selects, for the tenant in context now."""
        uow = self._provider.make_uow()
        bind_tenancy(uow)
        return self._stream(uow, params)

    async def _stream(self, uow: AsyncUnitOfWork, params: QueryParams) -> AsyncGenerator[D]:
        async with (
            uow,
            closing(uow.repository(self._entity_cls).stream_by_query(params)) as stream,
        ):
            async for entity in stream:
                yield entity
