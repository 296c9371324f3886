"""The OpenAPI document of an application: FastAPI's own, with what resources really answer."""

import json
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_http import Endpoint, HttpApplication, HttpResource, extend_openapi

_REF: Final = "#/components/schemas/"
_PROBLEM: Final = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}
# Where FastAPI carries our description of an operation, whatever routers it is included in. It is
# text, since FastAPI leaves nulls out of what it carries.
_EXTRA: Final = "x-varco"
_SECURED: Final = {"_": {"type": "http", "scheme": "bearer"}}


def extras_of(resource: HttpResource) -> Callable[[Endpoint], dict[str, Any]]:
    """Return what gives FastAPI the description of each operation of a resource."""
    document = extend_openapi({}, [resource], schemes=_SECURED)
    schemas = document["components"]["schemas"]

    def extra(endpoint: Endpoint) -> dict[str, Any]:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        return {_EXTRA: json.dumps([operation, schemas])}

    return extra


def document_of(
    app: FastAPI, application: HttpApplication, plain: Callable[[], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """Return what makes the document, once.

    Args:
        app: The application.
        application: Its schemes.
        plain: FastAPI's own way to make it.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _complete(document, application)
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def _complete(document: dict[str, Any], application: HttpApplication) -> None:
    schemes = application.callers.schemes
    extend_openapi(document, [], schemes=schemes)
    schemas: dict[str, Any] = document["components"]["schemas"]
    for operations in document["paths"].values():
        for method, plain in operations.items():
            text = plain.get(_EXTRA)
            if text is None:
                _say_problem(plain)
                continue
            operation, own = json.loads(_told_apart(text, schemas))
            schemas.update(own)
            if schemes:
                operation["security"] = [{name: []} for name in schemes]
            else:
                del operation["security"], operation["responses"]["401"]
            operations[method] = operation
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _told_apart(text: str, schemas: dict[str, Any]) -> str:
    """Give a schema another name if a different one has it: of a class of the same name."""
    _, own = json.loads(text)
    for name, schema in own.items():
        if schemas.get(name, schema) != schema:
            other, number = f"{name}2", 2
            while schemas.get(other, schema) != schema:
                number += 1
                other = f"{name}{number}"
            text = text.replace(f'"{_REF}{name}"', f'"{_REF}{other}"')
            text = text.replace(f'"{name}": {{', f'"{other}": {{')
    return text


def _say_problem(operation: dict[str, Any]) -> None:
    """Have a route written by hand say that a request that does not fit is a problem document."""
    response = operation.get("responses", {}).get("422", {})
    if f"{_REF}HTTPValidationError" in str(response):
        response["content"] = _PROBLEM
