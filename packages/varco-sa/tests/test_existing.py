"""Ordinary declarative columns compare as the model does in memory, on every engine."""

import enum
import warnings
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from varco_domain import (
    AuditedDomainModel,
    CheckViolationError,
    DomainModel,
    InMemoryRepositoryProvider,
    ModelValueError,
    StoredValueError,
)
from varco_domain.backend import RepositoryClassCreationFailed
from varco_query import F, QueryParams
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

pytestmark = pytest.mark.anyio


class State(enum.Enum):
    # Neither the names nor the order are those of the values.
    LIVE = "b-live"
    DRAFT = "a-draft"
    ZEN = "C-zen"


class Base(DeclarativeBase):
    pass


class OldPost(Base):
    __tablename__ = "old_posts"

    pk: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[State]  # SQLAlchemy's default: stored by name
    plain: Mapped[State] = mapped_column(sa.String(20))  # stored by value
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    zoned: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    naive: Mapped[datetime] = mapped_column(sa.DateTime())
    small: Mapped[int] = mapped_column(sa.SmallInteger)
    title: Mapped[str] = mapped_column(sa.String(50))
    rate: Mapped[float] = mapped_column(sa.Numeric(10, 3))
    lasts: Mapped[timedelta] = mapped_column(sa.Interval())
    code: Mapped[str] = mapped_column(sa.CHAR(5))


class Post(DomainModel):
    state: State
    plain: State
    price: Decimal
    zoned: datetime
    naive: datetime
    small: int
    title: str
    rate: float = 0.1
    lasts: timedelta = timedelta(hours=1)
    code: str = "ab"


NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
ROWS = [
    (State.LIVE, State.ZEN, "1.50", NOON, NOON, 1, "News"),
    (State.DRAFT, State.LIVE, "2", NOON + timedelta(hours=1), NOON, -5, "news"),
    (State.ZEN, State.DRAFT, "-0.75", NOON - timedelta(days=1), NOON + timedelta(days=1), 300, "É"),
    (State.LIVE, State.LIVE, "10.25", NOON, NOON - timedelta(seconds=1), 32_000, "Zebra"),
]
ELSEWHERE = NOON.astimezone(timezone(timedelta(hours=5)))
FILTERS = [
    F.state == State.LIVE,
    F.state != State.LIVE,
    F.state < "b",
    F.state >= State.LIVE,
    F.state.in_([State.ZEN, State.DRAFT]),
    F.state.startswith("a-"),
    F.state.ilike("c%"),
    F.plain == State.LIVE,
    F.plain > State.DRAFT,
    F.price == Decimal("1.50"),
    F.price == Decimal("1.505"),
    F.price > 1,
    F.price < 10**12,
    F.price != Decimal("1e300"),
    F.rate == 0.1,
    F.rate < 1e300,
    F.lasts < timedelta.max,
    F.lasts >= -timedelta(10**8),
    F.code.endswith("b"),
    F.code.like("a_"),
    F.price.between(Decimal("-0.75"), Decimal(2)),
    F.zoned == ELSEWHERE,
    F.zoned > NOON,
    F.naive <= ELSEWHERE,
    F.naive == NOON,
    F.small > 299,
    F.small < 10**12,
    F.small == 1.5,
    F.title == "news",
    F.title < "a",
    F.title.like("N%"),
    F.title.in_(["NEWS", "Zebra"]),
]
SORTS = ["state", "-state", "plain", "price", "zoned", "naive", "small", "title", "-title"]


def posts():
    return [
        Post(state=s, plain=p, price=Decimal(price), zoned=z, naive=n, small=i, title=t)
        for s, p, price, z, n, i, t in ROWS
    ]


async def selected(provider):
    async with provider.make_uow() as uow:
        saved = await uow.posts.save_many(posts())
    found = []
    async with provider.make_uow() as uow:
        for node in FILTERS:
            rows = await uow.posts.find_by_query(QueryParams(node))
            found.append(sorted(row.small for row in rows))
        for sort in SORTS:
            field = getattr(F, sort.removeprefix("-"))
            order = field.desc() if sort.startswith("-") else field.asc()
            rows = await uow.posts.find_by_query(QueryParams(sort=[order, F.small.asc()]))
            found.append([row.small for row in rows])
        loaded = await uow.posts.find_all()
        assert sorted(loaded, key=lambda row: row.small) == sorted(saved, key=lambda row: row.small)
        loaded[0].title = "Changed"
        await uow.posts.save(loaded[0])
    return found


async def test_filters_and_sorts_of_mapped_columns_select_what_they_do_in_memory(url):
    engine = make_engine(url)
    provider = SQLAlchemyRepositoryProvider(engine)
    provider.map(Post, OldPost)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    try:
        with warnings.catch_warnings():
            # SQLite has no decimals: SQLAlchemy says so of a Numeric column.
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            found = await selected(provider)
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()
    assert found == await selected(InMemoryRepositoryProvider(Post))


class Meeting(AuditedDomainModel):
    at: datetime
    until: datetime | None = None


class MariaBase(DeclarativeBase):
    pass


class OldMeeting(MariaBase):
    __tablename__ = "old_meetings"

    pk: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(mysql.DATETIME())
    until: Mapped[datetime | None] = mapped_column(mysql.DATETIME(fsp=3))
    created_at: Mapped[datetime] = mapped_column(mysql.DATETIME())
    updated_at: Mapped[datetime] = mapped_column(mysql.DATETIME(fsp=6))


async def test_a_moment_is_after_save_what_its_column_keeps(databases):
    engine = make_engine(databases.url("mariadb"))
    late = NOON + timedelta(microseconds=987_654)
    provider = SQLAlchemyRepositoryProvider(engine, clock=lambda: late)
    provider.map(Meeting, OldMeeting)
    async with engine.begin() as connection:
        await connection.run_sync(OldMeeting.__table__.create)
    try:
        repo = provider.get_repository(Meeting)
        one = await repo.save(Meeting(at=late, until=late))
        (two,) = await repo.save_many([Meeting(at=late)])
        two.until = late
        two = await repo.save(two)
        await repo.upsert([Meeting(at=late, until=late)], by=["pk"])
        assert await repo.update_many_by_query(QueryParams(), {"at": late}) == 3
        *saved, third = await repo.find_all()
        for given, found in zip((one, two), saved, strict=True):
            for name in ("at", "until", "created_at", "updated_at"):
                assert getattr(found, name) == getattr(given, name), name
        for found in (*saved, third):
            assert (found.at, found.created_at) == (NOON, NOON)
            assert found.until == NOON + timedelta(milliseconds=987)
            assert found.updated_at == late
        assert await repo.count(QueryParams(F.at < late)) == 3
        assert await repo.count(QueryParams(F.at == late)) == 0
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(OldMeeting.__table__.drop)
        await engine.dispose()


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 70_000


JSON = dict[str, int]
AT = NOON + timedelta(microseconds=123_456)
KINDS = [
    (Decimal, sa.Numeric(10, 2), ["1.5", "1.505", "-0.0", "100000000", "1E+2", "12345678.91"]),
    (Decimal, sa.Numeric(), ["1", "1.5", "1.12345678901234567", "1000000000000"]),
    (Decimal, sa.Numeric(30, 10), ["1234567890.0123456789"]),
    (Decimal, sa.Numeric(18, 0), ["10000", "100000000"]),
    (Decimal, sa.Numeric(10, 2, asdecimal=False), ["1.5", "1.1"]),
    (float, sa.Numeric(10, 2), [1.5, 1.1, 1.005, 1e7, 1e9]),
    (float, sa.Float(), [1.5, 0.1, 1e300, 16777217.0, 1e-40]),
    (float, sa.REAL(), [1.5, 0.1, 1e300]),
    (float, sa.Double(), [1.5, 0.1, 1e300]),
    (int, sa.SmallInteger(), [1, -32_768, 32_768]),
    (int, sa.Integer(), [2**31 - 1, 2**31]),
    (int, sa.BigInteger(), [2**63 - 1, -(2**63)]),
    (str, sa.String(5), ["abc", "abcdef", "a  ", "É\U0001d11e"]),
    (str, sa.Text(), ["abc", "x" * 70_000]),
    (bytes, sa.LargeBinary(), [b"\0a", b"x" * 70_000]),
    (date, sa.Date(), [date.min, date.max]),
    (time, sa.Time(), [time(1, 2, 3), time(1, 2, 3, 456)]),
    (timedelta, sa.Interval(), [timedelta(1), timedelta(-1, microseconds=7), timedelta(10**8)]),
    (timedelta, sa.BigInteger(), [timedelta(-1, microseconds=7)]),
    (UUID, sa.Uuid(), [UUID(int=5)]),
    (UUID, sa.Uuid(native_uuid=False, as_uuid=False), [UUID(int=5)]),
    (bool, sa.Boolean(), [True, False]),
    (State, sa.Enum(State, name="state_native"), [State.LIVE]),
    (State, sa.Enum(State, native_enum=False), [State.ZEN]),
    (
        State,
        sa.Enum(State, values_callable=lambda e: [m.value for m in e], native_enum=False),
        [State.LIVE],
    ),
    (Level, sa.SmallInteger(), [Level.LOW, Level.HIGH]),
    (Literal["a", "b"], sa.Enum("a", "b", name="letters"), ["b"]),
    (Literal["a", "b"], sa.String(3), ["b"]),
    (JSON, sa.JSON(), [{"a": 1}]),
    (Any, sa.JSON(), [5, "5", True, 2**70]),
    (Any, sa.PickleType(), [1, "1", [1]]),
    (str, sa.CHAR(5), ["abc", "abcde", "a "]),
    (datetime, sa.DateTime(timezone=True), [NOON, AT, ELSEWHERE]),
    (datetime, sa.DateTime(), [NOON, AT]),
]


def mapping(number, annotation, column_type, base):
    table = f"mapped_{number}"
    row = type(
        f"Row{number}",
        (base,),
        {
            "__tablename__": table,
            "pk": sa.Column(sa.Integer, primary_key=True),
            "value": sa.Column(column_type),
            "note": sa.Column(sa.String(9)),
        },
    )
    notes = {"value": annotation, "note": str | None}
    model = type(f"Mapped{number}", (DomainModel,), {"__annotations__": notes, "note": None})
    return model, row


async def kept(provider, model, value):
    """Save a value, read it, find it, save what was read; tell whether it was refused."""
    try:
        async with provider.make_uow() as uow:
            saved = await uow.repository(model).save(model(value=value))
    except (ModelValueError, CheckViolationError) as error:  # or more bytes than MariaDB keeps
        return error.field != "value"
    async with provider.make_uow() as uow:
        repository = uow.repository(model)
        found = await repository.find_by_id(saved.pk)
        assert found.value == saved.value
        assert type(found.value) is type(saved.value) is type(value)
        if isinstance(value, datetime):
            assert found.value == value.replace(microsecond=found.value.microsecond)
        else:
            assert found.value == value
        if not isinstance(value, bytes) and model.__annotations__["value"] not in (Any, JSON):
            equal = await repository.find_by_query(QueryParams(F.value == found.value))
            assert found.pk in {row.pk for row in equal}
        found.note = "again"
        assert (await repository.save(found)).value == found.value
    return True


async def test_what_mapped_columns_take_comes_back_equal_or_is_refused(url):
    engine = make_engine(url)
    provider = SQLAlchemyRepositoryProvider(engine)
    base = type("KindsBase", (DeclarativeBase,), {})
    models = []
    for number, (annotation, column_type, values) in enumerate(KINDS):
        model, row = mapping(number, annotation, column_type, base)
        provider.map(model, row)
        models.append((model, [Decimal(v) if annotation is Decimal else v for v in values]))
    async with engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
    refused = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            for (model, values), (_, column_type, _) in zip(models, KINDS, strict=True):
                refused += [
                    f"{column_type!r} {str(value)[:20]}"
                    for value in values
                    if not await kept(provider, model, value)
                ]
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(base.metadata.drop_all)
        await engine.dispose()
    kind = engine.dialect.name
    assert "Numeric(precision=10, scale=2) 1.505" in refused
    assert ("Integer() 2147483648" in refused) is (kind != "sqlite")
    assert ("Float() 16777217.0" in refused) is (kind == "mysql")
    assert ("Float() 0.1" in refused) is False
    assert len(refused) == {"sqlite": 6, "postgresql": 11, "mysql": 20}[kind], refused


@pytest.mark.parametrize(
    ("annotation", "column_type", "remedy"),
    [
        (Decimal, sa.Float(), "Numeric"),
        (int, sa.String(9), "Integer"),
        (str, sa.Integer(), "String or Text"),
        (str, sa.Enum(State), "String or Text"),
        (bool, sa.SmallInteger(), "Boolean"),
        (UUID, sa.String(36), "Uuid"),
        (date, sa.DateTime(), "Date"),
        (datetime, sa.String(40), "DateTime"),
        (JSON, sa.Text(), "JSON"),
        (str, mysql.SET("a", "b"), "String or Text"),
        (State, sa.Integer(), "String or Text"),
        (State, sa.Enum("LIVE", "DRAFT", "ZEN"), r"Enum\(State\)"),
        (Literal["a", "b"], sa.Enum("a"), r"Enum\('a', 'b'\)"),
    ],
)
def test_a_column_that_gives_back_something_else_is_refused(annotation, column_type, remedy):
    base = type("RefusedBase", (DeclarativeBase,), {})
    model, row = mapping(0, annotation, column_type, base)
    provider = SQLAlchemyRepositoryProvider(make_engine("sqlite://"))
    expected = rf"Mapped0\.value: .* declare it as {remedy}"
    with pytest.raises(RepositoryClassCreationFailed, match=expected):
        provider.map(model, row)


async def test_a_name_that_the_enum_has_no_more_is_an_error_of_its_row(url):
    engine = make_engine(url)
    provider = SQLAlchemyRepositoryProvider(engine)
    base = type("NamesBase", (DeclarativeBase,), {})
    model, row = mapping("names", State, sa.Enum(State, native_enum=False, length=20), base)
    provider.map(model, row)
    async with engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
        await connection.execute(sa.text("INSERT INTO mapped_names (pk, value) VALUES (7, 'GONE')"))
    try:
        with pytest.raises(StoredValueError, match="7") as caught:
            await provider.get_repository(model).find_all()
        assert caught.value.field == "value"
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(base.metadata.drop_all)
        await engine.dispose()
