# ruff: noqa: PLR2004, S101 - these are tests
"""What the classes of the suite share: a client that checks what each answer has to be."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.model import DomainModel
from varco_domain.providers import IUoWProvider
from varco_http._application import HttpApplication, Part
from varco_http._message import HttpResponse
from varco_http._resource import HttpResource
from varco_http._tenants import TenantOf
from varco_http.testing._asgi_client import Send
from varco_http.testing._world import MODELS, World

_CLIENT: Final = 400
_METHOD_NOT_ALLOWED: Final = 405
_EMPTY: Final = {204, 304}
MERGE_PATCH: Final = "application/merge-patch+json"


class ContractBase(ABC):
    """A test class that knows how to serve an application."""

    openapi_path: str = "/openapi.json"
    """Where the OpenAPI document is."""

    @abstractmethod
    def client(
        self,
        application: HttpApplication,
        resources: Sequence[HttpResource],
        parts: Sequence[Part],
    ) -> AbstractAsyncContextManager[Send]:
        """A context that serves an application, and gives what sends requests to it.

        Args:
            application: Who calls and health; problems, request ids, a body limit of 1 MiB and
                health below `/health` are installed.
            resources: What is served, below `/`.
            parts: What lives as long as the application.
        """

    @asynccontextmanager
    async def store(self, *models: type[DomainModel]) -> AsyncGenerator[IUoWProvider]:
        """Open an empty store of models; in memory unless it is overridden."""
        yield InMemoryRepositoryProvider(*models)

    @asynccontextmanager
    async def served(
        self, tenant: TenantOf | None = None, *, max_limit: int = 50
    ) -> AsyncGenerator["Client"]:
        """Serve a new world."""
        async with self.store(*MODELS) as store:
            world = World(store, tenant, max_limit=max_limit)
            async with self.client(world.application, world.resources, [world.part]) as send:
                document = await send("GET", self.openapi_path)
                yield Client(world, send, json.loads(document.body))
        assert world.parts == ["started", "stopped"]


class Client:
    """Sends requests, and checks that every answer is one that the document knows."""

    def __init__(self, world: World, send: Send, document: dict[str, Any]) -> None:
        self.world: Final = world
        self.document: Final = document
        self.send: Final = send
        self._operations = [
            (path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), method.upper(), operation)
            for path, operations in sorted(document["paths"].items())
            for method, operation in operations.items()
        ]

    async def __call__(
        self, method: str, target: str, body: Any = None, *, who: str = "ann", **headers: str
    ) -> HttpResponse:
        """The answer; a body that is not made of bytes is sent as JSON."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        given.setdefault("authorization", f"Bearer {who}")
        if body is not None:
            given.setdefault("content-type", "application/json")
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.send(
            method,
            target,
            [(name.encode(), text.encode("latin-1")) for name, text in given.items() if text],
            b"" if body is None else content,
        )
        self.check(method, target, answer)
        return answer

    async def create(self, name: str = "x", **fields: Any) -> HttpResponse:
        """Create a project."""
        made = await self("POST", "/projects", {"name": name, **fields})
        assert made.status == 201, made
        return made

    def check(self, method: str, target: str, answer: HttpResponse) -> None:
        """Check what has to be true of every answer."""
        path = target.partition("?")[0]
        check_answer(answer, problem=method != "HEAD")
        own = any(place == path and known == method for place, _, known, _ in self._operations)
        for place, pattern, known, operation in self._operations:
            meant = place == path if own else pattern.fullmatch(path)
            if known == method and meant and answer.status != _METHOD_NOT_ALLOWED:
                documented = operation["responses"].get(str(answer.status))
                assert documented is not None, (method, target, answer)
                kind = answer.header("content-type")
                assert kind is None or kind in documented.get("content", {}), (method, target, kind)
                for name in documented.get("headers", {}):
                    present = answer.header(name.lower()) is not None
                    assert present or name == "Link", (method, target, name)


def check_answer(answer: HttpResponse, *, problem: bool = True) -> None:
    """Check that an answer has an id, and is a problem document from 400 on."""
    assert answer.header("x-request-id"), answer
    if answer.status in _EMPTY:
        assert answer.body == b"", answer
        assert answer.header("content-type") is None, answer
    if problem and answer.status >= _CLIENT:
        body = content(answer)
        assert answer.header("content-type") == PROBLEM_MEDIA_TYPE, answer
        assert body["status"] == answer.status, answer
        assert all(isinstance(body[name], str) for name in ("code", "type", "title")), answer


def content(answer: HttpResponse) -> Any:
    """What the body holds."""
    return json.loads(answer.body)


def code_of(answer: HttpResponse) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status, content(answer)["code"]
