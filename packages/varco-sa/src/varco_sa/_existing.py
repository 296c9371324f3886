"""Models on tables that exist: those of declarative classes."""

from typing import TYPE_CHECKING, Any, cast

from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.meta import FieldKind, MetaReader
from varco_domain.model import DomainModel
from varco_sa._tables import EntityTable, constraint_fields

if TYPE_CHECKING:
    import sqlalchemy as sa


def map_existing(model: type[DomainModel], orm_cls: type[Any]) -> EntityTable:
    """The model on the table of a declarative class; its columns have the names of the fields.

    Values are stored and compared as the types of the class do it.

    Raises:
        RepositoryClassCreationFailed: A field has no column, or is stored as JSON, which the
            class reads in its own way.
    """
    meta = MetaReader.read(model)
    table = cast("sa.Table", orm_cls.__table__)
    for name, field in meta.fields.items():
        if name not in table.c:
            raise RepositoryClassCreationFailed(
                f"{orm_cls.__name__} has no column {name!r} for {model.__name__}.{name}; "
                f"it has {', '.join(sorted(table.c.keys()))}",
                model,
            )
        if field.kind is FieldKind.JSON:
            raise RepositoryClassCreationFailed(
                f"{model.__name__}.{name}: JSON of an existing class is not supported", model
            )
    columns = {name: table.c[name] for name in meta.fields}
    return EntityTable(model, meta, table, columns, constraint_fields(table, columns))
