"""Keys, a clock and backends that the tests of this slice share."""

import contextlib
import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from varco_auth_jwt import JsonWebKey
from varco_auth_jwt._prepare import secret_key

NOW = 1_700_000_000.0


class FakeClock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def secret() -> str:
    return "correct horse battery staple, twice over"


@pytest.fixture
def oct_key(secret: str) -> JsonWebKey:
    return secret_key(secret, kid="shared")


class IdentityProvider:
    """A real HTTP server on loopback: an OpenID Connect provider that can be made to misbehave."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.issuer: str | None = None
        self.mode = "ok"
        self.hits: Counter[str] = Counter()
        self.sent = 0
        # Set while answers are let through; a test clears it to hold them back.
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        # Set when a "half" answer may go on.
        self.rest = threading.Event()
        self.jwks_uri: object = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self.rest.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, *keys: JsonWebKey) -> None:
        self.keys = [key.public_key().to_dict() for key in keys]

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                provider.hits[self.path] += 1
                provider.reached.set()
                provider.gate.wait(60)
                with contextlib.suppress(ConnectionError):
                    provider.answer(self)

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        mode = self.mode
        if mode == "huge":
            return self._answer_huge(handler)
        if mode.startswith("redirect:"):
            return self._answer(handler, 302, b"", {"Location": mode.removeprefix("redirect:")})
        if mode == "redirect-once" and handler.path != "/moved":
            return self._answer(handler, 307, b"", {"Location": "/moved"})
        if mode.isdigit():
            return self._answer(handler, int(mode), b"{}")
        if handler.path == "/.well-known/openid-configuration":
            document = {
                "issuer": self.issuer or self.url,
                "jwks_uri": self.jwks_uri or f"{self.url}/jwks",
            }
            return self._answer(handler, 200, json.dumps(document).encode())
        body = json.dumps({"keys": self.keys}).encode()
        if mode == "half":
            self._answer(handler, 200, body[:9], {"Content-Length": str(len(body))})
            self.rest.wait(60)
            return None
        body, headers = {
            "gzip": (gzip.compress(body), {"Content-Encoding": "gzip"}),
            "not json": (b"<html>sign in</html>", {}),
            "html": (body, {"Content-Type": "text/html"}),
            "plain": (body, {"Content-Type": "text/plain; charset=utf-8"}),
            "bytes": (body, {"Content-Type": "application/octet-stream"}),
            "binary": (body, {"Content-Type": "binary/octet-stream"}),
            "no keys": (b'{"keys":5}', {}),
        }.get(mode, (body, {}))
        return self._answer(handler, 200, body, headers)

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        handler.send_response(status)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in (fields | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _answer_huge(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(100 * 2**20))
        handler.end_headers()
        chunk = b" " * 2**16
        for _ in range(1600):
            handler.wfile.write(chunk)
            self.sent += len(chunk)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()
