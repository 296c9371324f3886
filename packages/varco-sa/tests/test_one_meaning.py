"""A query selects the same rows in memory and on every engine."""

from contextlib import asynccontextmanager

import pytest

from varco_domain.testing import QUERY_MODELS, QueryContract

pytestmark = pytest.mark.anyio


class TestOneMeaning(QueryContract):
    @pytest.fixture(autouse=True)
    def _engine(self, databases, kind):
        databases.url(kind)
        self.databases = databases
        self.kind = kind

    @asynccontextmanager
    async def provider(self):
        async with self.databases.shared(self.kind, *QUERY_MODELS) as backend:
            yield backend.uow_provider
