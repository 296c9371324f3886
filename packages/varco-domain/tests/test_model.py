from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from varco_domain.meta import FieldHint, ForeignKey, MetaReader, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import (
    AuditedDomainModel,
    DomainModel,
    TenantSoftDeleteVersionedDomainModel,
)


class Post(AuditedDomainModel):
    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=200)]
    body: str
    published: bool = False


@dataclass(kw_only=True)
class Order(DomainModel):
    quantity: int
    total: float
    tags: list[str] = field(default_factory=list)


@dataclass
class Discounted(Order):
    percent: int
    note: str = "none"


def test_a_subclass_is_a_keyword_only_dataclass():
    post = Post(title="a", body="b")
    assert (post.pk, post.created_at, post.published) == (None, None, False)
    with pytest.raises(TypeError):
        Post("a", "b")
    with pytest.raises(TypeError):
        Post(pk=1, title="a", body="b")


def test_an_explicit_dataclass_changes_nothing():
    order = Order(quantity=1, total=2.0)
    assert order.tags == []
    assert order.pk is None
    assert MetaReader.read(Order).pk_strategy is PKStrategy.INT_AUTO
    discounted = Discounted(quantity=1, total=2.0, percent=3)
    assert discounted.tags == []
    assert discounted.tags is not Discounted(quantity=1, total=2.0, percent=3).tags
    assert list(MetaReader.read(Discounted).fields) == [
        "pk", "quantity", "total", "tags", "percent", "note",
    ]  # fmt: skip


def test_identity():
    a, b = Order(quantity=1, total=1), Order(quantity=1, total=1)
    assert a != b
    assert hash(a) != hash(b)
    a.pk = b.pk = 7
    assert a == b
    assert hash(a) == hash(b)
    post = Post(title="", body="")
    post.pk = 7
    assert post != a


def test_composite_key():
    class Line(TenantSoftDeleteVersionedDomainModel):
        order_id: Annotated[int, PrimaryKey()]
        number: Annotated[int, PrimaryKey()]

    meta = MetaReader.read(Line)
    assert meta.pk_fields == ("order_id", "number")
    assert meta.is_composite_pk
    assert Line(order_id=1, number=2).pk == (1, 2)
    assert meta.match_fields == ("version", "tenant_id")


def test_references_to_local_classes():
    class Author(DomainModel):
        name: str

    class Book(DomainModel):
        author: Annotated[int, ForeignKey(Author, on_delete="CASCADE")]

    assert MetaReader.read(Book).foreign_keys["author"].resolve() == "authors.pk"
