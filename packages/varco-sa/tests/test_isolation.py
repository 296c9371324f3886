"""The isolation machine of the domain, on every engine."""

from contextlib import asynccontextmanager

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from varco_domain.testing import MODELS, isolation_machine


def test_no_tenant_sees_or_changes_what_is_anothers(databases, kind):
    databases.url(kind)

    @asynccontextmanager
    async def provider():
        async with databases.shared(kind, *MODELS) as backend:
            yield backend.uow_provider

    # 5 runs of 20 steps by default; the deep profile makes 100,000 steps.
    examples = settings.get_profile(settings._current_profile).max_examples
    profile = settings(
        max_examples=max(4, min(examples // 20, 2000)),
        stateful_step_count=20 if examples <= 100 else 50,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(isolation_machine(provider), settings=profile)
