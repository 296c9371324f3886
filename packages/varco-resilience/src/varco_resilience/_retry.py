"""Trying again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from varco_resilience._checks import of_type
from varco_resilience._circuits import circuits_of
from varco_resilience._errors import UnsupportedFunctionError
from varco_resilience._functions import (
    PLAIN_KINDS,
    Kind,
    answer_type,
    check_async,
    check_sync,
)
from varco_resilience._policy import RetryPolicy
from varco_resilience._retry_attempts import AsyncAttempts, SyncAttempts
from varco_resilience._retry_call import RetryCall, run_async, run_sync
from varco_resilience._strategy import AnyStrategy, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Retrying(AnyStrategy, Part):
    """A retry policy ready for use: what `retry` returns.

    It decorates functions (`@retry(policy)`), calls them (`call_sync`, `call_async`) and gives
    attempts to iterate over (`async for attempt in retry(policy)`, or a plain `for`). It holds no
    state between calls; share it between threads, tasks and event loops as you like.
    """

    __slots__ = ("policy",)

    label = "retry"
    kinds: ClassVar[tuple[Kind, ...]] = PLAIN_KINDS
    remedy = "it has given items away before it fails; retry the function that gets each item"

    def __init__(self, policy: RetryPolicy) -> None:
        of_type("policy", policy, RetryPolicy)
        self.policy: RetryPolicy = policy

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        policy = self.policy
        if policy.attempt_timeout is not None and kind is Kind.SYNC:
            raise UnsupportedFunctionError(
                self.label,
                name,
                "attempt_timeout can interrupt only async functions; give the timeout to what it "
                "waits for, or use `deadline`",
            )
        begin = partial(RetryCall, policy, name, circuits_of(func))
        extras = (policy.deadline, policy.attempt_timeout, policy.retry_on_result, policy.budget)
        is_async = kind is Kind.ASYNC
        if extras == (None,) * 4:
            if is_async:
                return _try_first_async(func, policy.is_retryable, begin)
            return _try_first_sync(func, name, policy.is_retryable, begin)
        return (_attempt_async if is_async else _attempt_sync)(func, begin)

    def call_sync[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync function, and again as long as the policy says."""
        name = check_sync(self.label, func)
        call = RetryCall(self.policy, name, circuits_of(func))
        result: R = run_sync(call, func, args, kwargs, None)
        return result

    async def call_async[**P, R](
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call an async function, and again as long as the policy says."""
        name = check_async(self.label, func)
        call = RetryCall(self.policy, name, circuits_of(func))
        result: R = await run_async(call, func, args, kwargs, None)
        return result

    def __iter__(self) -> SyncAttempts:
        return SyncAttempts(self.policy)

    def __aiter__(self) -> AsyncAttempts:
        return AsyncAttempts(self.policy)


# Most calls need no second attempt, and then the first costs no more than a try.
def _try_first_sync(
    func: Callable[..., Any],
    name: str,
    is_retryable: Callable[[BaseException], bool],
    begin: Callable[[], RetryCall],
) -> Callable[..., Any]:
    plain: type[Any] | None = None

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal plain
        try:
            result = func(*args, **kwargs)
            if type(result) is not plain:
                plain = answer_type(result, Retrying.label, name)
        except Exception as error:
            if not is_retryable(error):
                raise
            failed = [error]
        else:
            return result
        return run_sync(begin(), func, args, kwargs, failed.pop())

    return wrapper


def _try_first_async(
    func: Callable[..., Any],
    is_retryable: Callable[[BaseException], bool],
    begin: Callable[[], RetryCall],
) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await func(*args, **kwargs)
        except Exception as error:
            if not is_retryable(error):
                raise
            failed = [error]
        return await run_async(begin(), func, args, kwargs, failed.pop())

    return wrapper


def _attempt_sync(func: Callable[..., Any], begin: Callable[[], RetryCall]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return run_sync(begin(), func, args, kwargs, None)

    return wrapper


def _attempt_async(func: Callable[..., Any], begin: Callable[[], RetryCall]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await run_async(begin(), func, args, kwargs, None)

    return wrapper


def retry(policy: RetryPolicy) -> Retrying:
    """Retry calls as the policy says.

    An error that is not retryable passes as it is; when no attempt is left, `RetryExhaustedError`
    carries all of them. Cancellation always passes, and an open circuit is never slept against.
    """
    return Retrying(policy)
