"""A tracker on the memory backend, and a client without a network."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import pytest

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, Resource
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO, generate_dtos
from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.meta import FieldHint, ForeignKey
from varco_domain.model import DomainModel, SoftDeleteVersionedDomainModel, VersionedDomainModel
from varco_domain.service import AsyncService, SoftDeleteService
from varco_http import (
    HttpAction,
    HttpRequest,
    HttpResource,
    HttpResponse,
    Idempotency,
    IdempotencyRecord,
)


class Project(VersionedDomainModel):
    key: Annotated[str, FieldHint(max_length=10, unique=True)]
    name: str
    settings: dict[str, Any] | None = None


class Ticket(SoftDeleteVersionedDomainModel):
    project_id: Annotated[int, ForeignKey(Project)]
    title: Annotated[str, FieldHint(max_length=100)]
    body: str | None = None
    points: int = 0


class Plain(DomainModel):
    text: str


class Projects(AsyncService[Project, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


class Tickets(
    SoftDeleteService[Ticket, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Ticket, int, CreateDTO, ReadDTO, UpdateDTO],
):
    async def close(self, pk: int, ctx: AuthContext) -> ReadDTO:
        return await self.update(pk, generate_dtos(Ticket).update(points=-1), ctx)


class Plains(AsyncService[Plain, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


class Everything(AbstractAuthorizer):
    """Lets everybody do everything, but for a caller called nobody."""

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        return None


class Client:
    """Sends requests to the endpoints as a framework would: by method and template."""

    def __init__(self, services: Mapping[Any, Any], *resources: HttpResource) -> None:
        self.services = services
        self.resources = resources
        self.endpoints = [each for r in resources for each in r.endpoints]
        self.ctx = AuthContext("ann")

    async def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        ctx: AuthContext | None = None,
        **headers: str,
    ) -> HttpResponse:
        from varco_http import parse_query

        parts = urlsplit(url)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            given.setdefault("content-type", "application/json")
        for endpoint in self.endpoints:
            params = _match(endpoint.path, parts.path)
            if endpoint.method == method and params is not None:
                request = HttpRequest(
                    method,
                    unquote(parts.path),
                    params,
                    parse_query(parts.query.encode()),
                    given,
                    body or b"",
                    ctx or self.ctx,
                )
                return await endpoint.handle(request, self.services.__getitem__)
        raise LookupError(f"{method} {url}")


def _match(template: str, path: str) -> dict[str, str] | None:
    names, parts = template.split("/"), path.split("/")
    if len(names) != len(parts):
        return None
    found: dict[str, str] = {}
    for name, part in zip(names, parts, strict=True):
        if name.startswith("{"):
            found[name[1:-1]] = unquote(part)
        elif name != part:
            return None
    return found


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(scope="session")
def tracker():
    """The models and services, for tests that make a store for each example."""
    return sys.modules[__name__]


@pytest.fixture
def store():
    return InMemoryRepositoryProvider(Project, Ticket, Plain, IdempotencyRecord)


@pytest.fixture
def client(store):
    anyone = Everything()
    idempotency = Idempotency(store)
    projects = HttpResource(Projects, "/projects", idempotency=idempotency)
    tickets = HttpResource(
        Tickets,
        "/tickets",
        parent=projects,
        actions=[HttpAction("close", records=True)],
        idempotency=idempotency,
    )
    services = {each: each(store, anyone) for each in (Projects, Tickets, Plains)}
    return Client(services, projects, tickets, HttpResource(Plains, "/plains"))
