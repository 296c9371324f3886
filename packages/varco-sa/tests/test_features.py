"""What the backend offers besides the contract."""
# ruff: noqa: PT012, SIM117 - a unit of work that fails has several statements

import asyncio
import os
from datetime import datetime
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from providify import DIContainer
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from varco_domain import Action, AuthContext, RoleBasedAuthorizer
from varco_domain.exception import (
    CheckViolationError,
    FieldNotFound,
    ModelValueError,
    ReferenceViolationError,
    UniqueViolationError,
)
from varco_domain.meta import CheckConstraint, FieldHint, ForeignKey, ManyToMany, UniqueConstraint
from varco_domain.model import DomainModel, TenantVersionedDomainModel, VersionedDomainModel
from varco_domain.providers import IUoWProvider
from varco_domain.registry import DomainModelRegistry
from varco_domain.service import AsyncService
from varco_domain.service.tenant import CrossTenantError, TenantUoWProvider, tenant_context
from varco_domain.uow import UnitOfWorkError
from varco_events import OutboxEntry
from varco_query import (
    ComparisonNode,
    CursorError,
    F,
    NotNode,
    OrNode,
    QueryParams,
    SortField,
    UnknownFieldError,
)
from varco_sa import (
    Backend,
    SQLAlchemyConfiguration,
    SQLAlchemyRepositoryProvider,
    make_engine,
    metadata_for,
    migration_source,
    schema_drift,
)

pytestmark = pytest.mark.anyio


class Author(DomainModel):
    name: Annotated[str, FieldHint(max_length=30, unique=True)]


class Book(VersionedDomainModel):
    class Meta:
        table = "books"
        constraints = (
            UniqueConstraint("title", "year"),
            CheckConstraint("price >= 0 AND year != 0", name="sane"),
        )
        many_to_many = (ManyToMany("readers", Author, through="book_readers"),)

    title: Annotated[str, FieldHint(max_length=50)]
    year: int | None = None
    price: int = 0
    author: Annotated[int | None, ForeignKey(Author)] = None


class Page(TenantVersionedDomainModel):
    class Meta:
        constraints = (UniqueConstraint("tenant_id", "slug"),)

    slug: Annotated[str, FieldHint(max_length=30)]
    text: str = ""


class Statements:
    """The statements that an engine ran."""

    def __init__(self, engine):
        self.texts = []
        sa.event.listen(engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, connection, cursor, statement, parameters, context, executemany):
        self.texts.append(statement)

    def take(self):
        found, self.texts = self.texts, []
        return found


@pytest.fixture
async def backend(databases, kind):
    databases.url(kind)
    async with databases.backend(kind, Author, Book, Page) as opened:
        yield opened


async def test_errors_name_fields_and_hold_no_sql_and_no_values(backend):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        author = await uow.authors.save(Author(name="x"))
        await uow.books.save(Book(title="t", year=1, author=author.pk))

    async def fails(entity, error):
        with pytest.raises(error) as caught:
            async with make_uow() as uow:
                await uow.repository(type(entity)).save(entity)
        text = f"{caught.value!r} {caught.value.__cause__!r}"
        assert not any(word in text for word in ("INSERT", "VALUES", "sekret", "$1", "%s"))
        return caught.value

    assert (await fails(Author(name="x"), UniqueViolationError)).fields == ("name",)
    assert (await fails(Book(title="t", year=1), UniqueViolationError)).fields == ("title", "year")
    assert (await fails(Book(title="u", author=99), ReferenceViolationError)).field == "author"
    assert (await fails(Book(title="u", price=-1), CheckViolationError)).rule == "sane"
    assert (await fails(Author(name="sekret" * 9), ModelValueError)).field == "name"
    assert (await fails(Author(name="sekret\0"), ModelValueError)).field == "name"
    assert (await fails(Book(title="u", year=2**63), ModelValueError)).field == "year"
    assert (await fails(Author(name="sekret\ud800"), ModelValueError)).field == "name"
    with pytest.raises(ReferenceViolationError, match="still referred to"):
        async with make_uow() as uow:
            await uow.authors.delete(author)


async def test_a_statement_for_each_thing_and_none_besides(backend):
    make_uow = backend.uow_provider.make_uow
    statements = Statements(backend.engine)
    async with make_uow() as uow:
        book = await uow.books.save(Book(title="t"))
    assert len(statements.take()) == 1
    async with make_uow() as uow:
        found = await uow.books.find_by_id(book.pk)
        found.title = "u"
        await uow.books.save(found)
    assert [text.split()[0] for text in statements.take()] == ["SELECT", "UPDATE"]
    async with make_uow() as uow:
        books = await uow.books.save_many([Book(title=f"{i}") for i in range(500)])
    # On SQLite BEGIN, which is the driver's own otherwise, and the look at its counter of keys.
    assert len(statements.take()) == (3 if backend.engine.dialect.name == "sqlite" else 1)
    async with make_uow() as uow:
        for each in books:
            each.title += "!"
        books = await uow.books.save_many(books)
        await uow.books.delete_many(books)
    assert len([t for t in statements.take() if "SAVEPOINT" not in t]) == 2
    async with make_uow() as uow:
        await uow.books.find_by_query(QueryParams(F.title.in_(["a", "b"]) & (F.year > 3), limit=3))
        await uow.books.count(QueryParams(F.year > 3))
        await uow.books.exists(1)
        await uow.books.update_many_by_query(QueryParams(F.year > 3), {"price": 3})
        assert [each async for each in uow.books.stream_by_query(QueryParams())]
    assert len(statements.take()) == 5


INJECTIONS = [
    "'; DROP TABLE books; --",
    '" OR 1=1 --',
    "\\'; DELETE FROM books; #",
    ":p0",
    "%(p0)s",
    "$1",
    "?",
    "{x}",
    "`",
    "/*",
    "x' UNION SELECT * FROM varco_outbox --",
]


async def test_values_are_never_in_the_text(backend):
    statements = Statements(backend.engine)
    for text in INJECTIONS:
        pattern = text.replace("\\", "\\\\")
        async with backend.uow_provider.make_uow() as uow:
            saved = await uow.books.save(Book(title=text))
            for node in (
                F.title == text,
                F.title.like(pattern),
                F.title.ilike(pattern),
                F.title.contains(text),
                F.title.in_([text, "x"]),
                F.title.between(text, text + "z"),
            ):
                await uow.books.find_by_query(QueryParams(node))
            found = await uow.books.find_by_query(QueryParams(F.title == text))
            assert [book.pk for book in found] == [saved.pk]
            await uow.books.update_many_by_query(QueryParams(F.title == text), {"title": text})
            await uow.outbox.save(OutboxEntry(event_type=text, channel=text, key=text))
        ran = statements.take()
        assert len(ran) == 10
        if len(text) > 4:
            assert not any(text in each for each in ran)


async def test_a_cursor_brings_nothing_into_the_text(backend):
    class BookService(AsyncService[Book, int, Any, Any, Any]):
        pass

    service = BookService(backend.uow_provider, RoleBasedAuthorizer({"r": list(Action)}))
    reader = AuthContext("u", roles=["r"])
    async with backend.uow_provider.make_uow() as uow:
        await uow.books.save_many([Book(title=text) for text in INJECTIONS])
    statements = Statements(backend.engine)
    query, met = QueryParams(sort=[SortField("title")], limit=1), []
    while query is not None:
        page = await service.paged_list(query, reader)
        met += [book.title for book in page.results]
        cursor = page.next and page.next.cursor
        query = cursor and QueryParams(sort=[SortField("title")], limit=1, cursor=cursor)
    assert sorted(met) == sorted(INJECTIONS)
    ran = statements.take()
    assert not any(text in each for each in ran for text in INJECTIONS if len(text) > 4)
    for text in INJECTIONS:
        with pytest.raises(CursorError):
            await service.paged_list(QueryParams(limit=1, cursor=text), reader)
    assert statements.take() == []


async def test_names_are_fields_or_nothing(backend):
    statements = Statements(backend.engine)
    async with backend.uow_provider.make_uow() as uow:
        for name in ("title; DROP", "title'", "titel", "books.title", "__class__"):
            with pytest.raises(UnknownFieldError):
                await uow.books.find_by_query(QueryParams(ComparisonNode(name, "=", 1)))
            with pytest.raises(UnknownFieldError):
                await uow.books.find_by_query(QueryParams(sort=[SortField(name)]))
            with pytest.raises(FieldNotFound):
                await uow.books.update_many_by_query(QueryParams(), {name: 1})
    assert statements.take() == []


async def test_a_long_filter_is_answered(backend):
    long = F.price == 1
    for number in range(800):
        long = NotNode(NotNode(OrNode(long, F.price == number % 7)))
    async with backend.uow_provider.make_uow() as uow:
        assert await uow.books.count(QueryParams(long)) == 0
        many = QueryParams(F.price.in_(range(5000)))
        assert await uow.books.count(many) == 0


async def test_upsert_inserts_or_updates_in_one_statement(backend):
    make_uow = backend.uow_provider.make_uow
    with tenant_context("a"):
        async with make_uow() as uow:
            await uow.upsert(
                [Page(slug="x", text="1"), Page(slug="y", text="1")], by=["tenant_id", "slug"]
            )
        statements = Statements(backend.engine)
        async with make_uow() as uow:
            await uow.upsert(
                [Page(slug="y", text="2"), Page(slug="z", text="2")], by=["tenant_id", "slug"]
            )
        assert len(statements.take()) == 1
        async with make_uow() as uow:
            pages = await uow.pages.find_all()
            with pytest.raises(CrossTenantError):
                await uow.upsert([Page(slug="x", tenant_id="b")], by=["tenant_id", "slug"])
    assert {(p.slug, p.text, p.version) for p in pages} == {
        ("x", "1", 1),
        ("y", "2", 2),
        ("z", "2", 1),
    }
    with tenant_context("b"):
        async with make_uow() as uow:
            await uow.upsert([Page(slug="y", text="3")], by=["tenant_id", "slug"])
            assert [p.slug for p in await uow.pages.find_all()] == ["y"]
        stolen = Page(slug="q", text="stolen")
        stolen.pk = pages[0].pk
        with pytest.raises(UniqueViolationError) as caught:
            async with make_uow() as uow:
                await uow.upsert([stolen], by=["pk"])
        assert caught.value.fields == ("pk",)


async def test_for_update_makes_the_second_wait(backend):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        pk = (await uow.books.save(Book(title="t"))).pk
    order = []

    async def add(name, seconds):
        async with make_uow() as uow:
            with uow.for_update():
                book = await uow.books.find_by_id(pk)
            order.append(name)
            await asyncio.sleep(seconds)
            book.price += 1
            await uow.books.save(book)

    await asyncio.gather(add("a", 0.05), add("b", 0.0), add("c", 0.0))
    async with make_uow() as uow:
        assert (await uow.books.find_by_id(pk)).price == 3


async def test_a_session_and_a_connection_share_the_transaction(backend):
    make_uow = backend.uow_provider.make_uow
    with pytest.raises(ZeroDivisionError):
        async with make_uow() as uow:
            table = uow.authors.table
            await (await uow.connection()).execute(table.insert().values(name="core"))
            session = await uow.session()
            await session.execute(table.insert().values(name="session"))
            assert await uow.authors.count() == 2
            raise ZeroDivisionError
    async with make_uow() as uow:
        assert await uow.authors.count() == 0


async def test_a_replica_is_read_and_never_written(backend):
    engine = make_engine(backend.engine.url)
    provider = SQLAlchemyRepositoryProvider(backend.engine, Author, replica=engine)
    on_primary, on_replica = Statements(backend.engine), Statements(engine)
    async with provider.make_uow() as uow:
        await uow.authors.save(Author(name="x"))
    async with provider.read_only().make_uow() as uow:
        assert [a.name for a in await uow.authors.find_all()] == ["x"]
        assert [a.name async for a in uow.authors.stream_by_query(QueryParams())] == ["x"]
        with pytest.raises(UnitOfWorkError):
            await uow.authors.save(Author(name="y"))
    assert (len(on_primary.take()), len(on_replica.take())) == (1, 2)
    await engine.dispose()


async def test_many_to_many_makes_a_table_of_pairs(backend):
    pairs = backend.uow_provider.metadata.tables["book_readers"]
    assert {c.name for c in pairs.primary_key} == {"books_pk", "authors_pk"}
    async with backend.uow_provider.make_uow() as uow:
        author = await uow.authors.save(Author(name="x"))
        book = await uow.books.save(Book(title="t"))
        connection = await uow.connection()
        await connection.execute(pairs.insert().values(books_pk=book.pk, authors_pk=author.pk))
        await uow.authors.delete(author)
        assert (await connection.execute(sa.select(pairs))).all() == []


async def test_drift_is_told_and_fresh_tables_have_none(backend):
    dialect = backend.engine.dialect.name
    metadata = backend.uow_provider.metadata
    assert await schema_drift(backend.engine, metadata) == []

    class Box(DomainModel):
        label: str

    found = await schema_drift(
        backend.engine, metadata_for(Author, Book, Page, Box, dialect=dialect)
    )
    assert found == ["add table boxes"]
    source = await migration_source(
        backend.engine, metadata_for(Author, Book, Page, Box, dialect=dialect)
    )
    assert "op.create_table('boxes'" in source
    assert "varco_sa" not in source


class Base(DeclarativeBase):
    pass


class OldUser(Base):
    __tablename__ = "old_users"
    pk: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column("EMAIL_ADDR", sa.String(80), unique=True)
    score: Mapped[int | None]
    tags: Mapped[list[str] | None] = mapped_column(sa.JSON)
    source: Mapped[str] = mapped_column(sa.String(10), default="form")


class User(DomainModel):
    email: str
    score: int | None = None
    tags: list[str] | None = None


async def test_a_model_maps_an_existing_declarative_class(engine):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    provider = SQLAlchemyRepositoryProvider(engine)
    provider.map(User, OldUser)
    try:
        async with provider.make_uow() as uow:
            saved = await uow.repository(User).save(User(email="a@b", score=1, tags=["é"]))
            saved.score = 2
            saved.tags.append("b")
            await uow.repository(User).save(saved)
            await uow.upsert([User(email="a@b", score=2, tags=["é", "b"])], by=["email"])
            await uow.repository(User).save_many([User(email="c"), User(email="d", score=5)])
        async with provider.make_uow() as uow:
            found = await uow.users.find_by_query(QueryParams(F.score > 1, sort=[F.email.desc()]))
            assert [u.email for u in found] == ["d", "a@b"]
            assert (await (await uow.session()).get(OldUser, saved.pk)).tags == ["é", "b"]
            assert {u.source for u in await (await uow.session()).scalars(sa.select(OldUser))} == {
                "form"
            }
        with pytest.raises(UniqueViolationError) as caught:
            async with provider.make_uow() as uow:
                await uow.repository(User).save(User(email="c"))
        assert caught.value.fields == ("email",)
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


async def test_a_tenant_has_a_schema_of_its_own(databases, kind):
    if kind == "sqlite":
        urls = {name: databases.url("sqlite") for name in ("acme", "umbrella")}
        engines = {name: make_engine(url) for name, url in urls.items()}
        providers = {n: SQLAlchemyRepositoryProvider(e, Author) for n, e in engines.items()}
    else:
        engine = make_engine(databases.url(kind))
        engines = {"one": engine}
        names = {name: f"{databases.name}_{name}" for name in ("acme", "umbrella")}
        if kind == "mariadb":
            async with engine.begin() as connection:
                for name in names.values():
                    await connection.execute(sa.schema.CreateSchema(name))
        providers = {
            name: SQLAlchemyRepositoryProvider(engine, Author, schema=schema)
            for name, schema in names.items()
        }
    tenants = TenantUoWProvider(providers)
    for name, provider in providers.items():
        await provider.create_tables()
        with tenant_context(name):
            async with tenants.make_uow() as uow:
                await uow.authors.save(Author(name=name))
                await uow.outbox.save(OutboxEntry(event_type=name))
    for name, provider in providers.items():
        with tenant_context(name):
            async with tenants.make_uow() as uow:
                assert [a.name for a in await uow.authors.find_all()] == [name]
        assert [e.event_type for e in await provider.outbox.claim()] == [name]
    if kind == "mariadb":
        async with engine.begin() as connection:
            for name in names.values():
                await connection.execute(sa.schema.DropSchema(name))
    for each in engines.values():
        await each.dispose()


async def test_a_commit_of_another_process_wakes_the_relay(databases):
    databases.url("postgresql")
    async with (
        databases.backend("postgresql") as backend,
        await _second(backend) as other,
    ):
        waiting = asyncio.create_task(backend.outbox.wait_for_work(30))
        await asyncio.sleep(0.3)
        if waiting.done():  # the first wait returns at once: it may have missed something
            waiting = asyncio.create_task(backend.outbox.wait_for_work(30))
            await asyncio.sleep(0)
        async with other.uow_provider.make_uow() as uow:
            await uow.outbox.save(OutboxEntry(event_type="x"))
        await asyncio.wait_for(waiting, 5)


async def _second(backend):
    engine = make_engine(backend.engine.url)
    return Backend(SQLAlchemyRepositoryProvider(engine), owns_engine=True)


async def test_a_container_gives_the_backend(databases, monkeypatch):
    monkeypatch.setitem(os.environ, "VARCO_DATABASE_URL", databases.url("sqlite"))
    known = DomainModelRegistry.all()
    DomainModelRegistry.clear()
    DomainModelRegistry.add(Author)
    try:
        container = DIContainer()
        await container.ainstall(SQLAlchemyConfiguration)
        backend = await container.aget(Backend)
        provider = await container.aget(IUoWProvider)
        assert provider is backend.uow_provider
        async with provider.make_uow() as uow:
            saved = await uow.authors.save(Author(name="x"))
        assert saved.pk == 1
        await backend.aclose()
    finally:
        DomainModelRegistry.clear()
        for each in known:
            DomainModelRegistry.add(each)


async def test_the_time_is_injected(databases):
    moment = datetime.fromisoformat("2030-01-02T03:04:05.000006+00:00")
    async with databases.backend("sqlite", Book, clock=lambda: moment) as backend:
        async with backend.uow_provider.make_uow() as uow:
            assert (await uow.books.save(Book(title="t"))).created_at == moment
