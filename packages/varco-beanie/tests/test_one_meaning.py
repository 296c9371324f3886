"""A query selects the same rows in memory, on SQLite and on MongoDB.

The suite compares with memory; varco-sa's run of it does so with SQLite.
"""

from contextlib import asynccontextmanager

import pytest
from hypothesis import settings

from varco_domain.testing import QUERY_MODELS, QueryContract

pytestmark = pytest.mark.anyio


class TestOneMeaning(QueryContract):
    # A command takes the server of the tests its time.
    share = 1.0 if settings.get_current_profile_name() == "deep" else 0.25

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    @asynccontextmanager
    async def provider(self):
        async with self.server.backend(*QUERY_MODELS) as backend:
            yield backend.uow_provider
