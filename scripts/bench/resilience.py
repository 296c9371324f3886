"""varco-resilience: what a decorated call that succeeds costs, against the bare call and peers.

The `bare call` of each group is what has to be paid anyway; the overhead is the difference to it.
`one failure` and `refused` are the calls that do not go well.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from _harness import Case, Published, main

import varco_resilience as vr

logging.disable()  # some peers log each retry

FOREVER = 3600.0
MANY = 10**7  # so that no limiter ever refuses or waits


def plain() -> int:
    return 1


async def plain_async() -> int:
    return 1


async def pausing() -> None:
    await asyncio.sleep(0)


async def failing() -> None:
    raise ConnectionError


def flaky() -> Callable[[], Awaitable[int]]:
    """Fails with every other call."""
    fails = False

    async def call() -> int:
        nonlocal fails
        fails = not fails
        if fails:
            raise ConnectionError
        return 1

    return call


def refused(call: Callable[[], Awaitable[Any]], error: type[Exception]) -> Callable[[], Any]:
    async def attempt() -> None:
        with contextlib.suppress(error, ConnectionError):
            await call()

    return attempt


POLICY = vr.RetryPolicy(max_attempts=3, base_delay=0.5)
AT_ONCE = vr.RetryPolicy(max_attempts=3, base_delay=0.0)
BREAKER = vr.CircuitBreakerConfig(failure_threshold=5, recovery_timeout=FOREVER)


def breaker() -> vr.CircuitBreaker:
    return vr.CircuitBreaker(BREAKER)


# --- peers ----------------------------------------------------------------------------------------


def stamina(func: Any, **options: Any) -> Any:
    import stamina

    options.setdefault("wait_initial", 0.5)
    return stamina.retry(on=ConnectionError, attempts=3, **options)(func)


def tenacity(func: Any, wait: float = 0.5) -> Any:
    import tenacity

    return tenacity.retry(
        stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_random_exponential(max=wait)
    )(func)


def backoff(func: Any, factor: float = 0.5) -> Any:
    import backoff

    return backoff.on_exception(backoff.expo, Exception, max_tries=3, factor=factor)(func)


def hyx_retry(func: Any, wait: float = 0.5) -> Any:
    from hyx.retry import retry
    from hyx.retry.backoffs import expo

    return retry(on=Exception, attempts=3, backoff=expo(min_delay_secs=wait))(func)


def hyx_breaker(func: Any) -> Any:
    from hyx.circuitbreaker import consecutive_breaker

    return consecutive_breaker(
        exceptions=Exception, failure_threshold=5, recovery_time_secs=FOREVER
    )(func)


def hyx_timeout(func: Any) -> Any:
    from hyx.timeout import timeout

    return within_loop(lambda: timeout(10.0)(func))


def within_loop(make: Callable[[], Callable[[], Awaitable[Any]]]) -> Any:
    """What can only be made while the loop runs. Testing for it costs next to nothing."""
    made: Any = None

    async def call() -> Any:
        nonlocal made
        if made is None:
            made = make()
        return await made()

    return call


def purgatory_async(func: Any) -> Any:
    from purgatory import AsyncCircuitBreakerFactory

    return AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=FOREVER)("b")(func)


def purgatory_sync(func: Any) -> Any:
    from purgatory import SyncCircuitBreakerFactory

    return SyncCircuitBreakerFactory(default_threshold=5, default_ttl=FOREVER)("b")(func)


def aiocircuitbreaker(func: Any) -> Any:
    from aiocircuitbreaker import circuit

    return circuit(failure_threshold=5, recovery_timeout=int(FOREVER), name="b")(func)


def aiobreaker(func: Any) -> Any:
    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, timeout_duration=dt.timedelta(seconds=FOREVER))(func)


def pybreaker(func: Any) -> Any:
    from pybreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, reset_timeout=int(FOREVER))(func)


def asyncio_timeout(func: Callable[[], Awaitable[Any]]) -> Any:
    async def call() -> Any:
        async with asyncio.timeout(10.0):
            return await func()

    return call


def fail_after(func: Callable[[], Awaitable[Any]]) -> Any:
    import anyio

    async def call() -> Any:
        with anyio.fail_after(10.0):
            return await func()

    return call


def aiolimiter() -> Any:
    from aiolimiter import AsyncLimiter

    return AsyncLimiter(MANY, 1.0).acquire


def hyx_limiter(func: Any) -> Any:
    from hyx.ratelimit import tokenbucket

    return within_loop(lambda: tokenbucket(max_executions=MANY, per_time_secs=1.0)(func))


def asyncio_semaphore(func: Callable[[], Awaitable[Any]]) -> Any:
    semaphore = asyncio.Semaphore(10)

    async def call() -> Any:
        async with semaphore:
            return await func()

    return call


# --- the published package ------------------------------------------------------------------------

PUBLISHED = """
import asyncio, logging
from varco_core.resilience import (
    CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, RetryPolicy, retry, timeout
)
logging.disable()

def plain():
    return 1

async def plain_async():
    return 1

async def pausing():
    await asyncio.sleep(0)

async def failing():
    raise ConnectionError

def flaky():
    fails = False
    async def call():
        nonlocal fails
        fails = not fails
        if fails:
            raise ConnectionError
        return 1
    return call

def breaker():
    return CircuitBreaker(CircuitBreakerConfig(failure_threshold=5, recovery_timeout=3600.0))

def refused(call):
    async def attempt():
        try:
            await call()
        except (CircuitOpenError, ConnectionError):
            pass
    return attempt

def make():
    return {call}
"""


def published(group: str, call: str) -> Published:
    return Published(group, PUBLISHED.replace("{call}", call))


def group(name: str, bare: Any, contenders: dict[str, Callable[[], Any]]) -> list[Case]:
    """The first contender is ours."""
    cases = [
        Case(name, contender, make, ours=number == 0)
        for number, (contender, make) in enumerate(contenders.items())
    ]
    return [*cases, Case(name, "bare call", lambda: bare)]


CASES: list[Case | Published] = [
    *group(
        "retry, async",
        plain_async,
        {
            "varco": lambda: vr.retry(POLICY)(plain_async),
            "stamina": lambda: stamina(plain_async),
            "tenacity": lambda: tenacity(plain_async),
            "backoff": lambda: backoff(plain_async),
            "hyx": lambda: hyx_retry(plain_async),
        },
    ),
    published("retry, async", "retry(RetryPolicy(max_attempts=3, base_delay=0.5))(plain_async)"),
    *group(
        "retry, sync",
        plain,
        {
            "varco": lambda: vr.retry(POLICY)(plain),
            "stamina": lambda: stamina(plain),
            "tenacity": lambda: tenacity(plain),
            "backoff": lambda: backoff(plain),
        },
    ),
    published("retry, sync", "retry(RetryPolicy(max_attempts=3, base_delay=0.5))(plain)"),
    *group(
        "retry, async, one failure and no wait",
        plain_async,
        {
            "varco": lambda: vr.retry(AT_ONCE)(flaky()),
            "stamina": lambda: stamina(flaky(), wait_initial=0.0, wait_jitter=0.0),
            "tenacity": lambda: tenacity(flaky(), 0.0),
            "backoff": lambda: backoff(flaky(), 0.0),
        },
    ),
    published(
        "retry, async, one failure and no wait",
        "retry(RetryPolicy(max_attempts=3, base_delay=0.0))(flaky())",
    ),
    *group(
        "circuit breaker, async",
        plain_async,
        {
            "varco": lambda: breaker().protect(plain_async),
            "varco, by rate": lambda: vr.CircuitBreaker(
                vr.CircuitBreakerConfig(failure_rate=0.5)
            ).protect(plain_async),
            "aiocircuitbreaker": lambda: aiocircuitbreaker(plain_async),
            "aiobreaker": lambda: aiobreaker(plain_async),
            "purgatory": lambda: purgatory_async(plain_async),
            "hyx": lambda: hyx_breaker(plain_async),
        },
    ),
    published("circuit breaker, async", "breaker().protect(plain_async)"),
    *group(
        "circuit breaker, sync",
        plain,
        {
            "varco": lambda: breaker().protect(plain),
            "pybreaker": lambda: pybreaker(plain),
            "purgatory": lambda: purgatory_sync(plain),
        },
    ),
    published("circuit breaker, sync", "breaker().protect(plain)"),
    *group(
        "circuit breaker, async, open",
        plain_async,
        {"varco": lambda: refused(breaker().protect(failing), vr.CircuitOpenError)},
    ),
    published("circuit breaker, async, open", "refused(breaker().protect(failing))"),
    *group(
        "timeout of a call that does not wait",
        plain_async,
        {
            "varco": lambda: vr.timeout(10.0)(plain_async),
            "asyncio.timeout": lambda: asyncio_timeout(plain_async),
            "anyio.fail_after": lambda: fail_after(plain_async),
            "hyx": lambda: hyx_timeout(plain_async),
        },
    ),
    published("timeout of a call that does not wait", "timeout(10.0)(plain_async)"),
    *group(
        "timeout of a call that waits once",
        pausing,
        {
            "varco": lambda: vr.timeout(10.0)(pausing),
            "asyncio.timeout": lambda: asyncio_timeout(pausing),
            "anyio.fail_after": lambda: fail_after(pausing),
            "hyx": lambda: hyx_timeout(pausing),
        },
    ),
    published("timeout of a call that waits once", "timeout(10.0)(pausing)"),
    *group(
        "timeout over retry over circuit breaker",
        plain_async,
        {
            "varco, stacked": lambda: vr.timeout(10.0)(
                vr.retry(POLICY)(breaker().protect(plain_async))
            ),
            "varco, Pipeline": lambda: vr.Pipeline(vr.timeout(10.0), vr.retry(POLICY), breaker())(
                plain_async
            ),
            "hyx": lambda: hyx_timeout(hyx_retry(hyx_breaker(plain_async))),
        },
    ),
    published(
        "timeout over retry over circuit breaker",
        "timeout(10.0)(retry(RetryPolicy(max_attempts=3, base_delay=0.5))"
        "(breaker().protect(plain_async)))",
    ),
    *group(
        "bulkhead, async",
        plain_async,
        {
            "varco": lambda: vr.Bulkhead(vr.BulkheadConfig(10)).protect(plain_async),
            "asyncio.Semaphore": lambda: asyncio_semaphore(plain_async),
        },
    ),
    *group(
        "rate limiter, async",
        plain_async,
        {
            "varco": lambda: vr.InMemoryRateLimiter(vr.RateLimitConfig(MANY, 1.0)).acquire,
            "varco, token bucket": lambda: (
                vr.InMemoryRateLimiter(vr.RateLimitConfig(MANY, 1.0, "token_bucket")).acquire
            ),
            "varco, decorator": lambda: vr.rate_limit(
                vr.InMemoryRateLimiter(vr.RateLimitConfig(MANY, 1.0))
            )(plain_async),
            "aiolimiter": aiolimiter,
            "hyx": lambda: hyx_limiter(plain_async),
        },
    ),
]


if __name__ == "__main__":
    main(CASES, floor="bare call")
