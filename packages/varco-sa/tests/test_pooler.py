"""Behind PgBouncer in transaction mode, where each transaction may meet another server process."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from varco_domain import DomainModel
from varco_domain.exception import RepositoryException
from varco_events import Event, OutboxEntry
from varco_sa import bootstrap, make_engine

pytestmark = pytest.mark.anyio


class Pooled(DomainModel):
    n: int = 0


class Done(Event):
    n: int


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def pooler(databases, tmp_path):
    """The URL of the test database through a PgBouncer of the test's own, with few connections."""
    direct = sa.make_url(databases.url("postgresql"))
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        reason = "no pgbouncer; scripts/services installs it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    port = _free_port()
    upstream = f"host={direct.host} port={direct.port or 5432} dbname={direct.database}"
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n{direct.database} = {upstream} "
        f"user={direct.username} password={direct.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 8\nmax_client_conn = 500\n"
    )
    as_whom = ["-u", "postgres"] if os.geteuid() == 0 else []  # it refuses to be root
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            [program, *as_whom, str(tmp_path / "pgbouncer.ini")], stdout=log, stderr=log
        )
    try:
        for _ in range(500):
            if _answers(port):
                break
            assert running.poll() is None, (tmp_path / "log").read_text()
            await asyncio.sleep(0.01)
        through = direct.set(host="127.0.0.1", port=port)
        yield through, direct
    finally:
        running.terminate()
        running.wait()


async def work(backend, times):
    async def one(n):
        async with backend.uow_provider.make_uow() as uow:
            saved = await uow.repository(Pooled).save(Pooled(n=n))
            found = await uow.repository(Pooled).find_by_id(saved.pk)
            assert found is not None
            assert found.n == n
        async with backend.uow_provider.make_uow() as uow:
            await uow.repository(Pooled).delete(saved)

    return await asyncio.gather(*(one(n) for n in range(times)), return_exceptions=True)


async def test_one_word_makes_all_concurrent_work_succeed(pooler):
    through, _ = pooler
    async with bootstrap(through, Pooled, pgbouncer=True) as backend:
        assert await work(backend, 240) == [None] * 240


async def test_without_the_word_the_error_says_it(pooler):
    through, _ = pooler
    async with bootstrap(through, Pooled, pgbouncer=True):
        pass  # the tables
    engine = create_async_engine(through, pool_size=20, max_overflow=20)
    try:
        async with bootstrap(engine, Pooled) as backend:
            outcomes = await work(backend, 100)
    except RepositoryException as error:
        outcomes = [error]
    finally:
        await engine.dispose()
    assert any("open the database with pgbouncer=True" in str(each) for each in outcomes)


async def test_relays_poll_behind_it_and_say_so(pooler, caplog):
    through, _ = pooler
    with caplog.at_level(logging.INFO, "varco_sa.notify"):
        async with bootstrap(through, Pooled, pgbouncer=True) as backend:
            await backend.outbox.save(OutboxEntry.from_event(Done(n=1)))
            await backend.outbox.wait_for_work(0.01)
            claimed = await backend.outbox.claim()
            assert len(claimed) == 1
            await backend.outbox.delete_many([claimed[0].entry_id])
    assert "relays poll" in caplog.text


async def test_a_direct_url_wakes_them(pooler):
    through, direct = pooler
    async with (
        bootstrap(through, Pooled, pgbouncer=True, listen_url=direct) as relays,
        bootstrap(through, Pooled, pgbouncer=True) as writes,
    ):
        await relays.outbox.wait_for_work(0.01)  # listens from now on
        await relays.outbox.wait_for_work(0.01)
        waiting = asyncio.create_task(relays.outbox.wait_for_work(60))
        entry = OutboxEntry.from_event(Done(n=2))
        await writes.outbox.save(entry)
        await asyncio.wait_for(waiting, 20)
        await writes.outbox.delete(entry.entry_id)


def test_the_word_is_for_the_driver_that_prepares_statements():
    with pytest.raises(ValueError, match=r"for postgresql\+asyncpg, not for sqlite\+aiosqlite"):
        make_engine("sqlite://", pgbouncer=True)
