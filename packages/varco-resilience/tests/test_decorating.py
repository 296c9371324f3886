"""Every decorator on everything that can be called."""

import functools
import inspect
import pickle
import traceback
from dataclasses import fields
from typing import get_type_hints

import anyio.lowlevel
import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    CircuitState,
    HedgeConfig,
    InMemoryRateLimiter,
    Pipeline,
    RateLimitConfig,
    ResilienceConfigError,
    RetryPolicy,
    UnsupportedFunctionError,
    bulkhead,
    circuit_breaker,
    fallback,
    hedge,
    rate_limit,
    retry,
    timeout,
)

BOTH = {
    "retry": retry(RetryPolicy()),
    "retry in full": retry(RetryPolicy(deadline=60.0)),
    "circuit_breaker": circuit_breaker(CircuitBreakerConfig()),
    "one circuit_breaker": CircuitBreaker(CircuitBreakerConfig()),
    "timed circuit_breaker": circuit_breaker(CircuitBreakerConfig(failure_rate=0.5)),
    "bulkhead": bulkhead(BulkheadConfig(5)),
    "one bulkhead": Bulkhead(BulkheadConfig(5, max_wait=1.0)),
    "rate_limit": rate_limit(InMemoryRateLimiter(RateLimitConfig(10**6, 1.0))),
    "fallback": fallback(value="fallback"),
    "pipeline": Pipeline(
        fallback(value=0), retry(RetryPolicy()), circuit_breaker(CircuitBreakerConfig())
    ),
}
LIMITER = InMemoryRateLimiter(RateLimitConfig(1, 1.0))
ASYNC_ONLY = {
    "timeout": timeout(60.0),
    "hedge": hedge(HedgeConfig(60.0)),
    "async pipeline": Pipeline(timeout(60.0), retry(RetryPolicy()), timeout(30.0)),
}
for_both = pytest.mark.parametrize("decorator", BOTH.values(), ids=BOTH)
for_async = pytest.mark.parametrize(
    "decorator", (BOTH | ASYNC_ONLY).values(), ids=BOTH | ASYNC_ONLY
)


def plain(a, b=2, *, c=3):
    """Add them all up."""
    return a + b + c


async def plain_async(a, b=2, *, c=3):
    """Add them all up, later."""
    await anyio.lowlevel.checkpoint()
    return a + b + c


class Adder:
    def __init__(self, base):
        self.base = base

    def __call__(self, a):
        return self.base + a

    def method(self, a):
        return self.base + a


class AsyncAdder:
    def __init__(self, base):
        self.base = base

    async def __call__(self, a):
        await anyio.lowlevel.checkpoint()
        return self.base + a

    async def method(self, a):
        return self.base + a


@for_both
def test_sync_callables(decorator):
    class Service:
        base = 10

        @decorator
        def method(self, a):
            return self.base + a

        @classmethod
        @decorator
        def of_class(cls, a):
            return cls.base + a

        @decorator
        @classmethod
        def of_class_outside(cls, a):
            return cls.base + a

        @staticmethod
        @decorator
        def static(a):
            return 10 + a

        @decorator
        @staticmethod
        def static_outside(a):
            return 10 + a

        @property
        @decorator
        def value(self):
            return self.base + 1

    service = Service()
    assert decorator(plain)(1, c=4) == 7
    assert decorator(functools.partial(plain, 1, c=4))(5) == 10
    assert decorator(functools.partial(functools.partial(plain, 1), 5))(c=4) == 10
    assert decorator(Adder(10))(1) == 11
    assert decorator(Adder(10).method)(1) == 11
    assert decorator(lambda a: a + 10)(1) == 11
    assert decorator(len)([1]) == 1
    assert service.method(1) == service.of_class(1) == service.of_class_outside(1) == 11
    assert Service.of_class(1) == Service.of_class_outside(1) == 11
    assert Service.static(1) == service.static_outside(1) == Service.static_outside(1) == 11
    assert service.value == 11


@for_async
@pytest.mark.anyio
async def test_async_callables(decorator):
    class Service:
        base = 10

        @decorator
        async def method(self, a):
            return self.base + a

        @classmethod
        @decorator
        async def of_class(cls, a):
            return cls.base + a

        @decorator
        @classmethod
        async def of_class_outside(cls, a):
            return cls.base + a

        @decorator
        @staticmethod
        async def static_outside(a):
            return 10 + a

    service = Service()
    for wrapped, args in [
        (decorator(plain_async), (1,)),
        (decorator(functools.partial(plain_async, 1)), ()),
        (decorator(AsyncAdder(5)), (1,)),
        (decorator(AsyncAdder(5).method), (1,)),
        (decorator(functools.partial(AsyncAdder(5), 1)), ()),
    ]:
        assert inspect.iscoroutinefunction(wrapped)
        assert await wrapped(*args) == 6
    assert await service.method(1) == await service.of_class(1) == 11
    assert await service.of_class_outside(1) == await Service.static_outside(1) == 11


@for_async
def test_what_a_wrapper_keeps(decorator):
    wrapped = decorator(plain_async)
    assert wrapped.__name__ == "plain_async"
    assert wrapped.__doc__ == "Add them all up, later."
    assert wrapped.__wrapped__ is plain_async
    assert inspect.signature(wrapped) == inspect.signature(plain_async)
    assert decorator(AsyncAdder(1)).__dict__.keys() == {"__wrapped__"}


@for_async
@pytest.mark.parametrize("target", [3, None, "name", object()])
def test_what_cannot_be_called_is_refused(decorator, target):
    with pytest.raises(UnsupportedFunctionError, match="it is not callable"):
        decorator(target)


@for_async
def test_classes_are_refused(decorator):
    with pytest.raises(UnsupportedFunctionError, match="Adder: it is a class"):
        decorator(Adder)


GENERATORS = {
    "circuit_breaker": CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="b"),
    "bulkhead": Bulkhead(BulkheadConfig(1)),
    "rate_limit": rate_limit(InMemoryRateLimiter(RateLimitConfig(10**6, 1.0))),
}
for_generators = pytest.mark.parametrize("decorator", GENERATORS.values(), ids=GENERATORS)


def echo(log):
    """A generator that uses all that generators can do."""
    try:
        got = yield "first"
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = f"caught {error}"
            if got == "stop":
                return "returned"
    finally:
        log.append("closed")


async def async_echo(log):
    try:
        got = yield "first"
        while True:
            await anyio.lowlevel.checkpoint()
            try:
                got = yield got
            except KeyError as error:
                got = f"caught {error}"
            if got == "stop":
                return
    finally:
        log.append("closed")


@for_generators
def test_generators(decorator):
    log = []
    items = decorator(echo)(log)
    assert next(items) == "first"
    assert items.send("a") == "a"
    assert items.throw(KeyError("b")) == "caught 'b'"
    with pytest.raises(StopIteration) as caught:
        items.send("stop")
    assert caught.value.value == "returned"
    items = decorator(echo)(log)
    next(items)
    items.close()
    assert log == ["closed"] * 2
    assert inspect.isgeneratorfunction(decorator(echo))


@for_generators
@pytest.mark.anyio
async def test_async_generators(decorator):
    log = []
    items = decorator(async_echo)(log)
    assert await anext(items) == "first"
    assert await items.asend("a") == "a"
    assert await items.athrow(KeyError("b")) == "caught 'b'"
    with pytest.raises(StopAsyncIteration):
        await items.asend("stop")
    items = decorator(async_echo)(log)
    await anext(items)
    await items.aclose()
    assert log == ["closed"] * 2
    assert inspect.isasyncgenfunction(decorator(async_echo))

    @decorator
    async def none():
        for item in ():
            yield item

    assert [item async for item in none()] == []


@pytest.mark.anyio
async def test_a_generator_counts_as_one_call_until_its_end():
    room = Bulkhead(BulkheadConfig(1))
    items = room.protect(async_echo)([])
    assert room.available_slots == 1, "it has not begun"
    await anext(items)
    assert room.available_slots == 0
    await items.aclose()
    assert room.available_slots == 1


@pytest.mark.anyio
async def test_a_generator_fails_and_succeeds_as_a_call_does():
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2, recovery_timeout=0.0))

    @breaker.protect
    async def items(error=None):
        yield 1
        if error:
            raise error

    for _ in range(2):
        with pytest.raises(ConnectionError):
            [item async for item in items(ConnectionError())]
    assert breaker.state is CircuitState.HALF_OPEN
    abandoned = items()
    await anext(abandoned)
    await abandoned.aclose()
    assert breaker.state is CircuitState.HALF_OPEN, "leaving early says nothing"
    assert [item async for item in items()] == [1]
    assert breaker.state is CircuitState.CLOSED


def test_an_open_breaker_refuses_a_generator_at_its_first_item():
    breaker = CircuitBreaker(CircuitBreakerConfig())
    breaker.open()
    items = breaker.protect(echo)([])
    with pytest.raises(CircuitOpenError):
        next(items)


def test_a_traceback_shows_where_the_call_was_made():
    breaker = CircuitBreaker(CircuitBreakerConfig())
    try:
        breaker.protect(plain)()
    except TypeError as error:
        shown = "".join(traceback.format_exception(error))
    assert "result = func(*args, **kwargs)" in shown


async def async_predicate(_):
    return True


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: retry(plain), "policy is <function plain .*it must be a RetryPolicy"),
        (lambda: circuit_breaker(plain), "it must be a CircuitBreakerConfig"),
        (lambda: CircuitBreaker("payments"), "config is 'payments'; it must be"),
        (lambda: CircuitBreaker(CircuitBreakerConfig(), clock=0), "clock is 0"),
        (lambda: CircuitBreaker(CircuitBreakerConfig(), listeners=(plain_async,)), "listeners is"),
        (lambda: CircuitBreaker(CircuitBreakerConfig()).add_listener(plain_async), "listener is"),
        (lambda: CircuitBreakerRegistry("x"), "default is 'x'; it must be a CircuitBreakerConfig"),
        (lambda: CircuitBreakerRegistry(listeners=("x",)), "listeners is 'x'"),
        (lambda: Bulkhead(3), "config is 3; it must be a BulkheadConfig"),
        (lambda: bulkhead(plain), "it must be a BulkheadConfig"),
        (lambda: hedge(0.1), "config is 0.1; it must be a HedgeConfig"),
        (lambda: InMemoryRateLimiter(3), "it must be a RateLimitConfig"),
        (lambda: rate_limit(RateLimitConfig(1, 1.0)), "it must be a RateLimiter"),
        (lambda: rate_limit(LIMITER, key_fn=plain_async), "key_fn is .* a sync function"),
        (lambda: fallback(value=0, on=async_predicate), "on is .* a sync predicate"),
    ],
)
def test_what_was_given_by_mistake_is_named(make, said):
    with pytest.raises(ResilienceConfigError, match=said):
        make()


def test_a_pipeline_needs_strategies():
    with pytest.raises(ResilienceConfigError, match="at least one strategy"):
        Pipeline()
    with pytest.raises(ResilienceConfigError, match="the like return"):
        Pipeline(RetryPolicy())


def test_functions_share_the_code_of_their_wrappers():
    one, other = (retry(RetryPolicy())(lambda: None) for _ in range(2))
    assert one.__code__ is other.__code__


def test_policies_and_configurations_can_be_pickled_and_inspected():
    rate = RateLimitConfig(1, 1.0)
    settings = RetryPolicy(), CircuitBreakerConfig(), BulkheadConfig(1), HedgeConfig(1.0), rate
    for value in settings:
        assert pickle.loads(pickle.dumps(value)) == value
        assert get_type_hints(type(value)).keys() >= {f.name for f in fields(value)}
