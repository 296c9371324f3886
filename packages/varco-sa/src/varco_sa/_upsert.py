"""INSERT that updates the row that is there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from varco_domain.backend import no_more_keys, upsert_rows
from varco_domain.exception import CheckViolationError, UniqueViolationError
from varco_domain.model import DomainModel
from varco_sa._errors import translate
from varco_sa._storage import EntityStorage

# What the parameters are called that hold the key of a row for the second time.
_BROUGHT = "brought "
# Expressions that MariaDB refuses to compute, and the number of its error, which quotes them.
_OUT_OF_RANGE = 1690
_TOO_LARGE = "18446744073709551615 + "


def upsert(
    connection: sa.Connection,
    storage: EntityStorage,
    entities: Sequence[DomainModel],
    by: Sequence[str],
    now: datetime,
) -> None:
    """Insert entities; where a row has the same values of `by`, update it.

    One statement for those that bring a key, one for those that get one.
    """
    meta = storage.entity.meta
    rows = upsert_rows(meta, entities, by, storage.entity.uniques, now)
    key = meta.pk_fields[0]
    given = [row for row in rows if row[key] is not None]
    storage.writes.follow(connection, given)
    for names, group in (
        (tuple(meta.fields), given),
        (tuple(n for n in meta.fields if n != key), rows[len(given) :]),
    ):
        if group:
            parameters = storage.mapper.parameters
            brought = [parameters({name: row[name] for name in names}) for row in group]
            _run(connection, storage, by, names, brought)


def _run(
    connection: sa.Connection,
    storage: EntityStorage,
    by: Sequence[str],
    names: Sequence[str],
    rows: Sequence[dict[str, Any]],
) -> None:
    meta = storage.entity.meta
    kept = {*meta.pk_fields, *by, meta.tenant_field, meta.created_at_field, meta.version_field}
    changed = [name for name in names if name not in kept]
    try:
        keyed = meta.pk_fields[0] in names and set(by) != set(meta.pk_fields)
        if keyed and storage.dialect.partial_indexes:
            brought = {f"{_BROUGHT}{name}": name for name in meta.pk_fields}
            rows = [{**row, **{to: row[name] for to, name in brought.items()}} for row in rows]
        connection.execute(_statement(storage, by, changed, keyed=keyed), rows)
    except DBAPIError as error:
        if isinstance(error, OperationalError) and storage.writes.keys_end(connection):
            raise no_more_keys(meta) from None
        if _number(error) == _OUT_OF_RANGE:
            raise UniqueViolationError(meta.entity_cls, _taken(storage, by, error)) from None
        meant = translate(error, storage.entity)
        if isinstance(meant, CheckViolationError) and meant.field == meta.tenant_field is not None:
            # Nothing but the row of another tenant would make this null.
            raise UniqueViolationError(meta.entity_cls, tuple(by)) from None
        raise


def _number(error: DBAPIError) -> object:
    return next(iter(getattr(error.orig, "args", ())), None)


def _refusal(place: int) -> sa.ColumnElement[Any]:
    """What fails when it is computed, and says in which place of `_keys` the taken one is."""
    return sa.literal_column(f"{_TOO_LARGE}{place + 1}", sa.Integer())


def _keys(storage: EntityStorage, by: Sequence[str]) -> list[tuple[str, ...]]:
    """What is unique together: `by`, then all others."""
    return [tuple(by), *(each for each in storage.entity.uniques if set(each) != set(by))]


def _taken(storage: EntityStorage, by: Sequence[str], error: DBAPIError) -> tuple[str, ...]:
    _, _, place = str(error.orig).partition(_TOO_LARGE)
    digits = place.partition("'")[0].partition(")")[0].strip()
    keys = _keys(storage, by)
    return keys[int(digits) - 1] if digits.isdigit() and int(digits) <= len(keys) else ()


def _statement(
    storage: EntityStorage, by: Sequence[str], changed: list[str], *, keyed: bool
) -> Any:
    entity, meta, dialect = storage.entity, storage.entity.meta, storage.dialect
    table = entity.table
    insert, new = dialect.insert(table)
    values: dict[str, Any] = {name: new[name] for name in changed}
    if meta.version_field is not None:
        values[meta.version_field] = table.c[meta.version_field] + sa.literal_column(
            "1", sa.Integer()
        )
    if not dialect.partial_indexes:
        # Here any unique key that is taken leads to the update, not only the one of `by`.
        same = sa.and_(*(table.c[name] == new[name] for name in by))
        mine = same
        if meta.tenant_field is not None:
            mine = sa.and_(same, table.c[meta.tenant_field] == new[meta.tenant_field])
        values = {name: sa.case((mine, to), else_=table.c[name]) for name, to in values.items()}
        keys = _keys(storage, by)
        refusals = [
            (sa.and_(*(table.c[name] == new[name] for name in group)), _refusal(place))
            for place, group in enumerate(keys)
        ]
        values[by[0]] = sa.case((mine, table.c[by[0]]), *refusals, else_=_refusal(len(keys)))
        return insert.on_duplicate_key_update(values)
    unique = [table.c[name] for name in by]
    if keyed:
        # A key that is another row's fails as it does in an INSERT; any other one is not taken up.
        others = table.alias()
        taken = sa.and_(
            sa.or_(*(new[name] != table.c[name] for name in meta.pk_fields)),
            sa.exists().where(
                *(
                    others.c[name] == sa.bindparam(f"{_BROUGHT}{name}", type_=table.c[name].type)
                    for name in meta.pk_fields
                )
            ),
        )
        for name in meta.pk_fields:
            values[name] = sa.case((taken, new[name]), else_=table.c[name])
    if meta.tenant_field is not None:
        tenant = table.c[meta.tenant_field]
        # The column takes no null, so a row of another tenant fails instead of being left alone.
        values[meta.tenant_field] = sa.case((tenant == new[meta.tenant_field], tenant))
    if not values:
        return insert.on_conflict_do_nothing(index_elements=unique)
    options: dict[str, Any] = {}
    soft = meta.deleted_at_field
    if soft is not None and tuple(by) != meta.pk_fields:
        options["index_where"] = table.c[soft].is_(None)
    return insert.on_conflict_do_update(index_elements=unique, set_=values, **options)
