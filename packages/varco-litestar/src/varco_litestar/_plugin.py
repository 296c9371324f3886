"""What an application gets as a whole: problems, request ids, health, a body limit, its parts."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

from litestar import Litestar, asgi, get, route
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.serialization import encode_json
from litestar.types import ASGIApp, Empty, Middleware, Scope

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_http import HttpApplication, HttpResource, HttpResponse, Part, RequestContext
from varco_litestar._callers import current_caller
from varco_litestar._openapi import Mounted, completed
from varco_litestar._problems import answer_error, answer_problem, answer_status
from varco_litestar._resource import OPERATION, Answer, Operation, resource


class VarcoPlugin(InitPlugin, ReceiveRoutePlugin):
    """Gives an application what all its operations share. Each application has one of its own.

    Every answer from 400 on is a problem document (RFC 9457), Litestar's own included, unless the
    application has an exception handler of its own for it. Every request has an id
    (`RequestContext`). Handlers may ask for the dependency `caller`.

    Args:
        application: Who calls, the services and health.
        resources: What is served, as `resource` makes routers of it; those with guards of their
            own are among the application's handlers instead.
        parts: What lives as long as the application: async context managers, or functions that
            make one of the `HttpApplication`; started in order.
        mounts: Other ASGI applications by their paths.
        health_prefix: Where `/live` and `/ready` are; None for nowhere.
        max_body: The longest body that a route takes, in bytes, unless it, or a router that it is
            in, has a `request_max_body_size` of its own; None for no limit.
        openapi_path: Where the OpenAPI document is besides Litestar's own places; None for nowhere.
    """

    def __init__(
        self,
        application: HttpApplication,
        *,
        resources: Iterable[HttpResource] = (),
        parts: Iterable[Part] = (),
        mounts: Mapping[str, ASGIApp] | None = None,
        health_prefix: str | None = "/health",
        max_body: int | None = 1_048_576,
        openapi_path: str | None = "/openapi.json",
    ) -> None:
        self.application: Final = application
        self._resources = tuple(resources)
        self._mounts = dict(mounts or {})
        self._parts = tuple(parts)
        self._health_prefix = health_prefix
        self._max_body = max_body
        self._openapi_path = openapi_path
        self._mounted: list[Mounted] = []
        self._methods: dict[str, bytes] = {}
        self._unrouted = RequestContext(_resend)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Change what the application is made of."""
        app_config.state["varco"] = self.application
        config: Any = app_config  # its own types are not known to the last
        handlers = config.exception_handlers
        handlers.setdefault(HTTPException, answer_status)
        handlers.setdefault(Exception, answer_error)
        ProblemDetailsPlugin(ProblemDetailsConfig(answer_problem)).on_app_init(app_config)
        app_config.middleware.insert(0, cast("Middleware", RequestContext))
        app_config.before_send += [self._identify, self._allow]
        app_config.dependencies.setdefault("caller", Provide(current_caller))
        config.lifespan.append(self._running)
        app_config.route_handlers += [resource(each) for each in self._resources]
        for path, mounted in self._mounts.items():
            app_config.route_handlers.append(asgi(path, is_mount=True, copy_scope=True)(mounted))
        if self._health_prefix is not None:
            app_config.route_handlers += self._health(self._health_prefix)
        if app_config.openapi_config is not None:
            app_config.openapi_config = completed(
                app_config.openapi_config, self.application, self._mounted
            )
            if self._openapi_path is not None:
                app_config.route_handlers += _document(self._openapi_path)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Limit the bodies of a route, and note its resource for the OpenAPI document."""
        if not isinstance(route, HTTPRoute):
            return
        self._methods[route.path_format] = ", ".join(sorted(route.methods)).encode("ascii")
        for handler in route.route_handlers:
            # Litestar asks its constructor for the limit, and not what plugins made of it.
            if all(each.request_max_body_size is Empty for each in handler.ownership_layers[1:]):
                handler.request_max_body_size = self._max_body
            operation = handler.opt.get(OPERATION)
            if isinstance(operation, Operation) and route.path_format.endswith(
                operation.endpoint.path
            ):
                prefix = route.path_format.removesuffix(operation.endpoint.path)
                if (prefix, operation.resource) not in self._mounted:
                    self._mounted.append((prefix, operation.resource))

    def _running(self, app: Litestar) -> AbstractAsyncContextManager[None]:
        del app
        return self.application.running(self._parts)

    async def _identify(self, message: Any, scope: Any) -> None:
        """Give the answer to a request that no route takes an id: no middleware runs for it."""
        if "route_handler" in scope or message["type"] != "http.response.start":
            return

        async def receive() -> MutableMapping[str, Any]:
            return cast("MutableMapping[str, Any]", message)

        await self._unrouted(scope, receive, _drop)

    async def _allow(self, message: Any, scope: Any) -> None:
        """Have OPTIONS tell all methods of a path; Litestar's answer knows those of its first."""
        if scope.get("method") == "OPTIONS" and message["type"] == "http.response.start":
            allowed = self._methods.get(scope.get("path_template", ""))
            message["headers"] = [
                (name, allowed if name == b"allow" and allowed else value)
                for name, value in message["headers"]
            ]

    def _health(self, prefix: str) -> list[Any]:
        health = self.application.health

        async def live() -> Answer:
            """Tell that the process lives."""
            return Answer(health.live())

        async def ready() -> Answer:
            """Tell whether all parts can serve."""
            return Answer(await health.ready())

        failed = ResponseSpec(
            dict[str, Any], description="A part cannot serve.", media_type=PROBLEM_MEDIA_TYPE
        )
        return [
            *_shown(f"{prefix}/live", live, tags=["health"], operation_id="live"),
            *_shown(
                f"{prefix}/ready",
                ready,
                tags=["health"],
                operation_id="ready",
                responses={503: failed},
            ),
        ]


def _shown(path: str, answer: Callable[..., Awaitable[Any]], **options: Any) -> list[Any]:
    """Handlers of GET, and of HEAD, which the document need not name."""
    return [
        get(path, **options)(answer),
        route(path, http_method=HttpMethod.HEAD, status_code=200, include_in_schema=False)(answer),
    ]


def _document(path: str) -> list[Any]:
    made: list[bytes] = []

    async def document(scope: Scope) -> Answer:
        if not made:
            made.append(encode_json(scope["litestar_app"].openapi_schema.to_schema()))
        return Answer(HttpResponse(200, (("content-type", "application/json"),), made[0]))

    return _shown(path, document, include_in_schema=False)


async def _resend(scope: Any, receive: Any, send: Any) -> None:
    del scope
    await send(await receive())


async def _drop(message: Any) -> None:
    del message
