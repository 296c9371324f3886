"""Wrong declarations fail at class creation and name the field."""

import copy
import dataclasses
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pydantic
import pytest

from varco_domain import (
    AuditedDomainModel,
    CheckConstraint,
    DomainModel,
    DomainModelRegistry,
    FieldHint,
    FieldRole,
    ForeignKey,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    PKStrategy,
    PrimaryKey,
    Relationship,
    SoftDeleteDomainModel,
    SoftDeleteMixin,
    TenantDomainModel,
    TenantMixin,
    TenantSoftDeleteVersionedDomainModel,
    UniqueConstraint,
    VersionedDomainModel,
    cast_raw,
    domain_replace,
    pk_field,
    register,
)
from varco_domain.backend import FieldKind, MetaReader


class Level(IntEnum):
    LOW = 1


class Inner(pydantic.BaseModel):
    x: int


@dataclass
class Plain:
    x: int


def declare(**annotations: Any) -> type[DomainModel]:
    defaults = annotations.pop("defaults", {})
    meta = annotations.pop("Meta", None)
    body: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__, **defaults}
    if meta is not None:
        body["Meta"] = type("Meta", (), meta)
    return type("Wrong", (DomainModel,), body)


@pytest.mark.parametrize(
    ("declaration", "guilty", "reason"),
    [
        ({"bad": set[str]}, "bad", "unsupported type"),
        ({"bad": complex}, "bad", "unsupported type"),
        ({"bad": object}, "bad", "unsupported type"),
        ({"bad": type("MyStr", (str,), {})}, "bad", "subclass of str"),
        ({"bad": Literal[1, "a"]}, "bad", "all str"),
        ({"bad": Literal[1.5]}, "bad", "all str"),
        ({"bad": int | UUID}, "bad", "no JSON value"),
        ({"bad": Annotated[int, FieldHint(max_length=3)]}, "bad", "max_length"),
        ({"bad": Annotated[str, FieldHint(precision=3)]}, "bad", "Decimal"),
        ({"bad": Annotated[str, FieldHint(nullable=True)]}, "bad", "contradicts"),
        ({"bad": Annotated[str | None, FieldHint(nullable=False)]}, "bad", "contradicts"),
        ({"bad": Annotated[str, FieldHint]}, "bad", "not the class itself"),
        ({"bad": Annotated[int, ForeignKey("x", on_delete="DROP")]}, "bad", "'DROP'"),
        ({"bad": Annotated[int, ForeignKey("x", on_delete="SET NULL")]}, "bad", "optional"),
        ({"bad": Annotated[int, PrimaryKey()]}, "bad", "called 'pk'"),
        ({"pk": int, "bad": Annotated[int, PrimaryKey()]}, "bad", "beside"),
        ({"pk": Annotated[int | None, PrimaryKey()]}, "pk", "never null"),
        ({"pk": Annotated[str, PrimaryKey(PKStrategy.INT_AUTO)]}, "pk", "needs a key of type int"),
        ({"pk": Annotated[list[int], PrimaryKey()]}, "pk", "scalar"),
        ({"pk": Any}, "pk", "needs a type"),
        (
            {
                "a": Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)],
                "b": Annotated[int, PrimaryKey()],
            },
            "a",
            "composite",
        ),
        ({"bad": list[int], "defaults": {"bad": []}}, "bad", "default_factory=list"),
        ({"_bad": int}, "_bad", "underscore"),
        ({"raw": int}, "raw", "method"),
        ({"defaults": {"bad": pk_field()}}, "bad", "annotation"),
        ({"bad": Annotated[str, FieldRole.VERSION]}, "bad", "needs int"),
        ({"bad": Annotated[datetime, FieldRole.DELETED_AT]}, "bad", "optional"),
        (
            {"a": Annotated[int, FieldRole.VERSION], "bad": Annotated[int, FieldRole.VERSION]},
            "bad",
            "already",
        ),
        ({"a": int, "Meta": {"constraints": (UniqueConstraint("a", "bad"),)}}, "bad", "no field"),
        ({"a": int, "Meta": {"constraints": ("x > 1",)}}, None, "holds constraints"),
        ({"a": int, "Meta": {"relationships": (1,)}}, None, "Relationship"),
        ({"__slots__": int, "defaults": {"__slots__": ("a",)}}, None, "slots"),
    ],
)
def test_wrong_declarations(declaration: dict[str, Any], guilty: str | None, reason: str):
    with pytest.raises(ModelDefinitionError) as caught:
        declare(**declaration)
    assert caught.value.field == guilty
    assert reason in str(caught.value)
    assert str(caught.value).startswith("Wrong" if guilty is None else f"Wrong.{guilty}")


def test_a_mixin_has_to_be_a_dataclass():
    class Loose:
        seen: int = 0

    with pytest.raises(ModelDefinitionError, match=r"Thing\.seen.*decorate the mixin"):

        class Thing(Loose, DomainModel):
            name: str

    @dataclass(kw_only=True)
    class Tight:
        seen: int = 0
        limit: ClassVar[int] = 3

    class Fine(Tight, DomainModel):
        name: str

    assert Fine(name="a", seen=2).seen == 2


def test_kinds():
    class Everything(DomainModel):
        a: str | None
        b: Level
        c: Literal["x", "y"]
        d: list[int]
        e: Plain
        f: Inner | None
        g: int | str | None
        h: Any
        i: Annotated[Decimal, FieldHint(precision=5, scale=2), "kept"]
        j: dict[str, Any] = field(default_factory=dict)

    fields = MetaReader.read(Everything).fields
    assert [f.kind for f in fields.values()] == [
        FieldKind.INT,
        FieldKind.STR,
        FieldKind.ENUM,
        FieldKind.LITERAL,
        *[FieldKind.JSON] * 5,
        FieldKind.DECIMAL,
        FieldKind.JSON,
    ]
    assert [n for n, f in fields.items() if f.nullable] == ["a", "f", "g"]
    assert fields["c"].choices == ("x", "y")
    assert fields["i"].extra == ("kept",)
    assert fields["j"].has_default
    assert not fields["d"].has_default
    assert MetaReader.read(Everything) is MetaReader.read(Everything)
    with pytest.raises(ModelDefinitionError):
        declare(x=OrderedDict[str, int])


def test_names_of_tables_and_metadata():
    class BlogPost(DomainModel):
        a: int

    class Category(DomainModel):
        a: int

    class HTTPBox(DomainModel):
        class Meta:
            constraints = (CheckConstraint("a > 0"), UniqueConstraint("a", name="u"))
            relationships = (Relationship("posts", BlogPost),)

        a: int

    class Named(HTTPBox):
        class Meta:
            table = "things"

    assert [MetaReader.read(c).table for c in (BlogPost, Category, HTTPBox, Named)] == [
        "blog_posts",
        "categories",
        "http_boxes",
        "things",
    ]
    assert len(MetaReader.read(Named).constraints) == 2
    assert ForeignKey(Named, "a").resolve() == "things.a"
    assert not MetaReader.read(HTTPBox).is_composite_pk


def test_types_that_are_declared_later_are_an_error_at_first_use_only():
    class Early(DomainModel):
        later: "Later"  # noqa: F821 - defined below

    with pytest.raises(ModelDefinitionError, match=r"Early\.later.*'Later'"):
        MetaReader.read(Early)

    globals()["Later"] = int
    try:
        assert MetaReader.read(Early).fields["later"].kind is FieldKind.INT
    finally:
        del globals()["Later"]


def test_combinations_and_abstract_bases():
    class Base(TenantMixin, SoftDeleteMixin, VersionedDomainModel, abstract=True):
        shared: str = "s"

    class Leaf(Base):
        own: int

    meta = MetaReader.read(Leaf)
    assert list(meta.fields)[:3] == ["pk", "shared", "own"]
    assert meta.match_fields == ("version", "tenant_id")
    assert meta.deleted_at_field == "deleted_at"
    assert meta.system_fields == {
        "pk", "created_at", "updated_at", "version", "tenant_id", "deleted_at",
    }  # fmt: skip
    with pytest.raises(ModelDefinitionError, match="abstract"):
        InMemoryRepositoryProvider(Base)
    with pytest.raises(ModelDefinitionError, match="abstract"):
        register(Base)
    assert MetaReader.read(TenantSoftDeleteVersionedDomainModel).abstract


def test_registry_and_registration():
    before = DomainModelRegistry.all()

    @register
    class Thing(DomainModel):
        a: int

    try:
        register(Thing)
        assert DomainModelRegistry.all() == [*before, Thing]
    finally:
        DomainModelRegistry.clear()
        for model in before:
            register(model)

    class Other(DomainModel):
        class Meta:
            table = "things"

        a: int

    provider = InMemoryRepositoryProvider(Thing, Thing)
    with pytest.raises(ModelDefinitionError, match="already that of"):
        provider.register(Other)
    assert provider.models == (Thing,)


class Doc(AuditedDomainModel):
    title: str
    tags: list[str] = field(default_factory=list)


def test_copies_pickles_and_raw():
    doc = Doc(title="a")
    for broken in (doc.raw, lambda: cast_raw(doc, dict)):
        with pytest.raises(LookupError):
            broken()
    stored = domain_replace(doc, pk=1)
    stored._raw_orm = {"row": 1}
    assert cast_raw(stored, dict) == {"row": 1}
    with pytest.raises(TypeError, match="not a list"):
        cast_raw(stored, list)
    for twin in (pickle.loads(pickle.dumps(stored)), copy.copy(stored), copy.deepcopy(stored)):
        assert twin == stored
        assert twin.is_persisted()
        with pytest.raises(LookupError):
            twin.raw()
    changed = domain_replace(stored, title="b")
    assert changed.is_persisted()
    assert changed.raw() == {"row": 1}
    assert stored.title == "a"
    with pytest.raises(ModelDefinitionError, match="no such field"):
        domain_replace(stored, nothing=1)
    assert dataclasses.asdict(doc)["tags"] == []
    assert dataclasses.replace(doc, title="z").title == "z"


def test_a_field_declared_again_keeps_its_own_default():
    class Child(Doc):
        tags: list[str]
        pk: Annotated[UUID, PrimaryKey()]

    one, two = Child(title="a"), Child(title="a")
    one.tags.append("x")
    assert two.tags == []
    assert one.pk is None
    assert MetaReader.read(Child).pk_strategy is PKStrategy.UUID_AUTO
    assert MetaReader.read(Doc).pk_strategy is PKStrategy.INT_AUTO


def test_enums_are_kept_whole():
    class Size(Enum):
        S = "s"

    class Shirt(DomainModel):
        size: Size = Size.S

    assert MetaReader.read(Shirt).fields["size"].python_type is Size


def test_a_field_that_is_declared_again_keeps_its_role():
    class Note(TenantDomainModel):
        tenant_id: Annotated[str, FieldHint(max_length=36)] = ""

    class Draft(VersionedDomainModel):
        version: int = 0

    assert MetaReader.read(Note).tenant_field == "tenant_id"
    assert MetaReader.read(Note).fields["tenant_id"].hint.max_length == 36
    assert MetaReader.read(Draft).version_field == "version"


def test_a_role_cannot_be_taken_away():
    with pytest.raises(ModelDefinitionError, match="version"):

        class Package(VersionedDomainModel):
            version: str

    with pytest.raises(ModelDefinitionError, match="tenant_id"):

        class Shared(TenantDomainModel):
            tenant_id: ClassVar[str] = "everybody"

    with pytest.raises(ModelDefinitionError, match="tenant_id"):

        class Computed(TenantDomainModel):
            @property
            def tenant_id(self):
                return "everybody"

    with pytest.raises(ModelDefinitionError, match="created_at"):

        class Twisted(AuditedDomainModel):
            created_at: Annotated[datetime, FieldRole.UPDATED_AT]


@pytest.mark.parametrize("values", [["a", 1], [1.5], [True], [], ["a\0"], [2**63]])
def test_an_enum_that_could_not_be_stored_is_refused(values):
    members = {f"M{number}": value for number, value in enumerate(values)}
    with pytest.raises(ModelDefinitionError, match="kind"):
        type("Odd", (DomainModel,), {"__annotations__": {"kind": Enum("Kind", members)}})


def test_names_that_engines_do_not_keep_apart_are_refused():
    with pytest.raises(ModelDefinitionError, match=r"A\.userId: .* same name as 'userid'"):

        class A(DomainModel):
            userid: int
            userId: int  # noqa: N815 - as somebody may write it

    with pytest.raises(ModelDefinitionError, match="more than 63 bytes"):

        class B(DomainModel):
            class Meta:
                table = "t" * 64

    with pytest.raises(ModelDefinitionError, match=r"C\.ä+: .* more than 63 bytes"):
        type("C", (DomainModel,), {"__annotations__": {"ä" * 32: int}})


def test_a_reference_has_the_type_of_what_it_refers_to():
    class Parent(DomainModel):
        code: Annotated[str, FieldHint(unique=True)]

    class Child(DomainModel):
        by_key: Annotated[int | None, ForeignKey(Parent)] = None
        by_code: Annotated[str | None, ForeignKey(Parent, field="code")] = None

    del Child
    with pytest.raises(ModelDefinitionError, match=r"Odd\.parent: it is stored as str, .* as int"):

        class Odd(DomainModel):
            parent: Annotated[str, ForeignKey(Parent)]

    with pytest.raises(ModelDefinitionError, match=r"Lost\.parent: Parent has no field 'cod'"):

        class Lost(DomainModel):
            parent: Annotated[str, ForeignKey(Parent, field="cod")]


def test_a_reference_is_to_what_is_unique_among_all_rows():
    class Shelf(SoftDeleteDomainModel):
        code: Annotated[str, FieldHint(unique=True)]

    class Label(DomainModel):
        text: str
        code: str

        class Meta:
            constraints = (UniqueConstraint("code"),)

    class Fine(DomainModel):
        shelf: Annotated[int, ForeignKey(Shelf)]
        label: Annotated[str, ForeignKey(Label, field="code")]

    del Fine
    with pytest.raises(ModelDefinitionError, match=r"ByCode\.shelf: .* not unique among all rows"):

        class ByCode(DomainModel):
            shelf: Annotated[str, ForeignKey(Shelf, field="code")]

    with pytest.raises(ModelDefinitionError, match=r"ByText\.label: .* not unique among all rows"):

        class ByText(DomainModel):
            label: Annotated[str, ForeignKey(Label, field="text")]
