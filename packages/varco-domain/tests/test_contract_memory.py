from contextlib import asynccontextmanager

import pytest

from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.testing._contract import RepositoryContract, TenantContract, UnitOfWorkContract
from varco_domain.testing._models import MODELS

pytestmark = pytest.mark.anyio


class TestMemory(RepositoryContract, UnitOfWorkContract, TenantContract):
    @asynccontextmanager
    async def provider(self):
        yield InMemoryRepositoryProvider(*MODELS)
