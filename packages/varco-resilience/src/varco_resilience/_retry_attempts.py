"""Attempts to iterate over: each is a context manager around a block of code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from varco_resilience._errors import AttemptTimeoutError, ResilienceConfigError
from varco_resilience._retry_call import RetryCall, wait_async, wait_sync
from varco_resilience._timeout import Limit

if TYPE_CHECKING:
    from types import TracebackType

    from varco_resilience._policy import RetryPolicy

_BLOCK = "the block"


class Attempt:
    """One attempt: `with attempt:`, or `async with attempt:` so that timeouts can cut it.

    A retryable error ends the block and leads to the next attempt.
    """

    __slots__ = ("_call", "_limit", "_seconds", "delay", "number", "state")

    def __init__(self, call: RetryCall, number: int, *, is_async: bool) -> None:
        self._call = call
        self._seconds = call.limit() if is_async else None
        self._limit = None if self._seconds is None else Limit(self._seconds)
        self.number: int = number
        self.state: Literal["new", "running", "failed", "done"] = "new"
        self.delay: float = 0.0

    def __enter__(self) -> Self:
        if self._limit is not None:
            raise ResilienceConfigError(
                "attempt", "with attempt", "`async with attempt`, for the policy limits its time"
            )
        self.state = "running"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        self.state = "done"
        if error is None:
            self._call.accepts(None)
            return False
        if not isinstance(error, AttemptTimeoutError) and not self._call.policy.is_retryable(error):
            return False
        self.delay = self._call.delay_after(error)  # type: ignore[arg-type]  # a retryable error is an Exception
        self.state = "failed"
        return True

    async def __aenter__(self) -> Self:
        if self._limit is not None:
            self._limit.__enter__()
        self.state = "running"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        if (
            self._limit is not None
            and self._seconds is not None
            and self._limit.__exit__(kind, error, tb)
        ):
            late = AttemptTimeoutError(_BLOCK, self._seconds)
            late.__cause__ = error
            return self.__exit__(type(late), late, tb)
        return self.__exit__(kind, error, tb)


class _Attempts:
    __slots__ = ("_call", "_last", "_number")

    def __init__(self, policy: RetryPolicy) -> None:
        if policy.retry_on_result is not None:
            raise ResilienceConfigError(
                "retry_on_result",
                policy.retry_on_result,
                "None here, since a block has no result; raise an error in the block instead",
            )
        self._call = RetryCall(policy, _BLOCK)
        self._last: Attempt | None = None
        self._number = 0

    def _next(self, *, is_async: bool) -> Attempt:
        self._number += 1
        self._last = Attempt(self._call, self._number, is_async=is_async)
        return self._last

    def _wait(self) -> float | None:
        """The seconds until the next attempt; None when there shall be none."""
        last = self._last
        if last is None:
            return 0.0
        if last.state in {"new", "running"}:
            raise ResilienceConfigError(
                "attempt", last.state, "entered and left: put the block into `with attempt:`"
            )
        return last.delay if last.state == "failed" else None


class SyncAttempts(_Attempts):
    """The attempts of a `for` loop."""

    __slots__ = ()

    def __init__(self, policy: RetryPolicy) -> None:
        if policy.attempt_timeout is not None:
            raise ResilienceConfigError(
                "attempt_timeout", policy.attempt_timeout, "None here, or use `async for`"
            )
        super().__init__(policy)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt:
        delay = self._wait()
        if delay is None:
            raise StopIteration
        if self._last is not None:
            wait_sync(delay)
            self._call.check_deadline()
        return self._next(is_async=False)


class AsyncAttempts(_Attempts):
    """The attempts of an `async for` loop."""

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        delay = self._wait()
        if delay is None:
            raise StopAsyncIteration
        if self._last is not None:
            await wait_async(delay)
            self._call.check_deadline()
        return self._next(is_async=True)
