"""Writes that are sent again have one effect, with rows and answers in one MongoDB transaction."""

from contextlib import asynccontextmanager

import pytest
from hypothesis import settings

from varco_beanie import bootstrap
from varco_fastapi import make_app
from varco_http.testing import HttpContract, asgi_client

pytestmark = pytest.mark.anyio
DEEP = settings.get_current_profile_name() == "deep"
SENT_AGAIN = {
    "test_the_same_key_has_one_effect_and_the_same_answer",
    "test_an_error_is_not_kept",
    "test_a_key_that_is_in_use_is_a_conflict",
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


class TestOnMongoDB(HttpContract):
    chains = 20

    @pytest.fixture(autouse=True)
    def _database(self, request):
        if not DEEP and request.node.originalname not in SENT_AGAIN:
            pytest.skip("the whole of the suite on MongoDB: HYPOTHESIS_PROFILE=deep")
        self.url = request.getfixturevalue("mongodb_database")

    @asynccontextmanager
    async def store(self, *models):
        async with bootstrap(self.url, *models) as backend:
            database = backend.uow_provider.database
            for each in await database.list_collection_names():
                await database[each].delete_many({})
            yield backend.uow_provider

    def client(self, application, resources, parts):
        return asgi_client(make_app(application, resources, parts=parts))
