"""One operation of a resource, as an adapter registers it."""

from contextlib import nullcontext
from dataclasses import dataclass, field

from varco_domain.service import tenant_context
from varco_http._message import HttpRequest, HttpResponse
from varco_http._problem import is_answerable, problem_response
from varco_http._spec import Spec
from varco_http._verb import Handler, HttpAction, ServiceOf, Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation: where it is, and what answers it.

    Attributes:
        verb: Which operation of the resource; None for an action.
        name: Unique within an application: `list_tickets`, `close_tickets`.
        method: The HTTP method.
        path: The template of the path, such as `/projects/{project_id}/tickets/{pk}`.
        tag: The name of the resource.
        in_openapi: Whether OpenAPI 3.1 knows the method.
        spec: The facts of the resource.
        action: What was declared, for an action.
        keyed: Whether it takes an `Idempotency-Key`; None when it does not look at one.
    """

    verb: Verb | None
    name: str
    method: str
    path: str
    tag: str
    handler: Handler = field(repr=False)
    spec: Spec = field(repr=False)
    action: HttpAction | None = None
    in_openapi: bool = True
    keyed: bool | None = None

    @property
    def on_row(self) -> bool:
        """Whether its path names a row of the resource."""
        if self.action is not None:
            return self.action.on == "row"
        return self.verb not in {Verb.LIST, Verb.SEARCH, Verb.QUERY, Verb.CREATE}

    async def handle(self, request: HttpRequest, services: ServiceOf) -> HttpResponse:
        """Answer a request: with a problem document when a client or an outage is the cause.

        Args:
            request: The request; `path_params` are those of the template.
            services: Gives the instance of a service class.

        Raises:
            Exception: What is nobody's fault outside: answer it with `problem_response`, after
                it was logged.
        """
        try:
            tenant = request.tenant
            with nullcontext() if tenant is None else tenant_context(tenant):
                return await self.handler(request, services)
        except Exception as error:
            if not is_answerable(error):
                raise
            return problem_response(error, instance=request.path, fields=self.spec.fields)
