"""Trying again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from varco_resilience._checks import of_type
from varco_resilience._circuits import circuits_of
from varco_resilience._errors import UnsupportedFunctionError
from varco_resilience._functions import Kind, name_of
from varco_resilience._fuse import Layer
from varco_resilience._policy import RetryPolicy
from varco_resilience._retry_attempts import AsyncAttempts, SyncAttempts
from varco_resilience._retry_call import RetryCall, run_async, run_sync
from varco_resilience._strategy import AnyStrategy, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from varco_resilience._strategy import Rest

# The first attempt costs no more than a try, since most calls need no other.
_PLAIN = """\
failed@ = None
try:
    {body}
except Exception as error:
    if not is_retryable@(error):
        raise
    failed@ = [error]
if failed@ is not None:
    result = await? run@(begin@(), rest@, args, kwargs, failed@.pop())"""
_FULL = "result = await? run@(begin@(), rest@, args, kwargs, None)"


class Retrying(AnyStrategy, Part):
    """A retry policy ready for use: what `retry` returns.

    It decorates functions (`@retry(policy)`), calls them (`call_sync`, `call_async`) and gives
    attempts to iterate over (`async for attempt in retry(policy)`, or a plain `for`). It holds no
    state between calls; share it between threads, tasks and event loops as you like.
    """

    __slots__ = ("policy",)

    label = "retry"
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.SYNC, Kind.ASYNC)
    remedy = "it has given items away before it fails; retry the function that gets each item"

    def __init__(self, policy: RetryPolicy) -> None:
        of_type("policy", policy, RetryPolicy)
        self.policy: RetryPolicy = policy

    def layer(self, kind: Kind, name: str, rest: Rest) -> Layer:
        """How calls of a function are surrounded."""
        policy = self.policy
        if policy.attempt_timeout is not None and kind is Kind.SYNC:
            raise UnsupportedFunctionError(
                self.label,
                name,
                "attempt_timeout can interrupt only async functions; give the timeout to what it "
                "waits for, or use `deadline`",
            )
        extras = (policy.deadline, policy.attempt_timeout, policy.retry_on_result, policy.budget)
        inner = rest()
        names: dict[str, object] = {
            "rest": inner,
            "run": run_async if kind is Kind.ASYNC else run_sync,
            "begin": partial(RetryCall, policy, name, circuits_of(inner)),
            "is_retryable": policy.is_retryable,
        }
        return Layer(_PLAIN if extras == (None,) * 4 else _FULL, names)

    def call_sync[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync function, and again as long as the policy says."""
        call = RetryCall(self.policy, name_of(func), circuits_of(func))
        result: R = run_sync(call, func, args, kwargs, None)
        return result

    async def call_async[**P, R](
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call an async function, and again as long as the policy says."""
        call = RetryCall(self.policy, name_of(func), circuits_of(func))
        result: R = await run_async(call, func, args, kwargs, None)
        return result

    def __iter__(self) -> SyncAttempts:
        return SyncAttempts(self.policy)

    def __aiter__(self) -> AsyncAttempts:
        return AsyncAttempts(self.policy)


def retry(policy: RetryPolicy) -> Retrying:
    """Retry calls as the policy says.

    An error that is not retryable passes as it is; when no attempt is left, `RetryExhaustedError`
    carries all of them. Cancellation always passes, and an open circuit is never slept against.
    """
    return Retrying(policy)
