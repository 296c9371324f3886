"""A MongoDB server for tests: that of VARCO_TEST_MONGODB_URL, or a stand-in that is started.

The stand-in is secantusdb, a tool of the tests: it is GPL-2.0, so that no distribution may need it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

VARIABLE = "VARCO_TEST_MONGODB_URL"


class NoServerError(Exception):
    """There is none; the text says why."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server, without a database; raises NoServerError."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        _wait(given, 10)
        yield given
        return
    program = Path(sys.executable).with_name("secantusd-py")
    if not program.exists():
        raise NoServerError(f"{VARIABLE} is not set, and secantusdb is not installed")
    folder = tempfile.mkdtemp(prefix="varco-mongodb-")
    process, url = start(program, folder)
    try:
        _wait(url, 60)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def start(
    program: Path, folder: str, port: int | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the stand-in on a folder, and return the process and its URL."""
    port = port or _free_port()
    command = [str(program), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--storage-path", folder]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=silent, stderr=silent)
    return process, f"mongodb://127.0.0.1:{port}/?directConnection=true"


def database_url(url: str, name: str) -> str:
    """The URL of a database on the server."""
    head, _, options = url.partition("?")
    return f"{head.rstrip('/')}/{name}?{options}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait(url: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with pymongo.MongoClient[dict[str, object]](
                url, serverSelectionTimeoutMS=500
            ) as client:
                client.admin.command("ping")
        except PyMongoError as error:
            if time.monotonic() > end:
                raise NoServerError(f"no MongoDB for {url}: {error}") from None
        else:
            return
