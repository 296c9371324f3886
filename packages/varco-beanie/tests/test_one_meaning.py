"""A query selects the same rows in memory, on SQLite and on MongoDB.

The suite compares with memory; varco-sa's run of it does so with SQLite.
"""

from contextlib import asynccontextmanager

import pytest

from varco_domain.testing import QUERY_MODELS, QueryContract

pytestmark = pytest.mark.anyio


class TestOneMeaning(QueryContract):
    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    @asynccontextmanager
    async def provider(self):
        async with self.server.backend(*QUERY_MODELS) as backend:
            yield backend.uow_provider
