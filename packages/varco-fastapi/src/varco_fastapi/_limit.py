"""The limit of bodies: Starlette's, whose answer becomes a problem document."""

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from varco_fastapi._operation import Answer
from varco_http import status_response

_TOO_LARGE = 413
_READS = {"GET", "HEAD"}
_ONE = {"1.0", "1.1"}
_FRAMING = {b"content-length", b"transfer-encoding"}
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")


class BodyLimit:
    """ASGI middleware that refuses bodies over a length (413).

    Args:
        app: The application inside.
        max_body_size: The longest body, in bytes.
    """

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        self._app = app
        self._limited = RequestBodyLimitMiddleware(app, max_body_size)
        self._most = max_body_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside, with what it receives counted."""
        if scope.get("method") in _READS and scope["http_version"] in _ONE:
            framed = any(name in _FRAMING for name, _ in scope["headers"])
            if not framed:  # it has no body (RFC 9112)
                await self._app(scope, receive, send)
                return
        refused = False

        async def as_problem(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                # Starlette's own refusal is the only plain text of this status.
                refused = message["status"] == _TOO_LARGE and _PLAIN in message["headers"]
                if refused:
                    problem = status_response(
                        _TOO_LARGE,
                        instance=scope["path"],
                        detail=f"the body has over {self._most} bytes",
                    )
                    await Answer(problem)(scope, receive, send)
            if not refused:
                await send(message)

        await self._limited(scope, receive, as_problem)
