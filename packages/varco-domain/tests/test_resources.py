"""What grants name: a model's own word for itself, one row of it, or everything."""

from typing import Any

import pytest

from varco_domain import (
    AbstractAuthorizer,
    Action,
    AllOf,
    AnyOf,
    AsyncService,
    AuthContext,
    DomainModel,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    OwnershipAuthorizer,
    Resource,
    ResourceGrant,
    RoleBasedAuthorizer,
    ServiceAuthorizationError,
    generate_dtos,
    problem_for,
    resource_key,
)

pytestmark = pytest.mark.anyio
ALL = frozenset(Action)


class Old(DomainModel):
    name: str

    class Meta:
        table = "old"


class Renamed(DomainModel):
    name: str

    class Meta:
        table = "t_17"
        resource = "documents"


class Olds(AsyncService[Old, int, Any, Any, Any]):
    pass


class Documents(AsyncService[Renamed, int, Any, Any, Any]):
    pass


def ctx(*resources: str, actions=ALL) -> AuthContext:
    return AuthContext("u", grants=tuple(ResourceGrant(each, actions) for each in resources))


@pytest.mark.parametrize(("cls", "key"), [(Olds, "old"), (Documents, "documents")])
async def test_the_resource_is_the_declared_one_or_the_table(cls, key):
    model = cls.types.entity_cls
    service = cls(InMemoryRepositoryProvider(model), GrantBasedAuthorizer())
    made = await service.create(generate_dtos(model).create(name="x"), ctx(key))
    for granted in (key, f"{key}:{made.pk}", "*"):
        assert [row.pk for row in await service.list(ctx=ctx(granted))] == [made.pk]
        assert await service.exists(made.pk, ctx(granted))
    assert resource_key(model, made.pk) == f"{key}:{made.pk}"
    assert await service.list(ctx=ctx("t_17", "olds", "posts")) == []


async def test_a_grant_on_everything():
    admin = ctx("*")
    assert admin.can(Action.READ, "posts")
    assert admin.can(Action.DELETE, "posts:42")
    assert admin.grants_for("posts") == ALL
    assert not ctx("*", actions={Action.READ}).can(Action.UPDATE, "posts")
    # Neither the row called so nor a part of a name.
    assert not ctx("posts:*").can(Action.READ, "posts:1")
    assert not ctx("po*").can(Action.READ, "posts")


class Own(AbstractAuthorizer):
    async def authorize(self, ctx, action, resource):
        raise ServiceAuthorizationError(action.value, resource.entity_type, reason="why not")


class Returns(AbstractAuthorizer):
    async def authorize(self, ctx, action, resource):
        return False


@pytest.mark.parametrize(
    "authorizer",
    [
        GrantBasedAuthorizer(),
        RoleBasedAuthorizer({}),
        OwnershipAuthorizer(),
        AllOf(),
        AnyOf(),
        AllOf(GrantBasedAuthorizer()),
        AnyOf(Own(), GrantBasedAuthorizer()),
        Own(),
        Returns(),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_refusal_names_the_action_and_the_resource(authorizer):
    service = Documents(InMemoryRepositoryProvider(Renamed), authorizer)
    with pytest.raises(ServiceAuthorizationError) as caught:
        await service.create(generate_dtos(Renamed).create(name="x"), AuthContext("u"))
    assert (caught.value.operation, caught.value.resource) == ("create", "documents")
    assert problem_for(caught.value)["detail"] == (
        "not allowed to create on Renamed (resource 'documents')"
    )


async def test_a_refusal_of_a_row_names_the_row():
    provider = InMemoryRepositoryProvider(Renamed)
    service = Documents(provider, GrantBasedAuthorizer())
    made = await service.create(generate_dtos(Renamed).create(name="x"), ctx("*"))
    with pytest.raises(ServiceAuthorizationError, match=rf"delete .*'documents:{made.pk}'"):
        await service.delete(made.pk, ctx("documents", actions={Action.READ}))


@pytest.mark.parametrize("name", ["", "a:b", "*", 3])
def test_a_resource_is_a_name(name):
    with pytest.raises(ModelDefinitionError, match=r"Meta\.resource"):

        class Wrong(DomainModel):
            class Meta:
                resource = name


def test_a_resource_of_a_new_entity_is_the_models():
    assert Resource(Renamed, Renamed(name="x")).key == "documents"
