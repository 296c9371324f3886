"""Events that say what happened to an entity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_jsonable_python

from varco_events._event import Event

if TYPE_CHECKING:
    from varco_domain.service import EntityChange


class EntityEvent(Event):
    """Something happened to an entity; events of one entity keep their order."""

    __event_type__ = "varco.entity"

    entity_type: str
    pk: Any
    tenant_id: str | None = None

    @classmethod
    def of(cls, change: EntityChange, **fields: Any) -> Self:
        """The event of a change of a service: whose it is, and the fields of this class.

        Args:
            change: What a service wrote.
            fields: What this class has besides.
        """
        return cls(
            entity_type=change.entity_cls.__name__,
            pk=to_jsonable_python(change.pk),
            tenant_id=change.tenant_id,
            **fields,
        )

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
