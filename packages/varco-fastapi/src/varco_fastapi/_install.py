"""What an application gets as a whole: problems, request ids, health, a body limit, its parts."""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from varco_domain import DomainError
from varco_fastapi._limit import BodyLimit
from varco_fastapi._openapi import PROBLEM_CONTENT, document_of
from varco_fastapi._operation import Answer
from varco_fastapi._resource import add_routes
from varco_http import (
    Fault,
    HttpApplication,
    HttpError,
    HttpResource,
    Part,
    RequestContext,
    body_fault,
    problem_response,
    status_response,
)
from varco_query import QueryError

_METHOD_NOT_ALLOWED: Final = 405
_SERVER: Final = 500
_log = logging.getLogger("varco_fastapi")


def install(
    app: FastAPI,
    application: HttpApplication,
    *,
    health_prefix: str | None = "/health",
    max_body: int | None = 1_048_576,
) -> None:
    """Give an application what all its operations share. Call it once, before the first request.

    Every answer from 400 on is a problem document (RFC 9457), FastAPI's own included. Every request
    has an id (`RequestContext`).

    Args:
        app: The application.
        application: Who calls, the services and health.
        health_prefix: Where `/live` and `/ready` are; None for nowhere.
        max_body: The longest body that any route takes, in bytes; None for no limit here.
    """
    app.state.varco = application
    for kind in (HttpError, DomainError, QueryError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(Exception, _answer_fault)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    if max_body is not None:
        app.add_middleware(BodyLimit, max_body_size=max_body)
    app.add_middleware(RequestContext)
    if health_prefix is not None:
        _add_health(app, application, health_prefix)
    app.openapi = document_of(app, application, app.openapi)  # type: ignore[method-assign] # FastAPI's documented way


def lifespan(
    application: HttpApplication, *parts: Part
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The lifespan of an application that runs parts, for `FastAPI(lifespan=...)`.

    Args:
        application: What the parts are called with; they add services and health checks to it.
        parts: Async context managers, or functions that make one; started in order.
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncGenerator[None]:
        del app
        async with application.running(parts):
            yield

    return run


def make_app(
    application: HttpApplication,
    resources: Iterable[HttpResource],
    *,
    parts: Iterable[Part] = (),
    mounts: Mapping[str, ASGIApp] | None = None,
    health_prefix: str | None = "/health",
    max_body: int | None = 1_048_576,
    **options: Any,
) -> FastAPI:
    """Make an application of resources: its lifespan, what `install` gives, their routers.

    Args:
        application: Who calls, the services and health.
        resources: What is served.
        parts: What lives as long as the application; started in order.
        mounts: Other ASGI applications by their paths.
        health_prefix: See `install`.
        max_body: See `install`.
        options: Those of `FastAPI`, such as `title`.
    """
    app = FastAPI(lifespan=lifespan(application, *parts), **options)
    install(app, application, health_prefix=health_prefix, max_body=max_body)
    for each in resources:
        add_routes(app.router, each)
    for path, mounted in (mounts or {}).items():
        app.router.routes.append(Route(path, _WithoutSlash(path, mounted), include_in_schema=False))
        app.mount(path, mounted)
    return app


class _WithoutSlash:
    """What is mounted, asked for without the slash behind its path.

    Starlette would answer with an absolute URL, of the host that a proxy in front talks to.
    """

    def __init__(self, path: str, app: ASGIApp) -> None:
        self._path = path
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = f"{scope.get('root_path', '')}{self._path}"
        await self._app({**scope, "root_path": root}, receive, send)


def _add_health(app: FastAPI, application: HttpApplication, prefix: str) -> None:
    async def live() -> Response:
        """Tell that the process lives."""
        return Answer(application.health.live())

    async def ready() -> Response:
        """Tell whether all parts can serve."""
        return Answer(await application.health.ready())

    failed: dict[int | str, dict[str, Any]] = {
        503: {"description": "A part cannot serve.", "content": PROBLEM_CONTENT}
    }
    for path, answer, responses in (("live", live, {}), ("ready", ready, failed)):
        for method in ("GET", "HEAD"):
            app.add_api_route(
                f"{prefix}/{path}",
                answer,
                methods=[method],
                tags=["health"],
                operation_id=path,
                response_model=None,
                responses=responses,
                include_in_schema=method == "GET",
            )


async def _answer(request: Request, error: Exception) -> Response:
    answer = problem_response(error, instance=request.scope["path"])
    if answer.status >= _SERVER:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Answer(answer)


async def _answer_fault(request: Request, error: Exception) -> Response:
    """Answer as Starlette does outside of all middleware, hence with the id of the request."""
    response = await _answer(request, error)
    response.headers["x-request-id"] = request.state.request_id
    return response


async def _answer_status(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    headers: Mapping[str, str] = known.headers or {}
    if known.status_code < 400:  # noqa: PLR2004 - a redirection, or nothing to tell, is no error
        return Response(status_code=known.status_code, headers=dict(headers))
    if known.status_code == _METHOD_NOT_ALLOWED:
        headers = _allowing(request, headers)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=dict(headers))
    return Answer(
        status_response(
            known.status_code,
            instance=request.scope["path"],
            detail=str(known.detail),
            headers=headers.items(),
        )
    )


def _allowing(request: Request, headers: Mapping[str, str]) -> dict[str, str]:
    """Have `Allow` list the methods of all routes of a path; FastAPI's has those of the first."""
    path, root = request.url.path, request.scope.get("root_path", "").rstrip("/")
    methods = {each.strip() for each in headers.get("Allow", "").split(",") if each.strip()}
    for each in iter_route_contexts(request.app.routes):
        pattern = getattr(each, "path_regex", None)
        if pattern is not None and pattern.match(path.removeprefix(root)):
            methods.update(getattr(each, "methods", None) or ())
    methods.add("OPTIONS")
    return {**headers, "Allow": ", ".join(sorted(methods))}


async def _answer_invalid(request: Request, error: Exception) -> Response:
    known = cast("RequestValidationError", error)
    return Answer(
        status_response(
            422,
            instance=request.scope["path"],
            detail="the request does not fit the operation",
            errors=[_fault(each, known.body) for each in known.errors()[:100]],
        )
    )


def _fault(error: Mapping[str, Any], body: object) -> Fault:
    place, *rest = error["loc"]
    if place == "body":
        return body_fault({**error, "loc": rest}, body)
    message, name = error["msg"], ".".join(map(str, rest))
    return Fault(message, header=name) if place == "header" else Fault(message, parameter=name)
