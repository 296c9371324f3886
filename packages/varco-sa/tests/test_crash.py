"""Processes that are killed, and servers that go away."""
# ruff: noqa: PT012 - a unit of work that fails has several statements

import asyncio
import contextlib
import importlib.util
import os
import random
import signal
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from varco_domain.exception import StorageUnavailableError
from varco_domain.model import DomainModel
from varco_query import QueryParams
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

pytestmark = pytest.mark.anyio

WRITER = Path(__file__).parent / "_writer.py"
# The deep profile kills 200 writers on each engine.
KILLS = 200 if settings.get_profile(settings._current_profile).max_examples > 1000 else 5


def order_class():
    spec = importlib.util.spec_from_file_location("varco_sa_test_writer", WRITER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Order


Order = order_class()


@pytest.mark.timeout(900)
async def test_kill_9_leaves_both_rows_or_none(databases, kind):
    databases.url(kind)
    random_ = random.Random(kind)
    async with databases.backend(kind, Order) as backend:
        url = backend.engine.url.render_as_string(hide_password=False)
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            str(WRITER),
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        committed = 0
        for run in range(KILLS):
            starter.stdin.write(f"{run}\n".encode())
            writer = int(await starter.stdout.readline())
            # It writes without a pause: from its first commit on any moment is in the middle.
            # A few are killed before, while they connect and begin.
            if run % 5:
                assert await starter.stdout.readline() == b"committed\n"
                committed += 1
            await asyncio.sleep(random_.uniform(0.0, 0.05))
            os.kill(writer, signal.SIGKILL)
            while (line := await starter.stdout.readline()) == b"committed\n":
                committed += 1
            assert line == b"ended by 9\n"
        starter.stdin.close()
        assert await starter.wait() == 0
        names, keys = await asyncio.wait_for(_settled(backend), 60)
    assert set(names) == set(keys)
    assert len(names) == len(set(names))
    written = {}
    for name in names:
        run, number, _ = name.split("-")
        written.setdefault(run, {}).setdefault(int(number), []).append(name)
    assert len(written) >= committed >= KILLS * 4 // 5
    for numbers in written.values():
        # Whole transactions, and of each process all up to one.
        assert {len(each) for each in numbers.values()} == {3}
        assert sorted(numbers) == list(range(len(numbers)))


async def _settled(backend):
    """The rows, once the server has noticed the last kill and undone what was open."""
    while True:
        async with backend.uow_provider.make_uow() as uow:
            names = [order.name for order in await uow.orders.find_all()]
        keys = [entry.key for entry in await backend.outbox.get_pending(limit=1_000_000)]
        if set(names) == set(keys):
            return names, keys
        await asyncio.sleep(0.05)


class Proxy:
    """A TCP proxy on loopback that can cut its connections and refuse new ones."""

    def __init__(self, host, port):
        self._target = host, port
        self._writers = set()
        self._tasks = set()
        self.down = False

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.down:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


class Note(DomainModel):
    text: str


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_cut_connection_is_a_retryable_error_and_the_pool_recovers(databases, kind):
    target = sa.make_url(databases.url(kind))
    async with (
        databases.backend(kind, Note),
        Proxy(target.host, target.port) as proxy,
    ):
        url = target.set(host="127.0.0.1", port=proxy.port)
        engine = make_engine(url, pool_size=3, max_overflow=0, pool_timeout=5)
        provider = SQLAlchemyRepositoryProvider(engine, Note)

        async def write(text):
            async with provider.make_uow() as uow:
                await uow.notes.save(Note(text=text))

        await asyncio.gather(*(write(f"before {number}") for number in range(6)))

        # In the middle of a transaction.
        with pytest.raises(StorageUnavailableError) as caught:
            async with provider.make_uow() as uow:
                await uow.notes.save(Note(text="lost"))
                proxy.cut()
                await uow.notes.save(Note(text="lost too"))
        assert caught.value.code == "domain.unavailable"
        assert caught.value.http_status == 503

        # In the middle of a stream.
        await provider.get_repository(Note).save_many([Note(text="x" * 200)] * 3000)
        with pytest.raises(StorageUnavailableError):
            async with provider.make_uow() as uow:
                async for _ in uow.notes.stream_by_query(QueryParams()):
                    proxy.cut()
                    await asyncio.sleep(0)

        # While all connections lie in the pool: nothing is noticed.
        await asyncio.gather(*(write("warm") for _ in range(3)))
        proxy.cut()
        await asyncio.sleep(0.05)
        await write("after")
        async with provider.make_uow() as uow:
            assert await uow.notes.count() == 3000 + 6 + 3 + 1

        # While there is no server, many at once; then it is back.
        proxy.down = True
        proxy.cut()
        results = await asyncio.gather(*(write("down") for _ in range(8)), return_exceptions=True)
        assert {type(result) for result in results} == {StorageUnavailableError}
        proxy.down = False
        await asyncio.gather(*(write("back") for _ in range(8)))

        # No session has leaked: all connections are back, and all of the pool can be had at once.
        assert engine.sync_engine.pool.checkedout() == 0
        await engine.dispose()


async def test_cancelling_at_any_moment_leaks_nothing(databases, kind):
    databases.url(kind)
    async with databases.backend(kind, Note) as backend:
        make_uow = backend.uow_provider.make_uow
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()

        def heard(loop, context):
            # asyncpg leaves a future behind when a connection is ended in the middle of a call.
            if "connection_lost" not in str(context.get("exception")):
                handler(loop, context)

        loop.set_exception_handler(heard)

        async def work():
            async with make_uow() as uow:
                note = await uow.notes.save(Note(text="a"))
                await uow.notes.find_by_id(note.pk)
                await uow.notes.save_many([Note(text="b"), Note(text="c")])

        for number in range(25):
            task = asyncio.create_task(work())
            await asyncio.sleep(number * 0.0004)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await work()
        async with make_uow() as uow:
            assert await uow.notes.count() % 3 == 0
        assert backend.engine.sync_engine.pool.checkedout() == 0
