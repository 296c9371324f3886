from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

import anyio
import pytest

from varco_domain import (
    AsyncUnitOfWork,
    CheckConstraint,
    CheckViolationError,
    CrossTenantError,
    DomainModel,
    FieldHint,
    FieldNotFound,
    ForeignKey,
    InMemoryRepositoryProvider,
    ModelDefinitionError,
    PrimaryKey,
    TenantDomainModel,
    TenantRequiredError,
    TenantUoWProvider,
    UniqueViolationError,
    UnitOfWorkError,
    UnknownTenantError,
    VersionedDomainModel,
    cross_tenant_access,
    current_tenant,
    domain_replace,
    tenant_context,
)
from varco_domain.backend import RepositoryClassCreationFailed
from varco_domain.exception import ReferenceViolationError, StaleEntityError
from varco_domain.testing import MODELS
from varco_query import F, InvalidNodeError, QueryParams

pytestmark = pytest.mark.anyio


class Box(VersionedDomainModel):
    name: Annotated[str, FieldHint(unique=True)]


class Parcel(DomainModel):
    box: Annotated[int, ForeignKey("boxes")]


async def test_the_clock_is_injected():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    provider = InMemoryRepositoryProvider(Box, clock=lambda: now)
    repo = provider.get_repository(Box)
    box = await repo.save(Box(name="a"))
    assert (box.created_at, box.updated_at) == (now, now)
    now += timedelta(days=1)
    box = await repo.save(domain_replace(box, name="b"))
    assert box.updated_at - box.created_at == timedelta(days=1)


async def test_commits_that_meet():
    provider = InMemoryRepositoryProvider(Box, Parcel)
    first, second = provider.make_uow(), provider.make_uow()
    with pytest.raises(UniqueViolationError):  # noqa: PT012 - the end of the block is what raises
        async with first, second:
            await first.boxes.save(Box(name="same"))
            await second.boxes.save(Box(name="same"))
    boxes = provider.get_repository(Box)
    assert await boxes.count() == 1
    (box,) = await boxes.find_all()
    with pytest.raises(StaleEntityError):  # noqa: PT012 - as above
        async with provider.make_uow() as one, provider.make_uow() as two:
            await one.boxes.delete(box)
            await two.boxes.save(domain_replace(box, name="x"))
    box = (await boxes.find_all())[0]
    with pytest.raises(ReferenceViolationError):  # noqa: PT012 - as above
        async with provider.make_uow() as one, provider.make_uow() as two:
            await one.parcels.save(Parcel(box=box.pk))
            await two.boxes.delete(box)
    assert await boxes.count() + await provider.get_repository(Parcel).count() == 0


async def test_values_may_change_places_in_one_unit_of_work():
    provider = InMemoryRepositoryProvider(Box)
    async with provider.make_uow() as uow:
        a, b = await uow.boxes.save_many([Box(name="a"), Box(name="b")])
    async with provider.make_uow() as uow:
        a = await uow.boxes.save(domain_replace(a, name="c"))
        await uow.boxes.save(domain_replace(b, name="a"))
        await uow.boxes.save(domain_replace(a, name="b"))
    assert [box.name for box in await provider.get_repository(Box).find_all()] == ["b", "a"]


async def test_a_unit_of_work_is_used_once_and_inside():
    provider = InMemoryRepositoryProvider(Box)
    uow = provider.make_uow()
    with pytest.raises(UnitOfWorkError, match="async with"):
        uow.repository(Box)
    async with uow:
        with suppress(UnitOfWorkError):
            await uow.__aenter__()
    with pytest.raises(UnitOfWorkError, match="closed"):
        uow.repository(Box)
    with pytest.raises(UnitOfWorkError, match="new one"):
        await uow.__aenter__()


async def test_what_is_not_registered():
    class Lonely(DomainModel):
        box: Annotated[int, ForeignKey("nowhere")]

    provider = InMemoryRepositoryProvider(Lonely)
    with pytest.raises(RepositoryClassCreationFailed, match="nowhere"):
        await provider.get_repository(Lonely).save(Lonely(box=1))
    with pytest.raises(InvalidNodeError):
        await provider.get_repository(Lonely).find_by_query(QueryParams(cursor="x"))


async def test_a_check_beyond_the_language_is_told(caplog: pytest.LogCaptureFixture):
    class Odd(DomainModel):
        class Meta:
            constraints = (CheckConstraint("length(name) > 3"),)

        name: str

    await InMemoryRepositoryProvider(Odd).get_repository(Odd).save(Odd(name="a"))
    assert "not enforced in memory" in caplog.text


class Priced(DomainModel):
    class Meta:
        constraints = (
            CheckConstraint('on >= "2000-01-01" AND at < "09:30"', name="times"),
            CheckConstraint("count > 0.5 AND state IN ('new')", name="others"),
        )

    on: date = date(2020, 1, 1)
    at: time = time(9)
    count: int = 1
    state: Literal["new", "old"] = "new"


@pytest.mark.parametrize(
    ("check", "values"),
    [
        ("times", {"on": date(1999, 12, 31)}),
        ("times", {"at": time(9, 30)}),
        ("others", {"count": 0}),
        ("others", {"state": "old"}),
    ],
)
async def test_a_check_compares_in_the_types_of_the_fields(check, values):
    rows = InMemoryRepositoryProvider(Priced).get_repository(Priced)
    await rows.save(Priced())
    with pytest.raises(CheckViolationError, match=check):
        await rows.save(Priced(**values))


@pytest.mark.parametrize(
    "condition", ["nope > 1", "name > 5", "on = 'monday'", "count IN (1, 'x')"]
)
def test_a_check_that_cannot_decide_is_refused(condition):
    class Odd(DomainModel):
        class Meta:
            constraints = (CheckConstraint(condition),)

        name: str
        on: date
        count: int

    with pytest.raises(ModelDefinitionError, match=f"Odd.{condition.split()[0]}: the check"):
        InMemoryRepositoryProvider(Odd)


def test_a_check_with_a_number_that_no_field_has_is_refused():
    class Odd(DomainModel):
        class Meta:
            constraints = (CheckConstraint("count < 1e400"),)

        count: int

    with pytest.raises(ModelDefinitionError, match=r"Odd: the check 'count < 1e400' .* range"):
        InMemoryRepositoryProvider(Odd)


async def test_autodiscover():
    provider = InMemoryRepositoryProvider()
    provider.autodiscover("varco_domain.testing")
    assert set(provider.models) >= set(MODELS)
    assert {one.__module__.rpartition("._")[0] for one in provider.models} == {
        "varco_domain.testing"
    }


class Local(TenantDomainModel):
    name: str


async def test_a_database_for_each_tenant():
    a, b = InMemoryRepositoryProvider(Local), InMemoryRepositoryProvider(Local)
    router = TenantUoWProvider({"a": a})
    router.register("b", b)
    router.register("b", b)
    with pytest.raises(Exception, match="registered already"):
        router.register("b", a)
    assert router.registered_tenants() == ["a", "b"]
    assert router.has_tenant("a")
    for tenant in ("a", "b"):
        with tenant_context(tenant):
            async with router.make_uow() as uow:
                await uow.locals.save(Local(name=tenant))
    with tenant_context("a"):
        assert [x.name for x in await a.get_repository(Local).find_all()] == ["a"]
        uow = router.make_uow()
    with tenant_context("b"), pytest.raises(CrossTenantError):
        async with uow:
            await uow.locals.save(Local(name="x", tenant_id="b"))
    for refused in (TenantRequiredError,):
        with pytest.raises(refused):
            router.make_uow()
        with cross_tenant_access("a test"), pytest.raises(refused):
            router.make_uow()
    with tenant_context("nobody"), pytest.raises(UnknownTenantError):
        router.make_uow()


class Note(TenantDomainModel):
    local: Annotated[int, ForeignKey(Local, on_delete="CASCADE")]


async def test_no_reference_and_no_cascade_leaves_a_tenant():
    provider = InMemoryRepositoryProvider(Local, Note)
    locals_, notes = provider.get_repository(Local), provider.get_repository(Note)
    with tenant_context("a"):
        foreign = await locals_.save(Local(name="a"))
    with tenant_context("b"):
        mine = await locals_.save(Local(name="b"))
        note = await notes.save(Note(local=mine.pk))
        with pytest.raises(ReferenceViolationError):
            await notes.save(Note(local=foreign.pk))
        with pytest.raises(ReferenceViolationError):
            await notes.save(domain_replace(note, local=foreign.pk))
        with pytest.raises(ReferenceViolationError):
            await notes.update_many_by_query(QueryParams(), {"local": foreign.pk})
    with tenant_context("a"):
        await locals_.delete(foreign)
    with tenant_context("b"):
        assert await notes.count() == 1


async def test_contexts_follow_tasks(caplog: pytest.LogCaptureFixture):
    seen: list[str | None] = []

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(current_tenant())

    with tenant_context("a"):
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            with tenant_context("b"):
                group.start_soon(look)
    assert sorted(map(str, seen)) == ["a", "b"]
    assert current_tenant() is None
    for wrong in ("", None, 3):
        with pytest.raises(ValueError, match="non-empty string"):
            tenant_context(wrong).__enter__()
    with pytest.raises(ValueError, match="what the access"):
        cross_tenant_access("").__enter__()
    with caplog.at_level("INFO", logger="varco_domain.tenancy"), cross_tenant_access("billing"):
        pass
    assert "billing" in caplog.text


async def test_closing_and_rolling_back_whatever_happens():
    log: list[str] = []

    class Recording(AsyncUnitOfWork):
        async def _begin(self):
            log.append("begin")

        def _make_repository(self, entity_cls):
            raise NotImplementedError

        async def commit(self):
            log.append("commit")
            raise RuntimeError("disk full")

        async def rollback(self):
            log.append("rollback")

        async def _close(self):
            log.append("close")

    with pytest.raises(RuntimeError, match="disk full"):
        async with Recording() as uow:
            uow.on_commit(lambda: anyio.sleep(0))
    assert log == ["begin", "commit", "rollback", "close"]


class Tagged(TenantDomainModel):
    shelf: Annotated[str | None, ForeignKey(Box, field="name")] = None
    box: Annotated[int | None, ForeignKey(Box)] = None


async def test_a_reference_means_the_row_that_it_names():
    provider = InMemoryRepositoryProvider(Box, Tagged)
    box = await provider.get_repository(Box).save(Box(name="a"))
    tagged = provider.get_repository(Tagged)
    with tenant_context("t"):
        await tagged.save(Tagged(shelf="a", box=box.pk))
        for wrong in (Tagged(shelf="b"), Tagged(box=box.pk + 1)):
            with pytest.raises(ReferenceViolationError):
                await tagged.save(wrong)
        assert await tagged.count() == 1


async def test_an_update_of_many_rows_that_fails_changes_none_of_them():
    provider = InMemoryRepositoryProvider(Box)
    async with provider.make_uow() as uow:
        await uow.boxes.save_many([Box(name="a"), Box(name="b")])
        with pytest.raises(UniqueViolationError):
            await uow.boxes.update_many_by_query(QueryParams(), {"name": "c"})
        assert [box.name for box in await uow.boxes.find_all()] == ["a", "b"]


async def test_a_condition_of_unknown_fields_finds_no_row_by_its_key():
    provider = InMemoryRepositoryProvider(Box)
    async with provider.make_uow() as uow:
        box = await uow.boxes.save(Box(name="a"))
        with pytest.raises(FieldNotFound):
            await uow.boxes.find_by_id(box.pk, where=F.nosuch == 1)


class Cell(DomainModel):
    x: Annotated[int, PrimaryKey()]
    y: Annotated[int, PrimaryKey()]


async def test_a_composite_key_is_a_sequence_of_all_its_parts():
    cells = InMemoryRepositoryProvider(Cell).get_repository(Cell)
    await cells.save(Cell(x=1, y=2))
    for key in ((1, 2), [1, 2]):
        assert (await cells.find_by_id(key)).pk == (1, 2)
    with pytest.raises(ValueError, match=r"the key of Cell is a tuple \(x, y\), got \(1,\)"):
        await cells.find_by_id((1,))
