"""One operation of a resource as FastAPI calls it, and its answer as Starlette sends it."""

from typing import Annotated, Final

from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from varco_fastapi._callers import application_of, current_caller
from varco_http import Caller, Endpoint, HttpResource, HttpResponse


class Answer(Response):
    """An answer that is made already."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer.body, answer.status)
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
        """Answer a request."""
        application = application_of(request)
        return Answer(await application.answer(self.endpoint, request.scope, request.body, caller))
