"""Models on tables that exist: those of declarative classes."""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import class_mapper

from varco_domain.backend import FieldMeta, MetaReader
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel
from varco_sa._columns import EXISTING
from varco_sa._dialect import Dialect
from varco_sa._mapped import Mapped, mapped
from varco_sa._tables import EntityTable, constraint_fields, unique_groups


def map_existing(model: type[DomainModel], orm_cls: type[Any], dialect: Dialect) -> EntityTable:
    """The model on the table of a declarative class, which has an attribute for each field.

    Values are stored as the types of the class do it, and compared as in memory. Where a column of
    moments keeps whole seconds (DATETIME of MariaDB), so does what `save` returns.

    Raises:
        RepositoryClassCreationFailed: A field has no attribute of its name, or its values would
            not come back from a column of that type.
    """
    meta = MetaReader.read(model)
    attributes = class_mapper(orm_cls).columns
    original = cast("sa.Table", orm_cls.__table__)
    fields: dict[Any, FieldMeta] = {}
    for name, field in meta.fields.items():
        column = attributes.get(name)
        if column is None or column.table is not original:
            raise RepositoryClassCreationFailed(
                f"{orm_cls.__name__} has no column {name!r} for {model.__name__}.{name}; "
                f"it has {', '.join(sorted(attributes.keys()))}",
                model,
            )
        fields[column] = field
    kinds = {column: mapped(model, field, column.type, dialect) for column, field in fields.items()}
    table = sa.Table(
        original.name,
        sa.MetaData(),
        *(_copied(column, fields.get(column), kinds.get(column)) for column in original.columns),
        schema=original.schema,
    )
    columns = {field.name: table.c[field.name] for field in fields.values()}
    by_original = {field.name: column for column, field in fields.items()}
    return EntityTable(
        model,
        meta,
        table,
        columns,
        constraint_fields(original, by_original),
        uniques=unique_groups(original, by_original),
        keeps={
            fields[column].name: kind.keep
            for column, kind in kinds.items()
            if kind.keep is not None
        },
    )


def _copied(column: sa.Column[Any], field: FieldMeta | None, kind: Mapped | None) -> sa.Column[Any]:
    """The column, with the field's name as its key; it keeps its defaults."""
    copied: sa.Column[Any] = column._copy()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # Table.to_metadata keeps the keys
    if field is not None and kind is not None:
        copied.key = field.name
        copied.info[EXISTING] = True
        copied.type = kind.type
    return copied
