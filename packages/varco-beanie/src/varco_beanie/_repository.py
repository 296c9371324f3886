"""Storage of one model within a unit of work."""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Final

from varco_beanie._aggregates import Aggregation
from varco_beanie._collections import KEY
from varco_beanie._upsert import upsert
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository
from varco_query import AggregationQuery, QueryParams, TransformerNode

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.cursor import AsyncCursor

    from varco_beanie._storage import EntityStorage
    from varco_beanie._uow import BeanieUnitOfWork

_ROWS: Final = 500


class BeanieRepository[D: DomainModel](AsyncRepository[D, Any]):
    """Documents of one model. Belongs to its unit of work, and like it to one task."""

    __slots__ = ("_storage", "_uow")

    def __init__(self, storage: "EntityStorage", uow: "BeanieUnitOfWork") -> None:
        self._storage = storage
        self._uow = uow

    @property
    def collection(self) -> "AsyncCollection[dict[str, Any]]":
        """The collection, for commands of your own in `uow.session`."""
        return self._storage.rows

    async def find_by_id(self, pk: Any, *, where: TransformerNode | None = None) -> D | None:
        """The entity with this key, if there is one that satisfies `where`."""
        storage = self._storage
        condition = storage.queries.by_key(pk, where)
        async with self._uow.reading(storage) as session:
            if condition is None:
                return None
            found = await storage.rows.find_one(condition, session=session)
        if found is None:
            return None
        entity: D = storage.mapper.load((found,))[0]
        return entity

    async def find_all(self) -> list[D]:
        """All entities, ordered by key."""
        return await self.find_by_query(QueryParams())

    async def save(self, entity: D) -> D:
        """Insert or update, and return the entity as stored."""
        writes, now = self._storage.writes, self._uow.now()
        saved: D = await self._uow.write(self._storage, lambda t: writes.save(t, entity, now))
        return saved

    async def delete(self, entity: D) -> None:
        """Remove the document, matched by key, version and tenant."""
        writes = self._storage.writes
        await self._uow.write(self._storage, lambda t: writes.delete(t, entity))

    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The entities that a query selects, in its order; ties are in order of the key."""
        async with self._uow.reading(self._storage) as session:
            cursor = self._cursor(params, session)
            documents = [] if cursor is None else await cursor.to_list()
        return self._storage.mapper.load(documents)

    def _cursor(self, params: QueryParams, session: Any) -> "AsyncCursor[dict[str, Any]] | None":
        """The documents of a query; None for those that no limit lets through."""
        queries = self._storage.queries
        condition, order = queries.condition(params.node), queries.order(params)
        if params.limit == 0:
            return None  # for MongoDB it is no limit
        return self._storage.rows.find(
            condition,
            sort=order,
            skip=params.offset or 0,
            limit=params.limit or 0,
            session=session,
        )

    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the documents that a query selects, without its sort, limit, offset and cursor."""
        condition = self._storage.queries.condition(None if params is None else params.node)
        async with self._uow.reading(self._storage) as session:
            if up_to == 0:
                return 0
            limit = {} if up_to is None else {"limit": up_to}
            return await self._storage.rows.count_documents(condition, session=session, **limit)

    async def aggregate(
        self, query: AggregationQuery, node: TransformerNode | None = None
    ) -> list[dict[str, Any]]:
        """The groups of the documents that a filter selects, computed by the server.

        All groups are brought; `having`, `sort` and `limit` choose among them here. Sums of whole
        numbers and decimals are exact to 34 digits.
        """
        aggregation = Aggregation(self._storage.entity, query, node)
        async with self._uow.reading(self._storage) as session:
            cursor = await self._storage.rows.aggregate(aggregation.pipeline, session=session)
            documents = await cursor.to_list()
        return aggregation.read(documents)

    async def exists(self, pk: Any, *, where: TransformerNode | None = None) -> bool:
        """Tell whether the key has a document that satisfies `where`."""
        condition = self._storage.queries.by_key(pk, where)
        async with self._uow.reading(self._storage) as session:
            if condition is None:
                return False
            found = await self._storage.rows.find_one(condition, {KEY: 1}, session=session)
        return found is not None

    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save all or, with an error, none.

        An error after other writes of the unit of work undoes those, too: MongoDB has no
        savepoints. Without transactions what was saved before the error stays.
        """
        if not entities:
            return []
        writes, now = self._storage.writes, self._uow.now()
        saved: list[D] = await self._uow.write(
            self._storage, lambda t: writes.save_many(t, entities, now), bulk=True
        )
        return saved

    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove all or, with an error, none; as `save_many`."""
        writes = self._storage.writes
        if entities:
            await self._uow.write(
                self._storage, lambda t: writes.delete_many(t, entities), bulk=True
            )

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert entities, or update the documents with the same values of `by`."""
        writes, now = self._storage.writes, self._uow.now()
        if entities:
            await self._uow.write(
                self._storage, lambda t: upsert(t, writes, entities, by, now), bulk=True
            )

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on all documents that the query's node selects, in one command."""
        writes, now = self._storage.writes, self._uow.now()
        return await self._uow.write(
            self._storage, lambda t: writes.update_by_query(t, params, update, now)
        )

    async def stream_by_query(self, params: QueryParams) -> AsyncGenerator[D]:
        """Iterate over the entities that a query selects, through a cursor of the server.

        One that began in the transaction ends with it.
        """
        load = self._storage.mapper.load
        async with self._uow.reading(self._storage) as session:
            cursor = self._cursor(params, session)
        if cursor is None:
            return
        async with cursor:
            while True:
                async with self._uow.reading(self._storage):
                    documents = await cursor.to_list(_ROWS)
                if not documents:
                    return
                for entity in load(documents):
                    yield entity
