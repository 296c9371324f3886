"""Every metric, what it counts, and what is never an attribute of one."""

import asyncio
import logging

import pytest

from varco_auth_jwt import (
    JwkBuilder,
    JwtAuthority,
    JwtParser,
    PemFileSource,
    TokenError,
    TrustedIssuerRegistry,
)
from varco_cache import InMemoryCache, cached
from varco_domain import tenant_context
from varco_events import (
    Event,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
)
from varco_otel import (
    METRICS,
    Sampler,
    instrument,
    instrument_buses,
    instrument_caches,
    uninstrument,
)
from varco_otel._metrics import instruments_of
from varco_resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitOpenError,
    InMemoryRateLimiter,
    RateLimitConfig,
    RateLimitExceededError,
    RetryExhaustedError,
    RetryPolicy,
    rate_limit,
    retry,
    retry_test_mode,
)

pytestmark = pytest.mark.anyio


class ParcelMeasured(Event):
    number: int = 0


def named(points, **attributes):
    wanted = {name.replace("__", "."): value for name, value in attributes.items()}
    return sum(value for key, value in points.items() if wanted.items() <= dict(key).items())


async def deliver(handler, *, most=10, dlq=None):
    outbox, bus = InMemoryOutboxRepository(), InMemoryEventBus()
    bus.subscribe(ParcelMeasured, handler)
    with tenant_context("acme"):
        await outbox.save(OutboxEntry.from_event(ParcelMeasured(), key="order-7"))
    policy = RetryPolicy(max_attempts=most, base_delay=0.001)
    await OutboxRelay(outbox=outbox, bus=bus, dlq=dlq, retry_policy=policy).run_once()
    return outbox


async def test_events(on):
    def fail(event):
        raise OSError

    await deliver(lambda event: None)
    await deliver(fail, most=1, dlq=InMemoryDeadLetterQueue())
    assert on.points("varco.events.created") == {
        frozenset({("varco.event.type", "ParcelMeasured")}): 2
    }
    assert sum(on.points("varco.outbox.time").values()) == 1
    attempts = on.points("varco.outbox.attempts")
    assert named(attempts, varco__outcome="sent") == 1
    assert named(attempts, varco__outcome="failed", error__type="OSError") == 1
    assert named(on.points("varco.handler.duration"), error__type="OSError") == 1
    assert sum(on.points("varco.handler.duration").values()) == 2
    assert named(on.points("varco.events.given_up"), error__type="OSError") == 1


async def test_a_type_from_outside_is_no_attribute(on):
    outbox, bus = InMemoryOutboxRepository(), InMemoryEventBus()
    bus.subscribe("who.knows", lambda event: None)
    await outbox.save(OutboxEntry(event_type="who.knows", payload=b"{}"))
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert named(on.points("varco.outbox.time"), varco__event__type="_OTHER") == 1


async def test_tenants_and_keys_are_in_no_metric(on):
    await deliver(lambda event: None)
    cache = InMemoryCache()
    instrument_caches({"prices": cache}, meter_provider=on.meter_provider)
    await cache.set("order-7", 1)
    limited("order-7")
    with pytest.raises(RateLimitExceededError):
        limited("order-7")
    assert named(on.points("varco.refusals"), varco__refused__by="rate_limit") == 1
    for metric in METRICS:
        for point in on.points(metric.name):
            assert "order-7" not in dict(point).values()
            assert "acme" not in dict(point).values()


LIMITER = InMemoryRateLimiter(RateLimitConfig(1, 3600))


@rate_limit(LIMITER, key_fn=lambda key: key)
def limited(key):
    return key


def broken():
    raise OSError


async def test_calls(on):
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="mail")
    with pytest.raises(OSError):
        breaker.call_sync(broken)
    with pytest.raises(CircuitOpenError):
        breaker.call_sync(broken)
    state = frozenset({("varco.breaker.name", "mail")})
    assert on.points("varco.breaker.state") == {state: 2}
    breaker.close()
    assert on.points("varco.breaker.state") == {state: 0}
    assert named(on.points("varco.breaker.changes"), varco__breaker__state="open") == 1
    assert named(on.points("varco.refusals"), varco__refused__by="circuit_breaker") == 1
    with retry_test_mode(), pytest.raises(RetryExhaustedError):
        retry(RetryPolicy(max_attempts=3))(broken)()
    retries = on.points("varco.retries")
    assert named(retries, varco__outcome="retry", error__type="OSError") == 2
    assert named(retries, varco__outcome="exhausted") == 1


async def test_tokens(on, tmp_path):
    authority = JwtAuthority(private_key=JwkBuilder.generate("EdDSA", kid="a"), issuer="me")
    token = authority.token().subject("ann").expires_in(60).build()
    path = tmp_path / "keys.pem"
    path.write_bytes(authority.jwk().to_pem())
    registry = TrustedIssuerRegistry()
    registry.register("me", "me", PemFileSource(path, "a", "EdDSA"))
    await registry.verify(token)
    with pytest.raises(TokenError):
        JwtParser(secret="s" * 32).parse(token)
    verified = on.points("varco.tokens.verified")
    assert named(verified, varco__outcome="accepted") == 1
    assert named(verified, varco__outcome="refused", varco__token__verifier="JwtParser") == 1
    assert sum(on.points("varco.keys.fetch.duration").values()) == 1
    assert on.one("fetch keys").parent == on.one("TrustedIssuerRegistry.verify").context
    for span in on.spans:
        assert token not in span.to_json()


async def test_caches(on):
    async with InMemoryCache() as cache:
        instrument_caches({"prices": cache}, meter_provider=on.meter_provider)

        @cached(cache, ttl=60)
        async def price():
            return 1

        await price()
        await price()
        points = {
            name: sum(on.points(f"varco.cache.{name}").values())
            for name in ("hits", "misses", "loads", "entries", "stale", "errors", "evictions")
        }
        assert points == {
            "hits": 1,
            "misses": 1,
            "loads": 1,
            "entries": 1,
            "stale": 0,
            "errors": 0,
            "evictions": 0,
        }


async def test_buses(on):
    class Bus:
        rebalances = 2

        def lags(self):
            return {"orders": {0: 7, 3: 0}}

    instrument_buses({"kafka": Bus()}, meter_provider=on.meter_provider)
    lags = on.points("varco.bus.lag")
    assert sorted(lags.values()) == [0, 7]
    assert named(lags, varco__event__channel="orders", varco__partition=0) == 7
    assert on.points("varco.bus.rebalances") == {frozenset({("varco.bus.name", "kafka")}): 2}
    uninstrument()
    assert on.points("varco.bus.lag") == {}


async def test_stores_are_sampled_by_a_task_that_is_owned(on):
    outbox = InMemoryOutboxRepository()
    await outbox.save_many([OutboxEntry.from_event(ParcelMeasured()) for _ in range(3)])
    sampled = asyncio.Event()

    class Told:
        async def figures(self):
            asyncio.get_running_loop().call_soon(sampled.set)
            return await outbox.failures().figures()

    tasks = asyncio.all_tasks()
    async with Sampler({"orders": Told()}, meter_provider=on.meter_provider) as sampler:
        await sampler.start()
        await sampled.wait()
        await asyncio.sleep(0)
        key = frozenset({("varco.store.name", "orders")})
        assert on.points("varco.store.waiting") == {key: 3}
        assert on.points("varco.store.failed") == {key: 0}
        assert on.points("varco.store.waiting.age")[key] >= 0
        assert on.points("varco.store.failed.age") == {key: 0}
    assert on.points("varco.store.waiting") == {}
    assert asyncio.all_tasks() == tasks
    await sampler.stop()


async def test_a_store_that_fails_or_hangs_has_no_values_and_holds_nothing_up(on, caplog):
    answers = [True]

    class Moody:
        async def figures(self):
            if not answers:
                raise OSError("a secret")
            answers.pop()
            return await InMemoryOutboxRepository().failures().figures()

    class Hanging:
        async def figures(self):
            await asyncio.Event().wait()

    moody = Sampler({"moody": Moody()}, meter_provider=on.meter_provider)
    await moody.sample()
    assert on.points("varco.store.waiting")
    await moody.sample()
    assert not on.points("varco.store.waiting")
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text
    caplog.clear()
    stores = {"hanging": Hanging()}
    async with Sampler(stores, interval=0.01, meter_provider=on.meter_provider):
        while "hanging" not in caplog.text:
            await asyncio.sleep(0.005)
    assert not on.points("varco.store.waiting")


def test_an_interval_is_checked():
    with pytest.raises(ValueError, match="interval above 0"):
        Sampler({}, interval=0)


def test_instruments_are_made_once_for_a_provider(seen, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            instrument(**seen.providers)
            uninstrument()
    assert instruments_of(seen.meter_provider) is instruments_of(seen.meter_provider)
    assert not caplog.records


def test_names_are_ours_and_each_is_described():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("varco.")
        assert metric.description
        assert metric.unit
