"""Tables in memory: committed rows, their unique values, and who refers to whom."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from enum import Enum
from types import MappingProxyType
from typing import Any, cast

from varco_domain._compared import as_key
from varco_domain._conditions import check_condition
from varco_domain._limits import INT_LIMIT
from varco_domain._parsed import unique_fields
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.mapper import load_entity, no_more_keys
from varco_domain.meta import (
    CheckConstraint,
    FieldKind,
    FieldMeta,
    ForeignKey,
    MetaReader,
    ParsedMeta,
)
from varco_domain.model import DomainModel
from varco_query import NotNode, compile_predicate

type Row = dict[str, Any]

_log = logging.getLogger("varco_domain.memory")
_ATOMS = (str, int, float, bool, type(None))


class Table:
    """The committed rows of one model; rows are never changed, only replaced."""

    def __init__(self, entity_cls: type[DomainModel]) -> None:
        meta = MetaReader.read(entity_cls)
        self.meta: ParsedMeta = meta
        self.rows: dict[Any, Row] = {}
        self.next_id: int = 1
        self.uniques: tuple[tuple[str, ...], ...] = tuple(
            fields for fields, _ in unique_fields(meta)
        )
        self.index: dict[tuple[str, ...], dict[tuple[Any, ...], Any]] = {
            u: {} for u in self.uniques
        }
        self.checks: tuple[tuple[str, Callable[[object], bool]], ...] = tuple(_checks(meta))
        """The check constraints as (name, predicate that is true for a row that breaks it)."""
        self._as_key = tuple(_finder(meta.fields[name]) for name in meta.pk_fields)

    def unique_values(self, fields: tuple[str, ...], row: Row) -> tuple[Any, ...] | None:
        """The values that have to be unique; None when the row is exempt (null, deleted)."""
        deleted = self.meta.deleted_at_field
        if deleted is not None and row[deleted] is not None:
            return None
        values = tuple(_hashable(row[name]) for name in fields)
        return None if None in values else values

    def key(self, pk: Any) -> Any:
        """The key of the row that is asked for; None when no row can have it.

        Raises:
            ValueError: A composite key is not a tuple of the right length.
        """
        given = zip(self._as_key, self.meta.pk_values(pk), strict=True)
        values = tuple(find(value) for find, value in given)
        if None in values:
            return None
        return values if self.meta.is_composite_pk else values[0]

    def put(self, key: Any, row: Row | None) -> None:
        """Replace or remove a committed row."""
        old = self.rows.get(key)
        for fields, index in self.index.items():
            if old is not None:
                values = self.unique_values(fields, old)
                if values is not None and index.get(values) == key:
                    del index[values]
            if row is not None:
                values = self.unique_values(fields, row)
                if values is not None:
                    index[values] = key
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row

    def number(self, row: Row) -> None:
        """Give a new row a counted key, unless it has one.

        Raises:
            ModelValueError: No more keys are left.
        """
        name = self.meta.pk_fields[0]
        if row[name] is None:
            if self.next_id >= INT_LIMIT:
                raise no_more_keys(self.meta)
            row[name] = self.next_id
        if not self.meta.is_composite_pk and isinstance(row[name], int):
            self.next_id = max(self.next_id, row[name] + 1)

    def load(self, row: Row) -> Any:
        """The entity of a row; it shares nothing with the row that could change."""
        copy = dict(row)
        for name in self.meta.mutable_fields:
            copy[name] = _copy(copy[name])
        return load_entity(self.meta, copy, MappingProxyType(row))


class Store:
    """The tables of a provider.

    Commits change it in one step without waiting, so tasks of one event loop never see half of one.
    It is not safe to use from several threads.
    """

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}

    def table(self, entity_cls: type[DomainModel]) -> Table:
        """The table of a model, made on first use."""
        name = MetaReader.read(entity_cls).table
        table = self.tables.get(name)
        if table is None:
            table = self.tables[name] = Table(entity_cls)
        return table

    def target(self, key: ForeignKey, owner: ParsedMeta) -> Table:
        """The table that a foreign key refers to."""
        if isinstance(key.reference, type):
            return self.table(key.reference)
        found = self.tables.get(key.table)
        if found is None:
            raise RepositoryClassCreationFailed(
                f"{owner.entity_cls.__name__} refers to the table {key.table!r}, which is not "
                "registered; give its model to the provider too",
                owner.entity_cls,
            )
        return found

    def referrers(self, table: Table) -> Iterator[tuple[Table, str, ForeignKey]]:
        """Iterate over the foreign keys that refer to a table."""
        for other in self.tables.values():
            for field, key in other.meta.foreign_keys.items():
                if key.table == table.meta.table:
                    yield other, field, key


def referenced_field(table: Table, key: ForeignKey) -> str:
    """The field that a foreign key refers to."""
    return table.meta.pk_fields[0] if key.field == "pk" else key.field


def _finder(field: FieldMeta) -> Callable[[Any], Any]:
    """As `as_key`, but of an enum the member, as rows hold it."""
    find = as_key(field)
    if field.kind is not FieldKind.ENUM:
        return find
    enum = cast("type[Enum]", field.python_type)

    def member(value: Any) -> Enum | None:
        stored = find(value)
        try:
            found = None if stored is None else enum(stored)
        except ValueError:
            return None
        return found if found is not None and found.value == stored else None

    return member


def _copy(value: Any) -> Any:
    if isinstance(value, _ATOMS):
        return value
    if value.__class__ is list and all(item.__class__ in _ATOMS for item in value):
        return list(value)
    return deepcopy(value)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _checks(meta: ParsedMeta) -> Iterator[tuple[str, Callable[[object], bool]]]:
    for constraint in meta.constraints:
        if isinstance(constraint, CheckConstraint):
            broken = _broken(constraint, meta)
            if broken is not None:
                yield constraint.name or constraint.condition, broken


def _broken(constraint: CheckConstraint, meta: ParsedMeta) -> Callable[[object], bool] | None:
    node = check_condition(meta, constraint)
    if node is None:
        _log.warning(
            "%s: the check %r is not in the query language and is not enforced in memory",
            meta.entity_cls.__name__,
            constraint.condition,
        )
        return None
    return compile_predicate(NotNode(node))


def visible(table: Table, overlay: Mapping[Any, Row | None]) -> Iterable[Row]:
    """The committed rows, with the changes of one unit of work on top."""
    if not overlay:
        return table.rows.values()
    merged: dict[Any, Row | None] = {**table.rows, **overlay}
    return [row for row in merged.values() if row is not None]
