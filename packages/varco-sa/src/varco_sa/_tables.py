"""Tables from the metadata of the models."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from varco_domain.backend import FieldMeta, MetaReader, ParsedMeta, unique_fields
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.meta import (
    CheckConstraint,
    ForeignKey,
    ManyToMany,
    PKStrategy,
)
from varco_domain.model import DomainModel
from varco_sa._checks import check_expression
from varco_sa._columns import column_type
from varco_sa._dialect import Dialect
from varco_sa._dialects import COUNTED, identifier, index_of
from varco_sa._fit import check_widths

# PostgreSQL keeps 63 bytes of a name, MariaDB 64.
_NAME_LENGTH = 60
_LIVE = "varco_live"


@dataclass(frozen=True, slots=True)
class EntityTable:
    """A model and its table.

    Attributes:
        entity_cls: The model.
        meta: What it declares.
        table: The table; each field is the column of its name, or that of `columns`.
        columns: Field name to column, in order of the fields.
        constraints: Name of a constraint or unique index to the fields it is about.
        checks: Name of a check constraint to its condition.
        uniques: The groups of fields that are unique together, the key included.
        keeps: By field what its column keeps of a value, where that is less than the field may be.
    """

    entity_cls: type[DomainModel]
    meta: ParsedMeta
    table: sa.Table
    columns: Mapping[str, sa.Column[Any]]
    constraints: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    uniques: tuple[tuple[str, ...], ...] = ()
    keeps: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict[str, Any])


def constraint_name(kind: str, table: str, parts: Iterable[str]) -> str:
    """A name that says what it is about, cut with a hash where an engine would cut it."""
    name = "_".join((kind, table, *parts))
    if len(name.encode()) <= _NAME_LENGTH:
        return name
    digest = hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
    kept = name.encode()[: _NAME_LENGTH - 9].decode(errors="ignore")
    return f"{kept}_{digest}"


def own_references(
    meta: ParsedMeta, columns: Mapping[str, sa.Column[Any]]
) -> Iterator[tuple[str, sa.Column[Any], sa.Column[Any]]]:
    """The restricting foreign keys of a table to itself: (field, its column, the one named)."""
    for name, key in meta.foreign_keys.items():
        target = meta.pk_fields[0] if key.field == "pk" else key.field
        if key.table == meta.table and key.on_delete in {None, "RESTRICT"}:
            yield name, columns[name], columns[target]


def build_table(
    metadata: sa.MetaData, entity_cls: type[DomainModel], dialect: Dialect
) -> EntityTable:
    """The table of a model, added to `metadata`, for one kind of engine.

    Raises:
        RepositoryClassCreationFailed: A field cannot be stored.
    """
    meta = MetaReader.read(entity_cls)
    if meta.abstract:
        raise RepositoryClassCreationFailed(
            f"{entity_cls.__name__} is an abstract base and has no table", entity_cls
        )
    columns = {
        name: sa.Column(
            identifier(name),
            column_type(entity_cls, each, in_key=name in meta.keyed_fields),
            primary_key=each.primary_key,
            nullable=each.nullable,
            autoincrement=meta.pk_strategy is PKStrategy.INT_AUTO and each.primary_key,
        )
        for name, each in meta.fields.items()
    }
    constraints: dict[str, tuple[str, ...]] = {}
    checks: dict[str, str] = {}
    items: list[Any] = list(columns.values())
    key_name = dialect.key_name or constraint_name("pk", meta.table, ())
    given_name = None if dialect.key_name else key_name
    items.append(sa.PrimaryKeyConstraint(*meta.pk_fields, name=given_name))
    constraints[key_name] = meta.pk_fields
    items += _foreign_keys(meta, constraints)
    items += _uniques(meta, columns, constraints, dialect)
    for number, each in enumerate(c for c in meta.constraints if isinstance(c, CheckConstraint)):
        name = constraint_name("ck", meta.table, (each.name or str(number),))
        expression, fields = check_expression(each, meta, columns, dialect)
        items.append(sa.CheckConstraint(expression, name=name))
        constraints[name] = fields
        checks[name] = each.name or each.condition
    counted = meta.pk_strategy is PKStrategy.INT_AUTO
    groups = [fields for fields, _ in unique_fields(meta)]
    indexed = [(name,) for name, each in meta.fields.items() if each.hint.index]
    keys = [meta.pk_fields, *groups, *indexed, *((name,) for name in meta.foreign_keys)]
    check_widths(entity_cls, columns, keys, dialect)
    for name, column, _ in () if dialect.frees_itself else own_references(meta, columns):
        if not column.nullable:
            raise RepositoryClassCreationFailed(
                f"{entity_cls.__name__}.{name}: a row that refers to itself could not be deleted "
                "on this engine; let it be None, or say on_delete='CASCADE'",
                entity_cls,
            )
    table = sa.Table(identifier(meta.table), metadata, *items, **(COUNTED if counted else {}))
    _indexes(meta, table, dialect)
    for pairs in meta.many_to_many:
        _pairs_table(metadata, meta, pairs)
    uniques = (meta.pk_fields, *groups)
    return EntityTable(entity_cls, meta, table, columns, constraints, checks, uniques)


def _foreign_keys(meta: ParsedMeta, constraints: dict[str, tuple[str, ...]]) -> list[Any]:
    found: list[Any] = []
    for name, key in meta.foreign_keys.items():
        label = constraint_name("fk", meta.table, (name,))
        constraints[label] = (name,)
        found.append(
            sa.ForeignKeyConstraint(
                [name],
                [f"{key.table}.{_referenced(key)}"],
                name=label,
                ondelete=key.on_delete,
                onupdate=key.on_update,
            )
        )
    return found


def _referenced(key: ForeignKey) -> str:
    if key.field == "pk" and isinstance(key.reference, type):
        return _only_key(key.reference)
    return key.field


def _only_key(model: type[DomainModel]) -> str:
    """The name of the key that others refer to.

    Raises:
        RepositoryClassCreationFailed: The key has several fields.
    """
    meta = MetaReader.read(model)
    if meta.is_composite_pk:
        raise RepositoryClassCreationFailed(
            f"{model.__name__} has a key of {len(meta.pk_fields)} fields, which one field cannot "
            "refer to; give it a key of its own and a unique constraint",
            model,
        )
    return meta.pk_fields[0]


def _uniques(
    meta: ParsedMeta,
    columns: Mapping[str, sa.Column[Any]],
    constraints: dict[str, tuple[str, ...]],
    dialect: Dialect,
) -> list[Any]:
    """Unique constraints; of a model with soft deletion, unique indexes over the rows that live."""
    found: list[Any] = []
    soft = meta.deleted_at_field
    live: list[str] = []
    groups = unique_fields(meta)
    if groups and soft is not None and not dialect.partial_indexes:
        # No partial index there: of a row that is deleted the column is null, and nulls differ.
        lives = sa.case((columns[soft].is_(None), sa.literal_column("1", sa.Integer())))
        found.append(sa.Column(_LIVE, sa.SmallInteger, sa.Computed(lives, persisted=False)))
        live = [_LIVE]
    for fields, given in groups:
        # Of the table, for two that inherit a constraint, or choose one name, are kept apart.
        name = constraint_name("uq", meta.table, fields if given is None else (given,))
        constraints[name] = fields
        if soft is None or live:
            found.append(sa.UniqueConstraint(*fields, *live, name=name))
            continue
        where = columns[soft].is_(None)
        found.append(
            sa.Index(
                name,
                *(columns[each] for each in fields),
                unique=True,
                **index_of(where),
            )
        )
    return found


def constraint_fields(
    table: sa.Table, columns: Mapping[str, sa.Column[Any]]
) -> dict[str, tuple[str, ...]]:
    """The named constraints and unique indexes of a table, with the fields they are about."""
    fields = {column.name: name for name, column in columns.items()}
    found: dict[str, tuple[str, ...]] = {}
    items: list[Any] = [*table.constraints, *table.indexes]
    for each in items:
        names = [c.name for c in getattr(each, "columns", ())]
        about = tuple(fields[name] for name in names if name in fields)
        if isinstance(each.name, str):
            found[each.name] = about
        elif isinstance(each, sa.UniqueConstraint):
            # What PostgreSQL and MariaDB call it when nobody does.
            found["_".join((table.name, *names, "key"))] = found[names[0]] = about
        elif isinstance(each, sa.ForeignKeyConstraint):
            found["_".join((table.name, *names, "fkey"))] = about
    return found


def unique_groups(
    table: sa.Table, columns: Mapping[str, sa.Column[Any]]
) -> tuple[tuple[str, ...], ...]:
    """The groups of fields that a table holds unique together, the key included."""
    fields = {column: name for name, column in columns.items()}
    found: list[Any] = [table.primary_key]
    found += [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    found += [each for each in table.indexes if each.unique]
    return tuple(
        tuple(fields[c] for c in each.columns)
        for each in found
        if all(c in fields for c in each.columns)
    )


def _indexes(meta: ParsedMeta, table: sa.Table, dialect: Dialect) -> None:
    for name, each in meta.fields.items():
        covered = each.hint.unique or meta.pk_fields == (name,)
        if (each.hint.index or name in meta.foreign_keys) and not covered:
            sa.Index(
                constraint_name("ix", meta.table, (name,)),
                _sorted_column(table.c[name], each, dialect),
            )


def _sorted_column(column: sa.Column[Any], meta: FieldMeta, dialect: Dialect) -> Any:
    """In the order of a sort, null first."""
    if meta.nullable and not dialect.null_smallest:
        return column.asc().nulls_first()
    return column


def _pairs_table(metadata: sa.MetaData, meta: ParsedMeta, pairs: ManyToMany) -> None:
    """The table of pairs, unless a model or the other side has made it."""
    if pairs.through in metadata.tables:
        return
    source, target = pair_columns(meta, pairs)
    target_key = (
        f"{pairs.target}.pk"
        if isinstance(pairs.target, str)
        else f"{MetaReader.read(pairs.target).table}.{_only_key(pairs.target)}"
    )
    made: list[Any] = []
    for name, referred in (
        (source, f"{meta.table}.{_only_key(meta.entity_cls)}"),
        (target, target_key),
    ):
        key = sa.ForeignKey(
            referred,
            name=constraint_name("fk", pairs.through, (name,)),
            ondelete="CASCADE",
        )
        # The type of the key it refers to.
        made.append(sa.Column(identifier(name), key, primary_key=True, autoincrement=False))
    sa.Table(identifier(pairs.through), metadata, *made)
    sa.Index(
        constraint_name("ix", pairs.through, (target,)), metadata.tables[pairs.through].c[target]
    )


def pair_columns(meta: ParsedMeta, pairs: ManyToMany) -> tuple[str, str]:
    """The columns of a table of pairs that point to the model and to its target."""
    target_table = (
        pairs.target if isinstance(pairs.target, str) else MetaReader.read(pairs.target).table
    )
    source = pairs.source_fk or f"{meta.table}_pk"
    target = pairs.target_fk or f"{target_table}_pk"
    # A model that is tied to itself has the name of the tie for the other end.
    return source, target if target != source else f"{pairs.attr_name}_pk"
