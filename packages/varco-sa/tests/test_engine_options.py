"""Units of work keep their promises on an engine that somebody made with options of their own."""

import asyncio
from contextlib import suppress
from typing import Annotated

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_domain import DomainModel, FieldHint
from varco_domain.exception import UniqueViolationError
from varco_domain.uow import UnitOfWorkError
from varco_sa import bootstrap

pytestmark = pytest.mark.anyio


class Optioned(DomainModel):
    name: Annotated[str, FieldHint(unique=True)]


class FaultError(Exception):
    pass


@pytest.fixture(params=["engine", "option", "both"])
def autocommitting(request, url):
    """An engine that commits each statement, in one of the ways to ask for it."""
    level = {"isolation_level": "AUTOCOMMIT"}
    engine = create_async_engine(url, **({} if request.param == "option" else level))
    return engine if request.param == "engine" else engine.execution_options(**level)


async def _names(backend):
    async with backend.uow_provider.make_uow() as uow:
        return sorted(each.name for each in await uow.repository(Optioned).find_all())


async def test_a_unit_of_work_rolls_back_on_an_engine_that_commits_each_statement(autocommitting):
    engine = autocommitting
    async with bootstrap(engine, Optioned) as backend:
        provider = backend.uow_provider
        table = provider.metadata.tables["optioneds"]
        try:
            with suppress(FaultError):
                async with provider.make_uow() as uow:
                    assert await uow.repository(Optioned).count() == 0
                    await uow.repository(Optioned).save(Optioned(name="a"))
                    raise FaultError
            assert await _names(backend) == []
            async with provider.make_uow() as uow:
                await uow.repository(Optioned).save(Optioned(name="b"))
                with suppress(FaultError):
                    async with uow.savepoint():
                        await uow.repository(Optioned).save(Optioned(name="c"))
                        raise FaultError
                async with provider.make_uow() as other:
                    assert await other.repository(Optioned).count() == 0
            with suppress(UniqueViolationError):
                async with provider.make_uow() as uow:
                    await uow.repository(Optioned).save_many([Optioned(name=n) for n in "dbe"])
            assert await _names(backend) == ["b"]
            async with engine.connect() as connection:
                # It stays as it was for those who use it otherwise.
                await connection.execute(sa.insert(table).values(name="f"))
            assert await _names(backend) == ["b", "f"]
        finally:
            async with engine.begin() as connection:
                await connection.run_sync(provider.metadata.drop_all)
    await engine.dispose()


@pytest.mark.parametrize("level", ["SERIALIZABLE", "READ UNCOMMITTED"])
async def test_a_read_before_a_write_waits_for_writers_whatever_the_level(databases, level):
    engine = create_async_engine(databases.url("sqlite"), isolation_level=level)
    async with bootstrap(engine, Optioned) as backend:

        async def write(name):
            async with backend.uow_provider.make_uow() as uow:
                await uow.repository(Optioned).count()
                await uow.repository(Optioned).save(Optioned(name=name))

        await asyncio.gather(*(write(str(number)) for number in range(20)))
        assert len(await _names(backend)) == 20
    await engine.dispose()


async def test_an_engine_that_reads_what_may_be_undone_is_refused(databases):
    engine = create_async_engine(databases.url("mariadb"), isolation_level="READ UNCOMMITTED")
    with pytest.raises(UnitOfWorkError, match="READ COMMITTED or more"):
        await bootstrap(engine, Optioned)
    await engine.dispose()
