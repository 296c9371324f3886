"""The models that the contract suite stores."""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from varco_domain.meta import (
    CheckConstraint,
    FieldHint,
    ForeignKey,
    PKStrategy,
    PrimaryKey,
    UniqueConstraint,
    pk_field,
)
from varco_domain.model import (
    AuditedDomainModel,
    DomainModel,
    TenantDomainModel,
    TenantSoftDeleteDomainModel,
    TenantSoftDeleteVersionedDomainModel,
    VersionedDomainModel,
)

_NONE: Any = None


class Color(Enum):
    """An enum to store."""

    RED = "red"
    GREEN = "green"


@dataclass(kw_only=True)
class Address:
    """A nested value to store."""

    city: str
    since: date


class Everything(DomainModel):
    """One field of every kind, each with and without null."""

    class Meta:
        table: ClassVar[str] = "contract_everything"

    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()
    text: str
    number: int
    real: float
    flag: bool
    data: bytes
    amount: Annotated[Decimal, FieldHint(precision=20, scale=4)]
    moment: datetime
    day: date
    clock: time
    span: timedelta
    token: UUID
    color: Color
    level: Literal["low", "high"]
    tags: list[str]
    options: dict[str, Any]
    address: Address
    maybe_text: str | None = None
    maybe_number: int | None = None
    maybe_real: float | None = None
    maybe_flag: bool | None = None
    maybe_data: bytes | None = None
    maybe_amount: Annotated[Decimal | None, FieldHint(precision=20, scale=4)] = None
    maybe_moment: datetime | None = None
    maybe_day: date | None = None
    maybe_clock: time | None = None
    maybe_span: timedelta | None = None
    maybe_token: UUID | None = None
    maybe_color: Color | None = None
    maybe_level: Literal["low", "high"] | None = None
    maybe_tags: list[str] | None = None
    maybe_address: Address | None = None


class Size(IntEnum):
    """An enum of numbers to store."""

    SMALL = 1
    LARGE = 20


class Rights(IntFlag):
    """Members that combine."""

    READ = 1
    WRITE = 2


class Place(BaseModel):
    """A pydantic model to store, whose fields have other names outside."""

    model_config = ConfigDict(alias_generator=to_camel)

    street_name: str
    height: float = 0.0


class Kept(DomainModel):
    """One field of every type, with and without limits; what it takes comes back."""

    class Meta:
        table: ClassVar[str] = "contract_kept"

    text: str | None = None
    short: Annotated[str | None, FieldHint(max_length=5)] = None
    indexed: Annotated[str | None, FieldHint(index=True)] = None
    number: int | None = None
    real: float | None = None
    flag: bool | None = None
    data: bytes | None = None
    exact: Decimal | None = None
    money: Annotated[Decimal | None, FieldHint(precision=12, scale=2)] = None
    whole: Annotated[Decimal | None, FieldHint(scale=0)] = None
    moment: datetime | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    token: UUID | None = None
    color: Color | None = None
    size: Size | None = None
    rights: Rights | None = None
    level: Literal["low", "high"] | None = None
    step: Literal[1, 2] | None = None
    anything: Any | None = None
    tags: list[str] | None = None
    scores: list[float] | None = None
    options: dict[str, Any] | None = None
    pair: tuple[int, str] | None = None
    either: int | str | list[int] | None = None
    address: Address | None = None
    place: Place | None = None


class Entry(DomainModel):
    """A row whose key may be given, and is counted otherwise."""

    class Meta:
        table: ClassVar[str] = "contract_entries"

    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = field(default=_NONE)
    name: Annotated[str, FieldHint(unique=True, max_length=20)]
    note: str = ""


class Node(DomainModel):
    """A row that refers to others of its kind."""

    class Meta:
        table: ClassVar[str] = "contract_nodes"

    parent: Annotated[int | None, ForeignKey("contract_nodes", on_delete="RESTRICT")] = None


class Item(VersionedDomainModel):
    """A versioned, audited row with limits."""

    class Meta:
        table: ClassVar[str] = "contract_items"
        constraints = (
            UniqueConstraint("group", "position", name="uq_contract_items_place"),
            CheckConstraint("price >= 0", name="ck_contract_items_price"),
        )

    name: Annotated[str, FieldHint(max_length=40)]
    price: int = 0
    rank: int | None = None
    group: str = "a"
    position: int | None = None
    tags: list[str] = field(default_factory=list[str])


class Label(DomainModel):
    """A row with an assigned key and no version."""

    class Meta:
        table: ClassVar[str] = "contract_labels"

    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)
    text: Annotated[str, FieldHint(unique=True, max_length=100)]


class Cell(AuditedDomainModel):
    """A row with a composite key."""

    class Meta:
        table: ClassVar[str] = "contract_cells"

    row: Annotated[int, PrimaryKey()]
    col: Annotated[str, PrimaryKey(), FieldHint(max_length=20)]
    value: str | None = None


class Parent(DomainModel):
    """A row that others refer to."""

    class Meta:
        table: ClassVar[str] = "contract_parents"

    name: str


class Child(DomainModel):
    """A row that refers to others in all ways."""

    class Meta:
        table: ClassVar[str] = "contract_children"

    owner: Annotated[int | None, ForeignKey(Parent, on_delete="CASCADE")] = None
    friend: Annotated[int | None, ForeignKey(Parent, on_delete="SET NULL")] = None
    keeper: Annotated[int | None, ForeignKey(Parent, on_delete="RESTRICT")] = None


class Document(TenantSoftDeleteVersionedDomainModel):
    """A tenant's row with an owner, a version and soft deletion."""

    class Meta:
        table: ClassVar[str] = "contract_documents"
        constraints = (UniqueConstraint("tenant_id", "slug", name="uq_contract_documents_slug"),)

    title: Annotated[str, FieldHint(max_length=100)]
    owner_id: Annotated[str | None, FieldHint(max_length=50)] = None
    rank: int | None = None
    slug: Annotated[str | None, FieldHint(max_length=50)] = None


class Remark(TenantDomainModel):
    """A tenant's row that refers to another one."""

    class Meta:
        table: ClassVar[str] = "contract_remarks"

    document: Annotated[int, ForeignKey(Document, on_delete="CASCADE", on_soft_delete="KEEP")]
    text: str


class Folder(TenantSoftDeleteVersionedDomainModel):
    """A tenant's row that others refer to, and that is marked deleted."""

    class Meta:
        table: ClassVar[str] = "contract_folders"

    name: Annotated[str, FieldHint(max_length=50)]
    owner_id: Annotated[str | None, FieldHint(max_length=50)] = None
    inside: Annotated[int | None, ForeignKey("contract_folders", on_delete="CASCADE")] = None


class File(TenantSoftDeleteDomainModel):
    """A row that is marked with the one it refers to."""

    class Meta:
        table: ClassVar[str] = "contract_files"

    folder: Annotated[int, ForeignKey(Folder, on_delete="CASCADE")]
    note: Annotated[str | None, FieldHint(max_length=50)] = None


class Sheet(TenantSoftDeleteVersionedDomainModel):
    """A row that is marked with one that is marked with another."""

    class Meta:
        table: ClassVar[str] = "contract_sheets"

    file: Annotated[int, ForeignKey(File, on_delete="CASCADE")]


class Link(TenantDomainModel):
    """A row that forgets the one that is marked, and keeps another."""

    class Meta:
        table: ClassVar[str] = "contract_links"

    folder: Annotated[int | None, ForeignKey(Folder, on_delete="SET NULL")] = None
    kept: Annotated[int | None, ForeignKey(File, on_delete="CASCADE", on_soft_delete="KEEP")] = None


class Hold(TenantDomainModel):
    """A row that has to go before the one it refers to is marked."""

    class Meta:
        table: ClassVar[str] = "contract_holds"

    folder: Annotated[int, ForeignKey(Folder)]


MODELS: tuple[type[DomainModel], ...] = (
    Everything,
    Kept,
    Entry,
    Node,
    Item,
    Label,
    Cell,
    Parent,
    Child,
    Document,
    Remark,
    Folder,
    File,
    Sheet,
    Link,
    Hold,
)
"""All models of the suite; a provider factory has to make tables for them."""
