"""The OpenAPI document of an application: Litestar's own, with what resources really answer."""

from collections.abc import Iterable
from copy import copy
from typing import Any, Final

from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI
from litestar.status_codes import HTTP_404_NOT_FOUND

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_http import HttpApplication, HttpResource

_CLIENT: Final = 400
_REF: Final = "#/components/schemas/"
_PROBLEM: Final = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}

type Mounted = tuple[str, HttpResource]
"""A resource, and what it is mounted under."""


def completed(
    config: OpenAPIConfig, application: HttpApplication, mounted: Iterable[Mounted]
) -> OpenAPIConfig:
    """A configuration whose document says what resources answer.

    Args:
        config: That of the application; it is not changed.
        application: Its schemes.
        mounted: The resources; looked at when the document is made.
    """

    def complete(document: dict[str, Any]) -> dict[str, Any]:
        application.describe(document, mounted)
        _say_problems(document)
        return document

    def to_openapi_schema() -> OpenAPI:
        document = config.to_openapi_schema()
        plain = document.to_schema
        document.to_schema = lambda: complete(plain())  # type: ignore[method-assign] # all that reads it calls this
        return document

    made = copy(config)
    made.to_openapi_schema = to_openapi_schema  # type: ignore[method-assign] # a subclass's own is called
    if made.openapi_router is None and made.openapi_controller is None:
        made.openapi_router = Router(
            made.path or "/schema",
            route_handlers=[],
            include_in_schema=False,
            after_request=_refuse_missing,
        )
    return made


async def _refuse_missing(response: Response[Any]) -> Response[Any]:
    """Have a page of documentation that is not there be missing like any other."""
    if response.status_code == HTTP_404_NOT_FOUND:
        raise NotFoundException
    return response


def _say_problems(document: dict[str, Any]) -> None:
    """Have handlers written by hand say that their errors are problem documents."""
    paths: dict[str, dict[str, Any]] = document["paths"]
    for item in paths.values():
        for operation in item.values():
            responses: dict[str, Any] = operation["responses"]
            for status, response in responses.items():
                content = response.get("content", {})
                schema = content.get("application/json", {}).get("schema", {})
                if int(status) >= _CLIENT and "status_code" in schema.get("properties", {}):
                    response["content"] = _PROBLEM
