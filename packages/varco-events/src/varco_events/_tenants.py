"""The tenant of an event's producer is that of its handlers; needs varco-domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from varco_domain.service.tenant import current_tenant, has_tenancy, tenant_context, without_tenant
from varco_events._entity_events import EntityEvent
from varco_events._surroundings import ContextPart

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event

#: The header of the tenant.
TENANT: Final = "tenant"


class TenantPart(ContextPart):
    """Handlers run for the tenant of their event, and those of no tenant's event for none."""

    def inject(self, event: Event) -> Mapping[str, str]:
        """The tenant of an entity's event, else the one in context."""
        tenant = (event.tenant_id if isinstance(event, EntityEvent) else None) or current_tenant()
        return {} if tenant is None else {TENANT: tenant}

    def attach(self, envelope: EventEnvelope) -> AbstractContextManager[object] | None:
        """The context of the tenant."""
        tenant = envelope.headers.get(TENANT)
        if tenant:
            return tenant_context(tenant)
        return without_tenant() if has_tenancy() else None
