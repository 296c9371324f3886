"""What a transaction loses, and that it never loses it silently."""
# ruff: noqa: PT012, SIM117 - a unit of work that fails has several statements

import asyncio
import contextlib
import secrets
import sqlite3
from typing import Annotated
from uuid import UUID

import anyio
import pytest
import sqlalchemy as sa

from varco_domain.exception import (
    RepositoryException,
    StaleEntityError,
    UniqueViolationError,
)
from varco_domain.meta import FieldHint
from varco_domain.model import DomainModel, VersionedDomainModel
from varco_domain.uow import UnitOfWorkError
from varco_query import AndNode, F, OrNode, QueryLimitError, QueryParams
from varco_sa import TransactionAbortedError, bootstrap

pytestmark = pytest.mark.anyio


class Memo(VersionedDomainModel):
    text: str
    code: Annotated[str | None, FieldHint(unique=True, max_length=20)] = None
    number: int = 0


class Named(DomainModel):
    pk: Annotated[str, FieldHint(max_length=10)]


@pytest.fixture
async def backend(databases, kind):
    databases.url(kind)
    async with databases.backend(kind, Memo, Named) as opened:
        yield opened


async def texts(backend):
    async with backend.uow_provider.make_uow() as uow:
        return [note.text for note in await uow.memos.find_all()]


SLOW = {
    "postgresql": "SELECT pg_sleep(60)",
    "mariadb": "SELECT SLEEP(60)",
    "sqlite": "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) "
    "SELECT count(*) FROM r",
}


# A server goes on with a statement that nobody waits for, and keeps its locks until then.
WHO = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
END = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}


async def end(engine, kind, who):
    with contextlib.suppress(sa.exc.DBAPIError):
        async with engine.connect() as connection:
            await connection.execute(sa.text(END[kind].format(who)))


async def test_a_transaction_with_a_cancelled_statement_is_not_committed(backend, kind):
    who = None
    with pytest.raises(RepositoryException, match="earlier statement"):
        async with backend.uow_provider.make_uow() as uow:
            await uow.memos.save(Memo(text="lost"))
            if kind in WHO:
                who = await (await uow.connection()).scalar(sa.text(WHO[kind]))
            with anyio.move_on_after(0.2):
                await (await uow.connection()).execute(sa.text(SLOW[kind]))
            with pytest.raises(RepositoryException, match="earlier statement"):
                await uow.memos.save(Memo(text="after"))
    if who is not None:
        await end(backend.engine, kind, who)
    assert await texts(backend) == []
    assert backend.engine.sync_engine.pool.checkedout() == 0


async def test_a_read_that_is_cancelled_before_any_write_costs_nothing_else(backend):
    async with backend.uow_provider.make_uow() as uow:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await uow.memos.find_all()
        await uow.memos.save(Memo(text="kept"))
    assert await texts(backend) == ["kept"]


async def test_a_lost_version_is_no_failed_statement(backend):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        old = await uow.memos.save(Memo(text="a"))
    async with make_uow() as uow:
        new = await uow.memos.find_by_id(old.pk)
        new.number = 1
        await uow.memos.save(new)
    async with make_uow() as uow:
        await uow.memos.save(Memo(text="b"))
        old.text = "changed"
        with pytest.raises(StaleEntityError):
            await uow.memos.save(old)
        fresh = await uow.memos.find_by_id(old.pk)
        fresh.text = "changed"
        await uow.memos.save(fresh)
    assert await texts(backend) == ["changed", "b"]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("saved", [False, True])
async def test_after_a_deadlock_nothing_of_the_transaction_is_committed(backend, saved):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        one, other = await uow.memos.save_many([Memo(text="a"), Memo(text="b")])
    both = asyncio.Barrier(2)

    async def swap(name, first, second):
        async with make_uow() as uow:
            await uow.memos.save(Memo(text=f"before {name}"))
            with uow.for_update():
                await uow.memos.find_by_id(first.pk)
                await both.wait()
                try:
                    if saved:
                        async with uow.savepoint():
                            await uow.memos.find_by_id(second.pk)
                    else:
                        await uow.memos.find_by_id(second.pk)
                except TransactionAbortedError:
                    if not saved:
                        await uow.memos.save(Memo(text=f"after {name}"))

    results = await asyncio.gather(
        swap("x", one, other), swap("y", other, one), return_exceptions=True
    )
    failed = [each for each in results if each is not None]
    made = sorted(await texts(backend))
    if saved and backend.engine.dialect.name == "postgresql":
        # Its savepoint brings the transaction back to where it was.
        assert made == ["a", "b", "before x", "before y"]
        assert failed == []
    else:
        assert [type(each) for each in failed] == [RepositoryException]
        assert made in (["a", "b", "before x"], ["a", "b", "before y"])


async def test_writing_while_a_stream_is_open(backend):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        await uow.memos.save_many([Memo(text="a", number=number) for number in range(1200)])
    async with make_uow() as uow:
        seen = 0
        async for note in uow.memos.stream_by_query(QueryParams()):
            seen += 1
            if note.number % 500 == 7:
                note.text = "b"
                await uow.memos.save(note)
        assert seen == 1200
        assert await uow.memos.count(QueryParams(F.text == "b")) == 3
        async for _ in uow.memos.stream_by_query(QueryParams()):
            break
        assert await uow.memos.count() == 1200
        stream = uow.memos.stream_by_query(QueryParams())
        await anext(stream)
    with pytest.raises(UnitOfWorkError, match="ended with the transaction"):
        async for _ in stream:
            pass
    assert backend.engine.sync_engine.pool.checkedout() == 0


@pytest.mark.parametrize("pk", ["1", "x\0", "\ud800", 2**70, None, UUID(int=1), b"1", 1.5])
async def test_a_key_of_another_kind_is_the_key_of_nothing(backend, pk):
    async with backend.uow_provider.make_uow() as uow:
        await uow.memos.save(Memo(text="a"))
        await uow.repository(Named).save(Named(pk="x"))
        for model in (Memo, Named):
            assert await uow.repository(model).find_by_id(pk) is None
            assert not await uow.repository(model).exists(pk)
        assert await uow.repository(Named).find_by_id("x" * 300) is None
        assert (await uow.repository(Named).find_by_id("x")).pk == "x"


async def test_a_long_chain_of_terms_and_a_long_pattern(backend):
    async with backend.uow_provider.make_uow() as uow:
        await uow.memos.save(Memo(text="a" * 60_000))
        terms = [F.number != each + 1 for each in range(5000)]
        assert await uow.memos.count(QueryParams(AndNode(*terms))) == 1
        assert await uow.memos.count(QueryParams(OrNode(*terms))) == 1
        pattern = QueryParams(F.text.contains("a" * 60_000))
        if backend.engine.dialect.name == "sqlite":
            with pytest.raises(QueryLimitError, match="max_length"):
                await uow.memos.count(pattern)
        else:
            assert await uow.memos.count(pattern) == 1


async def test_upsert_changes_only_the_row_that_is_meant(backend):
    make_uow = backend.uow_provider.make_uow
    async with make_uow() as uow:
        one, two = await uow.memos.save_many(
            [Memo(text="a", code="1"), Memo(text="b", code="2")],
        )
    with pytest.raises(RepositoryException, match="upsert by text: Memo is unique by pk; code"):
        async with make_uow() as uow:
            await uow.upsert([Memo(text="a")], by=["text"])
    stranger = Memo(text="c", code=two.code)
    stranger.pk = 99
    clash = Memo(text="c", code="2")
    clash.pk = one.pk
    with pytest.raises(UniqueViolationError):
        async with make_uow() as uow:
            await uow.upsert([clash], by=["pk"])
    async with make_uow() as uow:
        await uow.upsert([stranger], by=["code"])
        notes = await uow.memos.find_all()
    assert [(note.pk, note.text, note.code) for note in notes] == [
        (one.pk, "a", "1"),
        (two.pk, "c", "2"),
    ]


async def test_processes_that_start_together_make_the_tables_once(databases, kind):
    class Fresh(DomainModel):
        class Meta:
            table = f"fresh_{secrets.token_hex(4)}"

        name: Annotated[str, FieldHint(unique=True, max_length=20)] = ""

    url = databases.url(kind)

    async def start():
        async with bootstrap(url, Fresh) as backend:
            async with backend.uow_provider.make_uow() as uow:
                return await uow.repository(Fresh).count()

    assert await asyncio.gather(*(start() for _ in range(6))) == [0] * 6
    async with bootstrap(url, Fresh) as backend, backend.engine.begin() as connection:
        await connection.run_sync(backend.uow_provider.metadata.tables[Fresh.Meta.table].drop)


async def test_a_new_file_waits_for_who_is_about_to_write_to_it(tmp_path):
    file = tmp_path / "new.sqlite"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("BEGIN IMMEDIATE")

        async def start():
            async with bootstrap(f"sqlite:///{file}", Memo) as backend:
                async with backend.uow_provider.make_uow() as uow:
                    return await uow.memos.count()

        starting = asyncio.create_task(start())
        done, _ = await asyncio.wait([starting], timeout=0.2)
        assert not done
        other.execute("COMMIT")
        assert await starting == 0


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_unit_of_work_on_an_exhausted_pool_says_so(databases, kind):
    options = {"pool_timeout": 0.1, "max_overflow": 0}
    async with databases.backend(kind, Memo, engine_options=options) as backend:
        make_uow = backend.uow_provider.make_uow
        async with make_uow() as a, make_uow() as b, make_uow() as c, make_uow() as d:
            for each in (a, b, c, d):
                await each.memos.count()
            with pytest.raises(RepositoryException, match="pool"):
                async with make_uow() as uow:
                    await uow.memos.count()


async def test_a_stream_that_was_left_is_closed_beside_nothing(backend):
    """The loop closes what was left in a task of its own, which has to wait for the statement."""
    async with backend.uow_provider.make_uow() as uow:
        await uow.memos.save_many([Memo(text="a" * 4_000, number=n) for n in range(1_000)])
    async with backend.uow_provider.make_uow() as uow:
        for turn in range(20):
            async for _ in uow.memos.stream_by_query(QueryParams()):
                break
            for _ in range(turn % 4):  # the task may begin before the statement does
                await asyncio.sleep(0)
            assert await uow.memos.count() == 1_000
