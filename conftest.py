"""What all tests share: Hypothesis profiles, compiled modules, a summary of what was skipped."""

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator

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


# What waits for servers and for other processes; everything else fills the waiting.
WAITING = ("tests-integration", "varco-kafka", "varco-sa", "varco-redis")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """More processes than cores, since many tests wait; the environment may say how many."""
    cores = os.cpu_count()
    if cores is None or "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return cores + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits is begun first."""

    def place(item: pytest.Item) -> int:
        return next(
            (at for at, name in enumerate(WAITING) if name in item.path.parts), len(WAITING)
        )

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave thousands of tests out of the garbage collections, some of which tests force."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter) -> None:  # noqa: ANN001  # a hook of pytest's
    """Say once for each reason how many tests were skipped: a server that is absent is one line."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, times in sorted(reasons.items()):
        terminalreporter.write_line(f"SKIPPED [{times}] {reason}")
