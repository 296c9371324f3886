"""Whatever happens at whichever await: nothing stays open, and nothing is half done."""

import asyncio
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from varco_domain import (
    Action,
    AsyncUnitOfWork,
    AuthContext,
    GrantBasedAuthorizer,
    InMemoryRepository,
    InMemoryRepositoryProvider,
    InMemoryUnitOfWork,
    ResourceGrant,
    StaleEntityError,
    generate_dtos,
    tenant_context,
)
from varco_domain.testing._models import Document
from varco_domain.testing._services import DocumentService, RowByRow
from varco_query import QueryParams

pytestmark = pytest.mark.anyio

Dto = generate_dtos(Document, include=("expected_version",))
ADMIN = AuthContext("admin", grants=(ResourceGrant("contract_documents", frozenset(Action)),))


def new(title: str = "t", **values: Any) -> Any:
    return Dto.create.model_validate({"title": title, **values})


class Trip:
    """Cancels the caller at the n-th point, by its scope or past all scopes."""

    def __init__(self, at: int, *, past_scopes: bool = False) -> None:
        self.left = at
        self.open = 0
        self.cancelled = False
        self._past_scopes = past_scopes
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[Any] | None = None

    async def point(self) -> None:
        self.left -= 1
        if self.left == 0:
            if self._task is None:
                self._scope.cancel()
            else:
                self._task.cancel()
        await anyio.lowlevel.checkpoint()

    async def run(self, call: Any) -> None:
        if self._past_scopes:
            self._task = asyncio.create_task(call())
            try:
                await self._task
            except asyncio.CancelledError:
                self.cancelled = True
            return
        with self._scope:
            await call()
        self.cancelled = self._scope.cancelled_caught


def tripping(provider: InMemoryRepositoryProvider, trip: Trip) -> Any:
    class Repository(InMemoryRepository):
        async def stream_by_query(self, params):
            async with aclosing(super().stream_by_query(params)) as stream:
                async for entity in stream:
                    await trip.point()
                    yield entity

    for name in (
        *("find_by_id", "find_by_query", "exists", "count"),
        *("save", "save_many", "delete", "delete_many"),
    ):
        setattr(Repository, name, with_points(trip, getattr(InMemoryRepository, name)))

    class UnitOfWork(InMemoryUnitOfWork):
        async def _begin(self):
            await trip.point()
            trip.open += 1

        def _make_repository(self, entity_cls):
            return Repository(self._store.table(entity_cls), self._changes, self._clock)

        async def commit(self):
            await trip.point()
            await super().commit()
            await trip.point()

        async def rollback(self):
            await trip.point()
            await super().rollback()
            await trip.point()

        async def _close(self):
            await trip.point()
            trip.open -= 1
            await trip.point()

    class Provider(InMemoryRepositoryProvider):
        def make_uow(self):
            return UnitOfWork(provider._store, provider._models, provider._clock)

    return Provider()


def with_points(trip: Trip, method: Any) -> Any:
    async def wrapped(self, *args, **kwargs):
        await trip.point()
        result = await method(self, *args, **kwargs)
        await trip.point()
        return result

    return wrapped


OPERATIONS = {
    "get": lambda s: s.get(1, ADMIN),
    "exists": lambda s: s.exists(1, ADMIN),
    "list": lambda s: s.list(QueryParams(), ADMIN),
    "count": lambda s: s.count(QueryParams(), ADMIN),
    "paged_list": lambda s: s.paged_list(QueryParams(), ADMIN),
    "stream": lambda s: _drain(s.stream(QueryParams(), ADMIN)),
    "create": lambda s: s.create(new(), ADMIN),
    "create_many": lambda s: s.create_many([new(), new()], ADMIN),
    "update": lambda s: s.update(1, Dto.update(title="u"), ADMIN),
    "update_many": lambda s: s.update_many(
        [(1, Dto.update(title="u")), (2, Dto.update(title="u"))], ADMIN
    ),
    "delete": lambda s: s.delete(1, ADMIN),
    "delete_many": lambda s: s.delete_many([1, 2], ADMIN),
    "restore": lambda s: s.restore(3, ADMIN),
    "purge": lambda s: s.purge(1, ADMIN),
}


async def _drain(stream: Any) -> None:
    async with aclosing(stream):
        async for _ in stream:
            pass


def observed(trip: Trip, announced: list[Any]) -> type[DocumentService]:
    class Observed(DocumentService):
        async def _after_write(self, uow, ctx, changes):
            await trip.point()
            await super()._after_write(uow, ctx, changes)
            await trip.point()

        async def _after_commit(self, ctx, changes):
            await trip.point()
            announced.extend(changes)
            await super()._after_commit(ctx, changes)
            await trip.point()

    return Observed


def state(provider: InMemoryRepositoryProvider) -> Any:
    rows = provider._store.table(Document).rows.values()
    return [(r["pk"], r["title"], r["version"], r["deleted_at"] is None) for r in rows]


@pytest.mark.parametrize("past_scopes", [False, True], ids=["by its scope", "past all scopes"])
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancellation_at_each_await(operation, by_row, past_scopes, anyio_backend):
    if past_scopes and anyio_backend == "trio":
        return  # trio knows no other way than scopes
    policy = GrantBasedAuthorizer()
    ends: list[tuple[Any, bool]] = []
    for at in range(1, 100):
        provider = InMemoryRepositoryProvider(Document)
        trip = Trip(at, past_scopes=past_scopes)
        announced: list[Any] = []
        plain = DocumentService(provider, policy)
        cls = observed(trip, announced)
        service = cls(tripping(provider, trip), RowByRow(policy) if by_row else policy)
        with tenant_context("a"):
            await plain.create_many([new(), new(), new()], ADMIN)
            await plain.delete(3, ADMIN)
            before = state(provider)
            await trip.run(lambda: OPERATIONS[operation](service))  # noqa: B023 - run at once
        assert trip.open == 0, f"cancelled at {at}: still open"
        after = state(provider)
        # What is committed is announced, and nothing else.
        assert bool(announced) == (after != before), f"cancelled at {at}"
        ends.append((after, after == before))
        if trip.left > 0:
            break
        assert trip.cancelled or not past_scopes, f"swallowed at {at}"
    else:
        raise AssertionError("too many awaits")
    # Each run ended as the undisturbed one did, or as if it had never begun.
    assert all(unchanged or end == ends[-1][0] for end, unchanged in ends)


class Empty(AsyncUnitOfWork):
    async def _begin(self):
        pass

    def _make_repository(self, entity_cls):
        raise NotImplementedError

    async def commit(self):
        pass

    async def rollback(self):
        pass


async def test_cancelling_again_and_again_changes_nothing(anyio_backend):
    if anyio_backend == "trio":
        return
    log: list[str] = []

    class Slow(Empty):
        async def rollback(self):
            for _ in range(5):
                await asyncio.sleep(0)
            log.append("rolled back")

        async def _close(self):
            for _ in range(5):
                await asyncio.sleep(0)
            log.append("closed")

    async def work() -> None:
        async with Slow():
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    while not task.done():
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert log == ["rolled back", "closed"]


@pytest.mark.parametrize("fails", ["commit", "callback"])
async def test_a_cancellation_is_not_lost_behind_an_error(fails, anyio_backend):
    if anyio_backend == "trio":
        return
    task: asyncio.Task[None]

    class Failing(Empty):
        async def commit(self):
            if fails == "commit":
                task.cancel()
                await asyncio.sleep(0)
                raise RuntimeError("disk full")

    async def callback() -> None:
        task.cancel()
        await asyncio.sleep(0)
        raise RuntimeError("nobody hears it")

    async def work() -> None:
        async with Failing() as uow:
            uow.on_commit(callback)

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.__cause__ is not None


async def test_a_stream_left_early_closes_its_unit_of_work():
    trip = Trip(10**6)
    service = DocumentService(
        tripping(InMemoryRepositoryProvider(Document), trip), GrantBasedAuthorizer()
    )
    with tenant_context("a"):
        await service.create_many([new(), new()], ADMIN)
        async with aclosing(service.stream(ctx=ADMIN)) as stream:
            async for _ in stream:
                assert trip.open == 1
                break
    assert trip.open == 0


async def test_fifty_writers_lose_nothing():
    provider = tripping(InMemoryRepositoryProvider(Document), Trip(10**6))
    service = DocumentService(provider, GrantBasedAuthorizer())

    async def write() -> None:
        with tenant_context("a"):
            while True:
                found: Any = await service.get(1, ADMIN)
                change = Dto.update(rank=found.rank + 1, expected_version=found.version)
                try:
                    await service.update(1, change, ADMIN)
                except StaleEntityError:
                    continue
                return

    with tenant_context("a"):
        await service.create(new(rank=0), ADMIN)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(write)
    with tenant_context("a"):
        found: Any = await service.get(1, ADMIN)
    assert (found.rank, found.version) == (50, 51)
