"""Circuit breakers by name."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from varco_resilience._breaker import CircuitBreaker
from varco_resilience._breaker_config import CircuitBreakerConfig
from varco_resilience._checks import of_type, sync_function
from varco_resilience._errors import ResilienceConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from varco_resilience._breaker_config import StateListener


class CircuitBreakerRegistry:
    """Circuit breakers by name, made when first asked for.

    Safe to share between threads and tasks. A breaker stays until it is removed, so take names
    from a set that is bounded, such as hosts and not users.

    Args:
        default: The configuration of breakers that are asked for without one.
        clock: Seconds, monotonic; for all of its breakers.
        listeners: Told of the changes of state of all of its breakers.
    """

    __slots__ = ("_breakers", "_clock", "_listeners", "_lock", "default")

    def __init__(
        self,
        default: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        listeners: tuple[StateListener, ...] = (),
    ) -> None:
        if default is None:
            default = CircuitBreakerConfig()
        of_type("default", default, CircuitBreakerConfig)
        self.default: CircuitBreakerConfig = default
        self._clock = clock
        for listener in listeners:
            sync_function("listeners", listener)
        self._listeners = listeners
        self._breakers: dict[str, CircuitBreaker] = {}
        self._lock = threading.Lock()  # protects _breakers

    def get(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """The breaker of this name, made if there is none yet.

        Raises:
            ResilienceConfigError: It exists with another configuration.
        """
        with self._lock:
            breaker = self._breakers.get(name)
            if breaker is None:
                breaker = CircuitBreaker(
                    config or self.default,
                    name=name,
                    clock=self._clock,
                    listeners=self._listeners,
                )
                self._breakers[name] = breaker
            elif config is not None and config != breaker.config:
                raise ResilienceConfigError(
                    f"config of circuit breaker {name!r}", config, f"{breaker.config!r} as before"
                )
            return breaker

    def remove(self, name: str) -> None:
        """Forget a breaker; who holds it can go on using it."""
        with self._lock:
            self._breakers.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._breakers

    def __len__(self) -> int:
        return len(self._breakers)

    def __iter__(self) -> Iterator[CircuitBreaker]:
        with self._lock:
            return iter(list(self._breakers.values()))
