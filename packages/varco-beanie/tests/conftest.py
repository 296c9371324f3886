"""A server to test on, and databases on it."""

import os
import secrets
import sys
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pymongo
import pytest
from pymongo import AsyncMongoClient

from varco_beanie import Backend, BeanieRepositoryProvider

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import mongodb


class Server:
    """A server, and databases of this test's own on it."""

    def __init__(self, url):
        self.url = url
        self._names = []
        self._made = {}

    def name(self):
        """The name of a database that is not there."""
        self._names.append(f"varco_test_{secrets.token_hex(6)}")
        return self._names[-1]

    def url_of(self, name):
        """The URL of a database."""
        return mongodb.database_url(self.url, name)

    @asynccontextmanager
    async def backend(self, *models, **options):
        """A backend with empty collections of the models."""
        async with AsyncMongoClient(self.url) as client:
            made = models in self._made
            if not made:
                self._made[models] = self.name()
            database = client[self._made[models]]
            provider = BeanieRepositoryProvider(database, *models, **options)
            if made:
                for each in await database.list_collection_names():
                    await database[each].delete_many({})
            else:
                await provider.create_collections()
            async with Backend(provider, owns_client=False) as backend:
                yield backend

    def drop(self):
        with pymongo.MongoClient(self.url) as client:
            for name in self._names:
                client.drop_database(name)


@pytest.fixture(scope="session")
def server():
    with ExitStack() as stack:
        try:
            url = stack.enter_context(mongodb.server())
        except mongodb.NoServerError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        found = Server(url)
        yield found
        found.drop()


@pytest.fixture
def anyio_backend():
    """PyMongo's client runs on asyncio."""
    return "asyncio"
