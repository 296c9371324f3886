"""The application that is asked: projects and their tickets, of several tenants."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

import anyio
from pydantic import BaseModel

from varco_domain.auth import ANONYMOUS, Action, AuthContext, ResourceGrant
from varco_domain.auth.helpers import GrantBasedAuthorizer
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.meta import FieldHint, ForeignKey, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import (
    TenantSoftDeleteVersionedDomainModel,
    TenantVersionedDomainModel,
)
from varco_domain.providers import IUoWProvider
from varco_domain.service import AsyncService, SoftDeleteService, TenantAwareService
from varco_http._application import HttpApplication
from varco_http._callers import BearerTokens, Callers
from varco_http._idempotency import Idempotency, IdempotencyRecord
from varco_http._resource import HttpResource
from varco_http._tenants import TenantFromClaim, TenantOf
from varco_http._verb import HttpAction
from varco_query import QueryParams

SECRET: Final = "the password is 1234"  # noqa: S105 - what no answer may tell


class Project(TenantVersionedDomainModel):
    """Something with a field that may be null, one that may not, and one of JSON."""

    class Meta:
        """Where it is kept."""

        table: ClassVar[str] = "projects"

    name: Annotated[str, FieldHint(max_length=100)]
    note: str | None = None
    settings: dict[str, Any] | None = None


class Ticket(TenantVersionedDomainModel):
    """Something that belongs to a project."""

    class Meta:
        """Where it is kept."""

        table: ClassVar[str] = "tickets"

    project_id: Annotated[int, ForeignKey(Project)]
    title: Annotated[str, FieldHint(max_length=100)]
    points: int = 0


class Label(TenantSoftDeleteVersionedDomainModel):
    """Something whose key the client chooses."""

    class Meta:
        """Where it is kept."""

        table: ClassVar[str] = "labels"

    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED), FieldHint(max_length=60)] = pk_field(
        init=True
    )
    text: Annotated[str, FieldHint(max_length=100)] = ""


class OutageError(Exception):
    """What a retry may mend."""

    code = "contract.outage"
    http_status = 503
    retry_after = 7.0


class Strict(BaseModel):
    """What nothing that is stored fits."""

    number: int


class Projects(
    TenantAwareService[Project, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Project, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Creates a project called slow once somebody lets it, and fails in several ways."""

    slow: Final = "slow"

    def __init__(self, store: IUoWProvider, entered: anyio.Event) -> None:
        super().__init__(store, GrantBasedAuthorizer())
        self.entered = entered
        self.go_on = anyio.Event()

    async def create(self, dto: CreateDTO, ctx: AuthContext = ANONYMOUS) -> ReadDTO:
        """Create a project."""
        if getattr(dto, "name", None) == self.slow:
            self.entered.set()
            await self.go_on.wait()
        return await super().create(dto, ctx)

    async def break_(self, pk: int, ctx: AuthContext) -> ReadDTO:
        """Fail in a way that nobody outside can mend."""
        del pk, ctx
        raise ZeroDivisionError(SECRET)

    async def misread(self, pk: int, ctx: AuthContext) -> ReadDTO:
        """Fail to read what the service itself has made."""
        del pk, ctx
        Strict.model_validate({"number": SECRET})
        raise AssertionError

    async def fade(self, pk: int, ctx: AuthContext) -> ReadDTO:
        """Fail in a way that time mends."""
        del pk, ctx
        raise OutageError(SECRET)


class Tickets(
    TenantAwareService[Ticket, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Ticket, int, CreateDTO, ReadDTO, UpdateDTO],
):
    """Tickets."""


class Labels(
    SoftDeleteService[Label, str, CreateDTO, ReadDTO, UpdateDTO],
    TenantAwareService[Label, str, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Label, str, CreateDTO, ReadDTO, UpdateDTO],
):
    """Labels, which can be restored."""

    async def stats(self, ctx: AuthContext) -> dict[str, int]:
        """Tell how many there are."""
        return {"labels": await self.count(QueryParams(), ctx)}


@dataclass(frozen=True)
class Verified:
    """What a token says."""

    auth_ctx: AuthContext
    extra_claims: Mapping[str, Any] = field(default_factory=dict[str, Any])


class RefusedTokenError(Exception):
    """A token that nobody has issued."""

    code = "contract.token"
    http_status = 401


class Tokens:
    """Knows a few tokens, which are the names of those who call."""

    def verify(self, token: str) -> Verified:
        """What a token says."""
        found = _TOKENS.get(token)
        if found is None:
            raise RefusedTokenError(token)
        return found


_NAMES: Final = ("projects", "tickets", "labels")


def _grants(*actions: Action) -> tuple[ResourceGrant, ...]:
    return tuple(ResourceGrant(name, frozenset(actions)) for name in _NAMES)


_ALL: Final = tuple(Action)
_TOKENS: Final[dict[str, Verified]] = {
    "ann": Verified(
        AuthContext("ann", grants=_grants(*_ALL)),
        {"tenant": "acme", "tenants": ["acme", "umbrella"]},
    ),
    "amy": Verified(AuthContext("amy", grants=_grants(*_ALL)), {"tenant": "acme"}),
    "bob": Verified(AuthContext("bob", grants=_grants(*_ALL)), {"tenant": "other"}),
    "vic": Verified(
        AuthContext("vic", grants=_grants(Action.READ, Action.LIST)), {"tenant": "acme"}
    ),
    "lost": Verified(AuthContext("lost", grants=_grants(*_ALL))),
}


MODELS: Final = (Project, Ticket, Label, IdempotencyRecord)


class World:
    """One application, its store and its resources."""

    def __init__(
        self, store: IUoWProvider, tenant: TenantOf | None = None, *, max_limit: int = 50
    ) -> None:
        self.store: Final = store
        self.entered: Final = anyio.Event()
        self.projects: Final = Projects(self.store, self.entered)
        self.parts: Final[list[str]] = []
        self.application: Final = HttpApplication(
            Callers(BearerTokens(Tokens(), realm="contract"), tenant=tenant or TenantFromClaim())
        )
        once = Idempotency(self.store)
        projects = HttpResource(
            Projects,
            "/projects",
            idempotency=once,
            max_limit=max_limit,
            actions=[
                HttpAction("break", call=Projects.break_),
                HttpAction("misread"),
                HttpAction("fade"),
            ],
        )
        tickets = HttpResource(
            Tickets, "/tickets", parent=projects, require_if_match=True, max_body=1_000
        )
        stats = HttpAction("stats", method="GET", on="collection", returns=dict[str, int])
        labels = HttpResource(Labels, "/labels", idempotency=once, actions=[stats])
        self.resources: Final[Sequence[HttpResource]] = (projects, tickets, labels)

    @asynccontextmanager
    async def part(self, application: HttpApplication) -> AsyncGenerator[None]:
        """Add the services, as what opens a store does."""
        self.parts.append("started")
        application.add(self.projects)
        application.add(Tickets(self.store, GrantBasedAuthorizer()))
        application.add(Labels(self.store, GrantBasedAuthorizer()))
        yield
        self.parts.append("stopped")
