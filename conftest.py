"""What all tests share: Hypothesis profiles, compiled modules, a summary of what was skipped."""

import gc
import os
import sys
from collections import Counter

import pytest
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

# Before any test of another package imports it.
pytest.register_assert_rewrite("varco_events.testing")

# Tests start many processes; what one of them compiled is there for the next.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Leave thousands of tests out of the garbage collections, some of which tests force."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter) -> None:  # noqa: ANN001  # a hook of pytest's
    """Say once for each reason how many tests were skipped: a server that is absent is one line."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, times in sorted(reasons.items()):
        terminalreporter.write_line(f"SKIPPED [{times}] {reason}")
