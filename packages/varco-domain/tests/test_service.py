from collections import Counter
from contextlib import aclosing
from datetime import date
from typing import Annotated, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_domain import (
    AbstractAuthorizer,
    Action,
    AfterCommitError,
    AllOf,
    AnyOf,
    AsyncService,
    AuthContext,
    BaseAuthorizer,
    CreateDTO,
    DomainModel,
    EntityChange,
    FieldHint,
    GrantBasedAuthorizer,
    InMemoryRepository,
    InMemoryRepositoryProvider,
    InMemoryUnitOfWork,
    ModelDefinitionError,
    OwnershipAuthorizer,
    PrimaryKey,
    ReadDTO,
    Resource,
    ResourceGrant,
    RoleBasedAuthorizer,
    ServiceAuthorizationError,
    ServiceConflictError,
    ServiceNotFoundError,
    ServiceValidationError,
    SoftDeleteService,
    StaleEntityError,
    TenantAwareService,
    TenantSoftDeleteVersionedDomainModel,
    UpdateDTO,
    generate_dtos,
    pk_field,
    problem_for,
    tenant_context,
)
from varco_query import (
    ComparisonNode,
    CursorError,
    Operation,
    QueryError,
    QueryParams,
    SortField,
    SortOrder,
)


class Note(TenantSoftDeleteVersionedDomainModel):
    title: Annotated[str, FieldHint(max_length=50)]
    owner_id: str | None = None
    rank: int | None = None
    weight: float = 0.0


Dto = generate_dtos(Note)


class NoteService(
    TenantAwareService[Note, int, CreateDTO, ReadDTO, UpdateDTO],
    SoftDeleteService[Note, int, CreateDTO, ReadDTO, UpdateDTO],
):
    pass


ADMIN = AuthContext("admin", grants=(ResourceGrant("notes", frozenset(Action)),))


class RowByRow(AbstractAuthorizer):
    def __init__(self, inner: AbstractAuthorizer) -> None:
        self.inner = inner

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        await self.inner.authorize(ctx, action, resource)


def new(title: str = "t", **values: Any) -> Any:
    return Dto.create.model_validate({"title": title, **values})


@pytest.fixture
def provider() -> InMemoryRepositoryProvider:
    return InMemoryRepositoryProvider(Note)


@pytest.fixture
def service(provider) -> NoteService:
    return NoteService(provider, AnyOf(GrantBasedAuthorizer(), OwnershipAuthorizer()))


user_ids = st.sampled_from([None, "u", "v", "None", "1"])
resources = st.sampled_from(
    ["notes", "notes:1", "notes:2", "notes:01", "notes:x", "other", "other:1"]
)
grants = st.builds(ResourceGrant, resources, st.frozensets(st.sampled_from(Action), max_size=3))
contexts = st.builds(
    AuthContext,
    user_id=user_ids,
    roles=st.frozensets(st.sampled_from(["r", "s"])),
    grants=st.lists(grants, max_size=3).map(tuple),
)
roles = st.dictionaries(
    st.sampled_from(["r", "s"]), st.frozensets(st.sampled_from(Action)), max_size=2
)
simple = st.one_of(
    st.just(GrantBasedAuthorizer()),
    st.just(OwnershipAuthorizer()),
    st.just(OwnershipAuthorizer("no_such_field")),
    st.just(OwnershipAuthorizer("rank")),
    st.builds(RoleBasedAuthorizer, roles),
    st.just(BaseAuthorizer()),
)
policies = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: AnyOf(*parts)),
        st.lists(inner, max_size=3).map(lambda parts: AllOf(*parts)),
        inner.map(RowByRow),
    ),
    max_leaves=4,
)
rows = st.lists(
    st.tuples(st.sampled_from([None, "u", "v", "None", ""]), st.sampled_from([None, 1, 2])),
    max_size=5,
)


@given(policy=policies, ctx=contexts, content=rows, limit=st.integers(0, 6), skip=st.integers(0, 2))
def test_list_is_what_authorize_permits(policy, ctx, content, limit, skip):
    async def check() -> None:
        provider = InMemoryRepositoryProvider(Note)
        admin = NoteService(provider, GrantBasedAuthorizer())
        service = NoteService(provider, policy)
        with tenant_context("a"):
            await admin.create_many([new(owner_id=o, rank=r) for o, r in content], ADMIN)
            expected = []
            for note in await provider.get_repository(Note).find_all():
                try:
                    await policy.authorize(ctx, Action.READ, Resource(Note, note))
                except ServiceAuthorizationError:
                    continue
                expected.append(note.pk)
            query = QueryParams(limit=limit, offset=skip)
            window = expected[skip : skip + limit]
            assert [n.pk for n in await service.list(query, ctx)] == window
            assert [n.pk async for n in service.stream(query, ctx)] == window
            assert await service.count(query, ctx) == len(expected)
            assert (await service.paged_list(query, ctx)).total_count == len(expected)
            assert [n.pk for n in (await service.paged_list(ctx=ctx)).results] == expected
            for pk in range(1, len(content) + 1):
                assert await service.exists(pk, ctx) == (pk in expected)

    anyio.run(check)


def test_grants_on_rows_whose_keys_cannot_be_read_back():
    class Day(DomainModel):
        pk: Annotated[date, PrimaryKey()] = pk_field(init=True)

    class Cell(DomainModel):
        row: Annotated[str, PrimaryKey()]
        number: Annotated[int, PrimaryKey()]

    class DayService(AsyncService[Day, date, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    class CellService(AsyncService[Cell, Any, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    async def check() -> None:
        keys = ("days:2024-01-02", "cells:a%3Ab:1", "cells:a:2", "cells:a:x", "cells:a:1:1")
        user = AuthContext("u", grants=[ResourceGrant(k, frozenset({Action.READ})) for k in keys])
        provider = InMemoryRepositoryProvider(Day, Cell)
        days = [Day(pk=date(2024, 1, day)) for day in (1, 2, 3)]
        await provider.get_repository(Day).save_many(days)
        cells = [Cell(row=r, number=n) for r, n in (("a:b", 1), ("a", 1), ("a", 2), ("a:1", 1))]
        await provider.get_repository(Cell).save_many(cells)
        day_service = DayService(provider, GrantBasedAuthorizer())
        assert [d.pk for d in await day_service.list(ctx=user)] == [date(2024, 1, 2)]
        cell_service = CellService(provider, GrantBasedAuthorizer())
        found = [c.pk for c in await cell_service.list(ctx=user)]
        assert found == [("a", 2), ("a:b", 1)]
        assert [await cell_service.exists(c.pk, user) for c in cells] == [True, False, True, False]
        many = await cell_service.delete_many([], user)
        assert many is None
        with pytest.raises(ServiceNotFoundError):
            await cell_service.delete_many([("a", 1), 3], user)

    anyio.run(check)


def test_a_stricter_subclass_is_not_bypassed_by_the_inherited_condition():
    class Strict(GrantBasedAuthorizer):
        def decide(self, ctx, action, resource):
            return super().decide(ctx, action, resource) and False

    assert Strict().compile(ADMIN, Action.READ, Note) is None


class Trip:
    """Cancels a scope at the n-th point."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.scope = anyio.CancelScope()
        self.open = 0

    async def point(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()


def tripping(provider: InMemoryRepositoryProvider, trip: Trip) -> Any:  # noqa: C901 - one wrapper
    class Repository(InMemoryRepository):
        async def find_by_id(self, pk, *, where=None):
            await trip.point()
            found = await super().find_by_id(pk, where=where)
            await trip.point()
            return found

        async def find_by_query(self, params):
            await trip.point()
            found = await super().find_by_query(params)
            await trip.point()
            return found

        async def save(self, entity):
            await trip.point()
            saved = await super().save(entity)
            await trip.point()
            return saved

        async def save_many(self, entities):
            await trip.point()
            saved = await super().save_many(entities)
            await trip.point()
            return saved

        async def delete(self, entity):
            await trip.point()
            await super().delete(entity)
            await trip.point()

        async def stream_by_query(self, params):
            async with aclosing(super().stream_by_query(params)) as stream:
                async for entity in stream:
                    await trip.point()
                    yield entity

    class UnitOfWork(InMemoryUnitOfWork):
        async def _begin(self):
            await trip.point()
            trip.open += 1

        def _make_repository(self, entity_cls):
            return Repository(self._store.table(entity_cls), self._changes, self._clock)

        async def commit(self):
            await trip.point()
            await super().commit()

        async def rollback(self):
            await anyio.lowlevel.checkpoint()
            await super().rollback()

        async def _close(self):
            await anyio.lowlevel.checkpoint()
            trip.open -= 1

    class Provider(InMemoryRepositoryProvider):
        def make_uow(self):
            return UnitOfWork(provider._store, provider._models, provider._clock)

    return Provider()


OPERATIONS = {
    "get": lambda s: s.get(1, ADMIN),
    "exists": lambda s: s.exists(1, ADMIN),
    "list": lambda s: s.list(QueryParams(), ADMIN),
    "count": lambda s: s.count(QueryParams(), ADMIN),
    "paged_list": lambda s: s.paged_list(QueryParams(), ADMIN),
    "stream": lambda s: _drain(s.stream(QueryParams(), ADMIN)),
    "create": lambda s: s.create(new(), ADMIN),
    "create_many": lambda s: s.create_many([new(), new()], ADMIN),
    "update": lambda s: s.update(1, Dto.update(title="u"), ADMIN),
    "update_many": lambda s: s.update_many(
        [(1, Dto.update(title="u")), (2, Dto.update(title="u"))], ADMIN
    ),
    "delete": lambda s: s.delete(1, ADMIN),
    "delete_many": lambda s: s.delete_many([1, 2], ADMIN),
    "restore": lambda s: s.restore(3, ADMIN),
    "purge": lambda s: s.purge(1, ADMIN),
}


async def _drain(stream: Any) -> None:
    async with aclosing(stream):
        async for _ in stream:
            pass


def observed(trip: Trip, announced: list[Any]) -> type[NoteService]:
    class Observed(NoteService):
        async def _after_write(self, uow, ctx, changes):
            await trip.point()
            await super()._after_write(uow, ctx, changes)
            await trip.point()

        async def _after_commit(self, ctx, changes):
            await anyio.lowlevel.checkpoint()
            announced.extend(changes)
            await super()._after_commit(ctx, changes)

    return Observed


@pytest.mark.anyio
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancellation_at_each_await(operation: str, by_row: bool):
    for at in range(1, 60):
        provider = InMemoryRepositoryProvider(Note)
        trip = Trip(at)
        announced: list[Any] = []

        plain = NoteService(provider, GrantBasedAuthorizer())
        policy: AbstractAuthorizer = GrantBasedAuthorizer()
        cls = observed(trip, announced)
        service = cls(tripping(provider, trip), RowByRow(policy) if by_row else policy)
        with tenant_context("a"):
            await plain.create_many([new(), new(), new()], ADMIN)
            await plain.delete(3, ADMIN)
            before = state(provider)
            with trip.scope:
                await OPERATIONS[operation](service)
            assert trip.open == 0
            after = state(provider)
            if trip.scope.cancelled_caught:
                assert after == before or announced, "half done"
                assert bool(announced) == (after != before)
            else:
                assert bool(announced) == (after != before)
        if trip.left > 0:
            return
    raise AssertionError("too many awaits")


def state(provider: InMemoryRepositoryProvider) -> Any:
    rows = provider._store.table(Note).rows.values()
    return [(r["pk"], r["title"], r["version"], r["deleted_at"] is None) for r in rows]


@pytest.mark.anyio
async def test_a_stream_left_early_closes_its_unit_of_work(provider):
    trip = Trip(10**6)
    service = NoteService(tripping(provider, trip), GrantBasedAuthorizer())
    with tenant_context("a"):
        await service.create_many([new(), new()], ADMIN)
        async with aclosing(service.stream(ctx=ADMIN)) as stream:
            async for _ in stream:
                assert trip.open == 1
                break
    assert trip.open == 0


@pytest.mark.anyio
async def test_a_stream_belongs_to_the_tenant_that_asked(service):
    with tenant_context("a"):
        await service.create(new("a's"), ADMIN)
        stream = service.stream(ctx=ADMIN)
    with tenant_context("b"):
        await service.create(new("b's"), ADMIN)
        assert [note.title async for note in stream] == ["a's"]


@pytest.mark.anyio
async def test_fifty_writers_lose_nothing(provider):
    service = NoteService(tripping(provider, Trip(10**6)), GrantBasedAuthorizer())

    async def write() -> None:
        with tenant_context("a"):
            while True:
                note: Any = await service.get(1, ADMIN)
                change = Dto.update(rank=note.rank + 1, expected_version=note.version)
                try:
                    await service.update(1, change, ADMIN)
                except StaleEntityError:
                    continue
                return

    with tenant_context("a"):
        await service.create(new(rank=0), ADMIN)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(write)
    with tenant_context("a"):
        note: Any = await service.get(1, ADMIN)
    assert (note.rank, note.version) == (50, 51)


@pytest.mark.anyio
@pytest.mark.parametrize("by_row", [False, True])
async def test_missing_foreign_deleted_and_unreadable_look_the_same(provider, by_row):
    policy: AbstractAuthorizer = AnyOf(GrantBasedAuthorizer(), OwnershipAuthorizer())
    statements: Counter[str] = Counter()

    class Counting(InMemoryRepositoryProvider):
        def make_uow(self):
            uow = InMemoryUnitOfWork(provider._store, provider._models, provider._clock)
            make = uow._make_repository

            def counted(entity_cls):
                repo = make(entity_cls)
                for name in ("find_by_id", "find_by_query", "exists", "save", "delete", "count"):
                    setattr(repo, name, count(name, getattr(repo, name)))
                return repo

            uow._make_repository = counted
            return uow

    def count(name, method):
        async def counted(*args, **kwargs):
            statements[name] += 1
            return await method(*args, **kwargs)

        return counted

    service = NoteService(Counting(), RowByRow(policy) if by_row else policy)
    with tenant_context("b"):
        await service.create(new("foreign"), ADMIN)
    with tenant_context("a"):
        await service.create(new("unreadable", owner_id="other"), ADMIN)
        await service.create(new("deleted", owner_id="u"), ADMIN)
        await service.delete(3, ADMIN)
        user = AuthContext("u")
        calls = {
            "get": lambda pk: service.get(pk, user),
            "update": lambda pk: service.update(pk, Dto.update(title="x"), user),
            "delete": lambda pk: service.delete(pk, user),
            "delete_many": lambda pk: service.delete_many([pk], user),
            "update_many": lambda pk: service.update_many([(pk, Dto.update(title="x"))], user),
        }
        for call in calls.values():
            seen = set()
            for pk in (1, 2, 3, 4):
                statements.clear()
                with pytest.raises(ServiceNotFoundError) as caught:
                    await call(pk)
                body = str(problem_for(caught.value)).replace(f"key {pk} ", "key PK ")
                message = str(caught.value).replace(f"key {pk} ", "key PK ")
                seen.add((type(caught.value), body, message, tuple(sorted(statements.items()))))
            assert len(seen) == 1
        for pk in (1, 2, 3, 4):
            statements.clear()
            assert not await service.exists(pk, user)
            assert sum(statements.values()) == 1


@pytest.mark.anyio
async def test_create_may_not_give_what_is_not_ones_own(service):
    with tenant_context("a"):
        user = AuthContext("u")
        await service.create(new(owner_id="u"), user)
        with pytest.raises(ServiceAuthorizationError):
            await service.create(new(owner_id="v"), user)
        with pytest.raises(ServiceAuthorizationError):
            await service.update(1, Dto.update(owner_id="v"), user)
        with pytest.raises(ServiceAuthorizationError):
            await service.create(new(owner_id=None), AuthContext())


async def walk(service: Any, **query: Any) -> tuple[list[int], list[int]]:
    """Return the keys met forwards, and those met going back from the end."""
    forward: list[int] = []
    cursor = None
    page: Any = None
    while True:
        page = await service.paged_list(QueryParams(**query, cursor=cursor), ADMIN)
        forward += [note.pk for note in page.results]
        if page.next is None:
            break
        cursor = page.next.cursor
    back = [note.pk for note in page.results]
    while page.previous is not None:
        page = await service.paged_list(QueryParams(**query, cursor=page.previous.cursor), ADMIN)
        back = [note.pk for note in page.results] + back
    return forward, back


sorts = st.lists(
    st.builds(
        SortField,
        st.sampled_from(["rank", "title", "weight", "owner_id"]),
        st.sampled_from(SortOrder),
    ),
    max_size=3,
    unique_by=lambda field: field.field,
).map(tuple)
contents = st.lists(
    st.fixed_dictionaries(
        {
            "title": st.sampled_from("abB%é"),
            "rank": st.sampled_from([None, 1, 2]),
            "weight": st.sampled_from([0.0, -1.5]),
            "owner_id": st.sampled_from([None, "u", "v"]),
        }
    ),
    max_size=12,
)


@given(content=contents, sort=sorts, limit=st.integers(1, 5), data=st.data())
def test_a_keyset_walk_meets_every_stable_row_once(content, sort, limit, data):
    async def check() -> None:
        provider = InMemoryRepositoryProvider(Note)
        service = NoteService(provider, GrantBasedAuthorizer())
        with tenant_context("a"):
            await service.create_many([new(**values) for values in content], ADMIN)
            query = QueryParams(sort=sort, limit=1000)
            everything = [note.pk for note in await service.list(query, ADMIN)]
            assert await walk(service, sort=sort, limit=limit) == (everything, everything)
            stable = set(everything)
            met: list[int] = []
            cursor = None
            while True:
                page = await service.paged_list(
                    QueryParams(sort=sort, limit=limit, cursor=cursor), ADMIN
                )
                met += [note.pk for note in page.results]
                if page.next is None:
                    break
                cursor = page.next.cursor
                # Meanwhile others write; the rows that they touch are not stable.
                if data.draw(st.booleans()):
                    await service.create(new(**data.draw(contents.filter(bool))[0]), ADMIN)
                if stable and data.draw(st.booleans()):
                    victim = data.draw(st.sampled_from(sorted(stable)))
                    stable.discard(victim)
                    await service.delete(victim, ADMIN)
            assert len(met) == len(set(met))
            assert stable <= set(met)

    anyio.run(check)


@pytest.mark.anyio
async def test_cursors_are_bound_and_signed(provider, service):
    with tenant_context("a"):
        await service.create_many([new(rank=n) for n in range(6)], ADMIN)
        sort = (SortField("rank"),)
        page = await service.paged_list(QueryParams(sort=sort, limit=2), ADMIN)
        assert page.next is not None
        assert page.previous is None
        cursor = page.next.cursor
        assert cursor is not None
        second = await service.paged_list(QueryParams(sort=sort, limit=2, cursor=cursor), ADMIN)
        assert [n.pk for n in second.results] == [3, 4]
        listed = await service.list(QueryParams(sort=sort, limit=2, cursor=cursor), ADMIN)
        assert [n.pk for n in listed] == [3, 4]
        other = ComparisonNode("rank", Operation.GREATER_THAN, 0)
        wrong = [
            QueryParams(sort=(SortField("rank", SortOrder.DESC),), cursor=cursor),
            QueryParams(sort=(), cursor=cursor),
            QueryParams(node=other, sort=sort, cursor=cursor),
            QueryParams(sort=sort, cursor="~" + cursor),
            QueryParams(sort=sort, cursor=cursor[:-1]),
            QueryParams(sort=sort, cursor=cursor + "A"),
            QueryParams(sort=sort, cursor=""),
            QueryParams(sort=sort, cursor="\ud800"),
            QueryParams(sort=sort, cursor="A" * 10_000),
        ]
        for at in range(len(cursor)):
            swapped = "A" if cursor[at] != "A" else "B"
            tampered = cursor[:at] + swapped + cursor[at + 1 :]
            wrong.append(QueryParams(sort=sort, cursor=tampered))
        for query in wrong:
            with pytest.raises(CursorError):
                await service.paged_list(query, ADMIN)
    with tenant_context("b"), pytest.raises(CursorError):
        await service.paged_list(QueryParams(sort=sort, cursor=cursor), ADMIN)

    class Elsewhere(NoteService):
        cursor_key = b"another key of sufficient length"

    elsewhere = Elsewhere(provider, GrantBasedAuthorizer())
    with tenant_context("a"), pytest.raises(CursorError):
        await elsewhere.paged_list(QueryParams(sort=sort, cursor=cursor), ADMIN)


@pytest.mark.anyio
async def test_limits_and_offsets(service):
    with tenant_context("a"):
        await service.create_many([new() for _ in range(120)], ADMIN)
        assert len(await service.list(ctx=ADMIN)) == 100
        for call in (service.list, service.paged_list):
            with pytest.raises(ServiceValidationError, match="limit is at most 1000"):
                await call(QueryParams(limit=1001), ADMIN)
        page = await service.paged_list(QueryParams(limit=50, offset=100), ADMIN)
        assert (page.count, page.total_count, page.next) == (20, 120, None)
        page = await service.paged_list(QueryParams(limit=50, offset=0), ADMIN)
        assert page.next is not None
        assert page.next.offset == 50
        with pytest.raises(ServiceValidationError, match="not both"):
            await service.paged_list(QueryParams(offset=1, cursor="x"), ADMIN)
        with pytest.raises(ServiceValidationError, match="at most 1000 at once"):
            await service.delete_many(list(range(1001)), ADMIN)
        with pytest.raises(ServiceValidationError, match="named twice"):
            await service.delete_many([1, 1], ADMIN)


@pytest.mark.anyio
async def test_only_what_is_read_can_be_filtered_by(provider):
    class Card(DomainModel):
        name: str
        secret: str

    class CardRead(ReadDTO):
        name: str

    class CardService(AsyncService[Card, int, CreateDTO, CardRead, UpdateDTO]):
        pass

    from varco_domain import AutoAssembler

    service = CardService(
        InMemoryRepositoryProvider(Card), GrantBasedAuthorizer(), AutoAssembler(Card, CardRead)
    )
    for field in ("secret", "__class__", "_raw_orm", "metadata", "nothing"):
        for make in (
            lambda f: QueryParams(node=ComparisonNode(f, Operation.EQUAL, "x")),
            lambda f: QueryParams(sort=(SortField(f),)),
        ):
            with pytest.raises(QueryError):
                await service.list(make(field), ADMIN)
    with pytest.raises(QueryError):
        await service.list(QueryParams(node=ComparisonNode("pk", Operation.EQUAL, "x")), ADMIN)


@pytest.mark.anyio
async def test_hooks_see_every_write(provider):
    log: list[tuple[str, Any]] = []

    class Watched(NoteService):
        async def _after_write(self, uow, ctx, changes):
            await super()._after_write(uow, ctx, changes)
            log.append(("write", [describe(c) for c in changes]))

        async def _after_commit(self, ctx, changes):
            await super()._after_commit(ctx, changes)
            log.append(("commit", [describe(c) for c in changes]))

    def describe(change: EntityChange) -> Any:
        assert change.entity_cls is Note
        assert change.tenant_id == "a"
        titles = [None if e is None else e.title for e in (change.before, change.after)]
        return change.kind.value, change.pk, *titles

    service = Watched(provider, GrantBasedAuthorizer())
    with tenant_context("a"):
        await service.create(new("1"), ADMIN)
        await service.create_many([new("2"), new("3")], ADMIN)
        await service.update(1, Dto.update(title="1b"), ADMIN)
        await service.update_many([(2, Dto.update(title="2b"))], ADMIN)
        await service.delete(1, ADMIN)
        await service.delete_many([2], ADMIN)
        await service.restore(1, ADMIN)
        await service.purge(1, ADMIN)
        await service.create_many([], ADMIN)
        await service.delete_many([], ADMIN)
    expected = [
        [("created", 1, None, "1")],
        [("created", 2, None, "2"), ("created", 3, None, "3")],
        [("updated", 1, "1", "1b")],
        [("updated", 2, "2", "2b")],
        [("deleted", 1, "1b", "1b")],
        [("deleted", 2, "2b", "2b")],
        [("restored", 1, "1b", "1b")],
        [("purged", 1, "1b", None)],
    ]
    assert log == [(phase, changes) for changes in expected for phase in ("write", "commit")]


@pytest.mark.anyio
async def test_a_failing_hook_rolls_back_before_and_reports_after_the_commit(provider):
    class Before(NoteService):
        async def _after_write(self, uow, ctx, changes):
            raise RuntimeError("before")

    class After(NoteService):
        async def _after_commit(self, ctx, changes):
            raise RuntimeError("after")

    with tenant_context("a"):
        with pytest.raises(RuntimeError, match="before"):
            await Before(provider, GrantBasedAuthorizer()).create(new(), ADMIN)
        assert state(provider) == []
        with pytest.raises(AfterCommitError) as caught:
            await After(provider, GrantBasedAuthorizer()).create(new(), ADMIN)
        assert [str(e) for e in caught.value.errors] == ["after"]
        assert len(state(provider)) == 1


@pytest.mark.anyio
async def test_versions_and_conflicts(service):
    with tenant_context("a"):
        await service.create(new(), ADMIN)
        await service.update(1, Dto.update(title="b", expected_version=1), ADMIN)
        with pytest.raises(StaleEntityError) as caught:
            await service.update(1, Dto.update(title="c", expected_version=1), ADMIN)
        assert isinstance(caught.value, ServiceConflictError)
        assert problem_for(caught.value)["status"] == 409
        with pytest.raises(StaleEntityError):
            await service.delete(1, ADMIN, expected_version=1)
        await service.delete(1, ADMIN, expected_version=2)


def test_a_service_has_to_name_its_model():
    class Nameless(AsyncService):
        pass

    with pytest.raises(ModelDefinitionError, match="which model"):
        Nameless(InMemoryRepositoryProvider(), GrantBasedAuthorizer())

    class Untold(SoftDeleteService[Note, int, str, str, str]):
        pass

    with pytest.raises(ModelDefinitionError, match="AbstractDTOAssembler"):
        Untold(InMemoryRepositoryProvider(), GrantBasedAuthorizer())
