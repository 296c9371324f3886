"""A limit on retries that several calls share."""

from __future__ import annotations

import threading

from varco_resilience._checks import at_least

_ONE = 1.0 - 1e-9  # ten deposits of 0.1 are a little less than one


class RetryBudget:
    """Keeps retries to a share of all calls, so that an outage is not answered with a storm.

    Every call puts `ratio` tokens in, up to `capacity`; every retry takes one out. It begins full.
    Safe to share between threads, tasks and event loops.
    """

    __slots__ = ("_lock", "_tokens", "capacity", "ratio")

    def __init__(self, ratio: float = 0.2, capacity: float = 10.0) -> None:
        at_least("ratio", ratio, 0)
        at_least("capacity", capacity, 1)
        self.ratio: float = ratio
        self.capacity: float = capacity
        self._tokens = float(capacity)
        self._lock = threading.Lock()  # protects _tokens

    @property
    def tokens(self) -> float:
        """How many retries are left now."""
        return self._tokens

    def deposit(self) -> None:
        """Note one call."""
        with self._lock:
            self._tokens = min(self.capacity, self._tokens + self.ratio)

    def withdraw(self) -> bool:
        """Take one retry out, or say that none is left."""
        with self._lock:
            if self._tokens < _ONE:
                return False
            self._tokens = max(0.0, self._tokens - 1.0)
            return True
