"""Events that say what happened to an entity."""

from __future__ import annotations

from typing import Any

from varco_events._event import Event


class EntityEvent(Event):
    """Something happened to an entity; events of one entity keep their order."""

    __event_type__ = "varco.entity"

    entity_type: str
    pk: Any
    tenant_id: str | None = None

    def event_key(self) -> str:
        """The entity, within its tenant."""
        return f"{self.tenant_id or ''}/{self.entity_type}/{self.pk}"


class EntityCreatedEvent(EntityEvent):
    """An entity was created; `payload` is how callers read it."""

    __event_type__ = "varco.entity.created"

    payload: dict[str, Any]


class EntityUpdatedEvent(EntityEvent):
    """An entity was changed, or restored; `payload` is how callers read it now."""

    __event_type__ = "varco.entity.updated"

    payload: dict[str, Any]


class EntityDeletedEvent(EntityEvent):
    """An entity was deleted, be it for good or softly."""

    __event_type__ = "varco.entity.deleted"
