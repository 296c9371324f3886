"""The examples of the specification as they are written, with what they leave open filled in.

Each test executes the text of an example; what stands before and after it is ours.
"""
# ruff: noqa: E501 - the lines are the specification's

import ast
import inspect
import os
import sys
import textwrap
import types
import warnings

import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def page():
    """Runs texts one after the other in one module, with top-level await."""
    module = types.ModuleType("specification_page")
    sys.modules[module.__name__] = module

    async def run(text):
        text = textwrap.dedent(text)
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # `is b"raw"`
            code = compile(text, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, module.__dict__)
        if inspect.isawaitable(result):
            await result
        return module

    yield run
    del sys.modules[module.__name__]


POST = """
from __future__ import annotations
from typing import Annotated
from varco_core import AuditedDomainModel
from varco_core.meta import FieldHint, PrimaryKey, PKStrategy, pk_field
class Post(AuditedDomainModel):
    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=200)]
    body: str
    published: bool = False
"""
POST_DTOS = """
from varco_core.dto import generate_dtos
CreatePostDTO, PostReadDTO, UpdatePostDTO = generate_dtos(Post)
"""
POST_SERVICE = """
from varco_core import AsyncService, IUoWProvider
from varco_core.assembler import AbstractDTOAssembler
from varco_core.auth import AbstractAuthorizer
from providify import Inject, Singleton
@Singleton
class PostService(AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO]):
    def __init__(
        self,
        uow_provider: Inject[IUoWProvider],
        authorizer: Inject[AbstractAuthorizer],
        assembler: Inject[AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]],
    ) -> None:
        super().__init__(uow_provider=uow_provider, authorizer=authorizer, assembler=assembler)
    def _get_repo(self, uow): return uow.posts
"""
# A container with a backend in memory, and a caller who may do everything.
CONTAINER = """
from providify import DIContainer, Provider
from varco_core import Action, AuthContext, InMemoryRepositoryProvider, ResourceGrant
from varco_core.assembler import AutoAssembler
from varco_core.auth.helpers import GrantBasedAuthorizer

storage = InMemoryRepositoryProvider(Post)
@Provider(singleton=True)
def uow_provider() -> IUoWProvider:
    return storage
@Provider(singleton=True)
def authorizer() -> AbstractAuthorizer:
    return GrantBasedAuthorizer()
@Provider(singleton=True)
def assembler() -> AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]:
    return AutoAssembler(Post)

container = DIContainer()
container.provide(uow_provider)
container.provide(authorizer)
container.provide(assembler)
ctx = AuthContext("ann", grants=(ResourceGrant("posts", frozenset(Action)),))
"""


async def test_define_a_domain_model(page):
    module = await page(POST)
    post = module.Post(title="a", body="b")
    assert (post.pk, post.title, post.published) == (None, "a", False)


async def test_wire_a_service_with_di(page):
    for text in (POST, POST_DTOS, POST_SERVICE, CONTAINER):
        await page(text)
    await page("""
        container.register(PostService)
        service = await container.aget(PostService)
        created = await service.create(CreatePostDTO(title="a", body="b"), ctx)
        assert (await service.get(created.pk, ctx)).title == "a"
    """)


async def test_build_and_run_a_query(page):
    module = await page("""
        from varco_core import QueryBuilder, QueryParams
        params = QueryParams(
            node=QueryBuilder().eq("published", True).and_().gt("pk", 10).build(),
            limit=20,
            offset=0,
        )
        # Parse from a query string (e.g. from a URL parameter)
        from varco_core import QueryParser
        built = params
        params = QueryParser().parse('published == true AND pk > 10', limit=20)
        assert params.node == built.node and params.limit == 20
    """)
    assert module.params.offset is None


@pytest.mark.filterwarnings("ignore::varco_auth_jwt.ShortSecretWarning")
async def test_jwt(page):
    module = await page("""
        from varco_core import JwtBuilder, JwtParser
        token = JwtBuilder(secret="s3cr3t").subject("user-42").expires_in(3600).build()
        payload = JwtParser(secret="s3cr3t").parse(token)
    """)
    assert module.token.count(".") == 2
    assert module.payload.sub == "user-42"


async def test_cache_in_memory_with_ttl(page):
    module = await page("""
        from varco_core.cache import InMemoryCache, TTLStrategy
        async with InMemoryCache(strategy=TTLStrategy(default_ttl=300)) as cache:
            await cache.set("user:42", {"name": "Alice"})
            result = await cache.get("user:42") # returns dict; None after 300 s
            await cache.delete("user:42")
            gone = await cache.get("user:42")
    """)
    assert module.result == {"name": "Alice"}
    assert module.gone is None


async def test_cached_on_a_function_and_on_a_method(page):
    await page("""
        from varco_core.cache import CacheBackend, cached, InMemoryCache, LayeredCache, TTLStrategy
        _cache = LayeredCache(
            InMemoryCache(strategy=TTLStrategy(60)),
            InMemoryCache(),
            promote_ttl=60,
        )
        calls = []
        class db:
            @staticmethod
            async def fetch_post(post_id):
                calls.append(post_id)
                return {"id": post_id}
    """)
    await page("""
        @cached(_cache, ttl=300, namespace="posts")
        async def get_post(post_id: int) -> dict:
            return await db.fetch_post(post_id) # only called on a cache miss
        post = await get_post(42) # miss → hits DB → cached
        post = await get_post(42) # hit → served from cache
        assert calls == [42]
        # Evict a specific entry:
        await get_post.invalidate(42)
        await get_post(42)
        assert calls == [42, 42]
        # Evict all entries in this cache:
        await get_post.invalidate_all()
        await get_post(42)
        assert calls == [42, 42, 42]
    """)
    await page("""
        class PostRepository:
            def __init__(self, cache: CacheBackend) -> None:
                self._cache = cache
            @cached(lambda self: self._cache, ttl=120, namespace="posts")
            async def find_by_id(self, post_id: int) -> dict | None:
                return await db.fetch_post(post_id)
        repository = PostRepository(InMemoryCache())
        assert await repository.find_by_id(7) == await repository.find_by_id(7) == {"id": 7}
        assert calls == [42, 42, 42, 7]
    """)


async def test_cache_service_mixin(page):
    for text in (POST, POST_DTOS):
        await page(text)
    await page("""
        from varco_core import IUoWProvider
        from varco_core.assembler import AbstractDTOAssembler
        from varco_core.auth import AbstractAuthorizer
        from varco_core.query import QueryParams
        from varco_core import AsyncService, CacheServiceMixin
        from providify import Inject, Singleton
        @Singleton
        class PostService(
            CacheServiceMixin[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO],
            AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO],
        ):
            _cache_namespace = "post" # unique key prefix
            _cache_ttl = 300 # seconds
            def __init__(
                self,
                uow_provider: Inject[IUoWProvider],
                authorizer: Inject[AbstractAuthorizer],
                assembler: Inject[AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]],
                # No cache parameter — resolved via ClassVar[Inject[CacheBackend]]
            ) -> None:
                super().__init__(uow_provider=uow_provider, authorizer=authorizer, assembler=assembler)
            def _get_repo(self, uow): return uow.posts
    """)
    await page(CONTAINER)
    await page("""
        from varco_core.cache import CacheBackend, InMemoryCache
        memory = InMemoryCache()
        @Provider(singleton=True)
        def cache() -> CacheBackend:
            return memory
        container.provide(cache)
        container.register(PostService)
        post_service = await container.aget(PostService)
        params = QueryParams()
        pk = (await post_service.create(CreatePostDTO(title="a", body="b"), ctx)).pk
        post = await post_service.get(pk, ctx) # look-aside (ReadDTO cached)
        posts = await post_service.list(params, ctx) # cached by params hash
        assert [post] == posts
        await post_service.update(pk, UpdatePostDTO(title="c"), ctx) # evicts get key + list
        assert (await post_service.get(pk, ctx)).title == "c"
        assert [one.title for one in await post_service.list(params, ctx)] == ["c"]
    """)


async def test_composable_invalidation_strategies(page):
    await page("""
        user = {"name": "Alice"}
        from varco_core.cache import (
            InMemoryCache, CompositeStrategy, TTLStrategy, ExplicitStrategy, TaggedStrategy
        )
        strategy = CompositeStrategy(
            TTLStrategy(300), # evict after 5 minutes
            ExplicitStrategy(), # evict on demand
            TaggedStrategy(), # evict by tag
        )
        async with InMemoryCache(strategy=strategy) as cache:
            await cache.set("user:1", user, tags={"users", "tenant:acme"})
            # Evict a single key
            strategy.strategies[1].invalidate("user:1")
            assert await cache.get("user:1") is None
            await cache.set("user:1", user, tags={"users", "tenant:acme"})
            assert await cache.get("user:1") == user
            # Evict everything tagged "tenant:acme"
            strategy.strategies[2].invalidate_tag("tenant:acme")
            assert await cache.get("user:1") is None
    """)


async def test_resilience(page):
    await page("""
        Receipt = Response = User = str
        async def _charge(amount): return "paid"
        class http_client:
            @staticmethod
            async def post(path, json): return "receipt"
        class db:
            @staticmethod
            async def get(model, pk): return "user"
        from varco_core.resilience import circuit_breaker
    """)
    await page("""
        from varco_core.resilience import retry, RetryPolicy, CircuitBreaker, CircuitBreakerConfig, timeout
        # Retry with exponential back-off + jitter
        @retry(RetryPolicy(max_attempts=3, base_delay=0.5, retryable_on=(ConnectionError,)))
        async def call_payment_api(payload: dict) -> Receipt:
            return await http_client.post("/charge", json=payload)
        # Timeout (async only)
        @timeout(10.0)
        async def fetch_user(user_id: int) -> User:
            return await db.get(User, user_id)
        # Circuit breaker — share ONE instance per external dependency
        payment_breaker = CircuitBreaker(
            CircuitBreakerConfig(failure_threshold=5, recovery_timeout=30.0),
            name="payments",
        )
        @payment_breaker.protect
        async def charge(amount: float) -> str:
            return await _charge(amount)
        # Compose all three (bottom-to-top execution order):
        @timeout(10.0)
        @retry(RetryPolicy(max_attempts=3, base_delay=0.5))
        @circuit_breaker(CircuitBreakerConfig(failure_threshold=5))
        async def resilient_call() -> Response: ...
        assert await call_payment_api({}) == "receipt"
        assert await fetch_user(1) == "user"
        assert await charge(1.0) == "paid"
        assert await resilient_call() is None
    """)


async def test_dead_letter_queue(page):
    await page("""
        from providify import Inject, PostConstruct
        from varco_core.event import Event, InMemoryEventBus
        class OrderPlacedEvent(Event):
            __event_type__ = "specification.OrderPlaced"  # other examples have one of this name
            order_id: int
    """)
    await page("""
        from varco_core.event import EventConsumer, listen
        from varco_core.event.dlq import InMemoryDeadLetterQueue, DeadLetterEntry
        from varco_core.resilience import RetryPolicy
        dlq = InMemoryDeadLetterQueue(max_size=10_000) # swap for KafkaDLQ / RedisDLQ in production
        class OrderConsumer(EventConsumer):
            @PostConstruct
            def _setup(self) -> None:
                self.register_to(self._bus)
            @listen(
                OrderPlacedEvent,
                channel="orders",
                retry_policy=RetryPolicy(max_attempts=3, base_delay=0.0),
                dlq=dlq, # routed here after 3 failures
            )
            async def on_order(self, event: OrderPlacedEvent) -> None:
                await self._fulfillment.process(event)
    """)
    module = await page("""
        consumer = OrderConsumer()
        consumer._bus = InMemoryEventBus()
        consumer._setup()
        await consumer._bus.publish(OrderPlacedEvent(order_id=1), channel="orders")
        # Replay or inspect later
        entries: list[DeadLetterEntry] = await dlq.pop_batch(limit=50)
        for entry in entries:
            print(entry.handler_name, entry.error_type, entry.attempts)
            await dlq.ack(entry.entry_id)
        left = await dlq.count()
    """)
    (entry,) = module.entries
    assert (entry.error_type, entry.attempts, module.left) == ("AttributeError", 3, 0)


async def test_transactional_outbox(page):
    await page("""
        from varco_core.event import Event, InMemoryEventBus
        from varco_core.model import DomainModel
        from varco_sa import bootstrap
        class Order(DomainModel):
            item: str
        class OrderPlacedEvent(Event):
            __event_type__ = "specification.OrderPlaced"  # other examples have one of this name
            order_id: int
        backend = await bootstrap("sqlite+aiosqlite://", Order)
        uow = backend.uow_provider.make_uow()
        seen = []
        bus = InMemoryEventBus()
        bus.subscribe(OrderPlacedEvent, seen.append, channel="orders")
    """)
    module = await page("""
        from varco_core.service.outbox import OutboxEntry, OutboxRelay
        # 1. In your service — save event in the same transaction as the entity
        async with uow:
            repo, outbox_repo = uow.orders, uow.outbox
            order = await repo.save(Order(item="book"))
            await outbox_repo.save(OutboxEntry.from_event(
                OrderPlacedEvent(order_id=order.pk), channel="orders"
            ))
        outbox_repo = backend.outbox
        # 2. At app startup — start the relay background task
        relay = OutboxRelay(outbox=outbox_repo, bus=bus, poll_interval=1.0)
        await relay.start()
        # 3. At shutdown
        await relay.stop()
        while await relay.run_once():
            pass
        await backend.aclose()
    """)
    assert [event.order_id for event in module.seen] == [module.order.pk]


async def test_validation(page):
    await page("""
        from dataclasses import dataclass
        from varco_core.model import DomainModel
        from varco_core.validation import DomainModelValidator, CompositeValidator, ValidationResult
        @dataclass(kw_only=True)
        class Order(DomainModel):
            quantity: int
            total: float
        class OrderValidator(DomainModelValidator[Order]):
            def validate(self, value: Order) -> ValidationResult:
                result = ValidationResult.ok()
                result += self._rule(value.quantity <= 0, "quantity must be positive", field="quantity")
                result += self._rule(value.total < 0, "total must be non-negative", field="total")
                return result
    """)
    await page("""
        class AnotherValidator(DomainModelValidator[Order]):
            def validate(self, value: Order) -> ValidationResult:
                return self._rule(value.total > 100, "total is too high", field="total")
        order = Order(quantity=0, total=-1.0)
    """)
    module = await page("""
        # All errors collected before raising — user sees the full list at once
        validator = CompositeValidator(OrderValidator(), AnotherValidator())
        result = validator.validate(order)
        from varco_core.exception import ServiceValidationError
        try:
            result.raise_if_invalid() # raises ServiceValidationError with all errors joined
        except ServiceValidationError as error:
            said = str(error)
    """)
    assert [error.field for error in module.result.errors] == ["quantity", "total"]
    assert "quantity must be positive" in module.said
    assert "total must be non-negative" in module.said


async def test_validation_in_a_service(page):
    await page("""
        from varco_core import AsyncService
        from varco_core.dto import generate_dtos
        from varco_core.model import DomainModel
        class Order(DomainModel):
            quantity: int
        CreateOrderDTO, OrderReadDTO, UpdateOrderDTO = generate_dtos(Order)
        # Inject into a service via ValidatorServiceMixin:
        from varco_core.service.validation import ValidatorServiceMixin
        class OrderService(
            ValidatorServiceMixin[Order, int, CreateOrderDTO, OrderReadDTO, UpdateOrderDTO],
            AsyncService[Order, int, CreateOrderDTO, OrderReadDTO, UpdateOrderDTO],
        ):
            def _get_repo(self, uow): return uow.orders
    """)


async def test_serialization(page):
    await page("""
        from pydantic import BaseModel
        class MyPydanticModel(BaseModel):
            key: str
        from varco_core.serialization import JsonSerializer, NoOpSerializer
        s = JsonSerializer()
        data: bytes = s.serialize({"key": "value"}) # → UTF-8 JSON bytes
        back: dict = s.deserialize(data) # → raw Python dict
        model = s.deserialize(data, type_hint=MyPydanticModel) # → validated model
        assert back == {"key": "value"} and model == MyPydanticModel(key="value")
        # Pass-through for pre-serialized bytes
        noop = NoOpSerializer()
        assert noop.serialize(b"raw") is b"raw"
    """)


@pytest.mark.usefixtures("local_redis")
async def test_cache_in_layers_on_redis(page):
    await page("""
        product_dict = {"name": "book"}
    """)
    module = await page("""
        from varco_core.cache import InMemoryCache, LayeredCache, TTLStrategy
        from varco_redis.cache import RedisCache, RedisCacheSettings
        l1 = InMemoryCache(strategy=TTLStrategy(60))
        l2 = RedisCache(RedisCacheSettings(url="redis://localhost:6379/0"))
        async with LayeredCache(l1, l2, promote_ttl=60) as cache:
            await cache.set("product:1", product_dict, ttl=300)
            l1.drop("product:1")
            # First read fetches from L2 Redis and promotes to L1
            result = await cache.get("product:1")
            promoted = l1.peek("product:1")
            # Subsequent reads are served from L1 (in-process, zero network)
            left = await l2.ttl("product:1")
            await cache.delete("product:1")
            gone = await l2.get("product:1")
    """)
    assert module.result == module.promoted == {"name": "book"}
    assert 290 < module.left <= 300
    assert module.gone is None


@pytest.mark.usefixtures("local_redis")
async def test_cached_on_redis(page):
    await page("""
        from varco_core.cache import CacheBackend
        calls = []
        class db:
            @staticmethod
            async def fetch_post(post_id):
                calls.append(post_id)
                return {"id": post_id}
    """)
    await page("""
        from varco_core.cache import cached, InMemoryCache, LayeredCache, TTLStrategy
        from varco_redis.cache import RedisCache, RedisCacheSettings
        # Declare a module-level cache (started at app startup)
        _cache = LayeredCache(
            InMemoryCache(strategy=TTLStrategy(60)),
            RedisCache(RedisCacheSettings(key_prefix="posts:")),
            promote_ttl=60,
        )
        await _cache.clear()
        @cached(_cache, ttl=300, namespace="posts")
        async def get_post(post_id: int) -> dict:
            return await db.fetch_post(post_id) # only called on a cache miss
        post = await get_post(42) # miss → hits DB → cached
        post = await get_post(42) # hit → served from cache
        assert calls == [42]
        _cache.layers[0].drop_prefix("")
        assert await get_post(42) == {"id": 42}
        assert calls == [42] # from Redis
        # Evict a specific entry:
        await get_post.invalidate(42)
        await get_post(42)
        assert calls == [42, 42]
        # Evict all entries in this cache:
        await get_post.invalidate_all()
        await get_post(42)
        assert calls == [42, 42, 42]
        await _cache.clear()
        await _cache.stop()
    """)


MIXIN_SERVICE = """
        from varco_core import IUoWProvider
        from varco_core.assembler import AbstractDTOAssembler
        from varco_core.auth import AbstractAuthorizer
        from varco_core.query import QueryParams
        from varco_core import AsyncService, CacheServiceMixin
        from providify import Inject, Singleton
        @Singleton
        class PostService(
            CacheServiceMixin[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO],
            AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO],
        ):
            _cache_namespace = "post" # unique key prefix
            _cache_ttl = 300 # seconds
            def __init__(
                self,
                uow_provider: Inject[IUoWProvider],
                authorizer: Inject[AbstractAuthorizer],
                assembler: Inject[AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]],
                # No cache parameter — resolved via ClassVar[Inject[CacheBackend]]
            ) -> None:
                super().__init__(uow_provider=uow_provider, authorizer=authorizer, assembler=assembler)
            def _get_repo(self, uow): return uow.posts
"""


@pytest.mark.usefixtures("local_redis")
async def test_cache_service_mixin_on_redis(page, monkeypatch):
    monkeypatch.setenv("VARCO_REDIS_CACHE_KEY_PREFIX", f"varco-test-mixin-{os.getpid()}:")
    for text in (POST, POST_DTOS, MIXIN_SERVICE, CONTAINER):
        await page(text)
    await page("""
        # Register the cache backend once — all CacheServiceMixin subclasses share it:
        from varco_redis.cache import RedisCacheConfiguration
        container.register(PostService)
        await container.ainstall(RedisCacheConfiguration) # binds CacheBackend
        post_service = await container.aget(PostService)
        params = QueryParams()
        created = await post_service.create(CreatePostDTO(title="a", body="b"), ctx)
        # Usage is identical to a plain PostService — caching is transparent:
        post = await post_service.get(created.pk, ctx) # look-aside (ReadDTO cached)
        posts = await post_service.list(params, ctx) # cached by params hash
        assert [post] == posts == await post_service.list(params, ctx)
        await post_service.update(created.pk, UpdatePostDTO(title="c"), ctx) # evicts get key + list
        assert (await post_service.get(created.pk, ctx)).title == "c"
        assert [one.title for one in await post_service.list(params, ctx)] == ["c"]
        from varco_core.cache import CacheBackend
        cache = await container.aget(CacheBackend)
        stats = cache.stats()
        await cache.stop()
    """)
    stats = sys.modules["specification_page"].stats
    assert stats.hits >= 1
    assert stats.errors == 0


@pytest.mark.usefixtures("local_redis")
async def test_invalidation_across_processes_on_redis(page):
    for text in (POST, POST_DTOS, POST_SERVICE, CONTAINER):
        await page(text)
    await page("""
        from varco_core import CacheServiceMixin
        import asyncio
        from varco_core.assembler import AutoAssembler
        from varco_core.auth.helpers import GrantBasedAuthorizer
        parts = (storage, GrantBasedAuthorizer(), AutoAssembler(Post))
        dto = UpdatePostDTO(title="new")
    """)
    await page("""
        from varco_core.cache import InMemoryCache, LayeredCache, TTLStrategy
        from varco_redis.cache import RedisCache, RedisCacheSettings
        from varco_redis import RedisEventBus, RedisEventBusSettings
        bus_settings = RedisEventBusSettings(url="redis://localhost:6379/0")
        cache_settings = RedisCacheSettings(url="redis://localhost:6379/0")
        async with (
            RedisEventBus(bus_settings) as bus,
            LayeredCache(
                InMemoryCache(strategy=TTLStrategy(60)),
                RedisCache(cache_settings),
                promote_ttl=60,
            ) as cache,
            # Another process:
            RedisEventBus(bus_settings) as other_bus,
            LayeredCache(
                InMemoryCache(strategy=TTLStrategy(60)),
                RedisCache(cache_settings),
                promote_ttl=60,
            ) as other_cache,
        ):
            class PostService(CacheServiceMixin, AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO]):
                _cache_namespace = "post"
                _cache_bus_channel = "posts.cache.invalidations"
                def __init__(self, *parts, cache, bus):
                    super().__init__(*parts)
                    self._cache = cache
                    self._cache_bus = bus # publishes CacheInvalidated on every mutation
            await cache.clear()
            post_service = PostService(*parts, cache=cache, bus=bus)
            other = PostService(*parts, cache=other_cache, bus=other_bus)
            pk = (await post_service.create(CreatePostDTO(title="a", body="b"), ctx)).pk
            assert (await other.get(pk, ctx)).title == (await post_service.get(pk, ctx)).title == "a"
            # All instances sharing this bus evict their L1 caches automatically.
            await post_service.update(pk, dto, ctx)
            for _ in range(500):
                if (await other.get(pk, ctx)).title == "new":
                    break
                await asyncio.sleep(0.02)
            assert (await other.get(pk, ctx)).title == "new"
            await cache.clear()
    """)
