"""The circuit breaker."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Self

from varco_resilience._breaker_config import CircuitBreakerConfig
from varco_resilience._breaker_core import BreakerCore
from varco_resilience._checks import of_type, sync_function
from varco_resilience._errors import ResilienceConfigError
from varco_resilience._functions import Kind, check_async, check_sync
from varco_resilience._strategy import AnyStrategy, Part, SharedStrategy
from varco_resilience._surround import surround

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from varco_resilience._breaker_config import CircuitState, StateListener
    from varco_resilience._breaker_core import Closed, Probe
    from varco_resilience._breaker_registry import CircuitBreakerRegistry
    from varco_resilience._circuits import Circuits


class CircuitBreaker(SharedStrategy):
    """Refuses calls to a callee that fails, and lets probes through until it has recovered.

    Share one instance per callee. It is safe to share between threads, tasks and event loops:
    HALF_OPEN lets exactly `success_threshold` probes through whoever asks. A generator counts as
    one call from its first item to its end.

    Args:
        config: When it opens and closes.
        name: Named in errors and state changes.
        clock: Seconds, monotonic.
        listeners: Told of every change of state, in order, by the thread that caused it or by one
            that is telling them already.
    """

    __slots__ = ("_core",)

    label = "circuit_breaker"

    def __init__(
        self,
        config: CircuitBreakerConfig,
        *,
        name: str = "unnamed",
        clock: Callable[[], float] = time.monotonic,
        listeners: tuple[StateListener, ...] = (),
    ) -> None:
        of_type("config", config, CircuitBreakerConfig)
        sync_function("clock", clock)
        for listener in listeners:
            sync_function("listeners", listener)
        self._core = BreakerCore(config, name, clock)
        self._core.listeners = tuple(listeners)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state.value}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._core.name

    @property
    def config(self) -> CircuitBreakerConfig:
        """Its configuration."""
        return self._core.config

    @property
    def state(self) -> CircuitState:
        """The state now; OPEN turns into HALF_OPEN as soon as `recovery_timeout` is over."""
        return self._core.state

    @property
    def isolated(self) -> bool:
        """Whether `isolate` keeps it open."""
        return self._core.isolated

    @property
    def failure_count(self) -> int:
        """Failures in a row; while it is not closed, those that had been counted before."""
        return self._core.failures_in_a_row

    def add_listener(self, listener: StateListener) -> None:
        """Tell one more listener of every change of state."""
        sync_function("listener", listener)
        self._core.add_listener(listener)

    def open(self) -> None:
        """Open it as failures would: probes may pass after `recovery_timeout`."""
        self._core.open(self.config.recovery_timeout)

    def isolate(self) -> None:
        """Keep it open until `close` or `open` is called."""
        self._core.open(math.inf)

    def close(self) -> None:
        """Close it, and forget what was counted."""
        self._core.close()

    def reset(self) -> None:
        """The same as `close`."""
        self._core.close()

    def call_sync[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync function through the breaker."""
        name = check_sync(self.label, func)
        result: R = surround(func, Kind.SYNC, self._core, self.label, name)(*args, **kwargs)
        return result

    async def call_async[**P, R](
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call an async function through the breaker."""
        name = check_async(self.label, func)
        result: R = await surround(func, Kind.ASYNC, self._core, self.label, name)(*args, **kwargs)
        return result

    def guard(self) -> Guard:
        """A context manager, `with` or `async with`, whose block counts as one call."""
        return Guard(self._core)

    def circuits(self, inner: Circuits) -> Circuits:
        """The breakers that a call through this one passes."""
        return self._core, *inner

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        return surround(func, kind, self._core, self.label, name)


class Guard:
    """One block of code that counts as a call through a circuit breaker."""

    __slots__ = ("_core", "_permit")

    def __init__(self, core: BreakerCore) -> None:
        self._core = core
        self._permit: Closed | Probe | None = None

    def __enter__(self) -> Self:
        if self._permit is not None:
            raise ResilienceConfigError("guard", self, "left first; take a guard for each block")
        self._permit = self._core.admit()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.leave(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, tb)


class _BreakerPerFunction(AnyStrategy, Part):
    __slots__ = ("_clock", "_config", "_name", "_registry")

    label = "circuit_breaker"

    def __init__(
        self,
        config: CircuitBreakerConfig,
        name: str | None,
        registry: CircuitBreakerRegistry | None,
        clock: Callable[[], float],
    ) -> None:
        of_type("config", config, CircuitBreakerConfig)
        self._config = config
        self._name = name
        self._registry = registry
        self._clock = clock

    def bind(self, name: str) -> CircuitBreaker:
        """A breaker for this function, or the registry's of that name."""
        name = self._name or name
        if self._registry is not None:
            return self._registry.get(name, self._config)
        return CircuitBreaker(self._config, name=name, clock=self._clock)

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        return self.bind(name).wrap(func, kind, name)


def circuit_breaker(
    config: CircuitBreakerConfig,
    *,
    name: str | None = None,
    registry: CircuitBreakerRegistry | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AnyStrategy:
    """A decorator that gives each function a circuit breaker of its own.

    Args:
        config: When the breakers open and close.
        name: The breaker's name instead of the function's.
        registry: Where the breakers are kept, to be found by name; functions of the same name
            share one, and the registry's clock and listeners are used.
        clock: Seconds, monotonic.
    """
    return _BreakerPerFunction(config, name, registry, clock)
