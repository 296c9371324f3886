"""Ordinary declarative columns compare as the model does in memory, on every engine."""

import enum
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from varco_domain import (
    AuditedDomainModel,
    DomainModel,
    InMemoryRepositoryProvider,
)
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


class Post(DomainModel):
    state: State
    plain: State
    price: Decimal
    zoned: datetime
    naive: datetime
    small: int
    title: str


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
