"""What every test of the workspace shares: the three Hypothesis profiles, and compiled modules."""

import gc
import os
import sys

from hypothesis import HealthCheck, settings

# dev: while you type. ci: the default. deep: the figures that the documentation claims, on demand.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=20, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=100_000, **_COMMON)
profile = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(profile)
if profile == "deep":
    os.environ.setdefault("PYTEST_TIMEOUT", "0")  # the limit that the default run has is too short

# Tests start many processes; what one of them compiled is there for the next.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Leave thousands of tests out of the garbage collections, some of which tests force."""
    gc.collect()
    gc.freeze()
