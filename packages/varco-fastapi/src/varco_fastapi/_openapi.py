"""The OpenAPI document of an application: FastAPI's own, with what resources really answer."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_fastapi._operation import Operation
from varco_http import HttpApplication, HttpResource

_REF: Final = "#/components/schemas/"
PROBLEM_CONTENT: Final = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}


def document_of(
    app: FastAPI, application: HttpApplication, plain: Callable[[], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """What makes the document, once.

    Args:
        app: The application.
        application: Its schemes.
        plain: FastAPI's own way to make it.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            application.describe(document, dict.fromkeys(_mounted(app)))
            _say_problems(document)
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def _mounted(app: FastAPI) -> Iterator[tuple[str, HttpResource]]:
    """The resources that are to be in the document, and what each is included under."""
    for context in iter_route_contexts(app.routes):
        operation = context.endpoint
        if isinstance(operation, Operation) and context.include_in_schema:
            path = str(context.path_format)
            yield path.removesuffix(operation.endpoint.path), operation.resource


def _say_problems(document: dict[str, Any]) -> None:
    """Have routes written by hand say that a request that does not fit is a problem document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            response = operation.get("responses", {}).get("422", {})
            if f"{_REF}HTTPValidationError" in str(response):
                response["content"] = PROBLEM_CONTENT
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
