"""Fixtures of the cache tests: both event loops, virtual time.

The loops do not wait: when every task does, their clock jumps to the next timer. So a limit fires
because something hangs, and never because the machine was busy. The order in which trio runs its
tasks is random: here a seed decides it, and the same seed is the same order.
"""

import asyncio
import functools
import math
import selectors
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import anyio
import pytest
import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

from varco_cache import CacheBackend
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


@pytest.fixture(autouse=True)
def _schedule(monkeypatch):
    """The order of tasks on trio, which shuffles them as it does for its own plugin of pytest."""
    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    scheduler._r.seed(0)


@pytest.fixture
def run(anyio_backend):
    """Runs a function on the loop of this test, for those that run many times.

    `seed` decides the order of tasks on trio.
    """
    name, options = anyio_backend

    def run(func, *args, seed=0):
        if name == "trio":
            scheduler._r.seed(seed)
            # Not `anyio.run`, which in older releases ignores the clock.
            return trio.run(func, *args, clock=MockClock(autojump_threshold=0))
        call = functools.partial(func, *args)
        return anyio.run(call, backend=name, backend_options=options)

    return run


@pytest.fixture
def clock():
    return ManualClock()


class Least:
    """A cache of somebody's own, with what one had to have."""

    def __init__(self):
        self.held, self.started = {}, 0

    async def start(self):
        self.started += 1

    async def stop(self):
        self.started -= 1

    async def get(self, key, *, type_hint=None):
        return self.held.get(key)

    async def set(self, key, value, *, ttl=None):
        self.held[key] = value

    async def delete(self, key):
        self.held.pop(key, None)

    async def exists(self, key):
        return key in self.held

    async def clear(self):
        self.held.clear()

    async def delete_prefix(self, prefix):
        for key in [key for key in self.held if key.startswith(prefix)]:
            del self.held[key]


class LeastBackend(Least, CacheBackend):
    pass


@pytest.fixture
def least():
    return Least


@pytest.fixture
def least_backend():
    return LeastBackend


@pytest.fixture(params=[Least, LeastBackend])
def least_of_any_kind(request):
    return request.param


NO_SPANS = [
    timedelta(5), Decimal(5), Fraction(5), "5", [5], True, 0, -1, math.nan, -math.inf, 10**400,
]  # fmt: skip


@pytest.fixture(params=NO_SPANS, ids=lambda span: repr(span)[:20])
def no_span(request):
    """What is no number of seconds above zero."""
    return request.param
