"""Migrations: what Alembic needs, and what the live schema lacks."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import TypeDecorator
from sqlalchemy.util import greenlet_spawn

from varco_domain.model import DomainModel
from varco_sa._dialects import EMBEDDED, dialect_named, may_be_one
from varco_sa._storage import Storage
from varco_sa._system_tables import system_tables

_MODELS = "varco_sa.models"
_DIALECT = "varco_sa.dialect"


def metadata_for(*models: type[DomainModel], dialect: str | None = None) -> sa.MetaData:
    """The tables of models, of the outbox, the inbox and the dead letters.

    Give it to Alembic as its `target_metadata`, and `render_item` beside it.

    Args:
        models: The models.
        dialect: The kind of engine: "sqlite" (the default), "postgresql", "mariadb" or "mysql".
            `schema_drift` and `migration_source` take their engine's where none was given.
    """
    storage = Storage(dialect_named(dialect or EMBEDDED))
    system_tables(storage.metadata)
    storage.add(models)
    storage.metadata.info.update({_MODELS: models, _DIALECT: dialect})
    return storage.metadata


def render_item(kind: str, item: object, autogen_context: Any) -> Any:
    """Write the types of varco-sa into migrations as plain ones of SQLAlchemy.

    A migration then stays what it is whatever becomes of this package. Pass it to
    `context.configure(render_item=render_item)`.
    """
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    decorated: Any = cast("Any", item)
    if not decorated.__class__.__module__.startswith("varco_sa."):
        return False
    plain = decorated.load_dialect_impl(autogen_context.dialect)
    render = import_module("alembic.autogenerate.render")
    return render._repr_type(plain, autogen_context)  # noqa: SLF001  # Alembic has no public one


async def schema_drift(engine: AsyncEngine, metadata: sa.MetaData) -> list[str]:
    """What the live schema lacks or has besides the models, a line each; empty when they agree.

    Of an engine of `SQLAlchemyRepositoryProvider(..., schema=...)` it is that schema.

    Raises:
        ImportError: Alembic is not installed.
        ValueError: The metadata was made for another kind of engine.
    """
    tables = _moved(_for_engine(metadata, engine), _schema_of(engine))

    def compare(autogenerate: Any, context: Any) -> list[str]:
        found = autogenerate.compare_metadata(context, tables)
        return [line for change in found for line in _lines(change)]

    return await _with_alembic(engine, tables, compare)


async def migration_source(engine: AsyncEngine, metadata: sa.MetaData) -> str:
    """The body of an Alembic migration that brings the live schema to the models.

    It drops no column and no table of a model: what may hold data stands in comments.

    Raises:
        ImportError: Alembic is not installed.
        ValueError: The metadata was made for another kind of engine.
    """
    tables = _moved(_for_engine(metadata, engine), _schema_of(engine))

    def produce(autogenerate: Any, context: Any) -> str:
        script = autogenerate.produce_migrations(context, tables)
        kept = _keep_columns(script.upgrade_ops)
        source: str = autogenerate.render_python_code(
            script.upgrade_ops, render_item=render_item, migration_context=context
        )
        return "\n".join([source, *kept])

    return await _with_alembic(engine, tables, produce)


def _keep_columns(operations: Any) -> list[str]:
    """Take the drops of columns out, and say in comments what they are."""
    kept: list[str] = []
    for table in operations.ops:
        for operation in list(getattr(table, "ops", ())):
            if operation.__class__.__name__ == "DropColumnOp":
                table.ops.remove(operation)
                column = f"{table.table_name}.{operation.column_name}"
                kept.append(f"    # No model has {column}; when nothing in it is needed any more:")
                kept.append(
                    f"    # op.drop_column({table.table_name!r}, {operation.column_name!r})"
                )
    return kept


async def _with_alembic[T](
    engine: AsyncEngine, metadata: sa.MetaData, work: Callable[[Any, Any], T]
) -> T:
    try:
        autogenerate = import_module("alembic.autogenerate")
        migration = import_module("alembic.runtime.migration")
    except ImportError as error:
        raise ImportError("this needs Alembic: pip install 'varco-sa[alembic]'") from error

    schema = _schema_of(engine)
    names = {table.name for table in metadata.tables.values()}

    def run() -> T:
        with engine.sync_engine.connect() as connection:
            options = {
                "compare_type": True,
                "include_object": _ours(names),
                "include_name": _in_schema(schema),
                "include_schemas": schema is not None,
            }
            return work(
                autogenerate, migration.MigrationContext.configure(connection, opts=options)
            )

    return await greenlet_spawn(run)


def _for_engine(metadata: sa.MetaData, engine: AsyncEngine) -> sa.MetaData:
    """The tables as this kind of engine has them."""
    name = engine.dialect.name
    made_for: str | None = metadata.info.get(_DIALECT)
    if made_for is None:
        models = metadata.info.get(_MODELS)
        return metadata if models is None else metadata_for(*models, dialect=name)
    if not may_be_one(made_for, name):
        raise ValueError(
            f"the metadata is for {made_for} and the engine is {name}; "
            f"leave dialect out, or give metadata_for(..., dialect={name!r})"
        )
    return metadata


def _schema_of(engine: AsyncEngine) -> str | None:
    moved: Any = engine.sync_engine.get_execution_options().get("schema_translate_map") or {}
    return cast("str | None", moved.get(None))


def _moved(metadata: sa.MetaData, schema: str | None) -> sa.MetaData:
    """The tables in a schema, with the references among them."""
    if schema is None:
        return metadata
    moved = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(moved, schema=schema)
    return moved


def _in_schema(schema: str | None) -> Any:
    def include(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "schema" or name == schema

    return include


def _ours(names: set[str]) -> Any:
    def include(_item: Any, name: str | None, kind: str, *_rest: object) -> bool:
        # Tables of others in the same schema are none of our business.
        return kind != "table" or name in names

    return include


def _lines(change: Any) -> list[str]:
    if isinstance(change, list):
        return [line for each in change for line in _lines(each)]  # pyright: ignore[reportUnknownVariableType]  # Alembic's lists of tuples
    what, *about = change
    if str(what).startswith("modify_"):
        _schema, table, column, _existing, old, new = about
        return [f"{str(what).replace('_', ' ')} {table}.{column}: {old} is to be {new}"]
    names = [str(getattr(each, "name", each)) for each in about if each is not None]
    return [" ".join([str(what).replace("_", " "), *names[:4]])]
