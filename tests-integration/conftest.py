"""Databases of a test's own on real servers."""

import asyncio
import os
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)


async def _statement(url, text):
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text(text))
    finally:
        await engine.dispose()


@pytest.fixture
def postgresql():
    """The URL of a database of its own on the PostgreSQL server."""
    name = f"varco_test_{uuid.uuid4().hex[:8]}"
    try:
        asyncio.run(_statement(POSTGRESQL, f"CREATE DATABASE {name}"))
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"PostgreSQL is not there ({error}); ./scripts/services starts it")
    yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    asyncio.run(_statement(POSTGRESQL, f"DROP DATABASE {name} WITH (FORCE)"))
