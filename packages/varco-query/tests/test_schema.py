from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, ClassVar, Literal, NewType, Optional
from uuid import UUID

import pydantic
import pytest

from varco_query import (
    CoercionError,
    F,
    InvalidNodeError,
    Operation,
    OperationNotSupportedError,
    QueryField,
    QueryParams,
    QueryParser,
    QuerySchema,
    SortField,
    UnknownFieldError,
    from_json,
)

type Alias = int
UserId = NewType("UserId", int)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Author:
    name: str
    secret: bytes = b""


@dataclass
class Post:
    table: ClassVar[str] = "posts"
    pk: int
    title: Annotated[str, "anything"]
    ratio: float | None
    price: Optional[Decimal]  # noqa: UP045  # both spellings
    published: bool
    created_at: datetime
    born: date
    at: time
    span: timedelta
    uid: UUID
    color: Color
    level: Level
    kind: Literal["a", "b"]
    alias: Alias
    user: UserId
    tags: list[str] = field(default_factory=list)
    author: Author | None = None
    either: int | str = 0
    anything: object = None
    _private: int = 0


class PostModel(pydantic.BaseModel):
    pk: int
    title: Annotated[str, pydantic.Field(max_length=5)]
    color: Color | None = None
    tags: list[str] = []


schema = QuerySchema.of(Post)


def test_of_a_dataclass():
    names = "pk title ratio price published created_at born at span uid color level kind alias user"
    assert list(schema.fields) == names.split()  # one line reads better


def test_of_a_pydantic_model():
    assert QuerySchema.of(PostModel).fields == ("pk", "title", "color")


def test_include_exclude_aliases_and_relations():
    chosen = QuerySchema.of(
        Post,
        include=["pk", "title", "created_at", "_private"],
        exclude=["title"],
        aliases={"created": "created_at"},
        relations={"author": QuerySchema.of(Author)},
    )
    assert chosen.fields == ("pk", "created_at", "_private", "author.name", "created")
    parse = QueryParser(chosen).parse_node
    assert parse("author.name = 'x'") == (F.author.name == "x")
    assert parse("created IS NULL") == F.created_at.is_null()
    assert chosen.coerce_sort([SortField("created")]) == (SortField("created_at"),)
    with pytest.raises(UnknownFieldError):
        parse("author.secret = 'x'")
    with pytest.raises(UnknownFieldError):
        parse("author = 'x'")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: QuerySchema.of(Post, include=["nope"]),
        lambda: QuerySchema.of(Post, include=["tags"]),
        lambda: QuerySchema.of(Post, exclude=["nope"]),
        lambda: QuerySchema({"a": int}, aliases={"b": "c"}),
        lambda: QuerySchema({"__class__": int}),
        lambda: QuerySchema({"a": QueryField(int, name="a b")}),
    ],
)
def test_fields_that_are_not_there(wrong):
    with pytest.raises(UnknownFieldError):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: QuerySchema({"a": list}),
        lambda: QuerySchema({"a": object}),
        lambda: QuerySchema.of(int),
    ],
)
def test_types_that_queries_do_not_know(wrong):
    with pytest.raises(InvalidNodeError):
        wrong()


def test_annotations_that_cannot_be_resolved():
    @dataclass
    class Late:
        pk: "Missing"  # noqa: F821  # that is the point

    with pytest.raises(InvalidNodeError, match="Missing"):
        QuerySchema.of(Late)


def test_an_empty_schema_allows_nothing():
    parser = QueryParser(QuerySchema())
    for text in ("a = 1", "a IS NULL", "a IN ()"):
        with pytest.raises(UnknownFieldError):
            parser.parse_node(text)
    with pytest.raises(UnknownFieldError):
        parser.parse(sort="a")


EQ = Operation.EQUAL


@pytest.mark.parametrize(
    ("name", "value", "coerced"),
    [
        ("pk", 5, 5),
        ("pk", Decimal("5.0"), 5),
        ("pk", 5.0, 5),
        ("pk", 10**30, 10**30),
        ("ratio", 1, 1.0),
        ("ratio", Decimal("0.1"), 0.1),
        ("price", 1, Decimal(1)),
        ("price", 0.1, Decimal("0.1")),
        ("price", Decimal("0.10"), Decimal("0.10")),
        ("published", True, True),
        ("title", "x", "x"),
        ("created_at", date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        ("created_at", "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("created_at", "2026-01-31T01:00:00+01:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("created_at", "2026-01-31T00:00:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("born", "2026-01-31", date(2026, 1, 31)),
        ("at", "08:30", time(8, 30)),
        ("span", "P1DT2H", timedelta(days=1, hours=2)),
        ("span", "-PT1M", timedelta(minutes=-1)),
        ("uid", "12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
        ("color", Color.RED, "red"),
        ("color", "blue", "blue"),
        ("level", 2, 2),
        ("kind", "a", "a"),
        ("alias", 1, 1),
        ("user", 1, 1),
    ],
)
def test_coercion(name, value, coerced):
    for op in (EQ, Operation.IN):
        node = schema.comparison(name, op, [value] if op is Operation.IN else value)
        found = node.value[0] if op is Operation.IN else node.value
        assert (found, type(found)) == (coerced, type(coerced))
        assert schema.coerce(node) is node


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pk", "5"),
        ("pk", True),
        ("pk", Decimal("5.5")),
        ("pk", 5.5),
        ("ratio", 10**400),
        ("ratio", "1"),
        ("price", "1"),
        ("price", True),
        ("published", 1),
        ("published", "true"),
        ("title", 5),
        ("created_at", 5),
        ("created_at", "yesterday"),
        ("created_at", "2026-02-30"),
        ("created_at", "20260131"),
        ("born", datetime(2026, 1, 31, tzinfo=UTC)),
        ("born", "2026-W05"),
        ("at", "25:00"),
        ("span", "1 day"),
        ("span", "P1Y"),
        ("uid", "x"),
        ("color", "green"),
        ("color", "RED"),
        ("level", 3),
        ("level", True),
        ("kind", "c"),
    ],
)
def test_what_does_not_fit(name, value):
    with pytest.raises(CoercionError) as caught:
        schema.comparison(name, EQ, value)
    assert caught.value.field == name
    assert name in str(caught.value)
    with pytest.raises(CoercionError):
        schema.comparison(name, Operation.IN, [value])


def test_operations_follow_the_type_and_can_be_restricted():
    by_hand = QuerySchema(
        {
            "title": QueryField(str, operations=frozenset({EQ})),
            "score": QueryField(int, choices=(1, 2, 3)),
            "shown": QueryField(int, name="hidden", sortable=False),
            "flag": bool,
        }
    )
    assert by_hand.field("title") == QueryField(str, frozenset({EQ}), "title")
    assert Operation.LESS_THAN not in by_hand.field("flag").operations
    with pytest.raises(OperationNotSupportedError, match="title"):
        by_hand.comparison("title", Operation.LIKE, "x%")
    with pytest.raises(OperationNotSupportedError, match="title"):
        by_hand.comparison("title", EQ, None)
    with pytest.raises(CoercionError, match="one of 1, 2 or 3"):
        by_hand.comparison("score", EQ, 4)
    assert by_hand.comparison("shown", EQ, 1).field == "hidden"
    with pytest.raises(UnknownFieldError):
        by_hand.coerce_sort([SortField("shown")])
    with pytest.raises(UnknownFieldError):
        by_hand.field("nope")
    for op, value in [(Operation.LIKE, "a"), (Operation.CONTAINS, "a"), (Operation.ILIKE, "a")]:
        with pytest.raises(OperationNotSupportedError):
            schema.comparison("pk", op, value)


def test_trees_and_params_are_coerced():
    node = (F.pk == Decimal(1)) & ~(F.created_at > "2026-01-31") | F.title.like("a%")
    coerced = schema.coerce(node)
    assert coerced == (F.pk == 1) & ~(
        F.created_at > datetime(2026, 1, 31, tzinfo=UTC)
    ) | F.title.like("a%")
    params = QueryParams(node, [SortField("pk")], 5, 6, "cursor")
    assert schema.coerce_params(params) == QueryParams(coerced, [SortField("pk")], 5, 6, "cursor")
    assert schema.coerce_params(QueryParams()) == QueryParams()
    with pytest.raises(UnknownFieldError):
        schema.coerce(node & (F.nope == 1))


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (datetime, "2026-01-31T08:00:00.1234567Z", "more than six digits"),
        (time, "08:00:00.00000001", "more than six digits"),
        (timedelta, "PT0.1234567S", "more than six digits"),
        (datetime, "2026-02-30T08:00", "does not exist"),
        (date, "2026-02-30", "does not exist"),
        (timedelta, "PT", "is not of the form"),
    ],
)
def test_a_text_that_is_nearly_of_the_type_is_told_why_it_is_not(kind, text, reason):
    with pytest.raises(CoercionError, match=reason) as caught:
        QuerySchema({"x": kind}).comparison("x", Operation.EQUAL, text)
    assert reason in caught.value.reason
    name = {datetime: "datetime", date: "date", time: "time", timedelta: "duration"}[kind]
    with pytest.raises(InvalidNodeError, match=reason):
        from_json(f'[["x","=",{{"{name}":"{text}"}}]]')


def test_zeros_after_the_sixth_digit_are_nothing():
    schema = QuerySchema({"x": datetime})
    node = schema.comparison("x", Operation.EQUAL, "2026-01-31T08:00:00.1234560000Z")
    assert node.value == datetime(2026, 1, 31, 8, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [("text", "x\0"), ("text", "\ud800"), ("number", 10**9_000), ("real", float("nan"))],
    ids=["NUL", "half a surrogate", "too many digits", "not a number"],
)
def test_a_value_of_the_right_type_that_no_engine_stores_is_refused(field, value):
    schema = QuerySchema({"text": str, "number": int, "real": float})
    for op, given in (
        (Operation.EQUAL, value),
        (Operation.NOT_IN, [value]),
        (Operation.BETWEEN, [value, value]),
    ):
        with pytest.raises(InvalidNodeError):
            schema.comparison(field, op, given)
