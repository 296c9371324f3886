"""What may be done with projects, tickets and comments, and by whom."""

from tracker.mailer import TicketClosed
from tracker.models import ChangeComment, ChangeTicket, Comment, CommentRead
from tracker.models import NewComment, NewTicket, Project, State, Ticket, TicketRead
from varco_core import Action, AllOf, AnyOf, AsyncService, AuthContext, CacheServiceMixin
from varco_core import EntityChange, EventServiceMixin, OwnedService, OwnershipAuthorizer
from varco_core import RoleBasedAuthorizer, SoftDeleteService, TenantAwareService

LOOK, WRITE = {Action.READ, Action.LIST}, {Action.READ, Action.LIST, Action.CREATE}
ROLES = {
    "viewer": LOOK,
    "member": {"projects": LOOK, "tickets": WRITE, "comments": WRITE},
    "admin": set(Action),
    "auditor": (),  # these two see what failed, and nothing of what is in the tracker
    "operator": (),
}
# Beside that, members may do everything with what is their own.
OWN = AllOf(RoleBasedAuthorizer({"member": set(Action)}), OwnershipAuthorizer())
AUTHORIZER = AnyOf(RoleBasedAuthorizer(ROLES), OWN)


class ProjectService(CacheServiceMixin, TenantAwareService, AsyncService[Project]):
    _cache_namespace = "projects"
    _cache_ttl = 60


class Owned(SoftDeleteService, OwnedService, TenantAwareService):
    """What tickets and comments have in common: an owner, a tenant, and a way back."""


class TicketService(
    EventServiceMixin, Owned, AsyncService[Ticket, int, NewTicket, TicketRead, ChangeTicket]
):
    _event_channel = "tickets"

    async def close(self, pk: int, ctx: AuthContext) -> TicketRead:
        return await self.update(pk, ChangeTicket(state=State.CLOSED), ctx)

    def _events_of(self, change: EntityChange) -> list[TicketClosed]:
        if not change.became(state=State.CLOSED):
            return []
        return [TicketClosed.of(change, title=change.after.title)]


class CommentService(Owned, AsyncService[Comment, int, NewComment, CommentRead, ChangeComment]):
    pass
