"""Servers of the tests' own are killed and started again in the middle of everything.

Only with the deep profile: making a data directory takes longer than all of a usual run.
"""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy.ext.asyncio import create_async_engine

from varco_domain.exception import StorageUnavailableError
from varco_domain.model import DomainModel
from varco_events import OutboxEntry
from varco_query import QueryParams
from varco_sa import CommitUnknownError, bootstrap

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        settings.get_profile(settings._current_profile).max_examples <= 1000,
        reason="starts database servers; run with HYPOTHESIS_PROFILE=deep",
    ),
]

RESTARTS = 6


class Note(DomainModel):
    text: str


def program(*names):
    folders = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))), "/usr/sbin"]
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=":".join(folders))
        if found:
            return found
    pytest.skip(f"there is no {' or '.join(names)}")


class Server:
    """A server on a port and in a folder of its own; `kill` is what a power failure does."""

    def __init__(self, account):
        self.folder = Path(tempfile.mkdtemp(prefix="varco-server-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._as = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, account, account)
            self._as = ["runuser", "-u", account, "--"]
        self._process = None

    def run(self, *command):
        subprocess.run([*self._as, *command], check=True, capture_output=True, cwd=self.folder)

    async def start(self):
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as, *self.command()], stdout=log, stderr=log, cwd=self.folder
            )
        async with asyncio.timeout(120):
            while True:
                engine = create_async_engine(self.url)
                try:
                    async with engine.connect():
                        return
                except Exception:
                    await asyncio.sleep(0.1)
                finally:
                    await engine.dispose()

    def kill(self):
        os.kill(int((self.folder / "data" / self.pid_file).read_text().split()[0]), signal.SIGKILL)
        self._process.wait()

    def remove(self):
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Server):
    pid_file = "postmaster.pid"

    def __init__(self):
        initdb, self._postgres = program("initdb"), program("postgres")
        super().__init__("postgres")
        self.run(initdb, "-D", "data", "-U", "varco", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.url = f"postgresql+asyncpg://varco@127.0.0.1:{self.port}/postgres"

    def command(self):
        data = str(self.folder / "data")
        return self._postgres, "-D", data, "-p", str(self.port), "-k", str(self.folder)


class MariaDB(Server):
    pid_file = "varco.pid"

    def __init__(self):
        install, self._mariadbd = program("mariadb-install-db"), program("mariadbd", "mysqld")
        super().__init__("mysql")
        self.run(install, "--no-defaults", f"--datadir={self.folder / 'data'}")
        init = self.folder / "init.sql"
        init.write_text(
            "CREATE DATABASE IF NOT EXISTS varco;\n"
            "CREATE USER IF NOT EXISTS varco@'127.0.0.1' IDENTIFIED BY 'varco';\n"
            "GRANT ALL ON varco.* TO varco@'127.0.0.1';\n"
        )
        init.chmod(0o644)
        self.url = f"mysql+asyncmy://varco:varco@127.0.0.1:{self.port}/varco"

    def command(self):
        return (
            self._mariadbd,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            f"--socket={self.folder / 'socket'}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--pid-file={self.folder / 'data' / self.pid_file}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        )


@pytest.fixture(params=[PostgreSQL, MariaDB])
async def server(request, anyio_backend):
    made = request.param()
    try:
        await made.start()
        yield made
    finally:
        made.remove()


class Load:
    """Tasks that write and read until they are told to stop, and what became of each write."""

    def __init__(self, backend):
        self._backend = backend
        self._make_uow = backend.uow_provider.make_uow
        self._stopping = asyncio.Event()
        self.made, self.undone, self.unknown = set(), set(), set()
        self.errors = []

    async def _write(self, name):
        async with self._make_uow() as uow:
            await uow.notes.save(Note(text=name))
            await uow.outbox.save(OutboxEntry(event_type="note", key=name))
            await uow.notes.save_many([Note(text=name), Note(text=name)])

    async def writing(self, task):
        for number in itertools.count():
            name = f"{task}-{number}"
            try:
                await self._write(name)
                self.made.add(name)
            except CommitUnknownError as error:
                self.unknown.add(name)
                self.errors.append(error)
            except Exception as error:
                self.undone.add(name)
                self.errors.append(error)
                await asyncio.sleep(0.02)
            if self._stopping.is_set():
                return

    async def reading(self):
        while not self._stopping.is_set():
            try:
                async with self._make_uow() as uow:
                    params = QueryParams(limit=2000)
                    async for each in uow.notes.stream_by_query(params):
                        assert each.text
                    await uow.notes.count()
                await self._backend.outbox.get_pending(limit=1)
            except Exception as error:
                self.errors.append(error)
                await asyncio.sleep(0.02)

    async def works_again(self):
        before = len(self.made)
        while len(self.made) < before + 20:
            await asyncio.sleep(0.05)

    def stop(self):
        self._stopping.set()


async def test_a_server_that_is_killed_and_started_again(server):
    options = {"pool_size": 5, "max_overflow": 0, "pool_timeout": 60}
    async with bootstrap(server.url, Note, **options) as backend:
        load = Load(backend)
        async with asyncio.TaskGroup() as tasks:
            for task in range(6):
                tasks.create_task(load.writing(task))
            tasks.create_task(load.reading())
            tasks.create_task(load.reading())
            for restart in range(RESTARTS):
                await asyncio.sleep(0.5 + 0.07 * restart)
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(0.1)
                await server.start()
            async with asyncio.timeout(60):
                await load.works_again()
            load.stop()

        assert load.undone
        kinds = {type(error) for error in load.errors}
        assert kinds <= {StorageUnavailableError, CommitUnknownError}
        assert all(str(error) and "INSERT" not in repr(error) for error in load.errors)
        assert backend.engine.sync_engine.pool.checkedout() == 0
        async with backend.uow_provider.make_uow() as uow:
            texts = [note.text for note in await uow.notes.find_all()]
        keys = {entry.key for entry in await backend.outbox.get_pending(limit=1_000_000)}
        found = set(texts)
        assert keys == found
        assert len(texts) == 3 * len(found)
        # What was said to be committed is there, and of what failed only what was not known.
        assert load.made <= found <= load.made | load.unknown
