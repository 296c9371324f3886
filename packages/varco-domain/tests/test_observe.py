"""Observers of services and repositories."""

import inspect
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from varco_domain import (
    ANONYMOUS,
    AsyncRepository,
    AsyncService,
    BaseAuthorizer,
    DomainModel,
    InMemoryRepositoryProvider,
    ServiceNotFoundError,
    generate_dtos,
)
from varco_domain.observe import (
    ServiceObserver,
    add_service_observer,
    remove_service_observer,
    unobserved,
)

pytestmark = pytest.mark.anyio


class Note(DomainModel):
    title: str


DTO = generate_dtos(Note)
NEW = DTO.create(title="x")


class Everybody(BaseAuthorizer):
    def decide(self, ctx, action, resource):
        return True


class NoteService(AsyncService[Note, int, Any, Any, Any]):
    async def create(self, dto, ctx=ANONYMOUS):
        return await super().create(dto)


class Spy(ServiceObserver):
    def __init__(self):
        self.told = []

    @contextmanager
    def _around(self, owner, name):
        self.told.append(f"{type(owner).__name__}.{name}")
        try:
            yield
        except BaseException as error:
            self.told.append(f"{name}: {type(error).__name__}")
            raise

    operation = repository_call = _around


@pytest.fixture
def spy():
    spy = Spy()
    add_service_observer(spy)
    yield spy
    remove_service_observer(spy)


def service() -> NoteService:
    return NoteService(InMemoryRepositoryProvider(Note), Everybody())


async def test_the_outermost_call_is_surrounded_and_what_it_calls_is_within(spy):
    notes = service()
    note = await notes.create(NEW)
    await notes.patch(note.pk, DTO.update(title="y"))
    assert spy.told == [
        "NoteService.create",
        "InMemoryRepository.save",
        "NoteService.patch",
        "InMemoryRepository.find_by_id",
        "InMemoryRepository.save",
    ]


async def test_errors_and_cancellations_come_through(spy):
    notes = service()
    with pytest.raises(ServiceNotFoundError):
        await notes.get(1)
    assert spy.told[-1] == "get: ServiceNotFoundError"

    begun = anyio.Event()

    class Endless(NoteService):
        async def _validate(self, entity, ctx):
            begun.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(Endless(InMemoryRepositoryProvider(Note), Everybody()).create, NEW)
        await begun.wait()
        group.cancel_scope.cancel()
    assert spy.told[-1] in {"create: CancelledError", "create: Cancelled"}


async def test_a_task_that_outlives_an_operation_is_watched_for_itself(spy):
    notes, begun = service(), anyio.Event()
    async with anyio.create_task_group() as group:

        async def later():
            await begun.wait()
            await notes.count()

        async def observer(ctx, changes):
            group.start_soon(later)

        notes.observe(observer)
        await notes.create(NEW)
        begun.set()
    assert "NoteService.count" in spy.told


async def test_classes_that_are_made_while_it_is_watched_are_watched_until_then(spy):
    class Late(NoteService):
        async def get(self, pk, ctx=ANONYMOUS):
            return await super().get(pk)

    late = Late(InMemoryRepositoryProvider(Note), Everybody())
    await late.count()
    with pytest.raises(ServiceNotFoundError):
        await late.get(1)
    assert "Late.count" in spy.told
    assert spy.told.count("Late.get") == 1
    remove_service_observer(spy)
    assert not hasattr(Late.get, "__varco_written__")


def test_nothing_is_left_behind():
    before = {
        (cls, name): vars(cls)[name]
        for cls in (AsyncService, NoteService, AsyncRepository)
        for name in vars(cls)
    }
    one, two = Spy(), Spy()
    add_service_observer(one)
    add_service_observer(one)
    add_service_observer(two)
    assert vars(NoteService)["create"] is not before[NoteService, "create"]
    assert unobserved(NoteService.create) is before[NoteService, "create"]
    assert inspect.iscoroutinefunction(NoteService.create)
    assert inspect.signature(NoteService.create) == inspect.signature(before[NoteService, "create"])
    remove_service_observer(one)
    assert vars(NoteService)["create"] is not before[NoteService, "create"]
    remove_service_observer(two)
    remove_service_observer(two)
    assert all(vars(cls)[name] is value for (cls, name), value in before.items())


def _by_way_of(method):
    def call(*args):
        return method(*args)

    return call


async def test_what_was_patched_meanwhile_stays(monkeypatch):
    spy = Spy()
    add_service_observer(spy)
    watched = NoteService.create
    with monkeypatch.context() as patch:
        patch.setattr(NoteService, "create", _by_way_of(watched))
        remove_service_observer(spy)
        assert (await service().create(NEW)).title == "x"
    assert spy.told == []
    NoteService.create = unobserved(watched)
