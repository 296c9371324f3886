"""A resource as a router of FastAPI."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Unpack

from fastapi import APIRouter, Depends, Request, Response
from fastapi.params import Depends as Dependency

from varco_fastapi._callers import application_of, current_caller
from varco_fastapi._openapi import extras_of
from varco_http import Caller, Endpoint, HttpResource, HttpResponse, ResourceOptions


class Operation:
    """One operation as FastAPI calls it; what is received and sent is left to varco-http.

    Args:
        endpoint: What answers.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint: Final = endpoint

    async def __call__(
        self, request: Request, caller: Annotated[Caller, Depends(current_caller)]
    ) -> Response:
        """Answer a request."""
        application = application_of(request)
        return response_of(
            await application.answer(self._endpoint, request.scope, request.body, caller)
        )


def response_of(answer: HttpResponse) -> Response:
    """Return an answer as Starlette sends it."""
    response = Response(answer.body, answer.status)
    # Starlette's own headers are the length alone: it adds no media type that it was not given.
    response.raw_headers += [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers
    ]
    return response


def resource(
    service: type[Any] | HttpResource,
    prefix: str = "",
    *,
    dependencies: Sequence[Dependency] = (),
    **options: Unpack[ResourceOptions],
) -> APIRouter:
    """Make a router of a service; include it in an application, or in another router.

    Every operation can be left out, replaced and added to (see ``HttpResource``); a route of your
    own that is added to the router before it is included works as in any other.

    Args:
        service: The service class; an instance of it is added to the ``HttpApplication``. Or a
            resource that is made already, which a nested one names as its parent.
        prefix: Where it is: ``/products``. Left out for a resource that is made already.
        dependencies: Dependencies of FastAPI that every operation has, such as a guard.
        options: Those of ``HttpResource``.

    Raises:
        HttpConfigError: The parts do not fit.
        TypeError: A resource that is made already is given options.
    """
    if isinstance(service, HttpResource):
        if prefix or options:
            raise TypeError("prefix and options belong to the HttpResource, which is made already")
        made = service
    else:
        made = HttpResource(service, prefix, **options)
    router = APIRouter(dependencies=list(dependencies))
    extra = extras_of(made)
    for endpoint in made.endpoints:
        router.add_api_route(
            endpoint.path,
            Operation(endpoint),
            methods=[endpoint.method],
            name=endpoint.name,
            response_model=None,
            include_in_schema=endpoint.in_openapi,
            openapi_extra=extra(endpoint) if endpoint.in_openapi else None,
        )
    return router
