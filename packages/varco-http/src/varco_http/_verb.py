"""What can be done with a resource."""

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Any, Literal

from varco_http._message import HttpRequest, HttpResponse

type ServiceOf = Callable[[Any], Any]
"""Gives the instance of a service class; what an adapter keeps for its application."""

type Handler = Callable[[HttpRequest, ServiceOf], Awaitable[HttpResponse]]
"""What answers a request to an action; it gets services from the `ServiceOf` that it is given."""


class Verb(StrEnum):
    """The operations of a resource; an action of one's own has its name instead."""

    LIST = "list"
    SEARCH = "search"
    QUERY = "query"
    CREATE = "create"
    GET = "get"
    REPLACE = "replace"
    PATCH = "patch"
    DELETE = "delete"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class HttpAction:
    """An operation of one's own: `POST /tickets/{pk}/close`.

    Attributes:
        name: The last part of the path, and the service's method unless `call` is given.
        call: An async function of the service, the key (unless `on` is the collection), the body
            (if there is one) and the AuthContext, all by position.
        method: The HTTP method.
        on: What it is done to: one row, or the collection.
        body: The type of the body; None when it takes none.
        returns: The type of what the function returns; None for nothing. By default the read class
            of the resource.
        status: The status of success; 204 when nothing is returned.
        summary: One line for the documentation.
        records: Whether the function makes one write and returns its row, so that an
            `Idempotency-Key` may be kept with it.
    """

    name: str
    _: KW_ONLY
    call: Callable[..., Awaitable[Any]] | None = None
    method: Literal["POST", "PUT", "DELETE", "GET"] = "POST"
    on: Literal["row", "collection"] = "row"
    body: Any = None
    returns: Any = ...
    status: int = 200
    summary: str = ""
    records: bool = False
