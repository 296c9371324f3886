"""What an engine cannot keep of a model, found before it is asked to."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.types import TypeEngine

from varco_domain.backend import FieldKind, MetaReader
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel
from varco_sa._dialect import Dialect
from varco_sa._types import Bytes, Choice, Text


def check_widths(
    model: type[DomainModel],
    columns: Mapping[str, sa.Column[Any]],
    keys: Iterable[tuple[str, ...]],
    dialect: Dialect,
) -> None:
    """Refuse a row, or a key of one, that is wider than the engine keeps.

    Args:
        model: The model.
        columns: Its fields' columns.
        keys: The fields that are indexed together.
        dialect: Of the engine.

    Raises:
        RepositoryClassCreationFailed: It is; the message names the fields.
    """
    widths = {name: dialect.width(_stored(each.type, dialect)) for name, each in columns.items()}
    limit = dialect.key_bytes
    for names in keys:
        if limit is not None and sum(widths[name] for name in names) > limit:
            raise RepositoryClassCreationFailed(
                f"{_listed(model, names)}: this engine indexes at most {limit} bytes, four for "
                f"each character; give {'it' if len(names) == 1 else 'them'} a smaller max_length",
                model,
            )
    limit = dialect.row_bytes
    if limit is not None and sum(widths.values()) > limit:
        widest = sorted(widths, key=lambda name: -widths[name])[:3]
        raise RepositoryClassCreationFailed(
            f"{_listed(model, widest)}: a row of this engine holds at most {limit} bytes, four for "
            "each character of a text that is indexed or of at most 255; give some of them no "
            "max_length, or no index",
            model,
        )


def _stored(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    if isinstance(type_, Choice):
        type_ = type_.stored
    if isinstance(type_, Text):
        return dialect.text(type_.length, in_key=type_.in_key)
    if isinstance(type_, Bytes):
        return dialect.binary(type_.length, in_key=type_.in_key)
    return type_


def _listed(model: type[DomainModel], names: Iterable[str]) -> str:
    return f"{model.__name__}.{', '.join(names)}"


def check_references(metadata: sa.MetaData, models: Mapping[str, type[DomainModel]]) -> None:
    """Refuse foreign keys to what is not unique, in one of ways that engines tell late or never.

    Args:
        metadata: All tables.
        models: The models by the names of their tables.

    Raises:
        RepositoryClassCreationFailed: One refers to such a field, or to a table that is not there;
            the message names both.
    """
    for table in metadata.tables.values():
        model = models.get(table.name)
        for key in table.foreign_keys:
            field = f"{table.name if model is None else model.__name__}.{key.parent.name}"
            try:
                target = key.column
            except NoReferencedTableError as error:
                known = ", ".join(sorted(metadata.tables))
                raise RepositoryClassCreationFailed(
                    f"{field}: a foreign key refers to {error.table_name!r}, which no registered "
                    f"model has; tables: {known}",
                    model or object,
                ) from None
            kinds = _kind(models, key.parent), _kind(models, target)
            if None not in kinds and kinds[0] is not kinds[1]:
                raise RepositoryClassCreationFailed(
                    f"{field}: it is stored as {kinds[0]}, and {target}, which it refers to, as "
                    f"{kinds[1]}",
                    model or object,
                )
            if not _is_unique(target):
                raise RepositoryClassCreationFailed(
                    f"{field}: a foreign key refers to {target}, which is not unique among all "
                    "rows (of a model with soft deletion only those that live are); refer to the "
                    "primary key",
                    model or object,
                )


def _kind(models: Mapping[str, type[DomainModel]], column: sa.Column[Any]) -> FieldKind | None:
    """How a column is stored, where a model says so."""
    model = models.get(column.table.name)
    field = None if model is None else MetaReader.read(model).fields.get(column.name)
    return None if field is None else field.kind


def _is_unique(column: sa.Column[Any]) -> bool:
    groups: list[Any] = [column.table.primary_key]
    groups += [each for each in column.table.constraints if isinstance(each, sa.UniqueConstraint)]
    return any(list(each.columns) == [column] for each in groups)
