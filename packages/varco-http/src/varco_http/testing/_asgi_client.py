"""A client of an ASGI application, in its process: what a server hands over, byte for byte."""

from collections.abc import AsyncGenerator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from urllib.parse import unquote

import anyio

from varco_http._asgi import AsgiApp
from varco_http._message import HttpResponse

_CHUNK: Final = 65_536

type Headers = Sequence[tuple[bytes, bytes]]


class Send(Protocol):
    """Sends a request to what is under test, over a network or in its process."""

    async def __call__(
        self, method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> HttpResponse:
        """The answer.

        Args:
            method: The method.
            target: Path and query as they stand in a URL.
            headers: Names in small letters, and values; the host and the length are added.
            body: The whole body.
        """
        ...


@asynccontextmanager
async def asgi_client(app: AsgiApp) -> AsyncGenerator[Send]:
    """Start an application, and give what sends requests to it; stop it at the end.

    Args:
        app: The application; its lifespan is run.

    Raises:
        RuntimeError: It does not start, or does not stop.
    """
    to_app, app_receives = anyio.create_memory_object_stream[MutableMapping[str, Any]](2)
    app_sends, from_app = anyio.create_memory_object_stream[MutableMapping[str, Any]](2)

    async def run() -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        await app(scope, app_receives.receive, app_sends.send)

    async def tell(what: str) -> None:
        await to_app.send({"type": f"lifespan.{what}"})
        message = await from_app.receive()
        if message["type"] != f"lifespan.{what}.complete":
            raise RuntimeError(f"{what}: {message.get('message')}")

    async def send(
        method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> HttpResponse:
        return await _send(app, method, target, headers, body)

    failure: Exception | None = None
    async with to_app, app_receives, app_sends, from_app, anyio.create_task_group() as group:
        group.start_soon(run)
        await tell("startup")
        try:
            yield send
        except Exception as error:  # noqa: BLE001 - raised again, out of the group
            failure = error
        await tell("shutdown")
    if failure is not None:
        raise failure


async def _send(
    app: AsgiApp, method: str, target: str, headers: Headers, body: bytes
) -> HttpResponse:
    chunks = [body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK)] or [b""]
    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []
    done = anyio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if chunks:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
        await done.wait()
        return {"type": "http.disconnect"}

    async def answer(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                done.set()

    try:
        await app(_scope(method, target, headers, body), receive, answer)
    except Exception:
        # A server logs what an application raises after it has answered.
        if not done.is_set():
            raise
    found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return HttpResponse(start["status"], tuple(found), b"".join(parts))


def _scope(method: str, target: str, headers: Headers, body: bytes) -> MutableMapping[str, Any]:
    path, _, query = target.partition("?")
    given = [(name.lower(), value) for name, value in headers]
    if b"host" not in dict(given):
        given.insert(0, (b"host", b"test"))
    if body:
        given.append((b"content-length", b"%d" % len(body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": given,
        "client": ("127.0.0.1", 50_000),
        "server": ("test", 80),
        "state": {},
    }
