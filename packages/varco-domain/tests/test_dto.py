from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import annotated_types
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_domain import (
    AutoAssembler,
    CreateDTO,
    DomainModel,
    FieldHint,
    ModelDefinitionError,
    PageCursor,
    PKStrategy,
    PrimaryKey,
    ReadDTO,
    ServiceValidationError,
    TenantSoftDeleteVersionedDomainModel,
    UpdateDTO,
    UpdateOperation,
    domain_replace,
    generate_dtos,
    paged_response,
    pk_field,
)
from varco_query import QueryParams, SortField


class Piece(TenantSoftDeleteVersionedDomainModel):
    name: Annotated[str, FieldHint(max_length=5)]
    size: Annotated[int, annotated_types.Ge(1)] = 1
    price: Annotated[Decimal, FieldHint(precision=5, scale=2)] = Decimal(1)
    note: str | None = None
    due: datetime | None = None
    rate: float = 0.0
    tags: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


class Coupon(DomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field()
    text: str


class Seat(DomainModel):
    row: Annotated[int, PrimaryKey()]
    number: Annotated[int, PrimaryKey()]
    taken: bool = False


SYSTEM = ("pk", "tenant_id", "deleted_at", "version", "created_at", "updated_at")
Dto = generate_dtos(Piece, include=("op", "tenant_id"))


def test_system_fields_are_never_writable():
    assert generate_dtos(Piece, include=["tenant_id", "op"]) is Dto
    for name in SYSTEM:
        assert name in Dto.read.model_fields
        for cls, base in ((Dto.create, {"name": "a"}), (Dto.update, {})):
            assert name not in cls.model_fields
            with pytest.raises(pydantic.ValidationError, match=name):
                cls.model_validate({**base, name: 1})
    assert [c.__name__ for c in Dto] == ["CreatePiece", "PieceRead", "UpdatePiece"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "123456"},
        {"name": None},
        {"name": "a", "size": 0},
        {"name": "a", "size": 2**63},
        {"name": "a", "price": "1234.5"},
        {"name": "a", "price": "1.234"},
        {"name": "a", "due": datetime(2024, 1, 1)},  # noqa: DTZ001 - what is refused
        {"name": "a", "rate": float("nan")},
        {"name": "a", "unknown": 1},
    ],
)
def test_limits_hold_on_creation_and_change(wrong: dict[str, Any]):
    with pytest.raises(pydantic.ValidationError):
        Dto.create.model_validate(wrong)
    with pytest.raises(pydantic.ValidationError):
        Dto.update.model_validate(wrong)


def test_unset_is_not_null():
    assembler = AutoAssembler(Piece)
    piece = Piece(name="a", note="n", due=datetime.now(UTC))
    assert assembler.apply_update(piece, Dto.update()).note == "n"
    assert assembler.apply_update(piece, Dto.update(note=None)).note is None
    assert assembler.apply_update(piece, Dto.update(note=None)).name == "a"
    with pytest.raises(pydantic.ValidationError):
        Dto.update(name=None)


def test_operations():
    assembler = AutoAssembler(Piece)
    piece = Piece(name="a", tags=["x", "y"], options={"k": {"a": 1, "b": 2}, "l": 1})

    def updated(op: str, **values: Any) -> Piece:
        return assembler.apply_update(piece, Dto.update(op=UpdateOperation(op), **values))

    assert updated("REPLACE", tags=["z"]).tags == ["z"]
    assert updated("EXTEND", tags=["y", "z"]).tags == ["x", "y", "y", "z"]
    assert updated("MERGE", tags=["y", "z", "z"]).tags == ["x", "y", "z"]
    assert updated("REMOVE", tags=["y", "q"]).tags == ["x"]
    assert updated("EXTEND", options={"k": 1}).options == {"k": 1, "l": 1}
    merged = updated("MERGE", options={"k": {"b": 3, "c": {"d": 4}}}).options
    assert merged == {"k": {"a": 1, "b": 3, "c": {"d": 4}}, "l": 1}
    assert updated("REMOVE", options={"k": None}).options == {"l": 1}
    assert updated("EXTEND", name="b").name == "b"
    with pytest.raises(ServiceValidationError):
        updated("REMOVE", name="b")
    assert piece.tags == ["x", "y"]
    assert piece.options["k"] == {"a": 1, "b": 2}


def test_keys_that_callers_assign():
    coupon = AutoAssembler(Coupon).to_domain(generate_dtos(Coupon).create(pk="x", text="t"))
    assert (coupon.pk, coupon.text) == ("x", "t")
    dtos = generate_dtos(Seat)
    assert set(dtos.create.model_fields) == {"row", "number", "taken"}
    assert set(dtos.update.model_fields) == {"taken"}
    read: Any = AutoAssembler(Seat).to_read_dto(Seat(row=1, number=2))
    assert read.pk == (1, 2)


def test_an_assembler_has_to_know_its_model():
    with pytest.raises(ModelDefinitionError, match="which model"):
        AutoAssembler()

    class Named(AutoAssembler[Coupon, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    assert Named().entity_cls is Coupon
    assert Named().read_cls is generate_dtos(Coupon).read


@given(
    st.fixed_dictionaries(
        {
            "name": st.text(max_size=5),
            "size": st.integers(1, 2**63 - 1),
            "price": st.decimals(-999, 999, places=2),
            "note": st.none() | st.text(),
            "due": st.none() | st.datetimes(timezones=st.just(UTC)),
            "rate": st.floats(allow_nan=False, allow_infinity=False),
            "tags": st.lists(st.text()),
        }
    )
)
def test_values_pass_through(values: dict[str, Any]):
    assembler = AutoAssembler(Piece)
    piece = assembler.to_domain(Dto.create(**values))
    now = datetime.now(UTC)
    stored = domain_replace(piece, pk=1, version=1, created_at=now, updated_at=now)
    read = assembler.to_read_dto(stored)
    assert read.model_dump(include=set(values)) == values
    assert assembler.apply_update(stored, Dto.update(**values)).name == values["name"]
    assert type(read).model_validate_json(read.model_dump_json()) == read


def test_everything_goes_through_json():
    from varco_domain.testing._models import Address, Color, Everything

    dtos = generate_dtos(Everything)
    created = dtos.create(
        text="naïve ☃",
        number=2**53 + 1,
        real=0.1,
        flag=True,
        data=b"\x00\xff",
        amount=Decimal("123456789.1234"),
        moment=datetime(2024, 2, 29, 12, tzinfo=UTC),
        day=date(2024, 2, 29),
        clock=time(23, 59, 59, 999999),
        span=timedelta(days=-3, microseconds=7),
        token=UUID(int=7),
        color=Color.GREEN,
        level="high",
        tags=["a"],
        options={"x": [1, 2.5, None, {"y": "z"}]},
        address=Address(city="Roma", since=date(2000, 1, 1)),
    )
    text = created.model_dump_json()
    assert dtos.create.model_validate_json(text) == created
    assembler = AutoAssembler(Everything)
    read: Any = assembler.to_read_dto(domain_replace(assembler.to_domain(created), pk=UUID(int=1)))
    assert dtos.read.model_validate_json(read.model_dump_json()) == read
    assert read.data == b"\x00\xff"
    changed = assembler.apply_update(
        Everything(**dict(created)), dtos.update.model_validate_json(text)
    )
    assert changed.address == created.address
    schema = dtos.update.model_json_schema()["properties"]
    assert not [n for n, s in schema.items() if n.startswith(("text", "maybe")) and "default" in s]


def test_names_that_dtos_have_another_use_for():
    class Named(DomainModel):
        json: str
        copy: int

    assert generate_dtos(Named).create(json="a", copy=1).json == "a"
    for name in ("op", "expected_version", "model_config"):
        body: dict[str, Any] = {"__annotations__": {name: str}, "__module__": __name__}
        with pytest.raises(ModelDefinitionError, match=f"Taken.{name}"):
            generate_dtos(type("Taken", (DomainModel,), body))


class Card(TenantSoftDeleteVersionedDomainModel):
    name: str
    owner: str
    color: str = "red"

    @property
    def initial(self) -> str:
        return self.name[0]


class NewCard(CreateDTO):
    name: str
    owner: str


class CardRead(ReadDTO):
    name: str
    initial: str
    extra: int = 1


class ChangeCard(UpdateDTO):
    color: str = ""


def test_dtos_of_ones_own_fit_or_are_refused():
    class Fine(AutoAssembler[Card, NewCard, CardRead, ChangeCard]):
        pass

    assert Fine().to_domain(NewCard(name="a", owner="b")).color == "red"

    class Typo(NewCard):
        colour: str

    class Stealing(NewCard):
        tenant_id: str

    class Incomplete(CreateDTO):
        name: str

    class Absent(CardRead):
        nothing: str

    class Moving(ChangeCard):
        version: int = 0

    wrong = [
        (Typo, CardRead, ChangeCard, r"Typo\.colour"),
        (Stealing, CardRead, ChangeCard, r"Stealing\.tenant_id"),
        (Incomplete, CardRead, ChangeCard, r"Incomplete\.owner"),
        (NewCard, Absent, ChangeCard, r"Absent\.nothing"),
        (NewCard, CardRead, Moving, r"Moving\.version"),
    ]
    for create, read, update, message in wrong:

        class Wrong(AutoAssembler[Card, create, read, update]):
            pass

        with pytest.raises(ModelDefinitionError, match=message):
            Wrong()

    class Own(AutoAssembler[Card, Typo, CardRead, ChangeCard]):
        def to_domain(self, dto):
            return Card(name=dto.name, owner=dto.owner, color=dto.colour)

    assert Own().to_domain(Typo(name="a", owner="b", colour="blue")).color == "blue"


def test_pages_by_offset():
    params = QueryParams(sort=(SortField("pk"),), limit=2, offset=2)
    page = paged_response([1, 2], params=params, total_count=5, raw_query="a = 1")
    assert page.next == PageCursor(
        limit=2, offset=4, sort=[{"field": "pk", "order": "ASC"}], query="a = 1"
    )
    assert paged_response([1], params=params, total_count=3).next is None
    assert paged_response([1], params=params).next is None
    assert paged_response([], params=QueryParams()).next is None
