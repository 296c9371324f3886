"""Engines to test on: SQLite always, PostgreSQL and MariaDB where a server answers."""

import asyncio
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_sa import Backend, SQLAlchemyRepositoryProvider, bootstrap, make_engine

POSTGRESQL_URL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
MARIADB_URL = os.environ.get(
    "VARCO_TEST_MARIADB_URL", "mysql+asyncmy://varco_test:varco_test@127.0.0.1:3306/varco_test"
)
SERVERS = {"postgresql": POSTGRESQL_URL, "mariadb": MARIADB_URL}
ENGINES = ("sqlite", "postgresql", "mariadb")


async def _execute(url, *statements):
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(sa.text(statement))
    finally:
        await engine.dispose()


def _run(work):
    """Run a coroutine in a thread of its own: the caller may have a loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _empty(engine, metadata):
    """Remove all rows, and count keys from 1 again, in the way that is fastest on each engine."""
    kind = engine.dialect.name
    tables = metadata.sorted_tables[::-1]
    if kind == "sqlite" or not tables:
        return
    if kind == "postgresql":
        keys = [(one, one.autoincrement_column) for one in tables]
        statements = [f"DELETE FROM {one.name}" for one in tables] + [
            f"SELECT setval(pg_get_serial_sequence('{one.name}', '{key.name}'), 1, false)"
            for one, key in keys
            if key is not None
        ]
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            await raw.driver_connection.execute("; ".join(statements))
        return
    async with engine.begin() as connection:
        # Truncating costs far more than asking; the counter tells what a rollback left.
        counted = sa.text(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND auto_increment > 1"
        )
        filled = " UNION ALL ".join(
            f"(SELECT '{one.name}' FROM {one.name} LIMIT 1)" for one in tables
        )
        used = {*(await connection.scalars(counted)), *(await connection.scalars(sa.text(filled)))}
        await connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in used.intersection(metadata.tables):
            await connection.execute(sa.text(f"TRUNCATE {table}"))
        await connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 1"))


class Databases:
    """Databases of this test run's own, one for each kind of engine, dropped at its end."""

    def __init__(self, folder):
        self.name = f"varco_test_{secrets.token_hex(6)}"
        self._folder = folder
        self._made = {}
        self._absent = {}
        self._tables = {}
        self._spare = {}
        self._number = 0

    def url(self, kind):
        """A URL of the database; skips the test when there is no server, and fails it in CI."""
        if kind == "sqlite":
            self._number += 1
            return f"sqlite+aiosqlite:///{self._folder / f'{self._number}.sqlite'}"
        if kind not in self._made and kind not in self._absent:
            try:
                _run(_execute(SERVERS[kind], f"CREATE DATABASE {self.name}"))
                if kind == "postgresql":
                    # Nobody kills the server: what a commit says need not be on its disk.
                    lazy = f"ALTER DATABASE {self.name} SET synchronous_commit = off"
                    _run(_execute(SERVERS[kind], lazy))
                self._made[kind] = str(
                    sa.make_url(SERVERS[kind])
                    .set(database=self.name)
                    .render_as_string(hide_password=False)
                )
            except (OSError, sa.exc.DBAPIError, ModuleNotFoundError) as error:
                said = getattr(error, "orig", None) or error
                server = sa.make_url(SERVERS[kind])
                self._absent[kind] = f"no {kind} for {server!r}: {said}"
        if kind in self._absent:
            reason = f"{self._absent[kind]}; scripts/services sets it up"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return self._made[kind]

    def _with_tables(self, kind, models):
        """A URL of a database that has the tables of the models; made once."""
        key = (kind, models)
        if key not in self._tables:
            url = self.url(kind)

            async def create():
                async with bootstrap(url, *models) as backend:
                    return backend.uow_provider.metadata

            self._tables[key] = url, _run(create())
        return self._tables[key]

    @asynccontextmanager
    async def backend(self, kind, *models, **options):
        """A backend with empty tables of the models."""
        url, metadata = self._with_tables(kind, models)
        if kind == "sqlite":
            self._number += 1
            copy = self._folder / f"{self._number}.sqlite"
            shutil.copy(sa.make_url(url).database, copy)
            url = f"sqlite+aiosqlite:///{copy}"
        engine = make_engine(url, pool_size=4, **options.pop("engine_options", {}))
        try:
            await _empty(engine, metadata)
            provider = SQLAlchemyRepositoryProvider(engine, *models, **options)
            async with Backend(provider, owns_engine=True) as backend:
                yield backend
                await _empty(engine, metadata)  # for tests that open what they find
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def shared(self, kind, *models):
        """As `backend`, where a test changes nothing of it: tests use the tables one by one."""
        url, metadata = self._with_tables(kind, models)
        spare = self._spare.setdefault((kind, models), [])
        if spare:
            provider = spare.pop()
        else:
            provider = SQLAlchemyRepositoryProvider(
                make_engine(self.url(kind), pool_size=4), *models
            )
        engine = provider.engine
        if kind == "sqlite":
            file = Path(engine.url.database)
            for beside in file.parent.glob(f"{file.name}-*"):
                beside.unlink()
            shutil.copy(sa.make_url(url).database, file)
        try:
            await _empty(engine, metadata)
            async with Backend(provider, owns_engine=True) as backend:
                yield backend
                await _empty(engine, metadata)
        finally:
            await engine.dispose()
        spare.append(provider)

    def forget_tables(self):
        """Somebody dropped tables: they are made again when they are needed."""
        self._tables = {key: made for key, made in self._tables.items() if key[0] == "sqlite"}

    def drop(self):
        for kind in self._made:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            _run(_execute(SERVERS[kind], f"DROP DATABASE {self.name}{force}"))


@pytest.fixture(scope="session")
def databases(tmp_path_factory):
    made = Databases(tmp_path_factory.mktemp("sqlite"))
    yield made
    made.drop()


@pytest.fixture(scope="module", autouse=True)
def _tables_of_a_file(databases):
    """A file of tests may drop any tables; the next one makes its own again."""
    yield
    databases.forget_tables()


@pytest.fixture(params=ENGINES)
def kind(request):
    return request.param


@pytest.fixture
def url(databases, kind):
    return databases.url(kind)


@pytest.fixture
def anyio_backend():
    """SQLAlchemy runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def open_backend(anyio_backend, databases):
    """Opens backends, and at the end of the test drops their tables and closes them."""
    opened = []

    async def open_(url, *models, **options):
        backend = await bootstrap(url, *models, **options)
        opened.append(backend)
        return backend

    yield open_
    for backend in reversed(opened):
        async with backend.engine.begin() as connection:
            await connection.run_sync(backend.uow_provider.metadata.drop_all)
        databases.forget_tables()
        await backend.aclose()


@pytest.fixture
async def engine(url):
    made = make_engine(url)
    yield made
    await made.dispose()
