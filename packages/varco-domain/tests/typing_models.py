"""Models of all kinds of fields, whose DTOs are written into typing_dtos.py."""

import enum
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

from pydantic import BaseModel, Field

from varco_domain import (
    DomainModel,
    FieldHint,
    PrimaryKey,
    TenantSoftDeleteVersionedDomainModel,
    pk_field,
)


class Color(enum.Enum):
    RED = "red"


class Address(BaseModel):
    street: str


class Bag(TypedDict):
    a: int


@dataclass
class Point:
    x: int

    class Kind(enum.Enum):
        A = 1


type Tags = list[Annotated[str, Field(min_length=1)]]


class Product(TenantSoftDeleteVersionedDomainModel):
    name: Annotated[str, FieldHint(max_length=100)]
    price: int
    state: Literal["a-rather-long-state-of-things", "another-state-that-is-long", "third"]
    on_sale: bool = False
    color: Color = Color.RED
    kind: Point.Kind = Point.Kind.A
    tags: Tags = field(default_factory=list[str])
    home: Address | None = None
    bag: Bag | None = None
    extra: dict[str, Any] = field(default_factory=lambda: {"a": 1})
    pair: tuple[int, ...] = ()
    cost: Decimal | None = None
    day: date | None = None


class Seat(DomainModel):
    row: Annotated[int, PrimaryKey()]
    number: Annotated[int, PrimaryKey()]
    taken: bool = False


class Coupon(DomainModel):
    pk: Annotated[UUID, PrimaryKey()] = pk_field()
    text: str


class Base(DomainModel, abstract=True):
    z: int
