"""How often, how fast and on what to retry."""

import random
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from varco_resilience._budget import RetryBudget
from varco_resilience._checks import (
    ErrorFilter,
    above_zero,
    at_least,
    error_filter,
    matches,
    of_type,
    rooted,
    sync_function,
)
from varco_resilience._errors import (
    CircuitOpenError,
    ResilienceConfigError,
    UnsupportedFunctionError,
)
from varco_resilience._retry_after import read_retry_after
from varco_resilience._retry_events import RetryHook

# From here on a decorrelated delay no longer depends on how many came before it.
_MIXED = 64
_NEVER = (CircuitOpenError, UnsupportedFunctionError)


def _draw() -> float:
    # A bound method of the shared generator would carry its whole state into a pickle.
    return random.random()  # noqa: S311  # jitter is no secret


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, how fast and on what to retry.

    Args:
        max_attempts: All attempts, the first one included.
        base_delay: Seconds that the back-off starts from.
        max_delay: No wait is ever longer.
        exponential_base: What the back-off grows by with each attempt.
        jitter: True or "full" draws each wait between zero and the back-off, "decorrelated"
            between `base_delay` and three times the wait before; False waits the back-off itself.
        retryable_on: Types of errors, or a predicate. An open circuit is never retried.
        deadline: Seconds for the whole call, waits included. An async attempt that reaches it is
            cancelled; a sync one cannot be, but none starts later.
        attempt_timeout: Seconds for one attempt, after which it is cancelled and counts as failed.
            Only for async functions.
        retry_on_result: True for a result that is no success.
        retry_after: Reads from an error how many seconds the callee wants to be left alone.
            A longer wait than `max_delay` ends the retrying. When it raises, that is logged.
        budget: Shared with other calls; an empty one ends the retrying.
        hooks: Told of each retry, of each recovery and of giving up.
        clock: Seconds, monotonic.
        random: Draws from [0, 1).
    """

    max_attempts: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: bool | Literal["full", "decorrelated"] = True
    retryable_on: ErrorFilter = (Exception,)
    _: KW_ONLY
    deadline: float | None = None
    attempt_timeout: float | None = None
    retry_on_result: Callable[[Any], bool] | None = None
    retry_after: Callable[[Exception], float | None] = read_retry_after
    budget: RetryBudget | None = None
    hooks: tuple[RetryHook, ...] = ()
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = _draw

    def __post_init__(self) -> None:
        at_least("max_attempts", self.max_attempts, 1, whole=True)
        at_least("base_delay", self.base_delay, 0)
        at_least("max_delay", self.max_delay, 0)
        at_least("exponential_base", self.exponential_base, 1)
        if not isinstance(self.jitter, bool) and self.jitter not in ("full", "decorrelated"):
            raise ResilienceConfigError(
                "jitter", self.jitter, 'True, False, "full" or "decorrelated"'
            )
        error_filter("retryable_on", self.retryable_on)
        if self.deadline is not None:
            above_zero("deadline", self.deadline)
        if self.attempt_timeout is not None:
            above_zero("attempt_timeout", self.attempt_timeout)
        if self.retry_on_result is not None:
            sync_function("retry_on_result", self.retry_on_result)
        if self.budget is not None:
            of_type("budget", self.budget, RetryBudget)
        of_type("hooks", self.hooks, tuple)
        for hook in self.hooks:
            sync_function("hooks", hook)
        for field in ("retry_after", "clock", "random"):
            sync_function(field, getattr(self, field))

    def compute_delay(self, attempt_index: int, *, previous: float | None = None) -> float:
        """The seconds to wait after the failed attempt number `attempt_index`, counted from 0.

        Args:
            attempt_index: Which attempt has failed.
            previous: The wait before, which decorrelated jitter grows from; without it the waits
                that led here are drawn anew.
        """
        if self.jitter == "decorrelated":
            return self._decorrelated(attempt_index, previous)
        try:
            backoff = self.base_delay * self.exponential_base**attempt_index
        except OverflowError:
            backoff = self.max_delay if self.base_delay else 0.0
        backoff = min(self.max_delay, backoff)
        return self.random() * backoff if self.jitter else backoff

    def _decorrelated(self, attempt_index: int, previous: float | None) -> float:
        low = min(self.base_delay, self.max_delay)
        draws = 1 if previous is not None else min(attempt_index, _MIXED) + 1
        delay = low if previous is None else previous
        for _ in range(draws):
            high = min(self.max_delay, max(low, 3 * delay))
            delay = low + self.random() * (high - low)
        return delay

    def is_retryable(self, exc: BaseException) -> bool:
        """Whether another attempt may follow this error.

        Never true of a cancellation, an exit, or an open circuit, be it one of a group.
        """
        if not isinstance(exc, Exception) or rooted(exc, _NEVER, any):
            return False
        return matches(self.retryable_on, exc)
