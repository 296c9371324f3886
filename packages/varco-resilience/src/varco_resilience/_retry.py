"""Trying again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, overload

import anyio
import anyio.lowlevel

from varco_resilience import _test_mode
from varco_resilience._errors import AttemptFailure, ResultRejectedError, RetryExhaustedError
from varco_resilience._functions import Kind, decorate, name_of, only
from varco_resilience._retry_events import RetryEvent, notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from varco_resilience._policy import RetryPolicy

_WHOLE_CALLS = "a generator has given items away before it fails; retry what produces each item"


class _Call:
    """One retried call: what has failed so far, and what to do next."""

    __slots__ = ("deadline", "history", "name", "policy", "previous")

    def __init__(self, policy: RetryPolicy, name: str) -> None:
        self.policy = policy
        self.name = name
        self.history: list[AttemptFailure] = []
        self.previous: float | None = None
        self.deadline = None if policy.deadline is None else policy.clock() + policy.deadline
        if policy.budget is not None:
            policy.budget.deposit()

    def remaining(self) -> float | None:
        """Seconds until the deadline."""
        return None if self.deadline is None else self.deadline - self.policy.clock()

    def succeeded(self) -> None:
        if self.history:
            event = RetryEvent("recovered", self.name, len(self.history) + 1, None, None)
            notify(self.policy.hooks, event)

    def failed(self, error: Exception) -> float:
        """Note a retryable error; the seconds to wait now, or the error of giving up."""
        policy = self.policy
        number = len(self.history) + 1
        mode = _test_mode.active()
        limit = policy.max_attempts
        if mode is not None and mode.max_attempts is not None:
            limit = min(limit, mode.max_attempts)
        if number >= limit:
            raise self._exhausted(error, "attempts") from error
        delay = policy.compute_delay(number - 1, previous=self.previous)
        asked = policy.retry_after(error)
        if asked is not None and asked > delay:
            if asked > policy.max_delay:
                raise self._exhausted(error, "retry_after") from error
            delay = asked
        remaining = self.remaining()
        if remaining is not None and delay >= remaining:
            raise self._exhausted(error, "deadline") from error
        if policy.budget is not None and not policy.budget.withdraw():
            raise self._exhausted(error, "budget") from error
        self.previous = delay
        self.history.append(AttemptFailure(number, error, delay))
        notify(policy.hooks, RetryEvent("retry", self.name, number, delay, error))
        return delay

    def _exhausted(self, error: Exception, reason: str) -> RetryExhaustedError:
        self.history.append(AttemptFailure(len(self.history) + 1, error, None))
        number = len(self.history)
        notify(self.policy.hooks, RetryEvent("exhausted", self.name, number, None, error))
        return RetryExhaustedError(self.name, number, error, self.history, reason)


def _wait_sync(seconds: float) -> None:
    mode = _test_mode.active()
    if mode is None:
        time.sleep(seconds)
    elif mode.on_wait is not None:
        mode.on_wait(seconds)


async def _wait_async(seconds: float) -> None:
    mode = _test_mode.active()
    if mode is None:
        await anyio.sleep(seconds)
        return
    if mode.on_wait is not None:
        mode.on_wait(seconds)
    await anyio.lowlevel.checkpoint()


class Retrying:
    """A retry policy ready for use: a decorator, and a caller of functions.

    Holds no state between calls; safe to share between threads, tasks and event loops.
    """

    __slots__ = ("policy",)

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    @overload
    def __call__[T, **P, R](self, func: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__[**P, R](self, func: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__[**P, R](self, func: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, func: Any, /) -> Any:
        """Decorate a function, sync or async, so that each call is retried."""
        return decorate("retry", func, self._wrap)

    def _wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        only("retry", kind, name, (Kind.SYNC, Kind.ASYNC), _WHOLE_CALLS)
        policy = self.policy
        if kind is Kind.ASYNC:

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                return await _run_async(_Call(policy, name), func, args, kwargs)

            return wrapper

        def sync_wrapper(*args: Any, **kwargs: Any) -> Any:
            return _run_sync(_Call(policy, name), func, args, kwargs)

        return sync_wrapper

    def call_sync[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync function, retrying it."""
        result: R = _run_sync(_Call(self.policy, name_of(func)), func, args, kwargs)
        return result

    async def call_async[**P, R](
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call an async function, retrying it."""
        result: R = await _run_async(_Call(self.policy, name_of(func)), func, args, kwargs)
        return result


def _run_sync(call: _Call, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    policy = call.policy
    while True:
        try:
            result = func(*args, **kwargs)
        except Exception as exc:
            if not policy.is_retryable(exc):
                raise
            delay = call.failed(exc)
        else:
            if policy.retry_on_result is None or not policy.retry_on_result(result):
                call.succeeded()
                return result
            delay = call.failed(ResultRejectedError(call.name, result))
        _wait_sync(delay)


async def _run_async(call: _Call, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    policy = call.policy
    while True:
        try:
            result = await func(*args, **kwargs)
        except Exception as exc:
            if not policy.is_retryable(exc):
                raise
            delay = call.failed(exc)
        else:
            if policy.retry_on_result is None or not policy.retry_on_result(result):
                call.succeeded()
                return result
            delay = call.failed(ResultRejectedError(call.name, result))
        await _wait_async(delay)


def retry(policy: RetryPolicy) -> Retrying:
    """Retry the calls of a function as the policy says.

    A non-retryable error passes as it is; when no attempt is left, `RetryExhaustedError` carries
    every attempt. Cancellation always passes.
    """
    return Retrying(policy)
