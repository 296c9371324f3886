"""A service that publishes what it writes; needs varco-domain."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, cast

from providify import InjectMeta
from pydantic_core import to_jsonable_python

from varco_domain.service.mixin import PK, C, D, R, ServiceMixin, U
from varco_domain.service.types import ChangeKind, EntityChange
from varco_events._entity_events import (
    EntityCreatedEvent,
    EntityDeletedEvent,
    EntityEvent,
    EntityUpdatedEvent,
)
from varco_events._errors import EventsConfigError
from varco_events._outbox import OutboxEntry
from varco_events._producer import AbstractEventProducer  # noqa: TC001  # providify resolves it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_domain.auth import AuthContext
    from varco_domain.uow import AsyncUnitOfWork


class EventServiceMixin(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 # they have defaults
    """Publishes an entity event for everything the service writes, bulk writes included.

    With an outbox (`uow.outbox`) the events are saved in the transaction of the entities, for a
    relay to deliver; without one they are produced after the commit, by the producer that the
    constructor was given (`producer=`), that a container injected, or that stands on the class.
    Put it before `AsyncService` in the bases. Override `_events_of` to publish other events.
    """

    _event_channel: ClassVar[str] = "default"
    _event_producer: ClassVar[
        Annotated[AbstractEventProducer | None, InjectMeta(optional=True)]
    ] = None

    def _publish_by(self: Any, producer: AbstractEventProducer) -> None:
        # Given to the constructor, instead of injected or set on the class.
        self._event_producer = producer

    async def _after_write(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        await super()._after_write(uow, ctx, changes)
        events = [event for change in changes for event in self._events_of(change)]
        if not events:
            return
        channel = self._event_channel
        if uow.outbox is not None:
            await uow.outbox.save_many(
                [OutboxEntry.from_event(event, channel=channel) for event in events]
            )
            return
        if self._event_producer is None:
            raise EventsConfigError(
                f"{type(self).__name__} has nowhere to put its events: use a unit of work with an "
                f"outbox, or set _event_producer"
            )
        pairs = [(event, channel) for event in events]
        uow.on_commit(partial(self._event_producer.produce_many, pairs))

    def _events_of(self, change: EntityChange) -> Sequence[EntityEvent]:
        """The events of one change."""
        if change.kind in {ChangeKind.DELETED, ChangeKind.PURGED} or change.after is None:
            return [EntityDeletedEvent.of(change)]
        read: Any = cast("Any", self).to_read_dto(change.after)
        event = EntityCreatedEvent if change.kind is ChangeKind.CREATED else EntityUpdatedEvent
        return [event.of(change, payload=to_jsonable_python(read))]
