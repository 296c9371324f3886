"""What stands between a caller and what is not theirs, where it would be missed the least."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from varco_domain import (
    AbstractDTOAssembler,
    Action,
    AsyncService,
    AuthContext,
    AutoAssembler,
    CrossTenantError,
    DomainError,
    DomainModel,
    ForeignKey,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    OwnedService,
    PKStrategy,
    PrimaryKey,
    ReferenceViolationError,
    Resource,
    ResourceGrant,
    RoleBasedAuthorizer,
    ServiceAuthorizationError,
    ServiceValidationError,
    SoftDeleteService,
    TenantAwareService,
    TenantDomainModel,
    TenantRequiredError,
    TenantSoftDeleteDomainModel,
    TenantUoWProvider,
    TenantVersionedDomainModel,
    cross_tenant_access,
    domain_replace,
    generate_dtos,
    pk_field,
    tenant_context,
)
from varco_domain.backend import MetaReader
from varco_domain.service.tenant import TenantScopedRepository, current_tenant, without_tenant
from varco_query import F, QueryError, QueryParams

pytestmark = pytest.mark.anyio

ALL = RoleBasedAuthorizer({"r": list(Action)})
USER = AuthContext("u", roles=["r"])


class Local(TenantDomainModel):
    name: str
    extra: dict[str, Any] | None = None


class LocalService(TenantAwareService[Local, int, Any, Any, Any]):
    pass


class Given(AutoAssembler[Local, Any, Any, Any]):
    """Takes the tenant out of the name, as from a file with rows of several tenants."""

    def to_domain(self, dto):
        return domain_replace(super().to_domain(dto), tenant_id=dto.name)


async def test_a_new_entity_that_names_its_tenant():
    provider = InMemoryRepositoryProvider(Local)
    service, dto = LocalService(provider, ALL, Given(Local)), generate_dtos(Local).create
    with tenant_context("a"):
        await service.create(dto(name="a"), USER)
        with pytest.raises(CrossTenantError) as caught:
            await service.create(dto(name="b"), USER)
        assert caught.value.entity_cls is Local
    with cross_tenant_access("an import"):
        await service.create(dto(name="b"), USER)
        found = [entity.tenant_id for entity in await provider.get_repository(Local).find_all()]
    assert sorted(found) == ["a", "b"]


async def test_a_repository_without_a_tenancy_is_nobodys():
    inner = InMemoryRepositoryProvider(Local).get_repository(Local)
    with pytest.raises(TenantRequiredError):
        TenantScopedRepository(inner, Local, None)
    with pytest.raises(ValueError, match="non-empty"):
        TenantUoWProvider().register("", InMemoryRepositoryProvider(Local))


async def test_checks_and_hooks_of_several_bases_all_run():
    class Kept(TenantSoftDeleteDomainModel):
        name: str

    seen = []

    class Trimmed(AsyncService[Kept, int, Any, Any, Any]):
        def _prepare_new(self, entity, ctx):
            return domain_replace(super()._prepare_new(entity, ctx), name=entity.name.strip())

        async def _check_writes(self, uow, entities, befores):
            await super()._check_writes(uow, entities, befores)
            seen.append(
                [
                    (e.name, b is None or b.deleted_at is None)
                    for e, b in zip(entities, befores, strict=True)
                ]
            )

    class KeptService(
        TenantAwareService[Kept, int, Any, Any, Any],
        SoftDeleteService[Kept, int, Any, Any, Any],
        Trimmed,
    ):
        pass

    service, dtos = KeptService(InMemoryRepositoryProvider(Kept), ALL), generate_dtos(Kept)
    with tenant_context("a"):
        made = await service.create(dtos.create(name=" a "), USER)
        assert made.name == "a"
        await service.delete(made.pk, USER)
        seen.clear()
        await service.restore(made.pk, USER)
    assert seen == [[("a", False)]]


async def test_references_of_a_model_without_a_tenant_field():
    class Pointer(DomainModel):
        local: Annotated[int | None, ForeignKey(Local)] = None

    class PointerService(TenantAwareService[Pointer, int, Any, Any, Any]):
        pass

    provider = InMemoryRepositoryProvider(Local, Pointer)
    service = PointerService(TenantUoWProvider({"a": provider}), ALL)
    dto = generate_dtos(Pointer).create
    with tenant_context("a"):
        target = await provider.get_repository(Local).save(Local(name="x"))
        await service.create(dto(local=target.pk), USER)
        with pytest.raises(ReferenceViolationError):
            await service.create(dto(local=99), USER)


async def test_many_entities_without_any_condition():
    class Plain(DomainModel):
        name: str

    class PlainService(AsyncService[Plain, int, Any, Any, Any]):
        pass

    service, dtos = PlainService(InMemoryRepositoryProvider(Plain), ALL), generate_dtos(Plain)
    await service.create_many([dtos.create(name=c) for c in "abc"], USER)
    await service.update_many([(1, dtos.update(name="d"))], USER)
    await service.delete_many([2], USER)
    assert [row.name for row in await service.list(ctx=USER)] == ["d", "c"]
    with pytest.raises(ServiceValidationError, match="has no version") as caught:
        await service.delete(1, USER, expected_version=1)
    assert caught.value.field == "expected_version"


class Shown(BaseModel):
    name: str


class Own(AbstractDTOAssembler[Local, Any, Any, Any]):
    def to_domain(self, dto):
        return Local(name=dto)

    def to_read_dto(self, entity):
        return Shown(name=entity.name)

    def apply_update(self, entity, dto):
        return dto(entity)


async def test_only_what_an_assembler_of_ones_own_shows_is_filtered_by():
    class Narrow(TenantAwareService[Local, int, str, Shown, Any]):
        pass

    class Text(TenantAwareService[Local, int, str, str, Any]):
        pass

    provider = InMemoryRepositoryProvider(Local)
    narrow, text = Narrow(provider, ALL, Own()), Text(provider, ALL, Own())
    with tenant_context("a"):
        await narrow.create("x", USER)
        assert len(await narrow.list(QueryParams(F.name == "x"), USER)) == 1
        for service, refused in ((narrow, F.pk == 1), (narrow, F.tenant_id == "a")):
            with pytest.raises(QueryError, match="unknown field"):
                await service.list(QueryParams(refused), USER)
        assert len(await text.list(QueryParams(F.pk == 1), USER)) == 1
        with pytest.raises(QueryError, match="unknown field"):
            await text.list(QueryParams(F.extra == "x"), USER)


class Item(TenantVersionedDomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)


class Rogue(Own):
    def to_domain(self, dto):
        return Item(pk=dto)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda item: domain_replace(item, pk="other"), r"changed Item\.pk"),
        (lambda item: domain_replace(item, tenant_id="b"), r"changed Item\.tenant_id"),
        (lambda item: domain_replace(item, version=7), r"changed Item\.version"),
        (
            lambda item: domain_replace(
                Item(pk=item.pk),
                **{name: getattr(item, name) for name in MetaReader.read(Item).system_fields},
            ),
            "returned a new Item",
        ),
    ],
)
async def test_what_an_update_may_not_touch(change, said):
    class ItemService(TenantAwareService[Item, str, Any, Any, Any]):
        pass

    provider = InMemoryRepositoryProvider(Item)
    service = ItemService(provider, ALL, Rogue())
    with tenant_context("a"):
        await provider.get_repository(Item).save(Item(pk="c"))
        with pytest.raises(DomainError, match=said):
            await service.update("c", change, USER)


class Moody(AuthContext):
    """Decides otherwise than by its grants."""

    def can(self, action, resource_key):
        return super().can(action, resource_key) and resource_key != "locals:1"


async def test_a_context_of_ones_own_is_asked_about_each_row():
    provider = InMemoryRepositoryProvider(Local)
    service = LocalService(provider, GrantBasedAuthorizer())
    grants = (ResourceGrant("locals", frozenset(Action)),)
    with tenant_context("a"):
        for name in "ab":
            await provider.get_repository(Local).save(Local(name=name))
        assert [row.pk for row in await service.list(ctx=Moody("u", grants=grants))] == [2]
        assert [row.pk for row in await service.list(ctx=AuthContext("u", grants=grants))] == [1, 2]
    resource = Resource(Local)
    assert GrantBasedAuthorizer().decide(AuthContext("u"), Action.READ, resource) is None


def test_what_is_left_without_a_tenant_has_its_tenant_again():
    with tenant_context("a"):
        with without_tenant():
            assert current_tenant() is None
        assert current_tenant() == "a"


class Owned(DomainModel):
    name: str
    owner_id: str = ""


class Numbered(DomainModel):
    name: str
    by: int = 0


async def test_what_is_made_belongs_to_who_made_it():
    class Owneds(OwnedService, AsyncService[Owned]):
        pass

    class Numbers(OwnedService, AsyncService[Numbered]):
        owner_field = "by"

    store = InMemoryRepositoryProvider(Owned, Numbered)
    owned, numbers = Owneds(store, ALL), Numbers(store, ALL)
    new = generate_dtos(Owned).create
    assert (await owned.create(new(name="x"), USER)).owner_id == "u"
    assert (await owned.create(new(name="x", owner_id="bob"), USER)).owner_id == "u"
    many = await owned.create_many([new(name="x", owner_id="bob")], USER)
    assert [each.owner_id for each in many] == ["u"]
    number = generate_dtos(Numbered).create(name="x")
    assert (await numbers.create(number, AuthContext("7", roles=["r"]))).by == 7
    for nobody in (AuthContext(None, roles=["r"]), AuthContext("", roles=["r"])):
        with pytest.raises(ServiceAuthorizationError):
            await owned.create(new(name="x"), nobody)
    with pytest.raises(ServiceAuthorizationError):  # no name of an owner in such a field
        await numbers.create(number, USER)
    with pytest.raises(ModelDefinitionError, match=r"Wrong\.owner_field"):

        class Wrong(OwnedService, AsyncService[Numbered]):
            pass
