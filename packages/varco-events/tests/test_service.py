"""Entity events of a service: in the transaction through an outbox, or after the commit."""

from functools import partial
from typing import Annotated

import pytest

from varco_domain import (
    Action,
    AfterCommitError,
    AsyncService,
    AuthContext,
    CreateDTO,
    DomainModel,
    ForeignKey,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    InMemoryUnitOfWork,
    ReadDTO,
    ResourceGrant,
    SoftDeleteDomainModel,
    SoftDeleteService,
    UpdateDTO,
    generate_dtos,
)
from varco_events import (
    BusEventProducer,
    EntityCreatedEvent,
    EntityDeletedEvent,
    EntityEvent,
    EntityUpdatedEvent,
    EventsConfigError,
    EventServiceMixin,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    JsonEventSerializer,
    NoopEventProducer,
    OutboxRelay,
)

pytestmark = pytest.mark.anyio


class Thing(DomainModel):
    title: str
    rank: int = 0


Dto = generate_dtos(Thing)
CTX = AuthContext("admin", grants=(ResourceGrant("things", frozenset(Action)),))


class ThingService(
    EventServiceMixin[Thing, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Thing, int, CreateDTO, ReadDTO, UpdateDTO],
):
    _event_channel = "things"


class Staged:
    """An outbox that belongs to one transaction."""

    def __init__(self):
        self.entries = []

    async def save_many(self, entries):
        self.entries += entries


class Provider(InMemoryRepositoryProvider):
    def __init__(self, outbox):
        super().__init__(Thing)
        self.outbox = outbox

    def make_uow(self):
        uow: InMemoryUnitOfWork = super().make_uow()
        uow.outbox = Staged()
        uow.on_commit(partial(self.flush, uow.outbox))
        return uow

    async def flush(self, staged):
        await self.outbox.save_many(staged.entries)


def service_with(provider, producer=None):
    service = ThingService(provider, GrantBasedAuthorizer())
    service._event_producer = producer
    return service


def new(title, **values):
    return Dto.create.model_validate({"title": title, **values})


async def change_everything(service):
    thing = await service.create(new("a"), CTX)
    await service.update(thing.pk, Dto.update.model_validate({"title": "b"}), CTX)
    others = await service.create_many([new("c"), new("d")], CTX)
    await service.delete(thing.pk, CTX)
    await service.delete_many([other.pk for other in others], CTX)
    return thing.pk, [other.pk for other in others]


async def test_writes_go_through_the_outbox_and_a_relay():
    outbox, bus, got = InMemoryOutboxRepository(), InMemoryEventBus(), []
    bus.subscribe(EntityEvent, got.append, channel="things")
    service = service_with(Provider(outbox))
    first, others = await change_everything(service)
    pending = await outbox.get_pending()
    assert {entry.key for entry in pending} == {f"/Thing/{pk}" for pk in (first, *others)}
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert [(type(event), event.pk) for event in got] == [
        (EntityCreatedEvent, first),
        (EntityUpdatedEvent, first),
        *((EntityCreatedEvent, pk) for pk in others),
        (EntityDeletedEvent, first),
        *((EntityDeletedEvent, pk) for pk in others),
    ]
    assert got[1].payload["title"] == "b"
    assert {event.entity_type for event in got} == {"Thing"}


async def test_without_an_outbox_events_are_produced_after_the_commit():
    bus, got = InMemoryEventBus(), []
    provider = InMemoryRepositoryProvider(Thing)
    service = service_with(provider, BusEventProducer(bus))

    async def look(event):
        got.append(await service.exists(event.pk, CTX))

    bus.subscribe(EntityCreatedEvent, look)
    await service.create(new("a"), CTX)
    assert got == [True]


async def test_what_goes_with_a_row_of_another_model_has_its_events():
    class Shelf(SoftDeleteDomainModel):
        pass

    class Book(SoftDeleteDomainModel):
        shelf: Annotated[int, ForeignKey(Shelf, on_delete="CASCADE")]

    class Shelves(SoftDeleteService, AsyncService[Shelf]):
        pass

    class Books(EventServiceMixin, SoftDeleteService, AsyncService[Book]):
        pass

    root = AuthContext("r", grants=(ResourceGrant("*", frozenset(Action)),))
    outbox = InMemoryOutboxRepository()
    provider = Provider(outbox)
    provider.register(Shelf, Book)
    shelves = Shelves(provider, GrantBasedAuthorizer())
    Books(provider, GrantBasedAuthorizer())
    async with provider.make_uow() as uow:
        shelf = await uow.shelfs.save(Shelf())
        await uow.books.save(Book(shelf=shelf.pk))
    await shelves.delete(shelf.pk, root)
    await shelves.restore(shelf.pk, root)
    await shelves.purge(shelf.pk, root)
    events = [JsonEventSerializer().deserialize(e.payload) for e in await outbox.get_pending()]
    kinds = [EntityDeletedEvent, EntityUpdatedEvent, EntityDeletedEvent]
    assert [(type(event), event.entity_type) for event in events] == [(k, "Book") for k in kinds]


async def test_a_rolled_back_write_has_no_event():
    outbox = InMemoryOutboxRepository()

    class Broken(ThingService):
        async def _after_write(self, uow, ctx, changes):
            await super()._after_write(uow, ctx, changes)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Broken(Provider(outbox), GrantBasedAuthorizer()).create(new("a"), CTX)
    assert await outbox.get_pending() == []


async def test_a_producer_that_fails_after_the_commit_is_heard():
    bus = InMemoryEventBus()
    bus.subscribe(EntityEvent, lambda event: 1 / 0)
    service = service_with(InMemoryRepositoryProvider(Thing), BusEventProducer(bus))
    with pytest.raises(AfterCommitError, match="ZeroDivisionError"):
        await service.create(new("a"), CTX)


async def test_nowhere_to_put_events_fails_the_write():
    service = service_with(InMemoryRepositoryProvider(Thing))
    with pytest.raises(EventsConfigError, match="_event_producer"):
        await service.create(new("a"), CTX)
    service._event_producer = NoopEventProducer()
    created = await service.create(new("b"), CTX)
    assert await service.list(ctx=CTX) == [created]


async def test_entity_events_come_back_from_bytes():
    event = EntityCreatedEvent(entity_type="Thing", pk=1, tenant_id="t", payload={"title": "a"})
    serializer = JsonEventSerializer()
    assert serializer.deserialize(serializer.serialize(event)) == event
    assert event.event_key() == "t/Thing/1"


class Promoted(EntityEvent):
    __event_type__ = "test.promoted"

    title: str


class Promoting(ThingService):
    def _events_of(self, change):
        return [Promoted.of(change, title=change.after.title)] if change.became(rank=1) else []


async def test_an_event_is_made_of_the_change_that_brought_a_value():
    bus, got = InMemoryEventBus(), []
    bus.subscribe(Promoted, got.append, channel="things")
    service = Promoting(InMemoryRepositoryProvider(Thing), GrantBasedAuthorizer())
    service._event_producer = BusEventProducer(bus)
    plain = await service.create(new("a"), CTX)
    first = await service.create(new("b", rank=1), CTX)
    for rank in (1, 1, 2, 1):
        await service.update(plain.pk, Dto.update.model_validate({"rank": rank}), CTX)
    await service.delete(first.pk, CTX)
    assert [(each.pk, each.title, each.entity_type, each.tenant_id) for each in got] == [
        (first.pk, "b", "Thing", None),
        (plain.pk, "a", "Thing", None),
        (plain.pk, "a", "Thing", None),
    ]
