"""One call makes the tables and gives everything."""
# ruff: noqa: PT012 - a unit of work that fails has several statements

import uuid
from typing import Annotated

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_domain.exception import (
    ReferenceViolationError,
    RepositoryException,
    UniqueViolationError,
)
from varco_domain.meta import FieldHint, ForeignKey
from varco_domain.model import DomainModel
from varco_events import OutboxEntry
from varco_query import F, QueryParams
from varco_sa import Backend, SQLAlchemyRepositoryProvider, bootstrap, make_engine

pytestmark = pytest.mark.anyio


class Package(DomainModel):
    name: Annotated[str, FieldHint(max_length=100, unique=True)]
    size: int = 0


async def test_saves_finds_and_counts(open_backend, url):
    backend = await open_backend(url, Package)
    async with backend.uow_provider.make_uow() as uow:
        saved = await uow.packages.save(Package(name="a", size=1))
        many = await uow.packages.save_many([Package(name=f"b{i}", size=i) for i in range(10)])
    assert saved.pk is not None
    assert len({each.pk for each in many}) == 10
    async with backend.uow_provider.make_uow() as uow:
        assert (await uow.packages.find_by_id(saved.pk)).name == "a"
        params = QueryParams(F.size > 7, sort=[F.size.desc()], limit=2)
        assert [each.name for each in await uow.packages.find_by_query(params)] == ["b9", "b8"]
        assert await uow.repository(Package).count() == 11


async def test_the_outbox_row_goes_with_the_entity(open_backend, url):
    backend = await open_backend(url, Package)
    with pytest.raises(ZeroDivisionError):
        async with backend.uow_provider.make_uow() as uow:
            await uow.packages.save(Package(name="a"))
            await uow.outbox.save(OutboxEntry(event_type="x"))
            raise ZeroDivisionError
    assert await backend.outbox.get_pending() == []
    async with backend.uow_provider.make_uow() as uow:
        assert await uow.packages.count() == 0
        await uow.packages.save(Package(name="a"))
        await uow.outbox.save(OutboxEntry(event_type="x"))
    assert [entry.event_type for entry in await backend.outbox.claim()] == ["x"]


async def test_the_inbox_accepts_once_per_handler_and_forgets_what_was_undone(open_backend, url):
    backend = await open_backend(url, Package)
    event = uuid.uuid4()
    with pytest.raises(ZeroDivisionError):
        async with backend.uow_provider.make_uow() as uow:
            assert await uow.inbox.accept(event, "one")
            raise ZeroDivisionError
    async with backend.uow_provider.make_uow() as uow:
        assert await uow.inbox.accept(event, "one")
        assert await uow.inbox.accept(event, "two")
    async with backend.uow_provider.make_uow() as uow:
        assert not await uow.inbox.accept(event, "one")


async def test_a_savepoint_undoes_its_block_alone(open_backend, url):
    backend = await open_backend(url, Package)
    async with backend.uow_provider.make_uow() as uow:
        await uow.packages.save(Package(name="a"))
        with pytest.raises(UniqueViolationError, match="same name"):
            async with uow.savepoint():
                await uow.packages.save(Package(name="b"))
                await uow.packages.save(Package(name="a"))
        await uow.packages.save(Package(name="c"))
    async with backend.uow_provider.make_uow() as uow:
        assert [each.name for each in await uow.packages.find_all()] == ["a", "c"]


async def test_a_second_start_finds_the_tables(databases):
    url = databases.url("sqlite")
    async with bootstrap(url, Package) as backend, backend.uow_provider.make_uow() as uow:
        await uow.packages.save(Package(name="kept"))
    backend = await bootstrap(url, Package)
    async with backend, backend.uow_provider.make_uow() as uow:
        assert [each.name for each in await uow.packages.find_all()] == ["kept"]


async def test_what_migrations_should_have_made_is_missed_at_the_start(url):
    with pytest.raises(RepositoryException, match=r"has no packages,.*varco_outbox.*migrations"):
        await bootstrap(url, Package, create=False)
    async with bootstrap(url, Package) as backend:
        async with bootstrap(url, Package, create=False):
            pass
        async with backend.engine.begin() as connection:
            await connection.execute(sa.text("ALTER TABLE packages DROP COLUMN size"))
        with pytest.raises(RepositoryException, match=r"has no packages\.size:"):
            await bootstrap(url, Package, create=False)


class Part(DomainModel):
    package: Annotated[int, ForeignKey(Package)]


@pytest.mark.parametrize("pooled", [True, False], ids=["in the pool", "in use"])
async def test_an_engine_that_was_used_before_is_set_up_like_a_new_one(tmp_path, pooled):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'used'}", pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
            if not pooled:
                SQLAlchemyRepositoryProvider(engine, Package, Part)
        async with bootstrap(engine, Package, Part) as backend:
            with pytest.raises(ReferenceViolationError):
                async with backend.uow_provider.make_uow() as uow:
                    await uow.repository(Part).save(Part(package=99))
            async with backend.uow_provider.make_uow() as uow:
                await uow.packages.save(Package(name="A"))
                assert await uow.packages.count(QueryParams(F.name.ilike("a"))) == 1
    finally:
        await engine.dispose()


async def test_a_backend_makes_its_tables_and_tells_whether_it_answers(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'packages.sqlite'}"
    async with Backend.at(url, Package) as backend:
        await backend.check_health()
        async with backend.uow_provider.make_uow() as uow:
            await uow.packages.save(Package(name="a"))
    gone = make_engine("postgresql+asyncpg://127.0.0.1:1/nothing")
    nowhere = Backend(SQLAlchemyRepositoryProvider(gone, Package), owns_engine=True)
    with pytest.raises(OSError):
        await nowhere.check_health()
    await nowhere.aclose()
