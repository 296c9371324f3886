"""The DTOs of typing_models, written by the command below; edits by hand are lost.

python -m varco_domain.dto typing_models --write typing_dtos.py --exclude Product.cost --include expected_version --line-length 100
"""  # noqa: E501

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from varco_domain.dto import AuditedReadDTO, CreateDTO, ReadDTO, UpdateDTO, unset

from typing_models import Address, Bag, Color, Coupon, Point, Product, Seat


class NewProduct(CreateDTO, model=Product, exclude=("cost",)):
    """What makes a Product."""

    name: str
    price: int
    state: Literal["a-rather-long-state-of-things", "another-state-that-is-long", "third"]
    on_sale: bool = unset()
    color: Color = unset()
    kind: Point.Kind = unset()
    tags: list[str] = unset()
    home: Address | None = unset()
    bag: Bag | None = unset()
    extra: dict[str, Any] = unset()
    pair: tuple[int, ...] = unset()
    day: date | None = unset()


class ProductRead(AuditedReadDTO, model=Product, exclude=("cost",)):
    """What is seen of a Product."""

    pk: int
    name: str
    price: int
    state: Literal["a-rather-long-state-of-things", "another-state-that-is-long", "third"]
    on_sale: bool
    color: Color
    kind: Point.Kind
    tags: list[str]
    home: Address | None
    bag: Bag | None
    extra: dict[str, Any]
    pair: tuple[int, ...]
    day: date | None
    version: int
    deleted_at: datetime | None


class ChangeProduct(UpdateDTO, model=Product, exclude=("cost",)):
    """What changes a Product."""

    name: str = unset()
    price: int = unset()
    state: Literal["a-rather-long-state-of-things", "another-state-that-is-long", "third"] = unset()
    on_sale: bool = unset()
    color: Color = unset()
    kind: Point.Kind = unset()
    tags: list[str] = unset()
    home: Address | None = unset()
    bag: Bag | None = unset()
    extra: dict[str, Any] = unset()
    pair: tuple[int, ...] = unset()
    day: date | None = unset()
    expected_version: int | None = None


class NewSeat(CreateDTO, model=Seat):
    """What makes a Seat."""

    row: int
    number: int
    taken: bool = unset()


class SeatRead(ReadDTO, model=Seat):
    """What is seen of a Seat."""

    pk: tuple[int, int]
    row: int
    number: int
    taken: bool


class ChangeSeat(UpdateDTO, model=Seat):
    """What changes a Seat."""

    taken: bool = unset()


class NewCoupon(CreateDTO, model=Coupon):
    """What makes a Coupon."""

    text: str


class CouponRead(ReadDTO, model=Coupon):
    """What is seen of a Coupon."""

    pk: UUID
    text: str


class ChangeCoupon(UpdateDTO, model=Coupon):
    """What changes a Coupon."""

    text: str = unset()
