"""Types under other names: aliases, renamed imports, type variables; and defaults without types."""

from __future__ import annotations

import sys
import types
import typing as tt
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from typing import ClassVar as OfClass

import pytest
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

import varco_domain as vd
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
    TenantDomainModel,
    UpdateDTO,
    generate_dtos,
)
from varco_domain import FieldHint as Hint
from varco_domain import PrimaryKey as Key
from varco_domain.backend import MetaReader
from varco_query import InvalidNodeError, QuerySchema

T = TypeVar("T")
Title = Annotated[str, FieldHint(max_length=3)]
Row = Annotated[int, Key()]
type Column = Annotated[str, Key(), FieldHint(max_length=5)]
type Maybe[V] = V | None
type Short[V] = Annotated[V, FieldHint(max_length=7)]


def test_aliases_of_annotated_types():
    class Post(DomainModel):
        title: Title
        note: Maybe[Title] = None
        code: Short[str] = ""
        kind: tt.ClassVar[str] = "post"
        other: OfClass[int] = 3

    fields = MetaReader.read(Post).fields
    assert list(fields) == ["pk", "title", "note", "code"]
    assert [fields[n].hint.max_length for n in ("title", "note", "code")] == [3, 3, 7]
    assert (fields["note"].nullable, fields["note"].annotation) == (True, str)
    with pytest.raises(ValueError, match="at most 3"):
        generate_dtos(Post).create(title="long")


def test_aliases_that_hold_the_key():
    class Cell(DomainModel):
        row: Row
        column: Column

    class Renamed(DomainModel):
        left: Annotated[int, Key()]
        right: Annotated[int, vd.PrimaryKey()]

    assert MetaReader.read(Cell).pk_fields == ("row", "column")
    assert Cell(row=1, column="a").pk == (1, "a")
    assert MetaReader.read(Renamed).pk_fields == ("left", "right")


def test_names_of_the_function_that_declares():
    Local = Annotated[str, Hint(max_length=9)]  # noqa: N806 - an alias of a type

    class Post(DomainModel):
        title: Local

    class Base[X](DomainModel, abstract=True):
        value: X
        title: Local

    class Child(Base[int]):
        pass

    assert MetaReader.read(Post).fields["title"].hint.max_length == 9
    assert MetaReader.read(Child).fields["title"].hint.max_length == 9


class Box[X](DomainModel, abstract=True):
    value: X
    many: list[X] = field(default_factory=list)
    maybe: X | None = None


class OldBox(DomainModel, tt.Generic[T], abstract=True):  # noqa: UP046 - the older spelling works as well
    value: T


class Middle[Y](Box[Y], abstract=True):
    more: Y


def test_generic_bases():
    class IntBox(Box[int]):
        pass

    class Deep(Middle[Title]):
        own: bool = True

    class OldInt(OldBox[int]):
        pass

    fields = MetaReader.read(IntBox).fields
    assert fields["value"].kind == "int"
    assert fields["many"].annotation == list[int]
    assert (fields["maybe"].kind, fields["maybe"].nullable) == ("int", True)
    fields = MetaReader.read(Deep).fields
    assert [fields[n].hint.max_length for n in ("value", "more", "maybe")] == [3, 3, 3]
    assert MetaReader.read(OldInt).fields["value"].kind == "int"
    InMemoryRepositoryProvider(IntBox, Deep, OldInt)


def test_a_type_that_stays_open():
    with pytest.raises(ModelDefinitionError, match=r"Loose\.value: .*open"):

        class Loose(Box):
            pass

    with pytest.raises(ModelDefinitionError, match="abstract base"):
        InMemoryRepositoryProvider(Box)


@dataclass(kw_only=True)
class Named:
    name: str = "plain"


class Renames:
    name = "mixed in"


def test_a_default_without_its_type_is_refused():
    class Post(DomainModel):
        title: str
        deleted: bool = False

    def with_a_default():
        class Own(Post):
            title = "x"

    def in_a_tenant():
        class Own(TenantDomainModel):
            tenant_id = "acme"

    def in_a_mixin():
        class Own(Renames, Named, DomainModel):
            pass

    def by_a_method():
        class Own(Post):
            def deleted(self):
                return False

    for declare, name in (
        (with_a_default, "title"),
        (in_a_tenant, "tenant_id"),
        (in_a_mixin, "name"),
        (by_a_method, "deleted"),
    ):
        with pytest.raises(ModelDefinitionError, match="without its type") as caught:
            declare()
        assert caught.value.field == name

    class Right(Post):
        title: str = "x"

    assert Right().title == "x"


@pytest.mark.parametrize(
    "hint",
    [
        {"max_length": 0},
        {"max_length": -5},
        {"max_length": "5"},
        {"max_length": True},
        {"unique": "no"},
        {"index": "yes"},
    ],
)
def test_hints_are_checked_where_they_are_declared(hint):
    with pytest.raises(ModelDefinitionError, match=rf"Wrong\.title: {next(iter(hint))}"):
        type("Wrong", (DomainModel,), {"__annotations__": {"title": Annotated[str, Hint(**hint)]}})


@pytest.mark.parametrize(
    "hint", [{"precision": 0}, {"precision": 3, "scale": 4}, {"scale": -1}, {"precision": 2.5}]
)
def test_digits_are_checked_where_they_are_declared(hint):
    from decimal import Decimal

    with pytest.raises(ModelDefinitionError, match=r"Wrong\.price: (precision|scale)"):
        type(
            "Wrong",
            (DomainModel,),
            {"__annotations__": {"price": Annotated[Decimal, Hint(**hint)]}},
        )


@pytest.mark.parametrize("name", ["tabel", "customize", "migrator", "ordering"])
def test_a_name_that_meta_does_not_have(name):
    with pytest.raises(ModelDefinitionError, match=f"Meta has no '{name}'"):
        type("Wrong", (DomainModel,), {"Meta": type("Meta", (), {name: ()})})


def test_a_table_is_a_name():
    with pytest.raises(ModelDefinitionError, match=r"Meta\.table"):
        type("Wrong", (DomainModel,), {"Meta": type("Meta", (), {"table": 5})})


camel = ConfigDict(alias_generator=to_camel)


class Article(DomainModel):
    post_title: str
    sub_title: str | None = None


class NewArticle(CreateDTO):
    model_config = camel
    post_title: str
    sub_title: str | None = None


class ArticleRead(ReadDTO):
    model_config = camel
    post_title: str
    sub_title: str | None


class ChangeArticle(UpdateDTO):
    model_config = camel
    post_title: str = ""


class ArticleAssembler(AutoAssembler[Article, NewArticle, ArticleRead, ChangeArticle]):
    pass


class Articles(AsyncService[Article, int, NewArticle, ArticleRead, ChangeArticle]):
    pass


@pytest.mark.anyio
async def test_dtos_in_camel_case():
    ctx = AuthContext("x", grants=(ResourceGrant("articles", frozenset(Action)),))
    service = Articles(
        InMemoryRepositoryProvider(Article), GrantBasedAuthorizer(), ArticleAssembler()
    )
    made = await service.create(NewArticle.model_validate({"postTitle": "x"}), ctx)
    assert (made.post_title, made.sub_title) == ("x", None)
    assert made.model_dump(by_alias=True) == {"pk": 1, "postTitle": "x", "subTitle": None}
    changed = await service.update(1, ChangeArticle.model_validate({"postTitle": "y"}), ctx)
    assert changed.post_title == "y"
    assert [row.post_title for row in await service.list(ctx=ctx)] == ["y"]


def test_dtos_whose_alias_nobody_has_are_refused():
    class Wrong(ReadDTO):
        model_config = camel
        no_such_field: str

    class WrongAssembler(AutoAssembler[Article, Any, Wrong, Any]):
        pass

    with pytest.raises(ModelDefinitionError, match="no_such_field"):
        WrongAssembler()


CHECKED_ONLY = """
from typing import TYPE_CHECKING, Annotated, ClassVar
from varco_domain import DomainModel, FieldHint

if TYPE_CHECKING:
    from elsewhere import Money, Renderer

class Label(DomainModel):
    text: Annotated[str, FieldHint(max_length=5)]
    by: ClassVar[dict[str, Renderer]]
    default: ClassVar[Renderer | None] = None
    inner: Later

    def rendered(self, by: Renderer) -> Money: ...

class Priced(DomainModel):
    price: Money

class Later(DomainModel):
    name: str
"""


@pytest.mark.parametrize("future", [True, False])
def test_names_that_only_type_checkers_import(future, monkeypatch):
    if not future and sys.version_info < (3, 14):
        pytest.skip("annotations are read when the class is made, before Python 3.14")
    module = types.ModuleType("labels")
    monkeypatch.setitem(sys.modules, "labels", module)
    flags = annotations.compiler_flag if future else 0
    exec(compile(CHECKED_ONLY, "labels.py", "exec", flags, dont_inherit=True), vars(module))
    with pytest.raises(vd.ModelDefinitionError, match=r"Priced\.price.*'Money'"):
        generate_dtos(module.Priced)
    module.Later = int  # a name of the module that is there when it is asked for
    assert list(generate_dtos(module.Label).create.model_fields) == ["text", "inner"]
    assert QuerySchema.of(module.Label).fields == ("pk", "text", "inner")
    with pytest.raises(InvalidNodeError, match="'Money' is not defined"):
        QuerySchema.of(module.Priced)
