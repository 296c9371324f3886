"""One retried call: its attempts, and the waits between them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel

from varco_resilience import _observers, _test_mode
from varco_resilience._circuits import refusal_after
from varco_resilience._errors import (
    AttemptFailure,
    AttemptTimeoutError,
    ResultRejectedError,
    RetryExhaustedError,
)
from varco_resilience._functions import answer_type
from varco_resilience._retry_after import asked_wait
from varco_resilience._retry_events import RetryEvent, notify
from varco_resilience._timeout import limited, running_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_resilience._circuits import Circuits
    from varco_resilience._policy import RetryPolicy


class RetryCall:
    """What has failed so far in one call, and what to do next. Not shared.

    The errors lead through their tracebacks to the frames that hold this object, so it lets go of
    them at the end: a storm of failures shall not wait for the garbage collector.
    """

    __slots__ = (
        "_circuits",
        "_cut_by_deadline",
        "_deadline",
        "_history",
        "_previous",
        "name",
        "policy",
    )

    def __init__(self, policy: RetryPolicy, name: str, circuits: Circuits = ()) -> None:
        self.policy: RetryPolicy = policy
        self._circuits = circuits
        self.name: str = name
        self._history: list[AttemptFailure] = []
        self._previous: float | None = None
        self._deadline = None if policy.deadline is None else policy.clock() + policy.deadline
        self._cut_by_deadline = False
        if policy.budget is not None:
            policy.budget.deposit()

    def limit(self) -> float | None:
        """The seconds that the next attempt may take."""
        limit = self.policy.attempt_timeout
        if self._deadline is None:
            return limit
        remaining = max(self._deadline - self.policy.clock(), 0.0)
        self._cut_by_deadline = limit is None or remaining <= limit
        return remaining if self._cut_by_deadline else limit

    def accepts(self, result: Any) -> bool:
        """Whether a result ends the retrying."""
        rejects = self.policy.retry_on_result
        if rejects is not None and rejects(result):
            return False
        if self._history:
            self._tell("recovered", len(self._history) + 1, None, None)
            self._history.clear()
        return True

    def delay_after(self, error: Exception) -> float:
        """Note a failed attempt; the seconds to wait now, or the error of giving up."""
        policy = self.policy
        number = len(self._history) + 1
        if number >= _max_attempts(policy):
            raise self._exhausted(error, "attempts") from error
        if self._cut_by_deadline and isinstance(error, AttemptTimeoutError):
            raise self._exhausted(error, "deadline") from error
        delay = policy.compute_delay(number - 1, previous=self._previous)
        asked = asked_wait(policy.retry_after, error)
        if asked is not None and asked > delay:
            if asked > policy.max_delay:
                raise self._exhausted(error, "retry_after") from error
            delay = asked
        if self._deadline is not None and policy.clock() + delay >= self._deadline:
            raise self._exhausted(error, "deadline") from error
        refusal = refusal_after(self._circuits, delay)
        if refusal is not None:
            raise refusal from error
        if policy.budget is not None and not policy.budget.withdraw():
            raise self._exhausted(error, "budget") from error
        self._previous = delay
        self._history.append(AttemptFailure(number, error, delay))
        self._tell("retry", number, delay, error)
        return delay

    def check_deadline(self) -> None:
        """After a wait, which may have taken longer than asked: no attempt starts too late."""
        if self._deadline is not None and self.policy.clock() >= self._deadline:
            error = self._history.pop().error
            raise self._exhausted(error, "deadline") from error

    def _exhausted(self, error: Exception, reason: str) -> RetryExhaustedError:
        number = len(self._history) + 1
        history = (*self._history, AttemptFailure(number, error, None))
        self._history.clear()
        self._tell("exhausted", number, None, error)
        return RetryExhaustedError(self.name, number, error, history, reason)

    def _tell(
        self,
        kind: Literal["retry", "recovered", "exhausted"],
        attempt: int,
        delay: float | None,
        error: Exception | None,
    ) -> None:
        hooks = (*self.policy.hooks, *_observers.observers)
        if hooks:
            notify(hooks, RetryEvent(kind, self.name, attempt, delay, error))


def _max_attempts(policy: RetryPolicy) -> int:
    mode = _test_mode.active()
    if mode is None or mode.max_attempts is None:
        return policy.max_attempts
    return min(policy.max_attempts, mode.max_attempts)


def wait_sync(seconds: float) -> None:
    """Sleep, unless a test has turned waiting off."""
    mode = _test_mode.active()
    if mode is None:
        time.sleep(min(seconds, threading.TIMEOUT_MAX))
    elif mode.on_wait is not None:
        mode.on_wait(seconds)


async def wait_async(seconds: float) -> None:
    """Sleep, unless a test has turned waiting off; cancellation arrives either way."""
    mode = _test_mode.active()
    if mode is None:
        await (asyncio.sleep if running_task() else anyio.sleep)(seconds)
        return
    if mode.on_wait is not None:
        mode.on_wait(seconds)
    await anyio.lowlevel.checkpoint()


def run_sync(
    call: RetryCall, func: Callable[..., Any], args: Any, kwargs: Any, failed: Exception | None
) -> Any:
    """Attempt a sync function until it succeeds; `failed` is the first attempt's error, if any."""
    is_retryable = call.policy.is_retryable
    while True:
        if failed is None:
            try:
                result = func(*args, **kwargs)
                answer_type(result, "retry", call.name)
            except Exception as error:
                if not is_retryable(error):
                    raise
                failed = error
            else:
                if call.accepts(result):
                    return result
                failed = ResultRejectedError(call.name, result)
        try:
            delay = call.delay_after(failed)
        finally:
            failed = None
        wait_sync(delay)
        call.check_deadline()


async def run_async(
    call: RetryCall, func: Callable[..., Any], args: Any, kwargs: Any, failed: Exception | None
) -> Any:
    """Attempt an async function until it succeeds; `failed` as in `run_sync`."""
    is_retryable = call.policy.is_retryable
    while True:
        if failed is None:
            try:
                limit = call.limit()
                attempt = func(*args, **kwargs)
                if limit is not None:
                    attempt = limited(attempt, limit, call.name, AttemptTimeoutError)
                result = await attempt
            except Exception as error:
                if not isinstance(error, AttemptTimeoutError) and not is_retryable(error):
                    raise
                failed = error
            else:
                if call.accepts(result):
                    return result
                failed = ResultRejectedError(call.name, result)
        try:
            delay = call.delay_after(failed)
        finally:
            failed = None
        await wait_async(delay)
        call.check_deadline()
