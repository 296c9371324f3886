"""DTO classes that are declared for a model."""

from collections.abc import Callable
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
import pytest

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    AutoAssembler,
    CreateDTO,
    DomainModel,
    FieldHint,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    ReadDTO,
    ResourceGrant,
    StaleEntityError,
    TenantAwareService,
    TenantVersionedDomainModel,
    UpdateDTO,
    UpdateOperation,
    generate_dtos,
    tenant_context,
    unset,
)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Product(TenantVersionedDomainModel):
    name: Annotated[str, FieldHint(max_length=5)]
    price: int
    color: Color = Color.RED
    note: str | None = None
    tags: list[Annotated[str, pydantic.Field(min_length=1)]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.name.upper()


class NewProduct(CreateDTO, model=Product):
    name: str
    price: int
    color: Color = unset()
    note: str | None = None
    tags: list[str] = unset()


class ProductRead(ReadDTO, model=Product, exclude=("note",)):
    pk: int
    name: str
    price: float
    color: Color
    tags: list[str]
    version: int
    created_at: datetime
    updated_at: datetime
    label: str


class ChangeProduct(UpdateDTO, model=Product, exclude=("color",)):
    name: str = unset()
    price: int = unset()
    note: str | None = unset()
    tags: list[str] = unset()
    op: UpdateOperation = UpdateOperation.REPLACE
    expected_version: int | None = None


class ProductService(
    TenantAwareService, AsyncService[Product, int, NewProduct, ProductRead, ChangeProduct]
):
    pass


CLERK = AuthContext("ann", grants=(ResourceGrant("products", frozenset(Action)),))


def test_limits_and_defaults_are_those_of_the_model():
    made = NewProduct(name="a", price=1)
    assert (made.color, made.note, made.tags) == (Color.RED, None, [])
    assert NewProduct(name="b", price=1).tags is not made.tags
    for wrong in ({"name": "123456"}, {"price": 2**63}, {"tags": [""]}, {"name": None}):
        for dto, base in ((NewProduct, {"name": "a", "price": 1}), (ChangeProduct, {})):
            with pytest.raises(pydantic.ValidationError):
                dto.model_validate({**base, **wrong})


def test_what_is_declared_and_what_is_generated_have_the_same_schema():
    generated = generate_dtos(Product, include=("op", "expected_version"))
    create, other = NewProduct.model_json_schema(), generated.create.model_json_schema()
    assert create["properties"] == other["properties"]
    assert create["required"] == other["required"]
    change, other = ChangeProduct.model_json_schema(), generated.update.model_json_schema()
    assert "required" not in change
    del other["properties"]["color"]
    assert change["properties"] == other["properties"]


@pytest.mark.anyio
async def test_a_service_takes_them_without_an_assembler():
    service = ProductService(InMemoryRepositoryProvider(Product), GrantBasedAuthorizer())
    with tenant_context("t"):
        made = await service.create(NewProduct(name="a", price=1, tags=["x"]), CLERK)
        assert (made.label, made.version) == ("A", 1)
        change = ChangeProduct(op=UpdateOperation.EXTEND, tags=["y"], expected_version=1)
        assert (await service.update(made.pk, change, CLERK)).tags == ["x", "y"]
        with pytest.raises(StaleEntityError):
            await service.update(made.pk, change, CLERK)


@pytest.mark.anyio
async def test_a_version_that_is_set_on_a_dto_without_such_a_field_is_expected():
    plain = generate_dtos(Product)

    class Service(TenantAwareService, AsyncService[Product]):
        pass

    products = Service(InMemoryRepositoryProvider(Product), GrantBasedAuthorizer())
    with tenant_context("t"):
        made = await products.create(plain.create(name="a", price=1), CLERK)
        change = plain.update(name="b")
        object.__setattr__(change, "expected_version", made.version + 1)
        with pytest.raises(StaleEntityError):
            await products.update(made.pk, change, CLERK)


def test_a_service_needs_to_be_told_of_its_model_alone():
    class Short(TenantAwareService, AsyncService[Product]):
        pass

    assert Short.types is not None
    assert Short.types.pk is int
    assert Short.types[2:] == generate_dtos(Product)
    Short(InMemoryRepositoryProvider(Product), GrantBasedAuthorizer())


def test_dtos_of_another_model_need_an_assembler():
    class Other(DomainModel):
        name: str

    class NewOther(CreateDTO, model=Other):
        name: str

    class Wrong(TenantAwareService, AsyncService[Product, int, NewOther, ProductRead, Any]):
        pass

    with pytest.raises(ModelDefinitionError, match=r"declared with model=Product"):
        Wrong(InMemoryRepositoryProvider(Product), GrantBasedAuthorizer())


def _create(annotations: dict[str, Any], **keywords: Any) -> Callable[[], Any]:
    return lambda: _made(CreateDTO, annotations, keywords)


def _read(annotations: dict[str, Any], **keywords: Any) -> Callable[[], Any]:
    return lambda: _made(ReadDTO, annotations, keywords)


def _update(annotations: dict[str, Any], **keywords: Any) -> Callable[[], Any]:
    return lambda: _made(UpdateDTO, annotations, keywords)


def _made(base: type, annotations: dict[str, Any], keywords: dict[str, Any]) -> Any:
    types = {n: a[0] if isinstance(a, tuple) else a for n, a in annotations.items()}
    values = {n: a[1] for n, a in annotations.items() if isinstance(a, tuple)}
    body = {"__annotations__": types, "__module__": __name__, **values}
    return type(base)("Wrong", (base,), body, **{"model": Product, **keywords})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            _create({"nmae": str}),
            (
                "Wrong.nmae: Product has no such field (did you mean 'name'?); "
                "a field that is none of the model's is declared: adds=('nmae',)"
            ),
        ),
        (_create({"name": int}), "Wrong.name: int is no type for Product.name; write 'name: str'"),
        (
            _create({"name": str}),
            (
                "Wrong.price: Product has it; write 'price: int', or leave it out with "
                "exclude=('price',)"
            ),
        ),
        (
            _create({"name": str, "price": int}, exclude=("note", "tags")),
            (
                "Wrong.color: Product has it; write 'color: Color = unset()', or leave it out with "
                "exclude=('color',)"
            ),
        ),
        (
            _create({"name": str}, exclude=("tgs",)),
            "Wrong.tgs: Product has no such field to leave out (did you mean 'tags'?)",
        ),
        (
            _create({"name": str}, exclude=("name",)),
            "Wrong.name: it is here and in exclude=; drop one of the two",
        ),
        (
            _create({"name": str}, adds=("name",)),
            "Wrong.name: Product has this field; take it out of adds=",
        ),
        (
            _create({"version": int}),
            "Wrong.version: Product.version is not a caller's to be set; drop it",
        ),
        (
            _create({"name": (str, unset())}),
            "Wrong.name: Product.name has no default; drop '= unset()'",
        ),
        (
            _update({"name": (str | None, None)}),
            "Wrong.name: Product.name is never None; write 'name: str = unset()'",
        ),
        (
            _update({"pk": int}),
            "Wrong.pk: Product.pk is not a caller's to be changed; drop it",
        ),
        (
            _update({"op": str}),
            (
                "Wrong.op: it has a meaning of its own; write "
                "'op: UpdateOperation = UpdateOperation.REPLACE'"
            ),
        ),
        (
            _read({"note": str}),
            "Wrong.note: Product.note may be None; write 'note: str | None'",
        ),
        (
            _read({"color": str}),
            "Wrong.color: str is no type for Product.color; write 'color: Color'",
        ),
        (_create({}, adds="note"), "Wrong: adds holds names; write adds=('note',)"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(make: Callable[[], Any], message: str):
    with pytest.raises(ModelDefinitionError) as caught:
        make()
    assert str(caught.value) == message


def test_a_class_without_a_model_leaves_nothing_out():
    with pytest.raises(ModelDefinitionError, match=r"Post: of which model\? Write model="):

        class Post(CreateDTO, exclude=("name",)):
            pass


def test_what_is_added_is_declared_and_is_the_assemblers():
    class NewWithCoupon(CreateDTO, model=Product, adds=("coupon",), exclude=("note", "color")):
        name: str
        price: int
        tags: list[str] = unset()
        coupon: str | None = None

    class Taking(AutoAssembler[Product, NewWithCoupon, ProductRead, ChangeProduct]):
        def to_domain(self, dto: NewWithCoupon) -> Product:
            return Product(name=dto.name, price=0 if dto.coupon else dto.price)

    assert Taking().to_domain(NewWithCoupon(name="a", price=1, coupon="c")).price == 0
    with pytest.raises(ModelDefinitionError, match="coupon"):
        AutoAssembler(Product, ProductRead, create=NewWithCoupon, update=ChangeProduct)


def test_a_subclass_is_of_the_same_model():
    class Admins(ProductRead):
        tenant_id: str

    assert "tenant_id" in Admins.model_fields
    with pytest.raises(ModelDefinitionError, match=r"Typo\.tenant: Product has no such field"):

        class Typo(ProductRead):
            tenant: str


def test_types_that_are_not_defined_yet_are_checked_when_they_are():
    class Late(ReadDTO, model=Product, exclude=("note", "version", "created_at", "updated_at")):
        name: "Later"  # type: ignore[name-defined] # noqa: F821
        price: int
        color: Color
        tags: list[str]

    with pytest.raises(ModelDefinitionError, match="bool is no type"):
        Late.model_rebuild(_types_namespace={"Later": bool})


class Shapes(DomainModel):
    amount: Decimal
    day: date
    kind: Literal["a", "b"]
    data: dict[str, Any]
    text: str


@pytest.mark.parametrize(
    ("name", "annotation", "fits"),
    [
        ("amount", Decimal, True),
        ("amount", float, False),
        ("amount", Any, True),
        ("day", date, True),
        ("day", datetime, False),
        ("kind", Literal["a", "b", "c"], True),
        ("kind", Literal["a"], False),
        ("kind", str, True),
        ("data", dict[str, int], True),
        ("data", list[int], True),
        ("data", str, False),
        ("text", str | int, True),
        ("text", pydantic.SecretStr, True),
        ("text", bytes, False),
    ],
)
def test_types_that_a_read_class_may_have(name: str, annotation: Any, *, fits: bool):
    others = set(Shapes.__dataclass_fields__) - {name, "pk"}
    if fits:
        _read({name: annotation}, model=Shapes, exclude=others)()
    else:
        with pytest.raises(ModelDefinitionError, match=f"no type for Shapes.{name}"):
            _read({name: annotation}, model=Shapes, exclude=others)()


def test_generated_classes_leave_out_and_hold_what_was_asked_for():
    def fields(**names: Any) -> list[set[str]]:
        return [set(dto.model_fields) for dto in generate_dtos(Product, **names)]

    create, read, update = fields()
    assert create == update == {"name", "price", "color", "note", "tags"}
    kept = {"pk", "version", "created_at", "updated_at"}
    assert read == create | kept
    assert fields(exclude=("note",)) == [create - {"note"}, read - {"note"}, update - {"note"}]
    assert fields(include=("name",)) == [{"name"}, {"pk", "name"}, {"name"}]
    assert fields(include=["op"]) == [create, read, update | {"op"}]
    assert fields(include=("tenant_id",)) == [create, read | {"tenant_id"}, update]
    asked = fields(include=("name", "created_at", "expected_version"))
    assert asked == [{"name"}, {"pk", "name", "created_at"}, {"name", "expected_version"}]
    assert generate_dtos(Product, exclude=("note",)) is generate_dtos(Product, exclude=["note"])
    for keywords in ({"exclude": ("nme",)}, {"include": ("nme",)}):
        with pytest.raises(ModelDefinitionError, match="did you mean 'name'"):
            generate_dtos(Product, **keywords)
    with pytest.raises(ModelDefinitionError, match=r"exclude=\('note',\)"):
        generate_dtos(Product, exclude="note")
    with pytest.raises(ModelDefinitionError, match="VersionedDomainModel"):
        generate_dtos(Shapes, include=("expected_version",))
