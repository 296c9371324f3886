"""varco-sa beside the ORM and Core by hand, advanced-alchemy and SQLModel: same work, same DTOs.

Every contender runs on an engine of its own with the same settings, on a file of SQLite and, when
VARCO_TEST_POSTGRESQL_URL or the default server answers, on PostgreSQL. The model has a version, a
tenant and soft deletion, which those by hand check and write as well. Measured is CPU time of this
process, threads included: the server's share and the waiting are the same for all.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import sqlalchemy as sa
from _harness import Case, Figure, main
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from varco_domain.meta import FieldHint
from varco_domain.model import TenantSoftDeleteVersionedDomainModel
from varco_domain.service.tenant import tenant_context
from varco_query import F, QueryParams, SortField, keyset_node
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

ROWS = 10_000
POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
FOLDER = Path(tempfile.mkdtemp(prefix="varco-bench-sa-"))


class Post(TenantSoftDeleteVersionedDomainModel):
    class Meta:
        table = "bench_posts"

    title: Annotated[str, FieldHint(max_length=100)]
    body: str
    views: Annotated[int, FieldHint(index=True)] = 0
    published: bool = False


class Base(DeclarativeBase):
    pass


class OrmPost(Base):
    __tablename__ = "bench_orm_posts"

    pk: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(100))
    body: Mapped[str]
    views: Mapped[int] = mapped_column(index=True)
    published: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    version: Mapped[int] = mapped_column()
    deleted_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True), index=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(255), index=True)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy's way to say it


@dataclass(slots=True)
class PostRead:
    pk: int
    title: str
    body: str
    views: int
    published: bool
    version: int
    created_at: datetime
    updated_at: datetime


READ = ("pk", "title", "body", "views", "published", "version", "created_at", "updated_at")


def read(post: Any) -> PostRead:
    return PostRead(
        post.pk,
        post.title,
        post.body,
        post.views,
        post.published,
        post.version,
        post.created_at,
        post.updated_at,
    )


def values(number: int) -> dict[str, Any]:
    return {
        "title": f"title {number}",
        "body": "x" * 200,
        "views": number * 7919 % ROWS,
        "published": number % 2 == 0,
    }


def stamped(number: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    more = {"created_at": now, "updated_at": now, "version": 1, "deleted_at": None}
    return {**values(number), **more, "tenant_id": "t"}


def tuned(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def url_for(kind: str) -> str:
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{FOLDER / f'{uuid4().hex}.sqlite'}"
    return POSTGRESQL


class Contender:
    """Prepares its tables when it is first called, in the loop that calls it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.number = 0
        self.ready = False

    async def prepare(self) -> None:
        raise NotImplementedError

    def call(self, name: str) -> Any:
        work = getattr(self, name)

        async def run() -> Any:
            if not self.ready:
                await self.prepare()
                self.ready = True
            self.number += 1
            return await work()

        return run


class Varco(Contender):
    async def prepare(self) -> None:
        engine = make_engine(url_for(self.kind))
        self.provider = SQLAlchemyRepositoryProvider(engine, Post)
        async with engine.begin() as connection:
            await connection.run_sync(self.provider.metadata.drop_all)
        await self.provider.create_tables()
        with tenant_context("t"):
            async with self.provider.make_uow() as uow:
                await uow.repository(Post).save_many([Post(**values(i)) for i in range(ROWS)])
        async with engine.begin() as connection:
            await connection.execute(sa.text("ANALYZE"))

    def uow(self) -> Any:
        return self.provider.make_uow()

    async def get(self) -> Any:
        with tenant_context("t"):
            async with self.uow() as uow:
                found = await uow.repository(Post).find_by_id(
                    1 + self.number % ROWS, where=F.deleted_at.is_null()
                )
                return read(found)

    async def list_100(self) -> Any:
        params = QueryParams(
            F.deleted_at.is_null() & (F.published == True) & (F.views > self.number % 100),  # noqa: E712  # a node
            sort=[SortField("views")],
            limit=100,
        )
        with tenant_context("t"):
            async with self.uow() as uow:
                return [read(each) for each in await uow.repository(Post).find_by_query(params)]

    async def stream(self) -> Any:
        with tenant_context("t"):
            async with self.uow() as uow:
                count = 0
                async for each in uow.repository(Post).stream_by_query(QueryParams()):
                    count += read(each).views >= 0
                return count

    async def bulk(self) -> Any:
        with tenant_context("t"):
            async with self.uow() as uow:
                return await uow.repository(Post).save_many(
                    [Post(**values(i)) for i in range(1000)]
                )

    async def create(self) -> Any:
        with tenant_context("t"):
            async with self.uow() as uow:
                return read(await uow.repository(Post).save(Post(**values(self.number))))

    async def update(self) -> Any:
        with tenant_context("t"):
            async with self.uow() as uow:
                repo = uow.repository(Post)
                found = await repo.find_by_id(1 + self.number % ROWS, where=F.deleted_at.is_null())
                found.title = f"new {self.number}"
                return read(await repo.save(found))

    async def page(self, after: int | None) -> Any:
        sort = (SortField("pk"),)
        node = None if after is None else keyset_node(sort, [after], nullable=())
        with tenant_context("t"):
            async with self.uow() as uow:
                params = QueryParams(node, sort, limit=10)
                return [read(each) for each in await uow.repository(Post).find_by_query(params)]


def deep_page(kind: str) -> float:
    """What page 1,000 costs beside page 1, by keyset, the two in turn."""

    async def spend(after: int | None) -> float:
        start = time.process_time()
        for _ in range(30):
            await varco.page(after)
        return time.process_time() - start

    async def run() -> float:
        await varco.prepare()
        for after in (None, 9990):
            await spend(after)
        return statistics.median([await spend(9990) / await spend(None) for _ in range(21)])

    varco = Varco(kind)
    return asyncio.run(run())


class Orm(Contender):
    model: Any = OrmPost

    async def prepare(self) -> None:
        self.engine = create_async_engine(url_for(self.kind))
        if self.kind == "sqlite":
            event.listen(self.engine.sync_engine, "connect", tuned)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        table = self.model.__table__
        async with self.engine.begin() as connection:
            await connection.run_sync(table.metadata.drop_all, tables=[table])
            await connection.run_sync(table.metadata.create_all, tables=[table])
            await connection.execute(table.insert(), [stamped(i) for i in range(ROWS)])
        async with self.engine.begin() as connection:
            await connection.execute(sa.text("ANALYZE"))

    def live(self) -> Any:
        return self.model.tenant_id == "t", self.model.deleted_at.is_(None)

    async def get(self) -> Any:
        async with self.sessions() as session:
            found = await session.scalar(
                sa.select(self.model).where(self.model.pk == 1 + self.number % ROWS, *self.live())
            )
            return read(found)

    async def list_100(self) -> Any:
        model = self.model
        async with self.sessions() as session:
            found = await session.scalars(
                sa.select(model)
                .where(*self.live(), model.published.is_(True), model.views > self.number % 100)
                .order_by(model.views, model.pk)
                .limit(100)
            )
            return [read(each) for each in found]

    async def stream(self) -> Any:
        async with self.sessions() as session:
            found = await session.stream_scalars(
                sa.select(self.model)
                .where(self.model.tenant_id == "t")
                .order_by(self.model.pk)
                .execution_options(yield_per=500)
            )
            count = 0
            async for each in found:
                count += read(each).views >= 0
            return count

    async def bulk(self) -> Any:
        async with self.sessions() as session, session.begin():
            posts = [self.model(**stamped(i)) for i in range(1000)]
            session.add_all(posts)
            await session.flush()
            return posts

    async def create(self) -> Any:
        async with self.sessions() as session, session.begin():
            post = self.model(**stamped(self.number))
            session.add(post)
            await session.flush()
            return read(post)

    async def update(self) -> Any:
        async with self.sessions() as session, session.begin():
            post: Any = await session.scalar(
                sa.select(self.model).where(self.model.pk == 1 + self.number % ROWS, *self.live())
            )
            post.title = f"new {self.number}"
            post.updated_at = datetime.now(UTC)
            await session.flush()
            return read(post)


class Core(Orm):
    """SQLAlchemy Core, statements as one writes them in a function."""

    async def prepare(self) -> None:
        self.t = OrmPost.__table__
        await super().prepare()

    async def get(self) -> Any:
        t = self.t
        async with self.engine.connect() as connection:
            statement = sa.select(*(t.c[name] for name in READ)).where(
                t.c.pk == 1 + self.number % ROWS, t.c.tenant_id == "t", t.c.deleted_at.is_(None)
            )
            return PostRead(*(await connection.execute(statement)).one())

    async def list_100(self) -> Any:
        t = self.t
        async with self.engine.connect() as connection:
            statement = (
                sa.select(*(t.c[name] for name in READ))
                .where(
                    t.c.tenant_id == "t",
                    t.c.deleted_at.is_(None),
                    t.c.published.is_(True),
                    t.c.views > self.number % 100,
                )
                .order_by(t.c.views, t.c.pk)
                .limit(100)
            )
            return [PostRead(*row) for row in await connection.execute(statement)]

    async def create(self) -> Any:
        async with self.engine.begin() as connection:
            row = stamped(self.number)
            result = await connection.execute(self.t.insert(), row)
            key = result.inserted_primary_key[0]  # type: ignore[index]  # an INSERT of one row
            return PostRead(key, *(row[name] for name in READ[1:]))


def advanced_alchemy(kind: str) -> Contender:
    """With its repository; it has no streaming."""
    from advanced_alchemy.filters import LimitOffset
    from advanced_alchemy.repository import SQLAlchemyAsyncRepository

    class Repository(SQLAlchemyAsyncRepository[Any]):
        model_type = OrmPost
        id_attribute = "pk"

    class AdvancedAlchemy(Orm):
        async def get(self) -> Any:
            async with self.sessions() as session:
                repo = Repository(session=session)
                return read(await repo.get_one(*self.live(), pk=1 + self.number % ROWS))

        async def list_100(self) -> Any:
            published, views = OrmPost.published.is_(True), OrmPost.views > self.number % 100
            async with self.sessions() as session:
                found = await Repository(session=session).list(
                    *self.live(),
                    published,
                    views,
                    LimitOffset(100, 0),
                    order_by=[("views", False), ("pk", False)],
                )
                return [read(each) for each in found]

        async def update(self) -> Any:
            async with self.sessions() as session:
                repo = Repository(session=session)
                post = await repo.get_one(*self.live(), pk=1 + self.number % ROWS)
                post.title = f"new {self.number}"
                post.updated_at = datetime.now(UTC)
                return read(await repo.update(post, auto_commit=True))

        async def create(self) -> Any:
            async with self.sessions() as session:
                repo = Repository(session=session)
                return read(await repo.add(OrmPost(**stamped(self.number)), auto_commit=True))

        async def bulk(self) -> Any:
            async with self.sessions() as session:
                repo = Repository(session=session)
                posts = [OrmPost(**stamped(i)) for i in range(1000)]
                return await repo.add_many(posts, auto_commit=True)

    return AdvancedAlchemy(kind)


def sqlmodel(kind: str) -> Contender:
    from sqlmodel import Field, SQLModel

    if "bench_sqlmodel_posts" not in SQLModel.metadata.tables:

        class SqlPost(SQLModel, table=True):
            __tablename__ = "bench_sqlmodel_posts"
            pk: int | None = Field(default=None, primary_key=True)
            title: str = Field(max_length=100)
            body: str
            views: int = Field(index=True)
            published: bool
            created_at: datetime = Field(sa_type=sa.DateTime(timezone=True))  # type: ignore[call-overload]  # their types
            updated_at: datetime = Field(sa_type=sa.DateTime(timezone=True))  # type: ignore[call-overload]  # likewise
            version: int
            deleted_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  # type: ignore[call-overload]  # likewise
            tenant_id: str = Field(max_length=255, index=True)

        _sqlmodels.append(SqlPost)

    class Sqlmodel(Orm):
        model = _sqlmodels[0]

    return Sqlmodel(kind)


_sqlmodels: list[Any] = []


def make(maker: Any, kind: str, name: str) -> Any:
    return lambda: maker(kind).call(name)


TASKS = {
    "get": "get a row by its key",
    "list_100": "list 100 of 10,000, three terms, sorted",
    "stream": "stream 10,000",
    "bulk": "insert 1,000",
    "create": "create",
    "update": "update (read, change, write)",
}
CASES: list[Case | Figure] = [
    case
    for kind in ("sqlite", "postgresql")
    for name, title in TASKS.items()
    for case in (
        Case(f"{kind}: {title}", "varco-sa", make(Varco, kind, name), ours=True),
        Case(f"{kind}: {title}", "ORM by hand", make(Orm, kind, name)),
        *(
            [Case(f"{kind}: {title}", "Core by hand", make(Core, kind, name))]
            if name in Core.__dict__
            else []
        ),
        *(
            [Case(f"{kind}: {title}", "advanced-alchemy", make(advanced_alchemy, kind, name))]
            if name != "stream"
            else []
        ),
        Case(f"{kind}: {title}", "SQLModel", make(sqlmodel, kind, name)),
    )
] + [
    Figure(
        f"{kind}: page 1,000 by keyset, times page 1",
        "varco-sa",
        "times",
        partial(deep_page, kind),
        ours=True,
    )
    for kind in ("sqlite", "postgresql")
]

if __name__ == "__main__":
    main(CASES, clock=time.process_time, one_core=False)
