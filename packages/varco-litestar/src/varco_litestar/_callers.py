"""Who calls, and the services: dependencies and middleware of handlers written by hand."""

from contextlib import nullcontext
from typing import Any, cast

from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from varco_domain.service import tenant_context
from varco_http import Caller, HttpApplication, HttpConfigError


def application_of(scope: Scope) -> HttpApplication:
    """What the plugin put on the application of a request.

    Raises:
        HttpConfigError: There is no plugin.
    """
    found: object = scope["litestar_app"].state.get("varco")
    if not isinstance(found, HttpApplication):
        raise HttpConfigError("VarcoPlugin(HttpApplication(...)) is no plugin of this application")
    return found


def known_caller(scope: Scope) -> Caller | None:
    """Who calls, where that was found out already."""
    found: object = cast("dict[str, object]", scope).get("auth")
    return found if isinstance(found, Caller) else None


async def current_caller(scope: Scope) -> Caller:
    """Who calls; found out once for each request.

    The plugin makes it a dependency called `caller`, and a guard awaits it:
    `(await current_caller(connection.scope)).ctx`. From then on `request.user` is the
    `AuthContext` and `request.auth` the `Caller`.

    Args:
        scope: The scope of the connection.

    Raises:
        UnauthenticatedError: There are no credentials, or wrong ones.
        TenantRefusedError: There is no tenant, or one that the caller is not of.
    """
    caller = known_caller(scope)
    if caller is None:
        caller = await application_of(scope).identify(scope["headers"])
        scope["auth"], scope["user"] = caller, caller.ctx
    return caller


class RequireCaller(ASGIMiddleware):
    """Middleware that finds out who calls, and runs handlers in the caller's tenant.

    Give it to handlers written by hand, a controller or a router:
    `middleware=[RequireCaller()]`. Resources do without. It guards websockets as well.
    """

    scopes: tuple[ScopeType, ...] = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Run the handler, or refuse the request."""
        caller = await current_caller(scope)
        with nullcontext() if caller.tenant is None else tenant_context(caller.tenant):
            await next_app(scope, receive, send)


def service_of(cls: type[Any]) -> Provide:
    """A dependency that gives the service of a class.

    Args:
        cls: The class, as the service was added.
    """

    def service(scope: Scope) -> Any:
        return application_of(scope).service(cls)

    return Provide(service, sync_to_thread=False)
