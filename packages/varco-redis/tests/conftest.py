"""A Redis to test on: the one that runs, under prefixes of this run's own, or servers of ours."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what several of these files share

URL = os.environ.get("VARCO_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def _absent(reason):
    reason = f"{reason}; scripts/services sets it up"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def anyio_backend():
    """redis-py runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def url():
    """The URL of the server that runs; skips the test without one, and fails it in CI."""
    address = urlsplit(URL)
    try:
        socket.create_connection((address.hostname, address.port or 6379), 2).close()
    except OSError as error:
        _absent(f"no Redis at {URL}: {error}")
    return URL


@pytest.fixture(scope="session")
def run_prefix(url):
    """What all keys of this run begin with; they are removed at its end."""
    prefix = f"varco-test-{secrets.token_hex(6)}:"
    yield prefix

    async def remove():
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(url) as client:
            async for key in client.scan_iter(f"*{prefix}*", count=1000):
                await client.unlink(key)

    asyncio.run(remove())


@pytest.fixture
def prefix(run_prefix):
    """What the keys of one test begin with."""
    return f"{run_prefix}{secrets.token_hex(4)}:"


@pytest.fixture
async def client(url, anyio_backend):
    """A bare client, to look behind the curtain and to do damage."""
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(url) as client:
        yield client


def _free_port():
    # A server of a cluster also takes the port 10,000 above, which must be none that a client has.
    while True:
        with socket.socket() as probe:
            port = secrets.choice(range(12_000, 22_000))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@pytest.fixture
def free_port():
    """A port that nothing listens on."""
    return _free_port


class Server:
    """A redis-server of the test's own, that may be killed, frozen and started again."""

    def __init__(self, folder, *options, tls_port=None):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.tls_port = tls_port
        self.options = options
        self._process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "log")]
        self._process = subprocess.Popen([*command, *self.options])
        self.wait()
        return self

    def wait(self):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.sendall(b"PING\r\n")
                    answer = probe.recv(100)
                    if answer.startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()


@pytest.fixture
def make_server(tmp_path):
    """Starts servers of the test's own; they end with it."""
    if shutil.which("redis-server") is None:
        _absent("no redis-server on PATH")
    servers = []

    def make(*options, name=None):
        server = Server(tmp_path / (name or f"redis-{len(servers)}"), *options)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()
