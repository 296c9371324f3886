from contextlib import asynccontextmanager

from hypothesis import settings

from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.testing import MODELS, isolation_machine


@asynccontextmanager
async def provider():
    yield InMemoryRepositoryProvider(*MODELS)


# A run has up to 50 steps: `HYPOTHESIS_PROFILE=deep` makes far more than 100,000 of them, and the
# default profile 50 runs, about 2,500 steps.
TestIsolation = isolation_machine(provider).TestCase
TestIsolation.settings = settings(max_examples=max(10, settings().max_examples // 2))
