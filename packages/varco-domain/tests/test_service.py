import logging
from collections import Counter
from typing import Annotated, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_domain import (
    AbstractAuthorizer,
    Action,
    AfterCommitError,
    AnyOf,
    AsyncService,
    AuthContext,
    AutoAssembler,
    CreateDTO,
    DomainError,
    DomainModel,
    EntityChange,
    FieldHint,
    ForeignKey,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    InMemoryUnitOfWork,
    ModelDefinitionError,
    OwnershipAuthorizer,
    ReadDTO,
    ReferenceViolationError,
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
    TenantDomainModel,
    TenantRequiredError,
    TenantSoftDeleteVersionedDomainModel,
    TenantUoWProvider,
    UpdateDTO,
    generate_dtos,
    problem_for,
    tenant_context,
)
from varco_domain._memory_changes import Changes
from varco_query import (
    ComparisonNode,
    CursorError,
    CursorKeyError,
    InvalidNodeError,
    Operation,
    QueryError,
    QueryLimitError,
    QueryParams,
    SortField,
    SortOrder,
)


class Note(TenantSoftDeleteVersionedDomainModel):
    title: Annotated[str, FieldHint(max_length=50)]
    owner_id: str | None = None
    rank: int | None = None
    weight: float = 0.0


class Local(TenantDomainModel):
    name: Annotated[str, FieldHint(unique=True, max_length=50)]


class Plain(DomainModel):
    name: str


Dto = generate_dtos(Note, include=("expected_version",))


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


@pytest.mark.anyio
async def test_a_stream_belongs_to_the_tenant_that_asked(service):
    with tenant_context("a"):
        await service.create(new("a's"), ADMIN)
        stream = service.stream(ctx=ADMIN)
    with tenant_context("b"):
        await service.create(new("b's"), ADMIN)
        assert [note.title async for note in stream] == ["a's"]


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
    with tenant_context("a"), pytest.raises(CursorKeyError, match="another key"):
        await elsewhere.paged_list(QueryParams(sort=sort, cursor=cursor), ADMIN)


@pytest.mark.anyio
async def test_a_service_without_a_key_tells_once_of_cursors_of_other_processes(
    provider, caplog, monkeypatch
):
    # Whatever else this process runs has said of keys and logs.
    monkeypatch.setattr(AsyncService, "cursor_key", None)
    monkeypatch.setattr(logging.getLogger("varco_domain.service"), "disabled", False)
    caplog.set_level(logging.WARNING, "varco_domain.service")

    class Here(NoteService): ...

    class There(NoteService):
        cursor_key = b"a key that is not of this process"

    here, there = (each(provider, GrantBasedAuthorizer()) for each in (Here, There))
    with tenant_context("a"):
        await here.create_many([new(rank=n) for n in range(3)], ADMIN)
        theirs = await there.paged_list(QueryParams(limit=1), ADMIN)
        ours = await here.paged_list(QueryParams(limit=1), ADMIN)
        for _ in range(2):
            with pytest.raises(CursorKeyError):
                await here.paged_list(QueryParams(cursor=theirs.next.cursor), ADMIN)
            with pytest.raises(CursorKeyError):  # it has a key, and nothing to be told
                await there.paged_list(QueryParams(cursor=ours.next.cursor), ADMIN)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("Here was sent a cursor")
    assert "cursor_key" in told


ALL = RoleBasedAuthorizer({"all": frozenset(Action)})
ANYBODY = AuthContext("ann", roles=frozenset({"all"}))


@pytest.mark.anyio
async def test_a_cursor_of_one_model_is_none_of_another():
    class First(DomainModel):
        name: str

    class Second(DomainModel):
        name: str

    provider = InMemoryRepositoryProvider(First, Second)

    class FirstService(AsyncService[First, int, Any, Any, Any]):
        pass

    class SecondService(AsyncService[Second, int, Any, Any, Any]):
        pass

    first, second = FirstService(provider, ALL), SecondService(provider, ALL)
    for service, model in ((first, First), (second, Second)):
        new_row = generate_dtos(model).create
        await service.create_many([new_row(name=c) for c in "abc"], ANYBODY)
    page = await first.paged_list(QueryParams(limit=1), ANYBODY)
    after = QueryParams(limit=1, cursor=page.next.cursor)
    assert [row.name for row in (await first.paged_list(after, ANYBODY)).results] == ["b"]
    with pytest.raises(CursorError):
        await second.paged_list(after, ANYBODY)


@pytest.mark.anyio
async def test_an_assembler_cannot_pass_a_stored_row_off_as_a_new_one():
    class Row(DomainModel):
        name: str

    class Stored(AutoAssembler[Row, Any, Any, Any]):
        def to_domain(self, dto):
            return stored

    class RowService(AsyncService[Row, int, Any, Any, Any]):
        pass

    provider = InMemoryRepositoryProvider(Row)
    async with provider.make_uow() as uow:
        stored = await uow.rows.save(Row(name="kept"))
    service = RowService(provider, ALL, Stored(Row))
    with pytest.raises(DomainError, match="to_domain returned a stored Row"):
        await service.create(generate_dtos(Row).create(name="other"), ANYBODY)
    assert (await service.get(stored.pk, ANYBODY)).name == "kept"
    assert await service.count(ctx=ANYBODY) == 1


@pytest.mark.anyio
async def test_limits_and_offsets(service):
    with tenant_context("a"):
        await service.create_many([new() for _ in range(120)], ADMIN)
        assert len(await service.list(ctx=ADMIN)) == 100
        for call in (service.list, service.paged_list):
            with pytest.raises(QueryLimitError, match="max_limit is 1000"):
                await call(QueryParams(limit=1001), ADMIN)
        for wrong in (-1, 2**63, 1.5, "5"):
            with pytest.raises(InvalidNodeError):
                await service.paged_list(ctx=ADMIN, total=wrong)
        page = await service.paged_list(QueryParams(limit=50, offset=100), ADMIN, total=True)
        assert (page.count, page.total_count, page.next) == (20, 120, None)
        page = await service.paged_list(QueryParams(limit=50, offset=0), ADMIN)
        assert page.next is not None
        assert page.next.offset == 50
        with pytest.raises(InvalidNodeError, match="not both"):
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


def state(provider: InMemoryRepositoryProvider) -> Any:
    rows = provider._store.table(Note).rows.values()
    return [(r["pk"], r["title"], r["version"], r["deleted_at"] is None) for r in rows]


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


def test_a_service_has_to_fit_its_model():
    def make(cls: Any, provider: Any = None) -> Any:
        return cls(provider or InMemoryRepositoryProvider(), GrantBasedAuthorizer())

    class Nameless(AsyncService):
        pass

    with pytest.raises(ModelDefinitionError, match="which model"):
        make(Nameless)

    class Untold(TenantAwareService[Local, int, str, str, str]):
        pass

    with pytest.raises(ModelDefinitionError, match="AbstractDTOAssembler"):
        make(Untold)

    class Open(SoftDeleteService[Note, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    with pytest.raises(ModelDefinitionError, match="Note has tenants; derive"):
        make(Open)

    class Shared(TenantAwareService[Plain, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    with pytest.raises(ModelDefinitionError, match="all tenants would share its rows"):
        make(Shared)
    make(Shared, TenantUoWProvider())


@pytest.mark.anyio
async def test_a_store_for_each_tenant_needs_no_tenant_field():
    class Shared(TenantAwareService[Plain, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    stores = {tenant: InMemoryRepositoryProvider(Plain) for tenant in "ab"}
    service = Shared(TenantUoWProvider(stores), RoleBasedAuthorizer({"r": list(Action)}))
    user = AuthContext("u", roles=["r"])
    with tenant_context("a"):
        await service.create(generate_dtos(Plain).create(name="a's"), user)
    with tenant_context("b"):
        assert await service.list(ctx=user) == []
    with pytest.raises(TenantRequiredError):
        await service.list(ctx=user)


class Leaf(TenantDomainModel):
    by_table: Annotated[int | None, ForeignKey("locals")] = None
    by_class: Annotated[int | None, ForeignKey(Local)] = None
    by_name: Annotated[str | None, ForeignKey(Local, field="name")] = None
    common: Annotated[int | None, ForeignKey(Plain)] = None


@pytest.mark.anyio
async def test_references_of_all_kinds_stay_in_the_tenant(monkeypatch: pytest.MonkeyPatch):
    # As over a backend whose foreign keys know nothing of tenants.
    exists = Changes._exists
    monkeypatch.setattr(Changes, "_exists", lambda s, t, k, v, _: exists(s, t, k, v, None))

    class Leaves(TenantAwareService[Leaf, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    provider = InMemoryRepositoryProvider(Local, Plain, Leaf)
    service = Leaves(provider, RoleBasedAuthorizer({"r": list(Action)}))
    user, dto = AuthContext("u", roles=["r"]), generate_dtos(Leaf).create
    plain = await provider.get_repository(Plain).save(Plain(name="everyone's"))
    made = {}
    for tenant in "ab":
        with tenant_context(tenant):
            made[tenant] = await provider.get_repository(Local).save(Local(name=f"of {tenant}"))
    with tenant_context("a"):
        for tenant in "ab":
            target = made[tenant]
            for values in (
                {"by_table": target.pk},
                {"by_class": target.pk},
                {"by_name": target.name},
                {"by_class": made["a"].pk, "by_name": target.name, "common": plain.pk},
            ):
                if tenant == "a":
                    await service.create(dto(**values), user)
                    continue
                with pytest.raises(ReferenceViolationError):
                    await service.create(dto(**values), user)
        assert await service.count(ctx=user) == 4


@pytest.mark.anyio
async def test_a_stream_takes_no_cursor(service):
    with tenant_context("a"):
        await service.create_many([new(), new()], ADMIN)
        page = await service.paged_list(QueryParams(limit=1), ADMIN)
        with pytest.raises(InvalidNodeError, match="no cursor"):
            service.stream(QueryParams(limit=1, cursor=page.next.cursor), ADMIN)
