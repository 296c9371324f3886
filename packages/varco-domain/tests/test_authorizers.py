"""Who may see and do what: conditions mean the same as decisions, and no decision is a denial."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varco_domain import (
    AbstractAuthorizer,
    Action,
    AllOf,
    AnyOf,
    AsyncService,
    AuthContext,
    BaseAuthorizer,
    CreateDTO,
    DomainModel,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    OwnershipAuthorizer,
    PKStrategy,
    PrimaryKey,
    ReadDTO,
    Resource,
    ResourceGrant,
    RoleBasedAuthorizer,
    ServiceAuthorizationError,
    ServiceNotFoundError,
    UpdateDTO,
    generate_dtos,
    pk_field,
    problem_for,
    tenant_context,
)
from varco_domain.backend import MetaReader
from varco_domain.testing._models import Document
from varco_domain.testing._services import DocumentService, RowByRow
from varco_query import ComparisonNode, Operation, OrNode, QueryParams

TABLE = "contract_documents"
ADMIN = AuthContext("admin", grants=(ResourceGrant(TABLE, frozenset(Action)),))
Dto = generate_dtos(Document)


def new(title: str = "t", **values: Any) -> Any:
    return Dto.create.model_validate({"title": title, **values})


class Moody(AuthContext):
    """Decides otherwise than by its grants."""

    def can(self, action, resource_key):
        return super().can(action, resource_key) and not resource_key.endswith(":1")


class OnWeekdays:
    """A mixin that decides, and knows nothing of conditions."""

    def decide(self, ctx, action, resource):
        return super().decide(ctx, action, resource) and resource.entity.pk != 1


class Weekdays(OnWeekdays, RoleBasedAuthorizer):
    pass


class OddKeys(AbstractAuthorizer):
    """Answers instead of raising."""

    async def authorize(self, ctx, action, resource):
        return resource.entity.pk % 2 == 1


user_ids = st.sampled_from(["u", "u", "v", "1", "None", "", None])
actions = st.frozensets(st.sampled_from([Action.READ, Action.READ, Action.UPDATE]), max_size=2)
resources = st.sampled_from(
    [TABLE, *(f"{TABLE}:{key}" for key in ("1", "2", "3", "01", "x")), "other", "other:1"]
)
grants = st.builds(ResourceGrant, resources, actions)
contexts = st.builds(
    lambda cls, **values: cls(**values),
    st.sampled_from([AuthContext, Moody]),
    user_id=user_ids,
    roles=st.frozensets(st.sampled_from(["r", "s"])),
    grants=st.lists(grants, max_size=3).map(tuple),
)
roles = st.dictionaries(st.sampled_from(["r", "s"]), actions, max_size=2)
simple = st.one_of(
    st.just(GrantBasedAuthorizer()),
    st.just(OwnershipAuthorizer()),
    st.just(OwnershipAuthorizer("no_such_field")),
    st.just(OwnershipAuthorizer("rank")),
    st.just(OwnershipAuthorizer("created_at")),
    st.builds(RoleBasedAuthorizer, roles),
    st.builds(Weekdays, roles),
    st.just(OddKeys()),
    st.just(BaseAuthorizer()),
)
parts = st.one_of(simple, simple, simple.map(RowByRow))
some = st.lists(parts, max_size=3)
combined = st.one_of(*(some.map(lambda found, cls=cls: cls(*found)) for cls in (AnyOf, AllOf)))
policies = st.one_of(
    simple,
    combined,
    *(st.tuples(combined, parts).map(lambda two, cls=cls: cls(*two)) for cls in (AnyOf, AllOf)),
)
rows = st.lists(
    st.tuples(st.sampled_from(["u", "u", "v", "None", "", None]), st.sampled_from([None, 1, 2])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=5 * settings().max_examples)
@given(policy=policies, ctx=contexts, content=rows, limit=st.integers(0, 6), skip=st.integers(0, 2))
def test_list_is_what_authorize_permits(policy, ctx, content, limit, skip):
    async def check() -> None:
        provider = InMemoryRepositoryProvider(Document)
        admin = DocumentService(provider, GrantBasedAuthorizer())
        service = DocumentService(provider, policy)
        with tenant_context("a"):
            await admin.create_many([new(owner_id=o, rank=r) for o, r in content], ADMIN)
            expected = []
            for found in await provider.get_repository(Document).find_all():
                try:
                    if await policy.authorize(ctx, Action.READ, Resource(Document, found)) is False:
                        continue
                except ServiceAuthorizationError:
                    continue
                expected.append(found.pk)
            query = QueryParams(limit=limit, offset=skip)
            window = expected[skip : skip + limit]
            assert [n.pk for n in await service.list(query, ctx)] == window
            assert [n.pk async for n in service.stream(query, ctx)] == window
            assert await service.count(query, ctx) == len(expected)
            assert (await service.paged_list(query, ctx, total=True)).total_count == len(expected)
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


class Level(DomainModel):
    pk: Annotated[Literal["low", "high"], PrimaryKey()] = pk_field(init=True)


class Counted(DomainModel):
    pass


class Named(DomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)


class Unique(DomainModel):
    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()


@pytest.mark.parametrize(
    ("model", "keys", "meant"),
    [
        (Level, ("high", "other"), ["high"]),
        (Counted, ("7", "07", str(2**63), str(2**63 - 1), "x", ""), [7, 2**63 - 1]),
        (Named, ("a", "b\0", "\ud800"), ["a"]),
        (Unique, (str(UUID(int=1)), "x"), [UUID(int=1)]),
    ],
)
def test_what_grants_on_rows_compile_to(model, keys, meant):
    table = MetaReader.read(model).table
    grants = [ResourceGrant(f"{table}:{key}", frozenset({Action.READ})) for key in keys]
    node = GrantBasedAuthorizer().compile(AuthContext("u", grants=grants), Action.READ, model)
    assert node == ComparisonNode("pk", Operation.IN, meant)


def test_who_does_not_permit_has_not_decided():
    anybody = Resource(Document)
    for policy in (GrantBasedAuthorizer(), RoleBasedAuthorizer({}), OwnershipAuthorizer()):
        assert policy.decide(AuthContext("u"), Action.READ, anybody) is None
    mine = Resource(Document, Document(title="t", owner_id="u"))
    assert OwnershipAuthorizer().decide(AuthContext("u"), Action.READ, mine) is True
    assert OwnershipAuthorizer().decide(AuthContext("v"), Action.READ, mine) is None


@pytest.mark.parametrize(("user", "rank"), [("None", None), ("01", 1), ("x", None)])
def test_only_who_reads_exactly_like_the_owner_owns(user, rank):
    policy, ctx = OwnershipAuthorizer("rank"), AuthContext(user)
    assert (
        policy.decide(ctx, Action.READ, Resource(Document, Document(title="t", rank=rank))) is None
    )
    assert policy.compile(ctx, Action.READ, Document) == OrNode()
    assert policy.compile(AuthContext("1"), Action.READ, Document) != OrNode()


def test_a_stricter_subclass_is_not_bypassed_by_the_inherited_condition():
    class Strict(GrantBasedAuthorizer):
        def decide(self, ctx, action, resource):
            return super().decide(ctx, action, resource) and False

    class Looser(GrantBasedAuthorizer):
        async def authorize(self, ctx, action, resource):
            return

    class Same(GrantBasedAuthorizer):
        pass

    class Told(Strict):
        def compile(self, ctx, action, entity_type):
            return GrantBasedAuthorizer().compile(ctx, action, entity_type)

    for cls in (Strict, Looser, Weekdays):
        authorizer = cls({}) if cls is Weekdays else cls()
        assert authorizer.compile(ADMIN, Action.READ, Document) is None
    for cls in (Same, Told):
        assert cls().compile(ADMIN, Action.READ, Document) is not None


@pytest.mark.anyio
async def test_an_answer_of_false_is_a_denial_everywhere():
    class Never(AbstractAuthorizer):
        async def authorize(self, ctx, action, resource):
            return False

    provider = InMemoryRepositoryProvider(Document)
    with tenant_context("a"):
        await DocumentService(provider, GrantBasedAuthorizer()).create(new(), ADMIN)
        for policy in (Never(), AnyOf(Never()), AllOf(GrantBasedAuthorizer(), Never())):
            service = DocumentService(provider, policy)
            with pytest.raises(ServiceAuthorizationError) as caught:
                await service.create(new(), ADMIN)
            assert "Never" not in str(problem_for(caught.value))
            assert await service.list(ctx=ADMIN) == []
            assert not await service.exists(1, ADMIN)
            with pytest.raises(ServiceNotFoundError):
                await service.delete(1, ADMIN)


@pytest.mark.anyio
async def test_no_decision_is_a_denial():
    provider = InMemoryRepositoryProvider(Document)
    with tenant_context("a"):
        for policy in (BaseAuthorizer(), AnyOf(), AllOf(), RoleBasedAuthorizer({})):
            service = DocumentService(provider, policy)
            with pytest.raises(ServiceAuthorizationError):
                await service.create(new(), ADMIN)
            assert await service.count(ctx=ADMIN) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("user", [None, ""])
async def test_nobody_owns_nothing(user):
    provider = InMemoryRepositoryProvider(Document)
    service = DocumentService(provider, OwnershipAuthorizer())
    nobody = AuthContext(user)
    assert nobody.is_anonymous()
    with tenant_context("a"):
        admin = DocumentService(provider, GrantBasedAuthorizer())
        await admin.create_many([new(owner_id=owner) for owner in (None, "", "None")], ADMIN)
        assert await service.list(ctx=nobody) == []
        for owner in (None, "", "None"):
            with pytest.raises(ServiceAuthorizationError):
                await service.create(new(owner_id=owner), nobody)


def test_grants_on_a_table_cover_its_rows_only():
    ctx = AuthContext("u", grants=[ResourceGrant("posts", {Action.READ})])
    assert ctx.can(Action.READ, "posts")
    assert ctx.can(Action.READ, "posts:1")
    assert not ctx.can(Action.UPDATE, "posts:1")
    for key in ("posts_archive", "posts_archive:1", "post", "blog_posts", "post:s:1"):
        assert not ctx.can(Action.READ, key)
    one = AuthContext("u", grants=[ResourceGrant("posts:1", {Action.READ})])
    assert one.can(Action.READ, "posts:1")
    for key in ("posts", "posts:10", "posts:1:1"):
        assert not one.can(Action.READ, key)
    assert ctx.grants_for("posts:1") == {Action.READ}


@pytest.mark.parametrize(
    ("may", "permitted"),
    [
        ({Action.READ}, {Action.READ}),
        ({TABLE: {"read"}, "*": {Action.DELETE}}, {Action.READ}),
        ({"others": set(Action), "*": [Action.DELETE]}, {Action.DELETE}),
        ({"others": set(Action)}, set()),
        ({TABLE: ()}, set()),
        ((), set()),
    ],
)
def test_a_role_permits_by_resource(may, permitted):
    authorizer = RoleBasedAuthorizer({"r": may})
    ctx = AuthContext("u", roles=["r", "unknown"])
    for action in Action:
        decision = authorizer.decide(ctx, action, Resource(Document))
        assert decision is (True if action in permitted else None)
        compiled = authorizer.compile(ctx, action, Document)
        assert isinstance(compiled, OrNode) is (action not in permitted)


@pytest.mark.anyio
@pytest.mark.parametrize(("said", "named"), [(None, TABLE), ("documents:1", "documents:1")])
async def test_a_refusal_of_ones_own_names_the_key_of_its_resource(said, named):
    class Closed(AbstractAuthorizer):
        async def authorize(self, ctx, action, resource):
            raise ServiceAuthorizationError("create", Document, resource=said)

    service = DocumentService(InMemoryRepositoryProvider(Document), Closed())
    with tenant_context("a"), pytest.raises(ServiceAuthorizationError) as caught:
        await service.create(new(), ADMIN)
    assert caught.value.resource == named
