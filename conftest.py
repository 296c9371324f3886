"""What every test of the workspace shares: the three Hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings

# dev: while you type. ci: the default. deep: the figures that the documentation claims, on demand.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=20, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=100_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
