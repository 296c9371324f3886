"""Storage of one model within a unit of work."""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository
from varco_query import QueryParams, TransformerNode
from varco_sa._upsert import upsert

if TYPE_CHECKING:
    import sqlalchemy as sa

    from varco_sa._storage import EntityStorage
    from varco_sa._uow import SQLAlchemyUnitOfWork


class SQLAlchemyRepository[D: DomainModel](AsyncRepository[D, Any]):
    """Rows of one model. Belongs to its unit of work, and like it to one task."""

    __slots__ = ("_storage", "_uow")

    def __init__(self, storage: "EntityStorage", uow: "SQLAlchemyUnitOfWork") -> None:
        self._storage = storage
        self._uow = uow

    @property
    def table(self) -> "sa.Table":
        """The table, for statements of your own on `uow.connection()`."""
        return self._storage.entity.table

    async def find_by_id(self, pk: Any, *, where: TransformerNode | None = None) -> D | None:
        """The entity with this key, if there is one that satisfies `where`."""
        found = await self._uow.read(
            self._storage, self._storage.queries.by_key(pk, where, self._uow.lock)
        )
        return found[0] if found else None

    async def find_all(self) -> list[D]:
        """All entities, ordered by key."""
        return await self.find_by_query(QueryParams())

    async def save(self, entity: D) -> D:
        """Insert or update, and return the entity as stored."""
        saved: D = await self._uow.call(
            self._storage, self._storage.writes.save, entity, self._uow.now()
        )
        return saved

    async def delete(self, entity: D) -> None:
        """Remove the row, matched by key, version and tenant."""
        await self._uow.call(self._storage, self._storage.writes.delete, entity)

    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The entities that a query selects, in its order; ties are in order of the key."""
        return await self._uow.read(
            self._storage, self._storage.queries.rows(params, self._uow.lock)
        )

    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the rows that a query selects, without its sort, limit, offset and cursor."""
        node = None if params is None else params.node
        prepared = self._storage.queries.count(node, up_to)
        return int(await self._uow.scalar(self._storage, prepared))

    async def exists(self, pk: Any, *, where: TransformerNode | None = None) -> bool:
        """Tell whether the key has a row that satisfies `where`."""
        found = await self._uow.scalar(self._storage, self._storage.queries.has_key(pk, where))
        return found is not None

    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save all or, with an error, none."""
        if not entities:
            return []
        saved: list[D] = await self._uow.write_all(
            self._storage, self._storage.writes.save_many, entities, self._uow.now()
        )
        return saved

    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove all or, with an error, none."""
        if entities:
            await self._uow.write_all(self._storage, self._storage.writes.delete_many, entities)

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert entities, or update the rows with the same values of `by`."""
        if entities:
            await self._uow.write_all(
                self._storage, upsert, self._storage, entities, by, self._uow.now()
            )

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on all rows that the query's node selects, in one statement."""
        changed: int = await self._uow.call(
            self._storage, self._storage.writes.update_by_query, params, update, self._uow.now()
        )
        return changed

    async def stream_by_query(self, params: QueryParams) -> AsyncGenerator[D]:
        """Iterate over the entities that a query selects, through a cursor of the server."""
        prepared = self._storage.queries.rows(params, self._uow.lock)
        async for rows in self._uow.stream(self._storage, prepared):
            for entity in self._storage.mapper.load(rows):
                yield entity
