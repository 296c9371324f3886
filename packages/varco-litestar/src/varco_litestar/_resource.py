"""A resource as a router of Litestar."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Unpack, cast

from litestar import Request, Router, route
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Method, Middleware, Receive, Scope, Send

from varco_http import Endpoint, HttpResource, HttpResponse, ResourceOptions, Verb
from varco_litestar._callers import application_of, known_caller

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
OPERATION: Final = "varco_operation"

type Guard = Callable[
    [ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None] | None
]
"""What lets a connection through to a handler, or raises; a guard of Litestar."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a handler of a resource stands for."""

    resource: HttpResource
    endpoint: Endpoint

    def __deepcopy__(self, memo: object) -> "Operation":
        # Litestar copies handlers; what they stand for stays the same.
        return self


class Answer:
    """An answer as it is sent: Litestar adds nothing to it."""

    def __init__(self, answer: HttpResponse) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; to HEAD without the body."""
        del receive
        answer = self._answer
        headers = answer.raw_headers()
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if cast("Mapping[str, Any]", scope)["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def resource(
    service: type[Any] | HttpResource,
    prefix: str = "",
    *,
    guards: Sequence[Guard] = (),
    middleware: Sequence[Middleware] = (),
    **options: Unpack[ResourceOptions],
) -> Router:
    """Make a router of a service; register it with an application, or with another router.

    Every operation can be left out, replaced and added to (see `HttpResource`). QUERY (RFC 10008)
    is not offered: Litestar refuses the method; the same search is at `POST /…/search`.

    Args:
        service: The service class; an instance of it is added to the `HttpApplication`. Or a
            resource that is made already, which a nested one names as its parent.
        prefix: Where it is: `/products`. Left out for a resource that is made already.
        guards: Guards of Litestar that every operation has.
        middleware: Middleware of Litestar that every operation has.
        options: Those of `HttpResource`.

    Raises:
        HttpConfigError: The parts do not fit.
        TypeError: A resource that is made already is given options.
    """
    made = HttpResource.of(service, prefix, options)
    return Router(
        "/",
        route_handlers=[_handler(made, each) for each in made.endpoints if each.verb != Verb.QUERY],
        guards=list(guards),
        middleware=list(middleware),
    )


def seen_scope(scope: Scope) -> Mapping[str, Any]:
    """A scope whose path is the one that the client sees."""
    found = cast("Mapping[str, Any]", scope)
    root = found.get("root_path", "")
    return {**found, "path": f"{root}{found['path']}"} if root else found


def _places(made: HttpResource, endpoint: Endpoint) -> list[str]:
    """Where an operation is; that of a row also where the row is called as an operation is.

    Litestar has `/search` stand before `/{pk}`, whichever the method.
    """
    if not endpoint.on_row or made.spec.meta.is_composite_pk:
        return [endpoint.path]
    named: dict[str, set[str]] = {}
    for each in made.endpoints:
        if not each.on_row and each.path != made.collection_path:
            named.setdefault(each.path, set()).add(each.method)
    tail = endpoint.path.removeprefix(made.row_path)
    free = [path for path, methods in named.items() if tail or endpoint.method not in methods]
    return [endpoint.path, *(f"{path}{tail}" for path in free)]


def _handler(made: HttpResource, endpoint: Endpoint) -> Any:
    key, on_row = made.spec.key_params[0], endpoint.on_row
    at = -1 - endpoint.path.removeprefix(made.row_path).count("/")

    async def operation(request: Request[Any, Any, Any]) -> Answer:
        scope = seen_scope(request.scope)
        if on_row and key not in scope["path_params"]:
            name = scope["path"].rstrip("/").split("/")[at]
            scope = {**scope, "path_params": {**scope["path_params"], key: name}}
        return Answer(
            await application_of(request.scope).answer(
                endpoint, scope, request.body, known_caller(request.scope)
            )
        )

    return route(
        [_PARAMETER.sub(r"{\1:str}", path) for path in _places(made, endpoint)],
        http_method=cast(
            "list[Method]", ["GET", "HEAD"] if endpoint.method == "GET" else [endpoint.method]
        ),
        opt={OPERATION: Operation(made, endpoint)},
        # What Litestar would say of it is too little: the document is completed by the plugin.
        include_in_schema=False,
        status_code=200,
    )(operation)
