"""Fixtures of the cache tests: both event loops, virtual time.

The loops do not wait: when every task does, their clock jumps to the next timer. So a limit fires
because something hangs, and never because the machine was busy.
"""

import asyncio
import functools
import selectors

import anyio
import pytest
from trio.testing import MockClock

from varco_cache.testing import ManualClock


class _JumpingSelector(selectors.DefaultSelector):
    """Counts the seconds that it was told to wait instead of waiting."""

    slept = 0.0

    def select(self, timeout=None):
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.slept += timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.slept


def _virtual(name):
    """Where `anyio` runs a test."""
    if name == "trio":
        return name, {"clock": MockClock(autojump_threshold=0)}
    return name, {"loop_factory": _JumpingLoop}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return _virtual(request.param)


@pytest.fixture
def run(anyio_backend):
    """`anyio.run` on the loop of this test, for those that run many times."""
    name, _ = anyio_backend

    def run(func, *args):
        backend, options = _virtual(name)
        return anyio.run(functools.partial(func, *args), backend=backend, backend_options=options)

    return run


@pytest.fixture
def clock():
    return ManualClock()
