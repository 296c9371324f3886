"""What surrounds every request of an application, as ASGI middleware: its id, and its answer's."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from secrets import token_hex
from typing import Any, Final

_ID: Final = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_request_id: ContextVar[str | None] = ContextVar("varco_http_request_id", default=None)

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def current_request_id() -> str | None:
    """The id of the request in hand; None outside of one."""
    return _request_id.get()


class RequestContext:
    """ASGI middleware that gives every request an id, and the answer the same.

    It is `current_request_id()`, and `request_id` in the state of the scope.

    The id is that of `X-Request-ID`, where it is a word of up to 128 characters, or a new one. It
    is also the correlation id of the events that the request makes, where varco-events is
    installed and the request names no other in `X-Correlation-ID`. A `traceparent` (W3C Trace
    Context) is left to OpenTelemetry.

    Args:
        app: The application inside.
        header: The header of the id.
        correlation_header: The header of the correlation id.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        header: str = "X-Request-ID",
        correlation_header: str = "X-Correlation-ID",
    ) -> None:
        self._app = app
        self._header = header.lower().encode("ascii")
        self._correlation_header = correlation_header.lower().encode("ascii")
        self._headers = frozenset({self._header, self._correlation_header})
        self._correlated = _correlation()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside, within the context of the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given: Iterable[tuple[bytes, bytes]] = scope["headers"]
        ids = {n: v for n, v in given if n in self._headers}
        sent = ids.get(self._header, b"")
        request_id = sent if _ID.fullmatch(sent) else token_hex(16).encode("ascii")
        other = ids.get(self._correlation_header, b"")
        correlation = other if _ID.fullmatch(other) else request_id

        async def identified(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (self._header, request_id)]
            await send(message)

        text = request_id.decode("ascii")
        scope.setdefault("state", {})["request_id"] = text
        token = _request_id.set(text)
        try:
            with self._correlated(correlation.decode("ascii")):
                await self._app(scope, receive, identified)
        finally:
            _request_id.reset(token)


def _correlation() -> Callable[[str], AbstractContextManager[Any]]:
    """What sets the correlation id of events, where there are any."""
    if find_spec("varco_events") is None:
        return nullcontext
    found: Callable[[str], AbstractContextManager[Any]] = import_module(
        "varco_events"
    ).correlation_context
    return found
