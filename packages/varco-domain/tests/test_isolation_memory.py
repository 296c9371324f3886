"""No tenant and no user sees or changes what is not theirs, on the backend in memory.

The default profile makes about 2,000 steps, and ``HYPOTHESIS_PROFILE=deep`` 100,000.
"""

from contextlib import asynccontextmanager

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.testing import MODELS, isolation_machine

PROFILE = settings.get_profile(settings._current_profile)
DEEP = PROFILE.max_examples > 10_000
STEPS = 100_000


@asynccontextmanager
async def provider():
    yield InMemoryRepositoryProvider(*MODELS)


@pytest.mark.timeout(3600 if DEEP else 300)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nobody_leaves_their_tenant(backend):
    machine = isolation_machine(provider, backend=backend)
    steps = 0

    class Counting(machine):
        def check_invariants(self, *args):
            nonlocal steps
            steps += 1
            super().check_invariants(*args)

    if not DEEP:
        runs = max(5, PROFILE.max_examples // (3 if backend == "asyncio" else 10))
        run_state_machine_as_test(Counting, settings=settings(max_examples=runs))
        return
    while steps < STEPS // 2:
        run_state_machine_as_test(Counting, settings=settings(max_examples=500))
