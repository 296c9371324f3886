"""What may be done with projects, tickets and comments, and by whom."""

from tracker.mailer import TicketClosed
from tracker.models import ChangeComment, ChangeTicket, Comment, CommentRead
from tracker.models import NewComment, NewTicket, Project, State, Ticket, TicketRead
from varco_core import Action, AllOf, AnyOf, AsyncService, AuthContext, CacheServiceMixin
from varco_core import EntityChange, EventServiceMixin, GrantBasedAuthorizer, OwnershipAuthorizer
from varco_core import ResourceGrant, RoleBasedAuthorizer, SoftDeleteService, TenantAwareService
from varco_core import domain_replace

LOOK, WRITE = {Action.READ, Action.LIST}, {Action.READ, Action.LIST, Action.CREATE}
ROLES = {
    "viewer": {"projects": LOOK, "tickets": LOOK, "comments": LOOK},
    "member": {"projects": LOOK, "tickets": WRITE, "comments": WRITE},
    "admin": {"*": set(Action)},
    "auditor": {},
    "operator": {},
}
# Beside what is granted, members may do everything with what is their own.
OWN = AllOf(RoleBasedAuthorizer({"member": set(Action)}), OwnershipAuthorizer("owner_id"))
AUTHORIZER = AnyOf(GrantBasedAuthorizer(), OWN)


def context(user: str, role: str) -> AuthContext:
    grants = tuple(ResourceGrant(each, frozenset(may)) for each, may in ROLES[role].items())
    return AuthContext(user, roles=frozenset({role}), grants=grants)


class ProjectService(CacheServiceMixin, TenantAwareService, AsyncService[Project]):
    _cache_namespace = "projects"
    _cache_ttl = 60


class TicketService(
    EventServiceMixin,
    SoftDeleteService,
    TenantAwareService,
    AsyncService[Ticket, int, NewTicket, TicketRead, ChangeTicket],
):
    _event_channel = "tickets"

    async def close(self, pk: int, ctx: AuthContext) -> TicketRead:
        return await self.update(pk, ChangeTicket(state=State.CLOSED), ctx)

    def _prepare_new(self, entity: Ticket, ctx: AuthContext) -> Ticket:
        entity = super()._prepare_new(entity, ctx)
        return domain_replace(entity, owner_id=ctx.user_id or "")

    def _events_of(self, change: EntityChange) -> list[TicketClosed]:
        before, after = change.before, change.after
        if not isinstance(after, Ticket) or after.state is not State.CLOSED:
            return []
        if isinstance(before, Ticket) and before.state is State.CLOSED:
            return []
        known = {"entity_type": "Ticket", "pk": after.pk, "tenant_id": change.tenant_id}
        return [TicketClosed.model_validate(known | {"title": after.title})]


class CommentService(
    SoftDeleteService,
    TenantAwareService,
    AsyncService[Comment, int, NewComment, CommentRead, ChangeComment],
):
    def _prepare_new(self, entity: Comment, ctx: AuthContext) -> Comment:
        entity = super()._prepare_new(entity, ctx)
        return domain_replace(entity, owner_id=ctx.user_id or "")
