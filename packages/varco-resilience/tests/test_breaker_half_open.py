"""The moment of half-opening: exactly the configured number of probes, whoever comes."""

import contextlib
import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest

from varco_resilience import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    timeout,
)

TASKS = 1000
THREADS = 50


@pytest.fixture(params=[1, 3])
def probes(request):
    return request.param


@pytest.fixture
def breaker(clock, probes):
    config = CircuitBreakerConfig(
        failure_threshold=1, recovery_timeout=30.0, success_threshold=probes
    )
    return CircuitBreaker(config, name="b", clock=clock)


class Crowd:
    """Counts the calls that are let through, and holds them until all others were refused."""

    def __init__(self, breaker, size):
        self.size = size
        self.lock = threading.Lock()
        self.admitted = 0
        self.refused = 0
        self.everyone_knows = threading.Event()
        self.probe = breaker.protect(self._probe)
        self.probe_async = breaker.protect(self._probe_async)

    def _count(self, name):
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)
            if self.admitted + self.refused >= self.size:
                self.everyone_knows.set()

    def _probe(self):
        self._count("admitted")
        assert self.everyone_knows.wait(30)

    async def _probe_async(self):
        self._count("admitted")
        while not self.everyone_knows.is_set():
            await anyio.sleep(0.0005)

    def call(self):
        try:
            self.probe()
        except CircuitOpenError:
            self._count("refused")

    async def call_async(self):
        try:
            await self.probe_async()
        except CircuitOpenError:
            self._count("refused")


def half_open(breaker, clock):
    breaker.open()
    clock.advance(30.0)


def all_probes_and_no_more(breaker, crowd, probes):
    assert (crowd.admitted, crowd.refused) == (probes, crowd.size - probes)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.anyio
async def test_a_thousand_tasks(breaker, clock, probes, rounds):
    for _ in range(rounds):
        crowd = Crowd(breaker, TASKS)
        half_open(breaker, clock)
        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(crowd.call_async)
        all_probes_and_no_more(breaker, crowd, probes)


def test_fifty_threads(breaker, clock, probes, rounds):
    barrier = threading.Barrier(THREADS)

    def call(crowd):
        barrier.wait(30)
        crowd.call()

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(rounds):
            crowd = Crowd(breaker, THREADS)
            half_open(breaker, clock)
            for done in [pool.submit(call, crowd) for _ in range(THREADS)]:
                done.result(30)
            all_probes_and_no_more(breaker, crowd, probes)


@pytest.mark.anyio
async def test_tasks_and_threads_at_once(breaker, clock, probes, rounds):
    barrier = threading.Barrier(THREADS + 1)

    def call(crowd):
        barrier.wait(30)
        crowd.call()

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(rounds):
            crowd = Crowd(breaker, TASKS + THREADS)
            half_open(breaker, clock)
            threads = [pool.submit(call, crowd) for _ in range(THREADS)]
            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(crowd.call_async)
                barrier.wait(30)
            for done in threads:
                done.result(30)
            all_probes_and_no_more(breaker, crowd, probes)


def test_nobody_slips_in_while_a_probe_reports(probes):
    now = 0.0
    intruders = []

    def clock():
        # The report of a probe asks for the time; just then another thread comes along.
        if intruders:
            intruder = intruders.pop()
            thread = threading.Thread(target=intruder)
            thread.start()
            thread.join(10)
        return now

    config = CircuitBreakerConfig(failure_threshold=1, success_threshold=probes)
    breaker = CircuitBreaker(config, clock=clock)
    breaker.open()
    now += 30.0
    others = [breaker.guard() for _ in range(probes - 1)]
    for other in others:
        other.__enter__()
    seen = []

    def intrude():
        try:
            breaker.call_sync(seen.append, "slipped in")
        except CircuitOpenError:
            seen.append("refused")

    with breaker.guard():
        intruders.append(intrude)
    assert seen == ["refused"]


def test_quick_failures_of_many_threads(breaker, clock, probes, rounds):
    barrier = threading.Barrier(THREADS)
    admitted = []

    def fail():
        admitted.append(1)
        raise ConnectionError

    def call():
        barrier.wait(30)
        with contextlib.suppress(ConnectionError, CircuitOpenError):
            breaker.call_sync(fail)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(rounds):
                admitted.clear()
                half_open(breaker, clock)
                for done in [pool.submit(call) for _ in range(THREADS)]:
                    done.result(30)
                assert 1 <= len(admitted) <= probes
                assert breaker.state is CircuitState.OPEN
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.anyio
async def test_a_cancelled_probe_makes_room(breaker, clock, probes):
    half_open(breaker, clock)
    hang = breaker.protect(anyio.sleep_forever)
    async with anyio.create_task_group() as group:
        for _ in range(probes):
            group.start_soon(hang)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(CircuitOpenError, match="probes are on their way"):
            await hang()
        group.cancel_scope.cancel()
    assert breaker.state is CircuitState.HALF_OPEN
    for _ in range(probes):
        await breaker.call_async(anyio.lowlevel.checkpoint)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.anyio
async def test_a_probe_that_a_timeout_cancels_makes_room(breaker, clock, probes):
    half_open(breaker, clock)
    hang = timeout(0.001)(breaker.protect(anyio.sleep_forever))
    for _ in range(3 * probes):
        with pytest.raises(CallTimeoutError):
            await hang()
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_probe_whose_thread_is_killed_makes_room(breaker, clock, probes):
    half_open(breaker, clock)
    for _ in range(probes):
        with pytest.raises(SystemExit):
            breaker.call_sync(exit)
    assert breaker.state is CircuitState.HALF_OPEN
    for _ in range(probes):
        breaker.call_sync(int)
    assert breaker.state is CircuitState.CLOSED


def test_a_probe_that_is_forgotten_makes_room(breaker, clock, probes):
    half_open(breaker, clock)
    # As if the thread was killed after it had been let through, and before it began the call.
    permits = [breaker._core.admit() for _ in range(probes)]
    with pytest.raises(CircuitOpenError):
        breaker.call_sync(int)
    gone = [weakref.ref(permit) for permit in permits]
    del permits
    gc.collect()
    assert [ref() for ref in gone] == [None] * probes
    for _ in range(probes):
        breaker.call_sync(int)
    assert breaker.state is CircuitState.CLOSED


def test_a_predicate_that_raises_makes_room(clock, probes):
    def broken(error):
        raise RuntimeError("predicate")

    def fail():
        raise ConnectionError

    config = CircuitBreakerConfig(monitored_on=broken, success_threshold=probes)
    breaker = CircuitBreaker(config, clock=clock)
    half_open(breaker, clock)
    kept = []  # an error that is kept keeps the frames of its traceback, and what they hold
    for _ in range(probes):
        with pytest.raises(RuntimeError, match="predicate") as caught:
            breaker.call_sync(fail)
        kept.append(caught.value)
        assert isinstance(caught.value.__context__, ConnectionError)
    for _ in range(probes):
        breaker.call_sync(int)
    assert breaker.state is CircuitState.CLOSED
