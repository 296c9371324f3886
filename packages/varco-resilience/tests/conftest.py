import types

import pytest
from hypothesis import settings

from varco_resilience import retry_test_mode

# What the documentation claims is shown by HYPOTHESIS_PROFILE=deep; the default run shows less.
DEEP = settings.default.max_examples >= 100_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class FakeClock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def waits(clock):
    """Retries advance the fake clock instead of waiting; the waits are listed."""
    seen = []

    def wait(seconds):
        seen.append(seconds)
        clock.advance(seconds)

    with retry_test_mode(on_wait=wait):
        yield seen


@pytest.fixture
def rounds():
    """How often a race is repeated."""
    return 1000 if DEEP else 10


@types.coroutine
def _stop():
    return (yield)


@types.coroutine
def _call_at(coro, number, act):
    """Run a coroutine and call `act` when it suspends for the `number`th time, counted from 1."""
    resume, value = coro.send, None
    while True:
        try:
            waiting = resume(value)
        except StopIteration as done:
            return done.value
        number -= 1
        if number == 0:
            act()
        try:
            resume, value = coro.send, (yield waiting)
        except BaseException as error:
            resume, value = coro.throw, error


@pytest.fixture
def call_at():
    return _call_at


@pytest.fixture
def stop():
    """An awaitable factory for coroutines that are driven by hand, without an event loop."""
    return _stop
