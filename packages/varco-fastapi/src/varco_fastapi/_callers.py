"""Dependencies: who calls, and the services, for routes written by hand."""

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import Depends, Request

from varco_domain.auth import AuthContext
from varco_domain.service import tenant_context
from varco_http import Caller, HttpApplication, HttpConfigError


def application_of(request: Request) -> HttpApplication:
    """What `install` put on the application of a request.

    Raises:
        HttpConfigError: Nothing was installed.
    """
    found = getattr(request.app.state, "varco", None)
    if not isinstance(found, HttpApplication):
        raise HttpConfigError("install(app, HttpApplication(...)) has not been called for this app")
    return found


async def current_caller(request: Request) -> Caller:
    """Who calls; a dependency, which `app.dependency_overrides` may replace in tests.

    Raises:
        UnauthenticatedError: There are no credentials, or wrong ones.
        TenantRefusedError: There is no tenant, or one that the caller is not of.
    """
    return await application_of(request).identify(request.scope["headers"])


async def _in_tenant(
    caller: Annotated[Caller, Depends(current_caller)],
) -> AsyncIterator[AuthContext]:
    with nullcontext() if caller.tenant is None else tenant_context(caller.tenant):
        yield caller.ctx


CallerOf = Annotated[AuthContext, Depends(_in_tenant)]
"""Who calls a route written by hand, which runs in the caller's tenant."""


def service_of[T](cls: type[T]) -> Callable[[Request], T]:
    """A dependency that gives the service of a class.

    Args:
        cls: The class, as the service was added.
    """

    def service(request: Request) -> Any:
        return application_of(request).service(cls)

    return service
