"""The statements of one model that write."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from varco_domain import PKStrategy
from varco_domain.backend import (
    changed_values,
    check_distinct,
    children_first,
    insert_values,
    no_more_keys,
    row_key,
    update_values,
)
from varco_domain.exception import EntityNotFound, StaleEntityError
from varco_domain.model import DomainModel
from varco_query import QueryParams
from varco_sa._dialect import Dialect
from varco_sa._mapper import RowMapper
from varco_sa._queries import Queries
from varco_sa._tables import EntityTable, own_references

_KEY_LIMIT: Final = 2**63
# Rows of one statement; of the widest tables the parameters still fit.
_CHUNK: Final = 5_000


class Writes:
    """Inserts, updates and deletes; all take a connection and run in SQLAlchemy's greenlet.

    Has no state that changes; shared by all units of work.
    """

    def __init__(
        self, entity: EntityTable, mapper: RowMapper, queries: Queries, dialect: Dialect
    ) -> None:
        meta = entity.meta
        self._dialect = dialect
        self._entity = entity
        self._meta = meta
        self._mapper = mapper
        self._queries = queries
        table = entity.table
        self._counted = meta.pk_fields[0] if meta.pk_strategy is PKStrategy.INT_AUTO else None
        self._fixed = frozenset({*meta.pk_fields, meta.tenant_field, meta.created_at_field})
        self._match = (*meta.pk_fields, *meta.match_fields)
        self._insert = table.insert()
        self._insert_counted: Any = (
            table.insert().returning(table.c[self._counted], sort_by_parameter_order=True)
            if self._counted
            else None
        )
        self._last_key: Any = (
            sa.select(dialect.last_key(table, self._counted))
            if self._counted and not dialect.keys_in_order
            else None
        )
        matched = [
            entity.columns[name] == sa.bindparam(f"old {name}", type_=entity.columns[name].type)
            for name in self._match
        ]
        self._update = table.update().where(*matched)
        self._delete = table.delete().where(*matched)
        # Where a row's reference to itself would hold it, it is cleared first.
        own = () if dialect.frees_itself else own_references(meta, entity.columns)
        self._free = [
            table.update().where(*matched, column == target).values({field: None})
            for field, column, target in own
            if column.nullable
        ]
        # What an update without changes sets, to find out whether the row is there.
        self._idle = next((name for name in meta.fields if name not in self._fixed), None)

    def save(self, connection: sa.Connection, entity: DomainModel, now: datetime) -> Any:
        """Insert or update one entity."""
        if entity.is_persisted():
            return self._save_changed(connection, entity, now)
        row = insert_values(self._meta, entity, now)
        parameters = self._mapper.parameters(row)
        counted = self._counted
        if counted is None or row[counted] is not None:
            self.follow(connection, [row])
            connection.execute(self._insert, parameters)
            return self._mapper.stored(row, parameters)
        del parameters[counted]
        try:
            result = connection.execute(self._insert, parameters)
        except OperationalError:
            # It says that the disk is full.
            if self.keys_end(connection):
                raise no_more_keys(self._meta) from None
            raise
        row[counted] = parameters[counted] = result.inserted_primary_key[0]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]  # an INSERT of one row
        return self._mapper.stored(row, parameters)

    def follow(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Have the engine count on from the keys that rows bring, before they are inserted."""
        if self._counted is not None and rows:
            largest = max(row[self._counted] for row in rows)
            self._dialect.follow_key(connection, self._entity.table, self._counted, largest)

    def _save_changed(self, connection: sa.Connection, entity: DomainModel, now: datetime) -> Any:
        row, parameters, changed = self._changed(entity, now)
        if not changed and self._idle is not None:
            changed = {self._idle: parameters[self._idle]}
        if changed:
            given = {**changed, **self._old(entity)}
            result = connection.execute(self._update, given)
            if result.rowcount == 0:
                raise self._missing(entity)
        return self._mapper.stored(row, parameters)

    def _changed(
        self, entity: DomainModel, now: datetime
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        row = update_values(self._meta, entity, now)
        parameters = self._mapper.parameters(row)
        loaded = self._mapper.loaded(entity)
        changed = self._mapper.changes(loaded, parameters)
        for name in self._fixed:
            if name is not None and name in changed:
                del changed[name]
                if name in loaded:
                    # It stays what it is, whatever the entity says.
                    row[name] = parameters[name] = loaded[name]
        return row, parameters, changed

    def _old(self, entity: DomainModel) -> dict[str, Any]:
        meta = self._meta
        key = meta.pk_values(row_key(meta, entity))
        old = {f"old {name}": value for name, value in zip(meta.pk_fields, key, strict=True)}
        for name in meta.match_fields:
            old[f"old {name}"] = getattr(entity, name)
        return old

    def _missing(self, entity: DomainModel) -> Exception:
        version = self._meta.version_field
        if version is not None:
            return StaleEntityError(self._meta.entity_cls, getattr(entity, version))
        return EntityNotFound(entity.pk, self._meta.entity_cls)

    def delete(self, connection: sa.Connection, entity: DomainModel) -> None:
        """Delete the row of one entity."""
        old = self._old(entity)
        for free in self._free:
            connection.execute(free, old)
        if connection.execute(self._delete, old).rowcount == 0:
            raise self._missing(entity)

    def save_many(
        self, connection: sa.Connection, entities: Sequence[DomainModel], now: datetime
    ) -> list[Any]:
        """Insert and update in a statement each, and for each way of giving a key."""
        check_distinct(self._meta, entities)
        saved: list[Any] = [None] * len(entities)
        given: list[int] = []
        counted: list[int] = []
        changed: list[int] = []
        rows: dict[int, dict[str, Any]] = {}
        for index, entity in enumerate(entities):
            if entity.is_persisted():
                changed.append(index)
                continue
            rows[index] = row = insert_values(self._meta, entity, now)
            needs_key = self._counted is not None and row[self._counted] is None
            (counted if needs_key else given).append(index)
        made = [self._changed(entities[index], now) for index in changed]
        parameters = {index: self._mapper.parameters(row) for index, row in rows.items()}
        if given:
            self.follow(connection, [rows[index] for index in given])
            connection.execute(self._insert, [parameters[index] for index in given])
        if counted:
            self._insert_many_counted(
                connection, [rows[i] for i in counted], [parameters[i] for i in counted]
            )
        for index, row in rows.items():
            saved[index] = self._mapper.stored(row, parameters[index])
        if changed:
            self._update_many(connection, [entities[index] for index in changed], made)
            for index, (row, written, _) in zip(changed, made, strict=True):
                saved[index] = self._mapper.stored(row, written)
        return saved

    def _insert_many_counted(
        self,
        connection: sa.Connection,
        rows: Sequence[dict[str, Any]],
        parameters: Sequence[dict[str, Any]],
    ) -> None:
        name = cast("str", self._counted)
        if not self._dialect.keys_in_order:
            self._insert_many_numbered(connection, name, rows, parameters)
            return
        for each in parameters:
            del each[name]
        keys = connection.execute(self._insert_counted, parameters).scalars().all()
        for row, each, key in zip(rows, parameters, keys, strict=True):
            row[name] = each[name] = key

    def _insert_many_numbered(
        self,
        connection: sa.Connection,
        name: str,
        rows: Sequence[dict[str, Any]],
        parameters: Sequence[dict[str, Any]],
    ) -> None:
        """Give the next keys here: the engine does not say which row got which.

        Nobody else can, while this transaction holds the lock of the database.
        """
        self._dialect.begin_write(connection)
        first = self._next_key(connection)
        if first + len(rows) > _KEY_LIMIT:
            raise no_more_keys(self._meta)
        for key, (row, each) in enumerate(zip(rows, parameters, strict=True), first):
            row[name] = each[name] = key
        connection.execute(self._insert, parameters)

    def keys_end(self, connection: sa.Connection) -> bool:
        """Whether the last counted key is given, of an engine that does not say so itself."""
        return self._last_key is not None and self._next_key(connection) >= _KEY_LIMIT

    def _next_key(self, connection: sa.Connection) -> int:
        return int(connection.execute(self._last_key).scalar_one()) + 1

    def _update_many(
        self,
        connection: sa.Connection,
        entities: Sequence[DomainModel],
        made: Sequence[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]],
    ) -> None:
        names = {name for _, _, changed in made for name in changed}
        if not names and self._idle is not None:
            names = {self._idle}
        if names:
            given = [
                {**{name: parameters[name] for name in names}, **self._old(entity)}
                for (_, parameters, _), entity in zip(made, entities, strict=True)
            ]
            self._run_matched(connection, self._update, sorted(names), given, entities)

    def delete_many(self, connection: sa.Connection, entities: Sequence[DomainModel]) -> None:
        """Delete in one statement."""
        check_distinct(self._meta, entities)
        ordered = children_first(self._meta, entities)
        if ordered:
            given = [self._old(entity) for entity in ordered]
            for free in self._free:
                connection.execute(free, given)
            self._run_matched(connection, self._delete, [], given, ordered)

    def _run_matched(
        self,
        connection: sa.Connection,
        statement: Any,
        names: list[str],
        given: list[dict[str, Any]],
        entities: Sequence[DomainModel],
    ) -> None:
        """Run a statement for many rows, each of which has to match."""
        if len(given) == 1:
            if connection.execute(statement, given[0]).rowcount != 1:
                raise self._missing(entities[0])
            return
        if self._dialect.arrays:
            # Their driver does not count the rows of many statements: one over arrays instead.
            self._run_joined(connection, names, given, entities)
            return
        if connection.execute(statement, given).rowcount != len(given):
            raise self._missing_of(connection, entities)

    def _run_joined(
        self,
        connection: sa.Connection,
        names: list[str],
        given: list[dict[str, Any]],
        entities: Sequence[DomainModel],
    ) -> None:
        columns = {**{f"new {n}": n for n in names}, **{f"old {n}": n for n in self._match}}
        types = {label: self._entity.columns[name].type for label, name in columns.items()}
        arrays = [sa.bindparam(label, type_=sa.ARRAY(types[label])) for label in columns]
        joined = (
            sa.func.unnest(*arrays)
            .table_valued(*(sa.column(label, types[label]) for label in columns))
            .render_derived("given")
        )
        matched = [self._entity.columns[name] == joined.c[f"old {name}"] for name in self._match]
        table = self._entity.table
        statement: Any = (
            table.update().values({name: joined.c[f"new {name}"] for name in names})
            if names
            else table.delete()
        )
        statement = statement.where(*matched)
        for start in range(0, len(given), _CHUNK):
            chunk = given[start : start + _CHUNK]
            values = {
                label: [row[label] if label in row else row[name] for row in chunk]
                for label, name in columns.items()
            }
            if connection.execute(statement, values).rowcount != len(chunk):
                raise self._missing_of(connection, entities[start : start + _CHUNK])

    def _missing_of(self, connection: sa.Connection, entities: Sequence[DomainModel]) -> Exception:
        """The error of the first entity whose row is not as it was."""
        for entity in entities:
            statement, values = self._queries.by_key(entity.pk, None, None)
            row = connection.execute(statement, values).first()
            # A row that did match has been written by now, and has the next version.
            found = row is not None and self._is_next(entity, row)
            if not found:
                return self._missing(entity)
        return self._missing(entities[0])

    def _is_next(self, entity: DomainModel, row: Any) -> bool:
        version = self._meta.version_field
        tenant = self._meta.tenant_field
        values = dict(zip(self._meta.fields, row, strict=True))
        if tenant is not None and values[tenant] != getattr(entity, tenant):
            return False
        return version is None or values[version] == getattr(entity, version) + 1

    def update_by_query(
        self,
        connection: sa.Connection,
        params: QueryParams,
        update: Mapping[str, Any],
        now: datetime,
    ) -> int:
        """Set fields of all rows that a query selects."""
        meta = self._meta
        kept = changed_values(meta, update, now)
        values = self._mapper.parameters(kept)
        set_to: dict[Any, Any] = {
            self._entity.columns[name]: sa.bindparam(
                f"new {name}", value, type_=self._entity.columns[name].type
            )
            for name, value in values.items()
        }
        if meta.version_field is not None:
            version = self._entity.columns[meta.version_field]
            set_to[version] = version + 1
        condition, given = self._queries.condition(params.node)
        if not set_to:
            statement, given = self._queries.count(params.node)
            return int(connection.execute(statement, given).scalar_one())
        statement = self._entity.table.update().values(set_to)
        if condition is not None:
            statement = statement.where(condition)
        return connection.execute(statement, given).rowcount
