"""What the operations of one application share: who calls, the services, health."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final, cast

from varco_http._callers import Caller, Callers
from varco_http._endpoint import Endpoint
from varco_http._errors import HttpConfigError
from varco_http._health import CheckedPart, Health
from varco_http._message import HttpResponse, asgi_request, parse_headers
from varco_http._openapi import extend_openapi
from varco_http._problem import is_answerable, problem_response
from varco_http._resource import HttpResource

_FORBIDDEN: Final = 403

type Part = (
    AbstractAsyncContextManager[Any] | Callable[[HttpApplication], AbstractAsyncContextManager[Any]]
)
"""What lives as long as the application: an async context manager, or a function that makes one."""


class HttpApplication:
    """What the operations of one application share. Nothing of it is global.

    Services are added before the first request, usually by a part that opens their store.

    Args:
        callers: Finds out who calls.
        health: Answers whether the application can serve.
        services: Services that are there from the start.
    """

    def __init__(
        self,
        callers: Callers,
        *,
        health: Health | None = None,
        services: Iterable[object] = (),
    ) -> None:
        self.callers: Final = callers
        self.health: Final = Health() if health is None else health
        self._services: dict[type[Any], Any] = {}
        for each in services:
            self.add(each)

    def add(self, service: object, *, as_: type[Any] | None = None) -> None:
        """Have a service answer for its class; one added before gives way to it.

        Args:
            service: The service, made.
            as_: The class that resources name, if it is a base of the service's own.

        Raises:
            HttpConfigError: The service is none of `as_`.
        """
        cls = type(service) if as_ is None else as_
        if not isinstance(service, cls):
            raise HttpConfigError(f"{type(service).__name__} is no {cls.__name__}")
        self._services[cls] = service

    def service[T](self, cls: type[T]) -> T:
        """The service of a class.

        Raises:
            HttpConfigError: None was added.
        """
        found = self._services.get(cls)
        if found is None:
            raise HttpConfigError(
                f"no {cls.__name__} was added; add it in a part of the application, before the "
                "first request"
            )
        return cast("T", found)

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who sends a request with these headers, as ASGI has them.

        Raises:
            UnauthenticatedError: There are no credentials, or wrong ones.
            TenantRefusedError: There is no tenant, or one that the caller is not of.
        """
        return await self.callers.identify(parse_headers(headers))

    async def answer(
        self,
        endpoint: Endpoint,
        scope: Mapping[str, Any],
        body: Callable[[], Awaitable[bytes]],
        caller: Caller | None = None,
    ) -> HttpResponse:
        """Answer a request to an operation.

        The caller is found out before the body is read.

        Args:
            endpoint: The operation.
            scope: The ASGI scope, with `path_params`.
            body: Reads the body.
            caller: Who calls, where that was found out already.

        Raises:
            Exception: What is nobody's fault outside: answer it with `problem_response`, after
                it was logged.
        """
        try:
            headers = parse_headers(scope["headers"])
            if caller is None:
                caller = await self.callers.identify(headers)
            content = b"" if endpoint.method == "GET" else await body()
            request = asgi_request(
                scope, content, headers=headers, ctx=caller.ctx, tenant=caller.tenant
            )
        except Exception as error:
            if not is_answerable(error):
                raise
            return problem_response(error, instance=scope["path"])
        answer = await endpoint.handle(request, self.service)
        if answer.status == _FORBIDDEN:
            challenge = self.callers.forbidding(caller)
            if challenge is not None:
                told = (*answer.headers, ("www-authenticate", challenge))
                return HttpResponse(answer.status, told, answer.body)
        return answer

    def describe(
        self, document: dict[str, Any], mounted: Iterable[tuple[str, HttpResource]]
    ) -> None:
        """Add to an OpenAPI 3.1 document of a framework what its resources really answer.

        Args:
            document: It is changed.
            mounted: The resources, and what each is mounted under.
        """
        schemes = self.callers.schemes
        extend_openapi(document, [], schemes=schemes)
        for prefix, resource in mounted:
            extend_openapi(document, [resource], schemes=schemes, prefix=prefix)

    @asynccontextmanager
    async def running(self, parts: Iterable[Part]) -> AsyncGenerator[None]:
        """Run parts for the time of a block; started in order, stopped in the opposite one.

        A part that does not start stops those before it. One that can be asked (`CheckedPart`) is
        asked for readiness while it runs.

        Raises:
            HttpConfigError: Two parts have one name in the answer of readiness.
        """
        async with AsyncExitStack() as stack:
            for part in parts:
                # What `asynccontextmanager` makes can be called, too.
                made = hasattr(type(part), "__aenter__")
                manager = part if made else cast("Callable[..., Any]", part)(self)
                await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", manager))
                if isinstance(manager, CheckedPart):
                    self.health.register(manager.health_name, manager.check_health)
                    stack.callback(self.health.unregister, manager.health_name)
            yield
