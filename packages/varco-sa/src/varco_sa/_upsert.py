"""INSERT that updates the row that is there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from varco_domain.exception import FieldNotFound, RepositoryException, UniqueViolationError
from varco_domain.mapper import insert_values
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel, domain_replace
from varco_domain.service.tenant import CrossTenantError, TenantRequiredError
from varco_sa._storage import EntityStorage

# An expression that MariaDB refuses to compute, and the number of its error.
_REFUSED: sa.ColumnElement[Any] = sa.literal_column("18446744073709551615 + 1", sa.Integer())
_OUT_OF_RANGE = 1690


def upsert(
    connection: sa.Connection,
    storage: EntityStorage,
    entities: Sequence[DomainModel],
    by: Sequence[str],
    now: datetime,
) -> None:
    """Insert entities; where a row has the same values of ``by``, update it. One statement.

    Versions count up; the key, the tenant and the creation time of a row stay. A row of another
    tenant is left alone.

    Raises:
        FieldNotFound: ``by`` names no field.
        RepositoryException: ``by`` is not unique.
        UniqueViolationError: A row has the same values of something else that is unique.
    """
    meta = storage.entity.meta
    for name in by:
        if name not in meta.fields:
            raise FieldNotFound(name, meta.table)
    _check_unique(storage, by)
    rows = [storage.mapper.parameters(insert_values(meta, each, now)) for each in entities]
    counted = [name for name in meta.pk_fields if all(row[name] is None for row in rows)]
    rows = [{name: row[name] for name in row if name not in counted} for row in rows]
    kept = {*meta.pk_fields, *by, meta.tenant_field, meta.created_at_field, meta.version_field}
    changed = [name for name in rows[0] if name not in kept]
    try:
        connection.execute(_statement(storage, by, changed), rows)
    except DBAPIError as error:
        if _number(error) == _OUT_OF_RANGE:
            raise UniqueViolationError(meta.entity_cls, ()) from None
        raise


def _number(error: DBAPIError) -> object:
    return next(iter(getattr(error.orig, "args", ())), None)


def _check_unique(storage: EntityStorage, by: Sequence[str]) -> None:
    """An engine that is asked for what is not unique answers unclearly, or inserts twice."""
    groups = storage.entity.uniques
    if not any(set(group) == set(by) for group in groups):
        listed = "; ".join(", ".join(group) for group in groups)
        raise RepositoryException(
            f"upsert by {', '.join(by) or 'nothing'}: {storage.entity.entity_cls.__name__} is "
            f"unique by {listed}"
        )


def owned(entities: Sequence[DomainModel], tenancy: Any) -> list[DomainModel]:
    """The entities as the tenant's in context.

    Raises:
        CrossTenantError: One carries another tenant.
        TenantRequiredError: One carries none in a context of all tenants.
    """
    field = MetaReader.read(type(entities[0])).tenant_field
    if field is None:
        return list(entities)
    found: list[DomainModel] = []
    for entity in entities:
        owner = getattr(entity, field)
        if tenancy.everyone:
            if not owner:
                raise TenantRequiredError
            found.append(entity)
        elif owner and owner != tenancy.tenant_id:
            raise CrossTenantError(type(entity))
        else:
            found.append(domain_replace(entity, **{field: tenancy.tenant_id}))
    return found


def _statement(storage: EntityStorage, by: Sequence[str], changed: list[str]) -> Any:
    entity, meta, dialect = storage.entity, storage.entity.meta, storage.dialect
    table = entity.table
    insert, new = dialect.insert(table)
    values: dict[str, Any] = {name: new[name] for name in changed}
    if meta.version_field is not None:
        values[meta.version_field] = table.c[meta.version_field] + sa.literal_column(
            "1", sa.Integer()
        )
    if not dialect.partial_indexes:
        # Here any unique key that is taken leads to the update, not only the one of ``by``.
        same = sa.and_(*(table.c[name] == new[name] for name in by))
        mine = same
        if meta.tenant_field is not None:
            mine = sa.and_(same, table.c[meta.tenant_field] == new[meta.tenant_field])
        values = {name: sa.case((mine, to), else_=table.c[name]) for name, to in values.items()}
        values[by[0]] = sa.case((same, table.c[by[0]]), else_=_REFUSED)
        return insert.on_duplicate_key_update(values)
    unique = [table.c[name] for name in by]
    if not values:
        return insert.on_conflict_do_nothing(index_elements=unique)
    options: dict[str, Any] = {}
    if meta.tenant_field is not None:
        options["where"] = table.c[meta.tenant_field] == new[meta.tenant_field]
    soft = meta.deleted_at_field
    if soft is not None and tuple(by) != meta.pk_fields:
        options["index_where"] = table.c[soft].is_(None)
    return insert.on_conflict_do_update(index_elements=unique, set_=values, **options)
