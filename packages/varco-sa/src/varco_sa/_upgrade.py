"""What varco-core 1.0.6 stored, taken over into tables of ours."""

import json
from dataclasses import MISSING
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_domain.backend import utc_now
from varco_domain.exception import RepositoryException
from varco_domain.meta import FieldKind, FieldMeta, FieldRole, PKStrategy
from varco_domain.model import DomainModel
from varco_events import InboxEntry, OutboxEntry
from varco_sa._former import ASIDE, WAITING, Former, former_names
from varco_sa._provider import SQLAlchemyRepositoryProvider
from varco_sa._storage import EntityStorage

_BATCH: Final = 500
# Which models' rows are in their new tables, until the old ones have their names: where renaming
# commits what was copied before, whoever is stopped in between begins here again.
_TAKEN: Final = sa.Table(
    "varco_taken_1_0_6", sa.MetaData(), sa.Column("name", sa.String(255), primary_key=True)
)


async def upgrade_from_1_0_6(engine: AsyncEngine, *models: type[DomainModel]) -> list[str]:
    """Make the tables of models and events, and take over the rows that varco-core 1.0.6 wrote.

    An old table stays, with all its columns, and with `_1_0_6` behind its name; drop it when you
    need it no more. What waits in the outbox and the inbox is moved. The key `id`
    becomes the model's key, `row_version` its version. Times without a zone are taken for UTC,
    audit times that are null for now.

    Stop what else writes to the database first. On SQLite and PostgreSQL all of it is done or
    nothing; on MariaDB, run it again when it was interrupted, wherever that was.

    Args:
        engine: The database.
        models: The models whose rows are to be taken over.

    Returns:
        What was done, a line each; empty when 1.0.6 made no table of these.

    Raises:
        RepositoryException: A row does not fit its model, or the new table has rows already.
    """
    provider = SQLAlchemyRepositoryProvider(engine, *models)
    async with engine.begin() as connection:
        return await connection.run_sync(_locked, provider)


def _locked(connection: sa.Connection, provider: SQLAlchemyRepositoryProvider) -> list[str]:
    with provider.storage.dialect.creating(connection):
        return _upgrade(connection, provider)


def _upgrade(connection: sa.Connection, provider: SQLAlchemyRepositoryProvider) -> list[str]:
    former = Former(connection, provider.models_by_table)
    metadata = provider.storage.metadata
    done: list[str] = []
    sources: dict[str, sa.Table] = {}
    quote = connection.dialect.identifier_preparer.quote

    def rename(table: str, name: str) -> None:
        connection.execute(sa.text(f"ALTER TABLE {quote(table)} RENAME TO {quote(name)}"))

    for table in (*former.system, *former.models.values()):
        place = table
        if table in metadata.tables:
            place = f"{table}{WAITING}"
            rename(table, place)
        sources[table] = sa.Table(place, sa.MetaData(), autoload_with=connection, resolve_fks=False)
    if not sources:
        _TAKEN.drop(connection, checkfirst=True)
        return done
    taken = _begun(connection, metadata)
    by_table = dict(provider.models_by_table)
    # A row is there before those that refer to it.
    for name in [table.name for table in metadata.sorted_tables]:
        model = by_table.get(name)
        if model is not None and model in former.models:
            source = sources[former.models[model]]
            if name not in taken:
                _take_rows(connection, provider.storage.of(model), source)
                connection.execute(_TAKEN.insert().values(name=name))
            rows = sa.select(sa.func.count()).select_from(source)
            number = connection.execute(rows).scalar_one()
            aside = f"{source.name.removesuffix(WAITING)}{ASIDE}"
            rename(source.name, aside)
            done.append(f"{number} rows are in {name}, the old table is called {aside}")
    for table in former.system:
        name = table.removesuffix(WAITING)
        number = _take_entries(connection, provider, name, sources[table])
        rename(sources[table].name, f"{name}{ASIDE}")
        done.append(
            f"{number} waiting entries are in {name}, the old table is called {name}{ASIDE}"
        )
    _TAKEN.drop(connection)
    return done


def _begun(connection: sa.Connection, metadata: sa.MetaData) -> set[str]:
    """Make the new tables, and say of which the rows are there."""
    _TAKEN.create(connection, checkfirst=True)
    metadata.create_all(connection)
    for table in metadata.tables.values():
        for index in table.indexes:  # of a table that was created by who was stopped after it
            index.create(connection, checkfirst=True)
    return set(connection.execute(sa.select(_TAKEN.c.name)).scalars())


def _take_rows(connection: sa.Connection, storage: EntityStorage, source: sa.Table) -> None:
    table, meta = storage.entity.table, storage.entity.meta
    if connection.execute(sa.select(table).limit(1)).first() is not None:
        raise RepositoryException(f"{table.name} has rows already; {source.name} is as it was")
    found = False
    for rows in connection.execute(sa.select(source)).mappings().partitions(_BATCH):
        connection.execute(table.insert(), [_row(storage, dict(row)) for row in rows])
        found = True
    if found and meta.pk_strategy is PKStrategy.INT_AUTO:
        key = storage.entity.columns[meta.pk_fields[0]]
        largest = connection.execute(sa.select(sa.func.max(key))).scalar_one()
        storage.dialect.follow_key(connection, table, key.name, largest)


def _row(storage: EntityStorage, row: dict[str, Any]) -> dict[str, Any]:
    meta = storage.entity.meta
    names = former_names(meta)
    values: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    for name, field in meta.fields.items():
        column = names.get(name, name)
        value = _value(field, row[column]) if column in row else _default(field)
        if value is None and not field.nullable:
            raise RepositoryException(
                f"{meta.entity_cls.__name__}.{name} is never None, and the row with the id "
                f"{row.get('id')!r} has no value for it; give it one first"
            )
        if field.kind is FieldKind.JSON and value is not None:
            texts[name] = json.dumps(value)
        else:
            values[name] = value
    return {**storage.mapper.parameters(values), **texts}


def _default(field: FieldMeta) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return _value(field, None if field.default is MISSING else field.default)


def _value(field: FieldMeta, stored: Any) -> Any:
    """A value of the field, from what 1.0.6 stored for it."""
    if stored is None:
        if field.role in {FieldRole.CREATED_AT, FieldRole.UPDATED_AT}:
            return utc_now()
        return 1 if field.role is FieldRole.VERSION else None
    match field.kind:
        case FieldKind.DATETIME:
            return _moment(stored)
        case FieldKind.UUID:
            return stored if isinstance(stored, UUID) else UUID(str(stored))
        case FieldKind.BOOL:
            return bool(stored)
        case FieldKind.ENUM:
            # SQLAlchemy's own type stores the names of members.
            kind: Any = field.python_type
            return kind[stored] if stored in kind.__members__ else kind(stored)
        case FieldKind.JSON:
            return json.loads(stored) if isinstance(stored, str) else stored
        case _:
            return stored


def _moment(stored: Any) -> datetime:
    moment: datetime = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _take_entries(
    connection: sa.Connection, provider: SQLAlchemyRepositoryProvider, name: str, source: sa.Table
) -> int:
    waiting = sa.true() if "processed_at" not in source.c else source.c.processed_at.is_(None)
    when = source.c.created_at if "created_at" in source.c else source.c.received_at
    rows = connection.execute(sa.select(source).where(waiting).order_by(when)).mappings().all()
    for row in rows:
        known: dict[str, Any] = {
            "entry_id": UUID(str(row["entry_id"])),
            "event_type": row["event_type"],
            "channel": row["channel"],
            "payload": bytes(row["payload"]),
        }
        if name == provider.tables.outbox.name:
            entry = OutboxEntry(**known, created_at=_moment(row["created_at"]))
            provider.outbox.insert(connection, [entry])
        else:
            received = InboxEntry(**known, received_at=_moment(row["received_at"]))
            provider.inbox.accept(connection, received)
    connection.execute(source.delete().where(waiting))
    return len(rows)
