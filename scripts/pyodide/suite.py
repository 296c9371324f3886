"""Runs tests inside Pyodide, where there are no processes, threads or sockets.

A test that asks for one of these is skipped with the reason. The event loop is asyncio's own with
nothing to wait for but time.
"""

import asyncio
import asyncio.base_events
import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Generator
from pathlib import Path

SLICES = ("varco_query", "varco_resilience", "varco_domain", "varco_events", "varco_cache")
# The clock of the machine ticks in milliseconds, in which these tell two moments apart.
COARSE = (
    "test_a_task_that_is_cancelled_as_the_time_is_up",
    "test_marked_children_come_back_with_their_parent",
    "test_what_comes_back_with_one_row_refers_to_no_other_that_is_deleted",
)

sys.dont_write_bytecode = True
sys.path[:0] = ["/site", *(f"/repo/packages/{name.replace('_', '-')}/src" for name in SLICES)]

import pytest  # noqa: E402 - it lies in the folder just named

refused: list[str] = []


def refusing(what: str) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        refused.append(what)
        pytest.skip(f"needs {what}")

    return refuse


class _Timers:
    def select(self, timeout: float | None = None) -> list[object]:
        if timeout is None:
            raise RuntimeError("waits for what cannot come: no file, socket or thread is here")
        time.sleep(timeout)
        return []

    def close(self) -> None:
        pass


class _Loop(asyncio.base_events.BaseEventLoop):
    def __init__(self, selector: object = None) -> None:
        super().__init__()
        self._selector = selector or _Timers()

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Popen(subprocess.Popen):
    __init__ = refusing("a process")

    def __del__(self) -> None:
        pass


def confine() -> None:
    """Put what is possible here in the place of loops, processes, threads and trio."""
    asyncio.SelectorEventLoop = asyncio.new_event_loop = asyncio.events.new_event_loop = _Loop
    subprocess.Popen = _Popen
    threading.Thread.start = refusing("a thread")
    time.tzset = refusing("the timezone of a process")
    time.thread_time = refusing("the clock of a thread")
    time.process_time = refusing("the clock of a process")
    signal.setitimer = lambda *_: (0, 0)  # what pytest-timeout sets even when it is off
    for name in ("trio", "trio._core", "trio.testing"):  # what a conftest imports
        stub = sys.modules[name] = types.ModuleType(name)
        stub._run = types.SimpleNamespace(_ALLOW_DETERMINISTIC_SCHEDULING=True, _r=random.Random())
        stub.MockClock = object
    asyncio._set_running_loop(None)  # Pyodide's own, which cannot be run inside of a test


class _Plugin:
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            params = getattr(getattr(item, "callspec", None), "params", {})
            if any(params.get(name) == "trio" for name in ("anyio_backend", "backend")):
                item.add_marker(pytest.mark.skip(reason="trio needs sockets"))
            elif item.name.startswith(COARSE):
                item.add_marker(pytest.mark.skip(reason="needs a clock of microseconds"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        refused.clear()
        result = yield
        if refused:  # what was to run in a thread or process never will
            with warnings.catch_warnings(action="ignore"):
                gc.collect()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if refused and report.failed:  # the refusal was met inside of a task
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"Skipped: needs {refused[0]}")
        return report


def main() -> int:
    outer = asyncio._get_running_loop()
    confine()
    os.chdir("/repo")
    here = ["-o", "addopts=", "-o", "timeout=0", "--import-mode=importlib"]
    tests = os.environ["WORDS"].split() or [
        f"packages/{name.replace('_', '-')}/tests" for name in SLICES
    ]
    words = ["-q", "-p", "no:cacheprovider", "--tb=short", *here, *tests]
    result = pytest.main(words, plugins=[_Plugin()])
    for name in SLICES:
        module = importlib.import_module(name)
        for public in module.__all__:
            getattr(module, public)
    asyncio._set_running_loop(outer)
    return int(result)


if Path("/repo").exists():
    result = main()
result  # noqa: B018 - what runPython returns
