"""The isolation machine of the domain."""

from contextlib import asynccontextmanager

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from varco_domain.testing import MODELS, isolation_machine


def test_no_tenant_sees_or_changes_what_is_anothers(server):
    @asynccontextmanager
    async def provider():
        async with server.backend(*MODELS) as backend:
            yield backend.uow_provider

    # 2 runs of 15 steps by default: the server of the tests is slow.
    examples = settings.get_profile(settings._current_profile).max_examples
    profile = settings(
        max_examples=max(2, min(examples // 50, 2000)),
        stateful_step_count=15 if examples <= 100 else 50,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(isolation_machine(provider), settings=profile)
