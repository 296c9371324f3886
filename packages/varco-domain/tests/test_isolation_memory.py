from contextlib import asynccontextmanager

from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.testing import MODELS, isolation_machine


@asynccontextmanager
async def provider():
    yield InMemoryRepositoryProvider(*MODELS)


TestIsolation = isolation_machine(provider).TestCase
