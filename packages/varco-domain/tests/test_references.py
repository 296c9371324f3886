"""References among models with tenants and without, to keys and to other unique fields."""

import gc
from typing import Annotated, Any
from weakref import ref

import pytest

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    DomainModel,
    FieldHint,
    ForeignKey,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    ReferenceViolationError,
    ResourceGrant,
    SoftDeleteDomainModel,
    SoftDeleteService,
    TenantAwareService,
    TenantDomainModel,
    generate_dtos,
    tenant_context,
)

pytestmark = pytest.mark.anyio
ROOT = AuthContext("r", grants=(ResourceGrant("*", frozenset(Action)),))


class Country(DomainModel):
    code: Annotated[str, FieldHint(unique=True, max_length=2)]


class Office(TenantDomainModel):
    country: Annotated[str, ForeignKey(Country, field="code")]


class Visit(DomainModel):
    office: Annotated[int, ForeignKey(Office)]
    country: Annotated[int | None, ForeignKey(Country, check_read=False)] = None


class Countries(AsyncService[Country, int, Any, Any, Any]):
    pass


class Offices(TenantAwareService[Office, int, Any, Any, Any]):
    pass


class Visits(AsyncService[Visit, int, Any, Any, Any]):
    pass


async def test_tenants_and_those_without_refer_to_each_other():
    provider = InMemoryRepositoryProvider(Country, Office, Visit)
    grants = GrantBasedAuthorizer()
    countries, offices, visits = (cls(provider, grants) for cls in (Countries, Offices, Visits))
    new_office, new_visit = generate_dtos(Office).create, generate_dtos(Visit).create
    country = await countries.create(generate_dtos(Country).create(code="it"), ROOT)
    with tenant_context("a"):
        office = await offices.create(new_office(country="it"), ROOT)
        with pytest.raises(ReferenceViolationError, match="country of Office"):
            await offices.create(new_office(country="fr"), ROOT)
        await visits.create(new_visit(office=office.pk), ROOT)
        # It asks whether there is one, not whether the caller may read it.
        some = AuthContext(
            "u",
            grants=tuple(ResourceGrant(each, frozenset(Action)) for each in ("visits", "offices")),
        )
        await visits.create(new_visit(office=office.pk, country=country.pk), some)
        with pytest.raises(ReferenceViolationError, match="country of Visit"):
            await visits.create(new_visit(office=office.pk, country=99), some)
        few = AuthContext("u", grants=(ResourceGrant("visits", frozenset(Action)),))
        with pytest.raises(ReferenceViolationError, match="office of Visit"):
            await visits.create(new_visit(office=office.pk), few)
    with tenant_context("b"), pytest.raises(ReferenceViolationError, match="office of Visit"):
        await visits.create(new_visit(office=office.pk), ROOT)


def test_what_would_have_to_be_marked_and_cannot_be_is_refused_with_the_service():
    class Box(SoftDeleteDomainModel):
        name: str

    class Thing(DomainModel):
        box: Annotated[int, ForeignKey(Box, on_delete="CASCADE")]

    class Other(DomainModel):
        box: Annotated[int, ForeignKey(Box, on_delete="CASCADE", on_soft_delete="RESTRICT")]

    class Boxes(SoftDeleteService[Box, int, Any, Any, Any]):
        pass

    Boxes(InMemoryRepositoryProvider(Box, Other), GrantBasedAuthorizer())
    with pytest.raises(ModelDefinitionError, match=r"Thing\.box: .*on_soft_delete"):
        Boxes(InMemoryRepositoryProvider(Box, Thing), GrantBasedAuthorizer())


@pytest.mark.parametrize("action", ["DROP", "SET NULL"])
def test_what_a_mark_does_is_checked_where_it_is_declared(action):
    with pytest.raises(ModelDefinitionError, match=r"Wrong\.box: on_soft_delete"):
        type(
            "Wrong",
            (DomainModel,),
            {"__annotations__": {"box": Annotated[int, ForeignKey("b", on_soft_delete=action)]}},
        )


class Box(SoftDeleteDomainModel):
    name: str = ""


class Thing(SoftDeleteDomainModel):
    box: Annotated[int, ForeignKey(Box, on_delete="CASCADE")]


class Label(DomainModel):
    box: Annotated[int, ForeignKey(Box, on_delete="CASCADE", on_soft_delete="KEEP")]


class Boxes(SoftDeleteService, AsyncService[Box, int, Any, Any, Any]):
    pass


class Things(SoftDeleteService, AsyncService[Thing, int, Any, Any, Any]):
    log: list[str]

    async def _after_write(self, uow, ctx, changes):
        await super()._after_write(uow, ctx, changes)
        assert uow.repository(Thing) is not None
        self.log += [f"write {c.kind} {c.pk}" for c in changes]
        if "refuse" in self.log:
            raise RuntimeError

    async def _after_commit(self, ctx, changes):
        await super()._after_commit(ctx, changes)
        self.log += [f"commit {c.kind} {c.pk}" for c in changes]


class Labels(AsyncService[Label, int, Any, Any, Any]):
    pass


async def filled(provider):
    async with provider.make_uow() as uow:
        box = await uow.boxes.save(Box())
        await uow.things.save(Thing(box=box.pk))
        await uow.labels.save(Label(box=box.pk))
    return Boxes(provider, GrantBasedAuthorizer()), box


async def test_one_service_of_a_class_speaks_for_those_of_all_requests(monkeypatch):
    monkeypatch.setattr(Things, "log", [], raising=False)
    provider = InMemoryRepositoryProvider(Box, Thing, Label)
    boxes, box = await filled(provider)
    for _ in range(3):  # and nobody holds them
        Things(provider, GrantBasedAuthorizer())
    await boxes.delete(box.pk, ROOT)
    assert Things.log == ["write deleted 1", "commit deleted 1"]
    await boxes.restore(box.pk, ROOT)
    assert Things.log[2:] == ["write restored 1", "commit restored 1"]


class Twig(DomainModel):
    grows: Annotated[int | None, ForeignKey("twigs", on_delete="CASCADE")] = None
    leans: Annotated[int | None, ForeignKey("twigs", on_delete="SET NULL")] = None


class Twigs(AsyncService[Twig, int, Any, Any, Any]):
    log: list[str]

    async def _after_write(self, uow, ctx, changes):
        self.log += [f"{c.kind} {c.pk}" for c in changes]


async def test_what_goes_with_others_in_a_circle_is_told_once(monkeypatch):
    monkeypatch.setattr(Twigs, "log", [], raising=False)
    provider = InMemoryRepositoryProvider(Twig)
    async with provider.make_uow() as uow:
        first = await uow.twigs.save(Twig())
        second = await uow.twigs.save(Twig(grows=first.pk, leans=first.pk))
        await uow.twigs.save(Twig(leans=second.pk))
        first.grows = second.pk
        await uow.twigs.save(first)
    await Twigs(provider, GrantBasedAuthorizer()).delete(first.pk, ROOT)
    assert sorted(Twigs.log) == ["deleted 1", "deleted 2", "updated 3"]


async def test_a_hook_that_refuses_what_goes_with_another_row_undoes_all(monkeypatch):
    monkeypatch.setattr(Things, "log", ["refuse"], raising=False)
    provider = InMemoryRepositoryProvider(Box, Thing, Label)
    boxes, box = await filled(provider)
    things = Things(provider, GrantBasedAuthorizer())
    with pytest.raises(RuntimeError):
        await boxes.delete(box.pk, ROOT)
    assert await boxes.exists(box.pk, ROOT)
    assert await things.count(ctx=ROOT) == 1
    assert Things.log == ["refuse", "write deleted 1"]


async def test_what_refers_to_other_rows_of_the_same_key_is_not_told():
    class Other(DomainModel):
        pass

    class Tag(DomainModel):
        other: Annotated[int, ForeignKey(Other, on_delete="CASCADE")]

    class Tags(AsyncService[Tag, int, Any, Any, Any]):
        pass

    provider = InMemoryRepositoryProvider(Box, Thing, Label, Other, Tag)
    boxes, box = await filled(provider)
    async with provider.make_uow() as uow:
        other = await uow.others.save(Other())
        await uow.tags.save(Tag(other=other.pk))
    heard = []

    async def observer(_ctx, changes):
        heard.extend(changes)

    tags = Tags(provider, GrantBasedAuthorizer())
    tags.observe(observer)
    assert box.pk == other.pk
    await boxes.purge(box.pk, ROOT)
    assert heard == []
    assert await tags.count(ctx=ROOT) == 1


async def test_all_observed_services_hear_and_those_of_other_stores_do_not():
    provider, other = (InMemoryRepositoryProvider(Box, Thing, Label) for _ in range(2))
    boxes, box = await filled(provider)
    heard = []

    def observed(cls, name, provider):
        async def observer(_ctx, changes):
            heard.extend((name, c.kind, c.after is None) for c in changes)

        service = cls(provider, GrantBasedAuthorizer())
        service.observe(observer)
        return service

    kept = [
        observed(Labels, "first", provider),
        observed(Labels, "second", provider),
        observed(Labels, "other", other),
    ]
    Labels(provider, GrantBasedAuthorizer())
    await boxes.delete(box.pk, ROOT)
    assert heard == []  # its key says KEEP
    await boxes.purge(box.pk, ROOT)
    assert sorted(heard) == [("first", "deleted", True), ("second", "deleted", True)]
    assert len(kept) == 3


class Room(SoftDeleteDomainModel):
    beside: Annotated[int | None, ForeignKey("rooms", on_delete="CASCADE")] = None


class Owner(SoftDeleteDomainModel):
    name: str = ""


class Chair(SoftDeleteDomainModel):
    room: Annotated[int, ForeignKey(Room, on_delete="CASCADE")]
    owner: Annotated[int | None, ForeignKey(Owner, on_delete="CASCADE")] = None
    seen_by: Annotated[int | None, ForeignKey(Owner, on_soft_delete="KEEP")] = None


class Rooms(SoftDeleteService, AsyncService[Room, int, Any, Any, Any]):
    pass


class Owners(SoftDeleteService, AsyncService[Owner, int, Any, Any, Any]):
    pass


class Chairs(SoftDeleteService, AsyncService[Chair, int, Any, Any, Any]):
    pass


async def test_what_comes_back_with_one_row_refers_to_no_other_that_is_deleted():
    provider = InMemoryRepositoryProvider(Room, Owner, Chair)
    rooms, owners, chairs = (
        cls(provider, GrantBasedAuthorizer()) for cls in (Rooms, Owners, Chairs)
    )
    room = await rooms.create(generate_dtos(Room).create(), ROOT)
    stays, goes = [await owners.create(generate_dtos(Owner).create(), ROOT) for _ in range(2)]
    new = generate_dtos(Chair).create
    kept = await chairs.create(new(room=room.pk, owner=stays.pk, seen_by=goes.pk), ROOT)
    alone = await chairs.create(new(room=room.pk), ROOT)
    lost = await chairs.create(new(room=room.pk, owner=goes.pk), ROOT)
    await rooms.delete(room.pk, ROOT)
    await owners.delete(goes.pk, ROOT)
    await rooms.restore(room.pk, ROOT)
    assert [chair.pk for chair in await chairs.list(ctx=ROOT)] == [kept.pk, alone.pk]
    with pytest.raises(ReferenceViolationError, match="owner of Chair"):
        await chairs.restore(lost.pk, ROOT)
    await owners.restore(goes.pk, ROOT)
    await chairs.restore(lost.pk, ROOT)


async def test_rows_that_refer_to_each_other_come_back_together():
    provider = InMemoryRepositoryProvider(Room, Owner, Chair)
    rooms, chairs = (
        Rooms(provider, GrantBasedAuthorizer()),
        Chairs(provider, GrantBasedAuthorizer()),
    )
    first = await rooms.create(generate_dtos(Room).create(), ROOT)
    second = await rooms.create(generate_dtos(Room).create(beside=first.pk), ROOT)
    await rooms.update(first.pk, generate_dtos(Room).update(beside=second.pk), ROOT)
    await chairs.create(generate_dtos(Chair).create(room=second.pk), ROOT)
    await rooms.delete(first.pk, ROOT)
    assert (await rooms.count(ctx=ROOT), await chairs.count(ctx=ROOT)) == (0, 0)
    await rooms.restore(first.pk, ROOT)
    assert (await rooms.count(ctx=ROOT), await chairs.count(ctx=ROOT)) == (2, 1)


async def test_an_observer_of_a_service_and_its_view_hears_once():
    provider = InMemoryRepositoryProvider(Room, Owner, Chair)
    rooms, chairs = (
        Rooms(provider, GrantBasedAuthorizer()),
        Chairs(provider, GrantBasedAuthorizer()),
    )
    heard: list[str] = []

    async def first(ctx, changes):
        heard.append("first")

    async def second(ctx, changes):
        heard.append("second")

    chairs.observe(first)
    view = chairs.with_deleted()
    view.observe(second)
    speaker = Chairs(provider, GrantBasedAuthorizer())
    room = await rooms.create(generate_dtos(Room).create(), ROOT)
    await speaker.create(generate_dtos(Chair).create(room=room.pk), ROOT)
    await rooms.delete(room.pk, ROOT)
    assert sorted(heard) == ["first", "second"]


def test_a_provider_keeps_no_service_alive_that_has_no_hooks():
    provider = InMemoryRepositoryProvider(Room, Owner, Chair)
    rooms = ref(Rooms(provider, GrantBasedAuthorizer()))
    gc.collect()
    assert rooms() is None
