"""One operation of a resource as FastAPI calls it, and its answer as Starlette sends it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, cast

from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Receive, Scope, Send

from varco_fastapi._callers import application_of, current_caller
from varco_http import Caller, Endpoint, HttpResource, HttpResponse


class Answer(Response):
    """An answer that is made already."""

    def __init__(self, answer: HttpResponse) -> None:
        # Starlette's own would make headers of its own first.
        self.status_code = answer.status
        self.background = None
        self.body = answer.body
        self.raw_headers = answer.raw_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; to HEAD without the body."""
        if scope["method"] == "HEAD":
            self.body = b""
        await super().__call__(scope, receive, send)


class Operation:
    """One operation; what is received and sent is left to varco-http.

    Args:
        resource: What it is an operation of.
        endpoint: What answers.
    """

    def __init__(self, resource: HttpResource, endpoint: Endpoint) -> None:
        self.resource: Final = resource
        self.endpoint: Final = endpoint

    async def __call__(
        self, request: Request, caller: Annotated[Caller, Depends(current_caller)]
    ) -> Response:
        """Answer a request of a caller that FastAPI found out."""
        return await self.answer(request, caller)

    async def answer(self, request: Request, caller: Caller | None = None) -> Response:
        """Answer a request; who calls is found out unless it is told."""
        application = application_of(request)
        return Answer(await application.answer(self.endpoint, request.scope, request.body, caller))


class OperationRoute(APIRoute):
    """The route of an operation, which has FastAPI solve dependencies only where there are some.

    Solving them costs a third of what the service does for a row; without a guard and a replaced
    `current_caller` it comes to what the operation does by itself.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers; FastAPI asks for it once for each place the route is included at."""
        solved = super().get_route_handler()
        operation = cast("Operation", self.endpoint)
        alone: bool | None = None

        async def handle(request: Request) -> Response:
            nonlocal alone
            if alone is None:
                alone = _is_alone(request.app, operation)
            # Its telemetry measures what it calls itself.
            if alone and not request.app.dependency_overrides and _TELEMETRY not in request.scope:
                return await operation.answer(request)
            return await solved(request)

        return handle


_TELEMETRY: Final = "fastapi.telemetry"


def _is_alone(app: FastAPI, operation: Operation) -> bool:
    """Tell whether no place of an operation adds dependencies; one that is not found may."""
    places = [each for each in iter_route_contexts(app.routes) if each.endpoint is operation]
    return bool(places) and not any(each.dependencies for each in places)
