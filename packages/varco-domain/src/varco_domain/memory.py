"""A complete backend in memory, for tests and embedded use."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from varco_domain._keepable import check_target
from varco_domain._memory_changes import Changes
from varco_domain._memory_store import Row, Store, Table, visible
from varco_domain.exception import FieldNotFound, UniqueViolationError
from varco_domain.mapper import (
    changed_values,
    check_distinct,
    children_first,
    insert_values,
    update_values,
    upsert_rows,
    utc_now,
)
from varco_domain.meta import FieldKind, MetaReader
from varco_domain.model import DomainModel
from varco_domain.providers import RepositoryProvider
from varco_domain.repository import AsyncRepository
from varco_domain.uow import AsyncUnitOfWork
from varco_query import (
    InvalidNodeError,
    Operation,
    OperationNotSupportedError,
    QueryParams,
    SortField,
    TransformerNode,
    compile_predicate,
    sort_rows,
    walk,
)

__all__ = ("InMemoryRepository", "InMemoryRepositoryProvider", "InMemoryUnitOfWork")

D = TypeVar("D", bound=DomainModel)
_NULL_CHECKS: Final = (Operation.IS_NULL, Operation.IS_NOT_NULL)


class InMemoryRepository(AsyncRepository[D, Any]):
    """Rows of one model, as one unit of work sees them."""

    def __init__(self, table: Table, changes: Changes, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._changes = changes
        self._clock = clock

    async def find_by_id(self, pk: Any, *, where: TransformerNode | None = None) -> D | None:
        """The entity with this key, if there is one that satisfies `where`."""
        row = self._find(pk, where)
        if row is None:
            return None
        entity: D = self._table.load(row)
        return entity

    async def find_all(self) -> list[D]:
        """All entities, ordered by key."""
        return await self.find_by_query(QueryParams())

    async def save(self, entity: D) -> D:
        """Insert or update, and return the entity as stored."""
        saved: D = self._table.load(self._save_all([entity])[0])
        return saved

    async def delete(self, entity: D) -> None:
        """Remove the row, and what its removal takes with it; or, with an error, nothing."""
        await self.delete_many([entity])

    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The entities that a query selects, in its order."""
        load = self._table.load
        return [load(row) for row in self._select(params)]

    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the rows that a query selects."""
        return len(self._matching(None if params is None else params.node)[:up_to])

    async def exists(self, pk: Any, *, where: TransformerNode | None = None) -> bool:
        """Tell whether the key has a row that satisfies `where`."""
        return self._find(pk, where) is not None

    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save all or, with an error, none."""
        check_distinct(self._table.meta, entities)
        with self._changes.all_or_nothing():
            rows = self._save_all(entities)
        return [self._table.load(row) for row in rows]

    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove all or, with an error, none."""
        meta = self._table.meta
        check_distinct(meta, entities)
        with self._changes.all_or_nothing():
            for entity in children_first(meta, entities):
                row = self._changes.matching(self._table, entity)
                self._changes.delete(self._table, meta.pk_of(row))

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert entities, or update the rows with the same values of `by`."""
        meta = self._table.meta
        uniques = (meta.pk_fields, *self._table.uniques)
        rows = upsert_rows(meta, entities, by, uniques, self._clock())
        fixed = (meta.tenant_field, meta.created_at_field, meta.version_field)
        kept = {*meta.pk_fields, *by, *(name for name in fixed if name is not None)}
        group = next(each for each in uniques if set(each) == set(by))
        with self._changes.all_or_nothing():
            for row in rows:
                found = self._changes.holder(self._table, group, row)
                if found is None:
                    self._insert(row)
                    continue
                if meta.tenant_field and found[meta.tenant_field] != row[meta.tenant_field]:
                    raise UniqueViolationError(meta.entity_cls, group)
                key = meta.pk_of(row)
                if key != meta.pk_of(found) and self._changes.current(self._table, key) is not None:
                    raise UniqueViolationError(meta.entity_cls, meta.pk_fields)
                changed = {**row, **{name: found[name] for name in kept}}
                if meta.version_field is not None:
                    changed[meta.version_field] += 1
                self._changes.update(self._table, meta.pk_of(found), changed)

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on all rows that the query's node selects."""
        meta = self._table.meta
        values = changed_values(meta, update, self._clock())
        rows = list(self._matching(params.node))
        with self._changes.all_or_nothing():
            for row in rows:
                changed = {**row, **values}
                if meta.version_field is not None:
                    changed[meta.version_field] += 1
                self._changes.update(self._table, meta.pk_of(row), changed)
        return len(rows)

    async def stream_by_query(self, params: QueryParams) -> AsyncGenerator[D]:
        """Iterate over the entities that a query selects now."""
        for row in self._select(params):
            yield self._table.load(row)

    def _find(self, pk: Any, where: TransformerNode | None) -> Row | None:
        key = self._table.key(pk)
        row = None if key is None else self._changes.current(self._table, key)
        if row is None or where is None:
            return row
        self._check_fields(where, ())
        return row if compile_predicate(where)(row) else None

    def _save_all(self, entities: Sequence[D]) -> list[Row]:
        """New rows first, of which those with a key of their own, then the changed ones."""
        meta, now, first = self._table.meta, self._clock(), self._table.meta.pk_fields[0]
        rows: list[Row] = []
        given: list[Row] = []
        counted: list[Row] = []
        changed: list[tuple[D, Row]] = []
        for entity in entities:
            if entity.is_persisted():
                row = update_values(meta, entity, now)
                changed.append((entity, row))
            else:
                row = insert_values(meta, entity, now)
                (counted if row[first] is None else given).append(row)
            rows.append(row)
        for row in given:
            self._insert(row)
        for row in counted:
            self._insert(row)
        for entity, row in changed:
            current = self._changes.matching(self._table, entity)
            if meta.created_at_field is not None:
                row[meta.created_at_field] = current[meta.created_at_field]
            self._changes.update(self._table, meta.pk_of(current), row)
        return rows

    def _insert(self, row: Row) -> None:
        self._table.number(row)
        self._changes.insert(self._table, self._table.meta.pk_of(row), row)

    def _matching(self, node: TransformerNode | None) -> list[Row]:
        rows = visible(self._table, self._changes.overlay(self._table))
        if node is None:
            return list(rows)
        self._check_fields(node, ())
        selects = compile_predicate(node)
        return [row for row in rows if selects(row)]

    def _select(self, params: QueryParams) -> list[Row]:
        if params.cursor is not None:
            raise InvalidNodeError("a cursor is for a service; a repository takes limit and offset")
        self._check_fields(None, params.sort)
        named = {field.field for field in params.sort}
        ties = tuple(SortField(name) for name in self._table.meta.pk_fields if name not in named)
        rows = sort_rows(self._matching(params.node), (*params.sort, *ties))
        start = params.offset or 0
        return rows[start : None if params.limit is None else start + params.limit]

    def _check_fields(self, node: TransformerNode | None, sort: Sequence[SortField]) -> None:
        fields = self._table.meta.fields
        asked = [] if node is None else [(each.field, each.op) for each in walk(node)]
        for name, op in (*asked, *((each.field, None) for each in sort)):
            if name not in fields:
                raise FieldNotFound(name, self._table.meta.table)
            # Engines do not look into JSON.
            if fields[name].kind is FieldKind.JSON and op not in _NULL_CHECKS:
                raise OperationNotSupportedError(op or "sort", name, _NULL_CHECKS if op else ())


class InMemoryUnitOfWork(AsyncUnitOfWork):
    """Changes on top of the committed rows, until they are committed or forgotten."""

    def __init__(
        self,
        store: Store,
        models: Mapping[str, type[DomainModel]],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(models)
        self._store = store
        self._clock = clock
        self._changes = Changes(store)

    async def _begin(self) -> None:
        """Do nothing: the changes are empty."""

    def _make_repository(self, entity_cls: type[D]) -> InMemoryRepository[D]:
        """A repository over the changes."""
        return InMemoryRepository(self._store.table(entity_cls), self._changes, self._clock)

    async def commit(self) -> None:
        """Apply the changes in one step, or raise and leave them."""
        self._changes.commit()

    async def rollback(self) -> None:
        """Forget the changes."""
        self._changes.clear()


class InMemoryRepositoryProvider(RepositoryProvider):
    """Keeps the rows of its models for as long as it lives.

    Safe to use from all tasks of one event loop, not from several threads.

    Args:
        domain_classes: The models; a model used without being registered gets its table then.
        clock: Tells the time for the audit fields.
    """

    def __init__(
        self, *domain_classes: type[DomainModel], clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = Store()
        self._clock = clock
        super().__init__(*domain_classes)

    def register(self, *domain_classes: type[DomainModel]) -> None:
        """Make models known and give them tables.

        Raises:
            ModelDefinitionError: A class is abstract, its table is another class's, or a foreign
                key refers to what is not unique among all rows, or of another kind.
        """
        super().register(*domain_classes)
        for cls in domain_classes:
            self._store.table(cls)
        for cls in self.models:
            meta = MetaReader.read(cls)
            for name, key in meta.foreign_keys.items():
                target = self._models.get(key.table)
                if target is not None:
                    check_target(cls, meta.fields[name], key, MetaReader.read(target))

    def make_uow(self) -> InMemoryUnitOfWork:
        """A new unit of work."""
        return InMemoryUnitOfWork(self._store, self._models, self._clock)
