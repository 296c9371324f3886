"""The state machine of a circuit breaker."""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from varco_resilience import _observers
from varco_resilience._breaker_config import CircuitState, StateChange
from varco_resilience._breaker_window import Window
from varco_resilience._checks import matches, rooted
from varco_resilience._errors import CallRejectedError, CircuitOpenError, UnsupportedFunctionError
from varco_resilience._retry_events import notify
from varco_resilience._surround import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_resilience._breaker_config import CircuitBreakerConfig, StateListener
    from varco_resilience._surround import Permit


_NEUTRAL = (CallRejectedError, UnsupportedFunctionError)


class _Outcome(Enum):
    SUCCESS = auto()
    FAILURE = auto()
    NEUTRAL = auto()


class Closed:
    """One stay in CLOSED. When no call is timed, it is also the permit that all calls share."""

    __slots__ = ("_core", "failures", "reports_success", "window")

    state = CircuitState.CLOSED

    def __init__(self, core: BreakerCore, window: Window | None) -> None:
        self._core = core
        self.window: Window | None = window
        self.failures: int = 0
        self.reports_success: bool = False  # a success after a success changes nothing

    def leave(self, error: BaseException | None) -> None:
        self._core.settle(self, error, 0.0)


class _Opened:
    """One stay in OPEN."""

    __slots__ = ("until",)

    state = CircuitState.OPEN

    def __init__(self, until: float) -> None:
        self.until: float = until


class _HalfOpen:
    """One stay in HALF_OPEN.

    Probes are held weakly: one whose call was killed before it could report is gone, and so is
    its claim to a place.
    """

    __slots__ = ("probes", "successes")

    state = CircuitState.HALF_OPEN

    def __init__(self) -> None:
        self.probes: list[weakref.ref[Probe]] = []
        self.successes: int = 0

    def running(self) -> int:
        self.probes = [ref for ref in self.probes if (probe := ref()) and not probe.settled]
        return len(self.probes)


type _Epoch = Closed | _Opened | _HalfOpen


class Probe:
    """The right to make one call that is looked at by itself. `settled` only ever turns true."""

    __slots__ = ("__weakref__", "_core", "_epoch", "_started", "settled")

    reports_success = True

    def __init__(self, core: BreakerCore, epoch: _Epoch, started: float) -> None:
        self._core = core
        self._epoch = epoch
        self._started = started
        self.settled: bool = False

    def leave(self, error: BaseException | None) -> None:
        core = self._core
        core.settle(self._epoch, error, core.clock() - self._started, self)


class BreakerCore(Gate):
    """The state machine of a circuit breaker.

    `_lock` protects `_epoch`, what the epoch counts, `ready` and `listeners`; `ready` is read
    without it by every call, as the one reference that it is. It is reentrant, since the garbage
    collector may end a forgotten call in the middle of anything. A report carries the epoch of its
    permit, so that the result of a call that began in an earlier state changes nothing.
    """

    __slots__ = (
        "_announcing",
        "_changes",
        "_epoch",
        "_lock",
        "clock",
        "config",
        "failures",
        "listeners",
        "name",
    )

    def __init__(self, config: CircuitBreakerConfig, name: str, clock: Callable[[], float]) -> None:
        super().__init__()
        self.config: CircuitBreakerConfig = config
        self.name: str = name
        self.clock: Callable[[], float] = clock
        self.failures: int = 0
        self.listeners: tuple[StateListener, ...] = ()
        self._lock = threading.RLock()
        self._announcing = threading.Lock()  # held by the one thread that tells the listeners
        self._changes: deque[StateChange] = deque()
        self._epoch: _Epoch = self._enter_closed()

    @property
    def state(self) -> CircuitState:
        with self._lock:
            self._recover_if_due()
            state = self._epoch.state
        self._announce()
        return state

    @property
    def isolated(self) -> bool:
        epoch = self._epoch
        return isinstance(epoch, _Opened) and epoch.until == math.inf

    def admit(self, args: Any = (), kwargs: Any = None) -> Closed | Probe:  # noqa: ARG002  # all calls alike
        """A permit for one call, or `CircuitOpenError`."""
        epoch = self._epoch
        now = self.clock()
        # Whether the state changes just now makes no difference here: the report tells.
        if isinstance(epoch, Closed):
            return epoch if epoch.window is None else Probe(self, epoch, now)
        if isinstance(epoch, _Opened) and now < epoch.until:
            raise _observers.told(self._refusal(epoch.until, now))
        return self._admit_probe(now)

    def refusal(self) -> CircuitOpenError | None:
        """The error for calls that come now, if it is open."""
        epoch = self._epoch
        now = self.clock()
        if isinstance(epoch, _Opened) and now < epoch.until:
            return self._refusal(epoch.until, now)
        return None

    def _admit_probe(self, now: float) -> Closed | Probe:
        permit: Closed | Probe | None = None
        until = now
        with self._lock:
            self._recover_if_due()
            epoch = self._epoch
            if isinstance(epoch, Closed):
                permit = epoch if epoch.window is None else Probe(self, epoch, now)
            elif isinstance(epoch, _Opened):
                until = epoch.until
            elif epoch.running() + epoch.successes < self.config.success_threshold:
                permit = Probe(self, epoch, now)
                epoch.probes.append(weakref.ref(permit))
        self._announce()
        if permit is None:
            raise _observers.told(self._refusal(until, now))
        return permit

    def settle(
        self,
        epoch: _Epoch,
        error: BaseException | None,
        seconds: float,
        permit: Probe | None = None,
    ) -> None:
        """Note how a call ended that the epoch had let through."""
        outcome = _Outcome.NEUTRAL
        try:
            outcome = self._judge(error)
        finally:
            # Also when a predicate of the user's raises. It needs no lock: the place is free.
            if outcome is _Outcome.NEUTRAL and permit is not None:
                permit.settled = True
        if outcome is _Outcome.NEUTRAL:
            return
        slowness = self.config.slow_call_duration
        slow = slowness is not None and seconds >= slowness
        cause = error if isinstance(error, Exception) else None
        with self._lock:
            # Giving the place back and counting the result are one step, or others could slip in.
            if permit is not None:
                permit.settled = True
            if epoch is self._epoch:
                self._count(epoch, cause, failed=outcome is _Outcome.FAILURE, slow=slow)
        if self._changes:
            self._announce()

    def _count(self, epoch: _Epoch, cause: Exception | None, *, failed: bool, slow: bool) -> None:
        if isinstance(epoch, Closed):
            if self._trips(epoch, failed=failed, slow=slow):
                self._open(self.config.recovery_timeout, cause)
        elif isinstance(epoch, _HalfOpen):
            if failed or slow:
                self._open(self.config.recovery_timeout, cause)
            else:
                epoch.successes += 1
                if epoch.successes >= self.config.success_threshold:
                    self._change(self._enter_closed())

    def _judge(self, error: BaseException | None) -> _Outcome:
        if error is None:
            return _Outcome.SUCCESS
        # A cancelled call and one that was refused on this side say nothing about the callee.
        if not isinstance(error, Exception) or rooted(error, _NEUTRAL, all):
            return _Outcome.NEUTRAL
        failed = matches(self.config.monitored_on, error)
        return _Outcome.FAILURE if failed else _Outcome.SUCCESS

    def _trips(self, epoch: Closed, *, failed: bool, slow: bool) -> bool:
        epoch.failures = epoch.failures + 1 if failed else 0
        epoch.reports_success = failed
        threshold = self.config.failure_threshold
        by_rate = epoch.window is not None and epoch.window.add(
            self.clock(), failed=failed, slow=slow
        )
        return by_rate or (threshold is not None and epoch.failures >= threshold)

    def add_listener(self, listener: StateListener) -> None:
        """Tell one more listener."""
        with self._lock:
            self.listeners += (listener,)

    def open(self, seconds: float) -> None:
        """Refuse calls for so long, or for ever."""
        with self._lock:
            self._open(seconds, None)
        self._announce()

    def close(self) -> None:
        """Let all calls through and forget what was counted."""
        with self._lock:
            self._change(self._enter_closed())
        self._announce()

    @property
    def failures_in_a_row(self) -> int:
        epoch = self._epoch
        return epoch.failures if isinstance(epoch, Closed) else self.failures

    def _recover_if_due(self) -> None:
        epoch = self._epoch
        if isinstance(epoch, _Opened) and self.clock() >= epoch.until:
            self._change(_HalfOpen())

    def _open(self, seconds: float, error: Exception | None) -> None:
        self.failures = self.failures_in_a_row
        self.ready = None
        self._change(_Opened(self.clock() + seconds), error)

    def _enter_closed(self) -> Closed:
        config = self.config
        rates = config.failure_rate is not None or config.slow_call_rate is not None
        epoch = Closed(self, Window(config) if rates else None)
        self.ready: Permit | None = None if rates else epoch
        self.failures = 0
        return epoch

    def _change(self, epoch: _Epoch, error: Exception | None = None) -> None:
        previous, self._epoch = self._epoch.state, epoch
        if previous is not epoch.state:
            self._changes.append(StateChange(self.name, previous, epoch.state, self.clock(), error))

    def _announce(self) -> None:
        """Tell the listeners, in order, and outside of the lock: they may use the breaker."""
        while self._changes and self._announcing.acquire(blocking=False):
            try:
                while self._changes:
                    change = self._changes.popleft()
                    notify(self.listeners, change)
                    notify(_observers.observers, change)
            finally:
                self._announcing.release()

    def _refusal(self, until: float, now: float) -> CircuitOpenError:
        return CircuitOpenError(self.name, until, self.config.recovery_timeout, until - now)
