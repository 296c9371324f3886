import gc
import weakref
from collections import Counter
from typing import Annotated, ClassVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from providify import DIContainer, InjectMeta, LiveMeta, Provider, Singleton

from varco_cache import (
    INVALIDATION_CHANNEL,
    CacheBackend,
    CacheConfigError,
    CachedService,
    CacheInvalidated,
    CacheServiceMixin,
    CacheUsageError,
    EventDrivenStrategy,
    InMemoryCache,
    LayeredCache,
)
from varco_domain import (
    AbstractAuthorizer,
    AsyncService,
    AuthContext,
    CreateDTO,
    ForeignKey,
    InMemoryRepositoryProvider,
    IUoWProvider,
    ReadDTO,
    ServiceNotFoundError,
    SoftDeleteDomainModel,
    SoftDeleteService,
    TenantAwareService,
    TenantSoftDeleteVersionedDomainModel,
    UpdateDTO,
    generate_dtos,
    tenant_context,
)
from varco_domain.auth import ANONYMOUS
from varco_domain.model import DomainModel
from varco_events import AbstractEventProducer, InMemoryEventBus
from varco_query import ComparisonNode, Operation, QueryParams

pytestmark = pytest.mark.anyio


class Note(DomainModel):
    title: str
    owner_id: str | None = None


Dto = generate_dtos(Note)


class TenantNote(TenantSoftDeleteVersionedDomainModel):
    title: str


TenantDto = generate_dtos(TenantNote)


class Counting(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
    reads: ClassVar[Counter] = Counter()


class NoteService(
    CacheServiceMixin[Note, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO],
):
    _cache_namespace = "note"
    _cache_ttl = 300


class Open(AbstractAuthorizer):
    def compile(self, ctx, action, entity_cls):
        from varco_query import AndNode

        return AndNode()

    async def authorize(self, ctx, action, resource):
        pass


class Owned(Open):
    """Everybody sees what is theirs."""

    def compile(self, ctx, action, entity_cls):
        return ComparisonNode("owner_id", Operation.EQUAL, ctx.user_id)


class CountingProvider(InMemoryRepositoryProvider):
    uows = 0

    def make_uow(self):
        self.uows += 1
        return super().make_uow()


def make(cls=NoteService, authorizer=None, cache=None, bus=None, provider=None, model=Note):
    if provider is None:
        provider = CountingProvider()
        provider.register(model)
    cache = InMemoryCache() if cache is None else cache
    return cls(provider, authorizer or Open(), cache=cache, bus=bus), provider


def new(**values):
    return Dto.create.model_validate(values)


async def test_reads_are_remembered_and_writes_forget():
    service, provider = make()
    one = await service.create(new(title="a"))
    provider.uows = 0
    assert (await service.get(one.pk)).title == "a"
    assert (await service.get(one.pk)).title == "a"
    assert len(await service.list()) == 1
    assert len(await service.list()) == 1
    assert provider.uows == 2
    await service.update(one.pk, Dto.update(title="b"))
    assert (await service.get(one.pk)).title == "b"
    assert [note.title for note in await service.list()] == ["b"]
    await service.create_many([new(title="c"), new(title="d")])
    assert len(await service.list()) == 3
    await service.delete(one.pk)
    assert len(await service.list()) == 2
    with pytest.raises(ServiceNotFoundError):
        await service.get(one.pk)


async def test_an_answer_is_the_callers_own():
    service, _ = make()
    one = await service.create(new(title="a"))
    (await service.get(one.pk)).title = "changed"
    (await service.list()).clear()
    assert (await service.get(one.pk)).title == "a"
    assert len(await service.list()) == 1


async def test_all_arguments_are_part_of_the_key():
    service, _ = make()
    await service.create_many([new(title=f"t{n}") for n in range(5)])
    node = ComparisonNode("title", Operation.EQUAL, "t1")
    for _ in range(2):
        assert len(await service.list(QueryParams(node))) == 1
        assert len(await service.list(QueryParams(limit=2))) == 2
        assert len(await service.list(QueryParams(limit=2, offset=4))) == 1
        assert len(await service.list()) == 5


async def test_rights_are_part_of_the_key():
    service, _ = make(authorizer=Owned())
    ann, bob = AuthContext("ann"), AuthContext("bob")
    one = await service.create(new(title="a", owner_id="ann"), ann)
    assert (await service.get(one.pk, ann)).title == "a"
    with pytest.raises(ServiceNotFoundError):
        await service.get(one.pk, bob)
    assert len(await service.list(ctx=ann)) == 1
    assert await service.list(ctx=bob) == []


async def test_an_authorizer_that_is_asked_about_rows_is_asked_every_time():
    class RowByRow(AbstractAuthorizer):
        banned = False

        async def authorize(self, ctx, action, resource):
            if self.banned:
                from varco_domain import ServiceAuthorizationError

                raise ServiceAuthorizationError(action, Note)

    authorizer = RowByRow()
    service, _ = make(authorizer=authorizer)
    one = await service.create(new(title="a"))
    await service.get(one.pk)
    authorizer.banned = True
    with pytest.raises(ServiceNotFoundError):
        await service.get(one.pk)
    assert await service.list() == []


class TenantService(
    CacheServiceMixin[TenantNote, int, CreateDTO, ReadDTO, UpdateDTO],
    TenantAwareService[TenantNote, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[TenantNote, int, CreateDTO, ReadDTO, UpdateDTO],
):
    pass


async def test_tenants_are_apart_and_none_is_an_error():
    service, _ = make(TenantService, model=TenantNote)
    with tenant_context("acme"):
        one = await service.create(TenantDto.create.model_validate({"title": "a"}))
        assert (await service.get(one.pk)).title == "a"
        assert len(await service.list()) == 1
    with tenant_context("other"):
        assert await service.list() == []
        with pytest.raises(ServiceNotFoundError):
            await service.get(one.pk)
    with pytest.raises(Exception, match="tenant"):
        await service.get(one.pk)
    with tenant_context("acme"):
        await service.delete(one.pk)
        assert await service.list() == []
        await service.restore(one.pk)
        assert len(await service.list()) == 1


async def test_a_slow_read_that_began_before_a_write_stores_nothing_old():
    service, _provider = make()
    one = await service.create(new(title="old"))
    begun, go = anyio.Event(), anyio.Event()
    find = service._find

    async def slow_find(*args, **kwargs):
        entity = await find(*args, **kwargs)
        begun.set()
        await go.wait()
        return entity

    service._find = slow_find
    results = []

    async def read():
        results.append((await service.get(one.pk)).title)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await begun.wait()
        service._find = find
        await service.update(one.pk, Dto.update(title="new"))
        assert (await service.get(one.pk)).title == "new"
        go.set()
    assert results == ["old"]
    assert (await service.get(one.pk)).title == "new"


async def test_cached_service_wraps_and_hears_of_direct_writes():
    provider = CountingProvider()
    provider.register(Note)

    class Plain(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    plain = Plain(provider, Open())
    service = CachedService(plain, InMemoryCache(), namespace="notes")
    one = await service.create(new(title="a"))
    provider.uows = 0
    assert [(await service.get(one.pk)).title for _ in range(3)] == ["a"] * 3
    assert provider.uows == 1
    await plain.update(one.pk, Dto.update(title="b"))
    assert (await service.get(one.pk)).title == "b"
    assert await service.count() == 1
    with pytest.raises(CacheUsageError, match="wraps an AsyncService"):
        CachedService(object(), InMemoryCache(), namespace="x")


@pytest.mark.parametrize("wrapped", [False, True])
async def test_what_goes_with_a_row_of_another_model_is_forgotten(wrapped):
    class Board(SoftDeleteDomainModel):
        name: str

    class Card(SoftDeleteDomainModel):
        board: Annotated[int, ForeignKey(Board, on_delete="CASCADE")]

    class Boards(SoftDeleteService, AsyncService[Board]):
        pass

    class Cards(SoftDeleteService, AsyncService[Card]):
        pass

    class RememberedCards(CacheServiceMixin, Cards):
        pass

    provider = InMemoryRepositoryProvider(Board, Card)
    async with provider.make_uow() as uow:
        board = await uow.boards.save(Board(name="b"))
        card = await uow.cards.save(Card(board=board.pk))
    boards = Boards(provider, Open())
    cards = (
        CachedService(Cards(provider, Open()), InMemoryCache(), namespace="cards")
        if wrapped
        else RememberedCards(provider, Open(), cache=InMemoryCache())
    )
    assert (await cards.get(card.pk)).pk == card.pk
    assert len(await cards.list()) == 1
    await boards.delete(board.pk)
    with pytest.raises(ServiceNotFoundError):
        await cards.get(card.pk)
    assert await cards.list() == []
    await boards.restore(board.pk)
    assert (await cards.get(card.pk)).pk == card.pk
    await boards.purge(board.pk)
    with pytest.raises(ServiceNotFoundError):
        await cards.get(card.pk)


def test_a_ttl_that_is_no_number_of_seconds_is_refused_when_a_service_is_made(no_span):
    class Wrong(NoteService):
        _cache_ttl = no_span

    class Plain(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    provider = CountingProvider()
    provider.register(Note)
    with pytest.raises(CacheConfigError, match="_cache_ttl="):
        make(Wrong)
    with pytest.raises(CacheConfigError, match="_ttl="):
        CachedService(Plain(provider, Open()), InMemoryCache(), namespace="x", default_ttl=no_span)


async def test_a_service_without_a_cache_says_so():
    provider = CountingProvider()
    provider.register(Note)
    with pytest.raises(CacheConfigError, match="pass cache="):
        NoteService(provider, Open())
    service, _ = make(provider=provider)
    service._cache = None
    with pytest.raises(CacheConfigError, match="pass cache="):
        await service.create(new(title="a"))
    with pytest.raises(CacheConfigError, match="pass cache="):
        await service.get(1)
    async with provider.make_uow() as uow:
        assert await uow.repository(Note).find_all() == []

    class OnTheClass(NoteService):
        _cache = InMemoryCache()

    assert await OnTheClass(provider, Open()).list() == []


@pytest.mark.parametrize("layered", [False, True])
async def test_a_cache_that_can_do_the_least_serves_a_service(least_of_any_kind, layered):
    cache = least_of_any_kind()
    service, provider = make(cache=LayeredCache(InMemoryCache(), cache) if layered else cache)
    one = await service.create(new(title="a"))
    provider.uows = 0
    for _ in range(2):
        assert (await service.get(one.pk)).title == "a"
        assert len(await service.list()) == 1
    assert provider.uows == 2
    await service.update(one.pk, Dto.update(title="b"))
    assert (await service.get(one.pk)).title == "b"
    assert [note.title for note in await service.list()] == ["b"]


async def test_pages_are_remembered_with_the_query_of_their_links():
    service, provider = make()
    wrapping = CachedService(service, InMemoryCache(), namespace="pages")
    await service.create_many([new(title=f"t{n}") for n in range(3)])
    for one in (service, wrapping):
        provider.uows = 0
        for _ in range(2):
            page = await one.paged_list(QueryParams(limit=2), total=True)
            assert (page.count, page.total_count) == (2, 3)
        again = await one.paged_list(QueryParams(limit=2, cursor=page.next.cursor))
        assert again.count == 1
        await one.paged_list(QueryParams(limit=2), raw_query="limit=2")
        await one.paged_list(QueryParams(limit=2))
        assert provider.uows == (4 if one is service else 0)
    await service.create(new(title="t3"))
    assert (await wrapping.paged_list(QueryParams(limit=2), total=True)).total_count == 4
    assert (await service.paged_list(QueryParams(limit=2), total=True)).total_count == 4


async def test_the_container_injects_the_cache_with_qualifier_and_live():
    plain, layered = InMemoryCache(), LayeredCache(InMemoryCache())

    @Provider(singleton=True)
    def default() -> CacheBackend:
        return plain

    @Provider(singleton=True, qualifier="layered")
    def other() -> CacheBackend:
        return layered

    provider = CountingProvider()
    provider.register(Note)

    @Provider(singleton=True)
    def uows() -> IUoWProvider:
        return provider

    @Provider(singleton=True)
    def authorizer() -> AbstractAuthorizer:
        return Open()

    @Singleton
    class First(NoteService):
        pass

    @Singleton
    class Second(NoteService):
        _cache: ClassVar[Annotated[CacheBackend, InjectMeta(qualifier="layered")]]

    @Singleton
    class Third(NoteService):
        _cache: ClassVar[Annotated[CacheBackend, LiveMeta(qualifier="layered")]]

    container = DIContainer()
    for one in (uows, authorizer, default, other):
        container.provide(one)
    for one in (First, Second, Third):
        container.register(one)
    for cls, cache in ((First, plain), (Second, layered), (Third, layered)):
        service = await container.aget(cls)
        assert (await service._remembering()).cache is cache
        assert await service.list() == []


async def test_other_processes_forget_over_the_bus():
    async with InMemoryEventBus() as bus:
        far = InMemoryCache()
        one, provider = make(cache=LayeredCache(InMemoryCache(), far), bus=bus)
        two, _ = make(cache=LayeredCache(InMemoryCache(), far), bus=bus, provider=provider)
        note = await one.create(new(title="a"))
        assert (await two.get(note.pk)).title == "a"
        assert len(await two.list()) == 1
        await one.update(note.pk, Dto.update(title="b"))
        assert (await two.get(note.pk)).title == "b"
        assert (await two.list())[0].title == "b"


async def test_a_bus_that_is_down_does_not_fail_a_write():
    class Down(InMemoryEventBus):
        async def publish(self, event, *, channel="default"):
            raise ConnectionError

    service, _ = make(bus=Down())
    assert (await service.create(new(title="a"))).title == "a"


async def test_an_event_driven_strategy_forgets_keys_and_tags():
    strategy = EventDrivenStrategy(channel="c")
    async with InMemoryEventBus() as bus:
        cache = InMemoryCache(strategy=strategy)
        strategy.consumer.register_to(bus)
        await cache.set_many({"a": 1, "b": 2, "c": 3})
        await cache.set("d", 4, tags={"t"})
        handled = await bus.publish(CacheInvalidated(keys=["a"], tags=["t"]), channel="c")
        if handled is not None:
            await handled
        handled = await bus.publish(CacheInvalidated(keys=["b"]), channel="elsewhere")
        if handled is not None:
            await handled
        assert await cache.get_many("abcd") == {"b": 2, "c": 3}


async def test_a_late_or_lost_message_leaves_copies_and_brings_back_nothing(clock):
    """What the README says of messages: here they wait until they are let through."""
    waiting = []

    class Late(InMemoryEventBus):
        async def publish(self, event, *, channel="default"):
            waiting.append((event, channel))

    def process():
        near, shared = InMemoryCache(clock=clock), far
        return LayeredCache(near, shared, promote_ttl=30, clock=clock)

    async with Late() as bus:
        far = InMemoryCache(clock=clock)
        one, provider = make(cache=process(), bus=bus)
        two, _ = make(cache=process(), bus=bus, provider=provider)
        note = await one.create(new(title="a"))
        assert (await two.get(note.pk)).title == "a"
        await one.update(note.pk, Dto.update(title="b"))
        waiting.clear()  # lost
        assert (await two.get(note.pk)).title == "a"
        clock.advance(31)  # to the end of promote_ttl, and not of the entry
        assert (await two.get(note.pk)).title == "b"
        await one.update(note.pk, Dto.update(title="c"))
        assert (await one.get(note.pk)).title == "c"
        assert (await two.get(note.pk)).title == "b"
        while waiting:  # late, and it comes twice
            event, channel = waiting.pop()
            for _ in range(2):
                await InMemoryEventBus.publish(bus, event, channel=channel)
        assert (await two.get(note.pk)).title == "c"
        assert (await one.get(note.pk)).title == "c"


async def test_a_cache_follows_a_bus_once_and_is_not_kept_alive_by_it():
    async with InMemoryEventBus() as bus:
        provider = CountingProvider()
        provider.register(Note)

        class Plain(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
            pass

        class Counted(InMemoryCache):
            told = 0

            async def invalidate_near(self, keys=(), tags=()):
                self.told += 1
                await super().invalidate_near(keys, tags)

        cache, plain = Counted(), Plain(provider, Open())
        for _ in range(3):
            CachedService(plain, cache, namespace="notes", bus=bus)
        event = CacheInvalidated(tags=["t"])
        await bus.publish(event, channel=INVALIDATION_CHANNEL)
        assert cache.told == 1
        gone = weakref.ref(cache)
        del cache, plain
        gc.collect()
        assert gone() is None
        await bus.publish(event, channel=INVALIDATION_CHANNEL)


async def test_a_read_of_ones_own_making_is_remembered_for_each_caller():
    """It may show one caller more than another, and a hit does not run it."""

    class Masking(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
        async def get(self, pk, ctx=ANONYMOUS):
            dto = await super().get(pk, ctx)
            return dto if ctx.has_role("admin") else dto.model_copy(update={"title": "***"})

        async def list(self, params=QueryParams(), ctx=ANONYMOUS):  # noqa: B008
            rows = await super().list(params, ctx)
            return [await self.get(row.pk, ctx) for row in rows]

    class Cached(CacheServiceMixin[Note, int, CreateDTO, ReadDTO, UpdateDTO], Masking):
        pass

    admin, guest = AuthContext("ann", roles={"admin"}), AuthContext("bob")
    mixed_in, provider = make(Cached)
    wrapping = CachedService(Masking(provider, Open()), InMemoryCache(), namespace="n")
    note = await mixed_in.create(new(title="secret"), admin)
    for service in (mixed_in, wrapping):
        for _ in range(2):
            assert (await service.get(note.pk, admin)).title == "secret"
            assert (await service.get(note.pk, guest)).title == "***"
            assert [row.title for row in await service.list(ctx=admin)] == ["secret"]
            assert [row.title for row in await service.list(ctx=guest)] == ["***"]
    provider.uows = 0
    await mixed_in.get(note.pk, guest)
    await mixed_in.get(note.pk, AuthContext("bob"))
    assert provider.uows == 0
    await mixed_in.get(note.pk, AuthContext("eve"))
    assert provider.uows == 1


async def test_a_read_of_ones_own_on_top_is_run_on_a_hit_and_the_answer_is_shared():
    class Checked(NoteService):
        async def get(self, pk, ctx=ANONYMOUS):
            if ctx.is_anonymous():
                raise ServiceNotFoundError(pk, Note)
            return await super().get(pk, ctx)

    service, provider = make(Checked)
    note = await service.create(new(title="a"))
    provider.uows = 0
    await service.get(note.pk, AuthContext("ann"))
    await service.get(note.pk, AuthContext("bob"))
    assert provider.uows == 1
    with pytest.raises(ServiceNotFoundError):
        await service.get(note.pk)


async def test_cached_service_takes_what_the_specification_names():
    class Keeping(AbstractEventProducer):
        def __init__(self):
            self.events = []

        async def produce(self, event, *, channel="default"):
            self.events.append((event, channel))

    class Plain(AsyncService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    provider, producer = CountingProvider(), Keeping()
    provider.register(Note)
    plain = Plain(provider, Open())
    service = CachedService(
        plain,
        InMemoryCache(),
        namespace="notes",
        entity_type=Note,
        default_ttl=60,
        producer=producer,
        bus_channel="c",
    )
    note = await service.create(new(title="a"))
    assert await service.exists(note.pk)
    ((event, channel),) = producer.events
    assert (event.namespace, event.operation, channel) == ("notes", "created", "c")
    assert event.tags
    with pytest.raises(CacheConfigError, match="serves Note"):
        CachedService(plain, InMemoryCache(), namespace="notes", entity_type=TenantNote)


step = st.tuples(
    st.sampled_from(["get", "list", "create", "update", "delete"]),
    st.sampled_from(["ann", "bob"]),
    st.integers(1, 4),
)


@given(st.lists(step, max_size=30))
def test_two_users_never_see_each_others_rows(steps):
    async def check():
        cached, provider = make(authorizer=Owned())
        plain = AsyncService.__class_getitem__((Note, int, CreateDTO, ReadDTO, UpdateDTO))

        class Plain(plain):
            pass

        truth = Plain(provider, Owned())
        for action, user, number in steps:
            ctx = AuthContext(user)
            try:
                if action == "get":
                    dto = await cached.get(number, ctx)
                    assert dto.owner_id == user
                    assert dto == await truth.get(number, ctx)
                elif action == "list":
                    rows = await cached.list(ctx=ctx)
                    assert {row.owner_id for row in rows} <= {user}
                    assert rows == await truth.list(ctx=ctx)
                elif action == "create":
                    await cached.create(new(title=str(number), owner_id=user), ctx)
                elif action == "update":
                    await cached.update(number, Dto.update(title=f"{user}{number}"), ctx)
                else:
                    await cached.delete(number, ctx)
            except ServiceNotFoundError:
                if action == "get":
                    with pytest.raises(ServiceNotFoundError):
                        await truth.get(number, ctx)

    anyio.run(check)
