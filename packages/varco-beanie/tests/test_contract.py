"""The contract suites of the domain."""

from contextlib import asynccontextmanager

import pytest
from hypothesis import settings

from varco_domain.testing import (
    MODELS,
    RepositoryContract,
    ServiceContract,
    TenantContract,
    UnitOfWorkContract,
)

pytestmark = pytest.mark.anyio


class TestDomain(RepositoryContract, UnitOfWorkContract, TenantContract, ServiceContract):
    narrows = True
    writers = 6
    # A command takes the server of the tests its time.
    rows = 1.0 if settings.get_current_profile_name() == "deep" else 0.2

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    @asynccontextmanager
    async def provider(self):
        async with self.server.backend(*MODELS) as backend:
            yield backend.uow_provider
