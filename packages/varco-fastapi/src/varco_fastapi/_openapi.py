"""The OpenAPI document of an application: FastAPI's own, with what resources really answer."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_fastapi._resource import Operation
from varco_http import HttpApplication, HttpResource, extend_openapi

_REF = "#/components/schemas/"
_PROBLEM = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}


def document_of(
    app: FastAPI, application: HttpApplication, plain: Callable[[], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """Return what makes the document, once.

    Args:
        app: The application.
        application: Its schemes.
        plain: FastAPI's own way to make it.
    """
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            app.openapi_schema = None
            document = plain()
            schemes = application.callers.schemes
            extend_openapi(document, [], schemes=schemes)
            for prefix, resource in _resources(app):
                extend_openapi(document, [resource], schemes=schemes, prefix=prefix)
            _say_problems(document)
            made.update(document)
            app.openapi_schema = made
        return made

    return openapi


def _resources(app: FastAPI) -> Iterator[tuple[str, HttpResource]]:
    """The resources of an application, each once, and what it is mounted under."""
    seen: set[tuple[str, int]] = set()
    for route in app.routes:
        if isinstance(route, APIRoute) and isinstance(route.endpoint, Operation):
            operation = route.endpoint
            prefix = route.path.removesuffix(operation.endpoint.path)
            if (prefix, id(operation.resource)) not in seen:
                seen.add((prefix, id(operation.resource)))
                yield prefix, operation.resource


def _say_problems(document: dict[str, Any]) -> None:
    """Have routes written by hand say that a request that does not fit is a problem document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            response = operation.get("responses", {}).get("422", {})
            if f"{_REF}HTTPValidationError" in str(response):
                response["content"] = _PROBLEM
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
