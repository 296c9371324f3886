"""The breaker against a model: virtual time, concurrent calls, cancellations, threads."""

import gc
import threading
import types
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from varco_resilience import (
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    RetryExhaustedError,
)
from varco_resilience._breaker_window import Window

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Model:
    """The breaker as the documentation describes it, one step at a time."""

    def __init__(self, config):
        self.config = config
        self.now = 0.0
        self.changes = []
        self.state = CLOSED
        self.period = 0
        self.successes = 0
        self.probes = set()
        self.reset_counts()

    def reset_counts(self):
        self.failures = 0
        self.window = []

    def go(self, state):
        if state is not self.state:
            self.changes.append((self.state, state))
        self.state = state
        self.period += 1
        self.successes = 0
        self.probes = set()
        if state is CLOSED:
            self.reset_counts()

    def tick(self):
        if self.state is OPEN and self.now >= self.until:
            self.go(HALF_OPEN)

    def open(self, seconds):
        self.until = self.now + seconds
        self.go(OPEN)

    def admits(self, call):
        self.tick()
        if self.state is OPEN:
            return False
        if self.state is HALF_OPEN:
            if len(self.probes) + self.successes >= self.config.success_threshold:
                return False
            self.probes.add(call)
        return True

    def ended(self, call, period, started, outcome):
        if period != self.period:
            return
        self.probes.discard(call)
        if outcome == "neutral":
            return
        config = self.config
        failed = outcome == "failure"
        limit = config.slow_call_duration
        slow = limit is not None and self.now - started >= limit
        if self.state is HALF_OPEN:
            if failed or slow:
                self.open(config.recovery_timeout)
                return
            self.successes += 1
            if self.successes == config.success_threshold:
                self.go(CLOSED)
            return
        self.failures = self.failures + 1 if failed else 0
        self.window.append((self.now, failed, slow))
        if self.trips():
            self.open(config.recovery_timeout)

    def trips(self):
        config = self.config
        if config.failure_threshold is not None and self.failures >= config.failure_threshold:
            return True
        recent = self.window[-config.window_size :]
        if config.window_seconds is not None:
            recent = [item for item in recent if item[0] >= self.now - config.window_seconds]
        if len(recent) < config.minimum_calls:
            return False
        for rate, column in ((config.failure_rate, 1), (config.slow_call_rate, 2)):
            if rate is not None and sum(item[column] for item in recent) >= rate * len(recent):
                return True
        return False


class MonitoredError(Exception):
    pass


def is_monitored(error):
    return isinstance(error, MonitoredError)


class UnmonitoredError(Exception):
    pass


class Cancelled(BaseException):
    pass


ENDINGS = {
    "success": (None, "success"),
    "failure": (MonitoredError, "failure"),
    "failure behind a retry": (
        lambda: RetryExhaustedError("f", 3, MonitoredError()),
        "failure",
    ),
    "other error": (UnmonitoredError, "success"),
    "cancelled": (Cancelled, "neutral"),
    "refused further in": (lambda: BulkheadFullError("b", 1, 0.0), "neutral"),
    "refused behind a retry": (
        lambda: RetryExhaustedError("f", 3, BulkheadFullError("b", 1, 0.0)),
        "neutral",
    ),
    "killed": (None, "neutral"),
}


@types.coroutine
def pause():
    ending = yield
    if ending is not None:
        raise ending


class TaskCall:
    """A call in flight as a suspended coroutine; an event loop would do nothing else."""

    def __init__(self, breaker, shape):
        async def body():
            await pause()

        async def in_guard():
            async with breaker.guard():
                await pause()

        start = {
            "decorated": breaker.protect(body),
            "called": lambda: breaker.call_async(body),
            "guarded": in_guard,
        }[shape]
        self.coroutine = start()
        self.coroutine.send(None)

    def end(self, ending):
        try:
            self.coroutine.send(ending)
        except StopIteration:
            return
        except BaseException as error:
            raised = error
        assert raised is ending
        raised.__traceback__ = None

    def kill(self):
        self.coroutine.close()


class ThreadCall:
    """A call in flight in another thread, which holds it until it is told how to end."""

    def __init__(self, breaker, shape, pool):
        self.entered = threading.Event()
        self.go = threading.Event()
        self.ending = None

        def body():
            self.entered.set()
            assert self.go.wait(20)
            if self.ending is not None:
                raise self.ending

        def in_guard():
            with breaker.guard():
                body()

        start = {
            "decorated": breaker.protect(body),
            "called": lambda: breaker.call_sync(body),
            "guarded": in_guard,
        }[shape]
        self.future = pool.submit(start)
        while not self.entered.wait(0.001):
            if self.future.done():
                self.future.result()

    def end(self, ending):
        self.ending = ending
        self.go.set()
        error = self.future.exception(20)
        assert error is ending
        if error is not None:
            error.__traceback__ = None

    def kill(self):
        self.end(SystemExit())


class GeneratorCall:
    """A call in flight as a generator that is waited on between two items."""

    def __init__(self, breaker, shape):
        def body():
            ending = yield
            if ending is not None:
                raise ending

        self.generator = breaker.protect(body)()
        self.generator.send(None)

    def end(self, ending):
        TaskCall.end(types.SimpleNamespace(coroutine=self.generator), ending)

    def kill(self):
        # Nobody closes it: it is only forgotten.
        del self.generator
        gc.collect()


rates = st.sampled_from([None, 0.3, 0.5, 1.0])


@st.composite
def configs(draw):
    failure_rate = draw(rates)
    slow_call_rate = draw(rates)
    by_rate = failure_rate or slow_call_rate
    window_size = draw(st.integers(1, 6))
    return CircuitBreakerConfig(
        failure_threshold=draw(st.none() | st.integers(1, 4) if by_rate else st.integers(1, 4)),
        recovery_timeout=draw(st.sampled_from([0.0, 1.0, 5.0])),
        success_threshold=draw(st.integers(1, 4)),
        monitored_on=draw(
            st.sampled_from(
                [MonitoredError, (MonitoredError,), lambda e: isinstance(e, MonitoredError)]
            )
        ),
        failure_rate=failure_rate,
        slow_call_rate=slow_call_rate,
        slow_call_duration=2.0 if slow_call_rate else None,
        window_size=window_size,
        window_seconds=draw(st.sampled_from([None, 3.0])),
        minimum_calls=draw(st.integers(1, window_size)),
    )


class BreakerMachine(RuleBasedStateMachine):
    running = Bundle("running")

    def __init__(self):
        super().__init__()
        self.pool = ThreadPoolExecutor(max_workers=8)
        self.threads = 0
        self.in_threads = []
        self.calls = 0
        self.heard = []

    @initialize(config=configs())
    def begin(self, config):
        self.model = Model(config)
        self.breaker = CircuitBreaker(
            config,
            name="b",
            clock=lambda: self.model.now,
            listeners=(lambda change: self.heard.append((change.previous, change.current)),),
        )

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 5.0]))
    def time_passes(self, seconds):
        self.model.now += seconds

    @rule(
        target=running,
        kind=st.sampled_from(["task", "task", "generator", "thread"]),
        shape=st.sampled_from(["decorated", "called", "guarded"]),
    )
    def begins(self, kind, shape):
        return self.call(kind, shape)

    def call(self, kind, shape):
        if kind == "thread" and self.threads == 8:
            kind = "task"
        self.calls += 1
        number = self.calls
        admitted = self.model.admits(number)
        try:
            if kind == "thread":
                call = ThreadCall(self.breaker, shape, self.pool)
                self.threads += 1
                self.in_threads.append(call)
            else:
                call = (TaskCall if kind == "task" else GeneratorCall)(self.breaker, shape)
        except CircuitOpenError as error:
            refusal = error
        else:
            assert admitted
            return number, call, self.model.period, self.model.now
        assert not admitted
        assert refusal.breaker_name == "b"
        if self.model.state is OPEN:
            assert refusal.retry_after == self.model.until - self.model.now
        return None

    @rule(running=consumes(running), ending=st.sampled_from(sorted(ENDINGS)))
    def ends(self, running, ending):
        self.call_ends(running, ending)

    def call_ends(self, running, ending):
        if running is None:
            return
        number, call, period, started = running
        make, outcome = ENDINGS[ending]
        if ending == "killed":
            call.kill()
        else:
            call.end(make() if make else None)
        self.threads -= isinstance(call, ThreadCall)
        self.model.ended(number, period, started, outcome)

    @rule(probes=st.integers(0, 5), ending=st.sampled_from(sorted(ENDINGS)))
    def half_opens(self, probes, ending):
        """Rare otherwise: some calls at the moment of half-opening."""
        self.by_hand("open")
        self.model.now += self.model.config.recovery_timeout
        calls = [self.call("task", "decorated") for _ in range(probes)]
        self.call_ends(calls[0] if calls else None, ending)
        for call in calls[1:]:
            self.call_ends(call, "success")

    @rule(action=st.sampled_from(["open", "isolate", "close", "reset"]))
    @precondition(lambda self: self.calls % 5 == 4)
    def by_an_operator(self, action):
        self.by_hand(action)

    def by_hand(self, action):
        getattr(self.breaker, action)()
        if action == "open":
            self.model.tick()
            self.model.open(self.model.config.recovery_timeout)
        elif action == "isolate":
            self.model.tick()
            self.model.open(float("inf"))
        else:
            self.model.tick()
            self.model.go(CLOSED)

    @invariant()
    def agrees(self):
        if not hasattr(self, "model"):
            return
        self.model.tick()
        assert self.breaker.state is self.model.state
        assert self.breaker.failure_count == self.model.failures
        assert self.heard == self.model.changes

    def teardown(self):
        for call in self.in_threads:
            call.go.set()
        self.pool.shutdown()


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(stateful_step_count=30)


@given(
    config=st.builds(
        CircuitBreakerConfig,
        failure_rate=st.sampled_from([0.25, 0.5, 1.0]),
        slow_call_rate=st.sampled_from([0.25, 0.5, 1.0]),
        slow_call_duration=st.just(1.0),
        window_size=st.integers(3, 6),
        window_seconds=st.sampled_from([None, 2.0]),
        minimum_calls=st.integers(1, 3),
    ),
    calls=st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.booleans(), st.booleans())),
)
def test_the_window_against_the_model(config, calls):
    window, model = Window(config), Model(config)
    for seconds, failed, slow in calls:
        model.now += seconds
        model.window.append((model.now, failed, slow))
        assert window.add(model.now, failed=failed, slow=slow) == model.trips()
        assert len(window._calls) <= config.window_size
