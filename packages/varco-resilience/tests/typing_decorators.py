"""What type checkers see; checked by mypy and pyright in strict mode, and never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any, Protocol, assert_type

from varco_resilience import (
    Attempt,
    AttemptFailure,
    Bulkhead,
    BulkheadConfig,
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitState,
    Guard,
    HedgeConfig,
    InMemoryRateLimiter,
    Pipeline,
    RateLimitConfig,
    RetryExhaustedError,
    RetryPolicy,
    bulkhead,
    circuit_breaker,
    fallback,
    hedge,
    rate_limit,
    retry,
    timeout,
)

policy = RetryPolicy(max_attempts=3, base_delay=0.5, retryable_on=(ConnectionError,))
breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=5), name="b")
room = Bulkhead(BulkheadConfig(2), name="r")
limiter = InMemoryRateLimiter(RateLimitConfig(1, 1.0))

type Async[T] = Coroutine[Any, Any, T]


class Signature(Protocol):
    def __call__(self, a: int, /, *args: float, b: str = ..., **kwargs: bool) -> bytes: ...


class AsyncSignature(Protocol):
    def __call__(self, a: int, /, *args: float, b: str = ..., **kwargs: bool) -> Async[bytes]: ...


def plain(a: int, /, *args: float, b: str = "", **kwargs: bool) -> bytes:
    return bytes(f"{a}{args}{b}{kwargs}", "ascii")


async def plain_async(a: int, /, *args: float, b: str = "", **kwargs: bool) -> bytes:
    return plain(a, *args, b=b, **kwargs)


class Callable_:  # noqa: N801  # an object with an async __call__
    async def __call__(self, a: int) -> str:
        return str(a)


# Each decorator keeps the whole signature, of sync and of async functions.
sync_signatures: list[Signature] = [
    retry(policy)(plain),
    breaker(plain),
    breaker.protect(plain),
    circuit_breaker(CircuitBreakerConfig())(plain),
    room(plain),
    room.protect(plain),
    bulkhead(BulkheadConfig(1))(plain),
    rate_limit(limiter)(plain),
    fallback(value=b"")(plain),
    fallback(lambda _: b"")(plain),
    Pipeline(retry(policy), breaker)(plain),
]
async_signatures: list[AsyncSignature] = [
    retry(policy)(plain_async),
    breaker(plain_async),
    breaker.protect(plain_async),
    circuit_breaker(CircuitBreakerConfig())(plain_async),
    timeout(1.0)(plain_async),
    room(plain_async),
    room.protect(plain_async),
    bulkhead(BulkheadConfig(1))(plain_async),
    rate_limit(limiter)(plain_async),
    hedge(HedgeConfig(1.0))(plain_async),
    fallback(value=b"")(plain_async),
    Pipeline(timeout(1.0), retry(policy), breaker)(plain_async),
    timeout(1.0)(retry(policy)(circuit_breaker(CircuitBreakerConfig())(plain_async))),
]


class Service:
    @retry(policy)
    def method(self, a: int) -> str:
        return str(a)

    @timeout(1.0)
    @retry(policy)
    @circuit_breaker(CircuitBreakerConfig())
    async def async_method(self, a: int, *, b: float = 0) -> str:
        return f"{a}{b}"

    @classmethod
    @breaker.protect
    def of_class(cls, a: int) -> str:
        return str(a)

    @breaker.protect
    @classmethod
    def of_class_outside(cls, a: int) -> str:
        return str(a)

    @staticmethod
    @room.protect
    async def static(a: int) -> str:
        return str(a)

    @hedge(HedgeConfig(1.0))
    @staticmethod
    async def static_outside(a: int) -> str:
        return str(a)

    @fallback(value=None)
    @classmethod
    async def of_class_or_none(cls, a: int) -> str:
        return str(a)

    @fallback(value=None)
    @staticmethod
    def static_or_none(a: int) -> str:
        return str(a)

    @fallback(value=None)
    @staticmethod
    async def async_static_or_none(a: int) -> str:
        return str(a)

    @fallback(value=None)
    @classmethod
    def sync_of_class_or_none(cls, a: int) -> str:
        return str(a)

    @rate_limit(limiter)
    def items(self) -> Iterator[int]:
        yield 1

    @breaker.protect
    async def async_items(self) -> AsyncIterator[int]:
        yield 1


@breaker.protect
def generator(a: int) -> Generator[int, str, bytes]:
    yield a
    return b""


@room.protect
async def async_generator(a: int) -> AsyncGenerator[int, str]:
    yield a


@retry(policy)
def generic[T](items: list[T]) -> T:
    return items[0]


@fallback(value=None)
def nothing_instead(a: int) -> str:
    return str(a)


@fallback(value=None, on=ConnectionError)
async def nothing_instead_async(a: int) -> str:
    return str(a)


async def length_of(error: Exception) -> int:
    return len(str(error))


@fallback(length_of)
async def handled(a: int) -> str:
    return str(a)


async def uses(service: Service) -> None:
    assert_type(service.method(1), str)
    assert_type(await service.async_method(1, b=2.0), str)
    assert_type(Service.of_class(1), str)
    assert_type(Service.of_class_outside(1), str)
    assert_type(await Service.static(1), str)
    assert_type(await service.static_outside(1), str)
    assert_type(await Service.of_class_or_none(1), str | None)
    assert_type(Service.sync_of_class_or_none(1), str | None)
    assert_type(Service.static_or_none(1), str | None)
    assert_type(await service.async_static_or_none(1), str | None)
    assert_type(service.items(), Iterator[int])
    assert_type(service.async_items(), AsyncIterator[int])
    assert_type(generator(1), Generator[int, str, bytes])
    assert_type(async_generator(1), AsyncGenerator[int, str])
    assert_type(generic([1]), int)
    assert_type(nothing_instead(1), str | None)
    assert_type(await nothing_instead_async(1), str | None)
    assert_type(await handled(1), str | int)
    assert_type(await timeout(1.0)(Callable_())(1), str)
    assert_type(await hedge(HedgeConfig(1.0))(plain_async)(1), bytes)
    assert_type(circuit_breaker(CircuitBreakerConfig())(plain)(1, 2.0, b="", c=True), bytes)
    assert_type(await circuit_breaker(CircuitBreakerConfig())(plain_async)(1), bytes)
    assert_type(bulkhead(BulkheadConfig(1))(plain)(1), bytes)
    assert_type(await bulkhead(BulkheadConfig(1))(plain_async)(1), bytes)
    assert_type(rate_limit(limiter)(plain)(1), bytes)
    assert_type(await rate_limit(limiter)(plain_async)(1), bytes)
    assert_type(Pipeline(retry(policy), breaker)(plain)(1), bytes)
    assert_type(await Pipeline(timeout(1.0), retry(policy))(plain_async)(1), bytes)
    with breaker.guard() as guard:
        assert_type(guard, Guard)
    async with breaker.guard() as guard:
        assert_type(guard, Guard)
    assert_type(retry(policy)(partial(plain, 1))(), bytes)
    assert_type(breaker.call_sync(plain, 1, 2.0, b="3", c=True), bytes)
    assert_type(await breaker.call_async(plain_async, 1), bytes)
    assert_type(room.call_sync(plain, 1), bytes)
    assert_type(await room.call(plain_async, 1), bytes)
    assert_type(retry(policy).call_sync(plain, 1), bytes)
    assert_type(await retry(policy).call_async(plain_async, 1), bytes)
    async for attempt in retry(policy):
        assert_type(attempt, Attempt)
        async with attempt as entered:
            assert_type(entered, Attempt)
    for attempt in retry(policy):
        with attempt:
            assert_type(attempt.number, int)


def wrong(service: Service) -> None:
    """Each of these is an error; an ignore that is not needed would be one as well."""
    retry(policy)(plain)("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the signature is kept
    breaker.call_sync(plain)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # likewise
    service.method(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # likewise
    timeout(1.0)(plain)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a sync function
    hedge(HedgeConfig(1.0))(plain)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]  # likewise


def others(registry: CircuitBreakerRegistry, error: RetryExhaustedError) -> None:
    assert_type(registry.get("a"), CircuitBreaker)
    assert_type(breaker.state, CircuitState)
    assert_type(error.history, tuple[AttemptFailure, ...])
    assert_type(error.history[0].error, Exception)
    late: TimeoutError = CallTimeoutError("f", 1.0)
    predicate: Callable[[Exception], bool] = policy.is_retryable
    assert_type(policy.compute_delay(0), float)
    del late, predicate
