"""The latest calls through a circuit breaker, and the rates among them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_resilience._breaker_config import CircuitBreakerConfig


class Window:
    """The latest calls and how many of them were failures or slow. Its owner's lock protects it."""

    __slots__ = ("_calls", "_config", "_failed", "_slow")

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._config = config
        self._calls: deque[tuple[float, bool, bool]] = deque()
        self._failed = 0
        self._slow = 0

    def add(self, at: float, *, failed: bool, slow: bool) -> bool:
        """Note a call that ended now; whether a rate is reached."""
        config = self._config
        self._calls.append((at, failed, slow))
        self._failed += failed
        self._slow += slow
        if len(self._calls) > config.window_size:
            self._drop_oldest()
        if config.window_seconds is not None:
            # A call that ended just `window_seconds` ago still counts.
            while self._calls[0][0] < at - config.window_seconds:
                self._drop_oldest()
        total = len(self._calls)
        return total >= config.minimum_calls and (
            (config.failure_rate is not None and self._failed >= config.failure_rate * total)
            or (config.slow_call_rate is not None and self._slow >= config.slow_call_rate * total)
        )

    def _drop_oldest(self) -> None:
        _, failed, slow = self._calls.popleft()
        self._failed -= failed
        self._slow -= slow
