"""The examples of the specification, as written there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from providify import DIContainer, Inject, Singleton

import varco_domain
from varco_domain import (
    AbstractAuthorizer,
    AbstractDTOAssembler,
    Action,
    AsyncService,
    AuditedDomainModel,
    AuthContext,
    AutoAssembler,
    CompositeValidator,
    CreateDTO,
    DomainModel,
    DomainModelValidator,
    FieldHint,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    IUoWProvider,
    PKStrategy,
    PrimaryKey,
    ReadDTO,
    ResourceGrant,
    ServiceValidationError,
    UpdateDTO,
    ValidationResult,
    pk_field,
)
from varco_domain.service.validation import ValidatorServiceMixin
from varco_query import QueryBuilder, QueryParams

pytestmark = pytest.mark.anyio


class Post(AuditedDomainModel):
    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=200)]
    body: str
    published: bool = False


class CreatePostDTO(CreateDTO):
    title: str
    body: str
    published: bool = False


class PostReadDTO(ReadDTO):
    title: str
    published: bool


class UpdatePostDTO(UpdateDTO):
    title: str = ""


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


class AnotherValidator(DomainModelValidator[Order]):
    def validate(self, value: Order) -> ValidationResult:
        return self._rule(value.quantity > 100, "too many", field="quantity")


@Singleton
class PostAssembler(AutoAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]):
    pass


@Singleton
class PostService(AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO]):
    def __init__(
        self,
        uow_provider: Inject[IUoWProvider],
        authorizer: Inject[AbstractAuthorizer],
        assembler: Inject[AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]],
    ) -> None:
        super().__init__(uow_provider=uow_provider, authorizer=authorizer, assembler=assembler)

    def _get_repo(self, uow):
        return uow.posts


@Singleton
class BarePostService(AsyncService[Post, int, CreatePostDTO, PostReadDTO, UpdatePostDTO]):
    pass


@Singleton
class OrderService(
    ValidatorServiceMixin[Order, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Order, int, CreateDTO, ReadDTO, UpdateDTO],
):
    def _get_repo(self, uow):
        return uow.orders


ADMIN = AuthContext(
    "admin",
    grants=(
        ResourceGrant("posts", frozenset(Action)),
        ResourceGrant("orders", frozenset(Action)),
    ),
)


def make_container(*services: type, assembler: bool = True) -> DIContainer:
    container = DIContainer()

    @Singleton
    class Provider(InMemoryRepositoryProvider):
        def __init__(self) -> None:
            super().__init__(Post, Order)

    @Singleton
    class Authorizer(GrantBasedAuthorizer):
        pass

    container.bind(IUoWProvider, Provider)
    container.bind(AbstractAuthorizer, Authorizer)
    if assembler:
        generic = AbstractDTOAssembler[Post, CreatePostDTO, PostReadDTO, UpdatePostDTO]
        container.bind(generic, PostAssembler)
    for service in services:
        container.register(service)
    return container


@pytest.mark.parametrize("cls", [PostService, BarePostService])
async def test_services_resolve_with_and_without_a_constructor(cls: Any):
    container = make_container(cls)
    container.validate()
    service = container.get(cls)
    post = await service.create(CreatePostDTO(title="t", body="b"), ADMIN)
    assert type(post) is PostReadDTO
    params = QueryParams(
        node=QueryBuilder().eq("published", False).and_().gt("pk", 0).build(), limit=20, offset=0
    )
    assert [p.pk for p in await service.list(params, ADMIN)] == [post.pk]
    assert (await service.update(post.pk, UpdatePostDTO(title="u"), ADMIN)).title == "u"


def test_a_missing_or_ambiguous_binding_fails_at_start():
    container = make_container(PostService, assembler=False)
    assert not container.validate(raise_on_error=False).ok

    @Singleton
    class SecondAuthorizer(GrantBasedAuthorizer):
        pass

    for cls in (PostService, BarePostService):
        container = make_container(cls)
        container.bind(AbstractAuthorizer, SecondAuthorizer)
        assert not container.validate(raise_on_error=False).ok
    container = make_container(BarePostService, assembler=False)
    with pytest.raises(Exception, match="AbstractDTOAssembler"):
        container.get(BarePostService)


async def test_no_look_up_in_the_container_per_call(monkeypatch: pytest.MonkeyPatch):
    container = make_container(PostService)
    service = container.get(PostService)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("looked up")

    monkeypatch.setattr(DIContainer, "get", refuse)
    monkeypatch.setattr(DIContainer, "aget", refuse)
    await service.create(CreatePostDTO(title="t", body="b"), ADMIN)
    assert await service.count(QueryParams(), ADMIN) == 1


def test_validators_collect_all():
    validator = CompositeValidator(OrderValidator(), AnotherValidator())
    assert validator.validate(Order(quantity=1, total=1.0)).is_valid
    result = validator.validate(Order(quantity=0, total=-1.0))
    assert [e.field for e in result.errors] == ["quantity", "total"]
    with pytest.raises(ServiceValidationError) as caught:
        result.raise_if_invalid()
    assert "quantity must be positive" in str(caught.value)
    assert "total must be non-negative" in str(caught.value)


async def test_validators_are_injected():
    container = make_container(OrderService)
    order_validator = Singleton(OrderValidator)
    container.bind(DomainModelValidator[Order], order_validator)
    service = container.get(OrderService)
    dto = varco_domain.generate_dtos(Order).create
    assert (await service.create(dto(quantity=1, total=1), ADMIN)).quantity == 1
    with pytest.raises(ServiceValidationError) as caught:
        await service.create_many([dto(quantity=1, total=1), dto(quantity=0, total=-1)], ADMIN)
    assert [(e.index, e.field) for e in caught.value.errors] == [(1, "quantity"), (1, "total")]
    assert await service.count(QueryParams(), ADMIN) == 1


async def test_a_validator_on_the_class_is_kept_by_the_container():
    @Singleton
    class Fixed(OrderService):
        _validator = CompositeValidator(OrderValidator())

    service = make_container(Fixed).get(Fixed)
    dto = varco_domain.generate_dtos(Order).create
    with pytest.raises(ServiceValidationError):
        await service.create(dto(quantity=0, total=1), ADMIN)
