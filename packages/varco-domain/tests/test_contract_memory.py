from contextlib import asynccontextmanager

import pytest

from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.testing import (
    MODELS,
    RepositoryContract,
    ServiceContract,
    TenantContract,
    UnitOfWorkContract,
)

pytestmark = pytest.mark.anyio


class TestMemory(RepositoryContract, UnitOfWorkContract, TenantContract, ServiceContract):
    @asynccontextmanager
    async def provider(self):
        yield InMemoryRepositoryProvider(*MODELS)
