"""What a call of a service costs in a table of 400,000 rows beside one of 20,000, the two in turn.

On SQLite it is CPU time of this process, which is the engine's as well; on PostgreSQL, whose share
is the server's, the time that passes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from _harness import Case, Figure, main

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    FieldHint,
    ForeignKey,
    GrantBasedAuthorizer,
    ResourceGrant,
    SoftDeleteService,
    TenantAwareService,
    TenantSoftDeleteVersionedDomainModel,
    tenant_context,
)
from varco_query import F, QueryParams, SortField
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

FEW, MANY = 20_000, 400_000
POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
FOLDER = Path(tempfile.mkdtemp(prefix="varco-bench-size-"))
ROOT = AuthContext("r", grants=(ResourceGrant("*", frozenset(Action)),))


class Few(TenantSoftDeleteVersionedDomainModel):
    class Meta:
        table = "bench_few"

    title: Annotated[str, FieldHint(max_length=100)]
    views: Annotated[int, FieldHint(index=True)] = 0


class FewNote(TenantSoftDeleteVersionedDomainModel):
    class Meta:
        table = "bench_few_notes"

    about: Annotated[int, ForeignKey(Few, on_delete="CASCADE")]


class Many(TenantSoftDeleteVersionedDomainModel):
    class Meta:
        table = "bench_many"

    title: Annotated[str, FieldHint(max_length=100)]
    views: Annotated[int, FieldHint(index=True)] = 0


class ManyNote(TenantSoftDeleteVersionedDomainModel):
    class Meta:
        table = "bench_many_notes"

    about: Annotated[int, ForeignKey(Many, on_delete="CASCADE")]


class FewService(TenantAwareService, SoftDeleteService, AsyncService[Few]):
    pass


class ManyService(TenantAwareService, SoftDeleteService, AsyncService[Many]):
    pass


MODELS = ((Few, FewNote, FEW), (Many, ManyNote, MANY))
SORTED = QueryParams(sort=(SortField("views"),), limit=50)
FILTERED = QueryParams(F.views >= 100, limit=50)


async def prepare(kind: str) -> tuple[Any, Any]:
    """Fill the tables, and return the services of the small one and of the large one."""
    url = POSTGRESQL if kind == "postgresql" else f"sqlite+aiosqlite:///{FOLDER / 'size.sqlite'}"
    engine = make_engine(url)
    provider = SQLAlchemyRepositoryProvider(engine, *(m for row in MODELS for m in row[:2]))
    async with engine.begin() as connection:
        await connection.run_sync(provider.metadata.drop_all)
    await provider.create_tables()
    tables = provider.metadata.tables
    with tenant_context("t"):
        for model, note, number in MODELS:
            async with provider.make_uow() as uow:
                rows: list[Any] = [model(title=f"title {i}", views=i) for i in range(FEW)]
                rows = await uow.repository(model).save_many(rows)
                notes: list[Any] = [note(about=row.pk) for row in rows]
                await uow.repository(note).save_many(notes)
            async with engine.begin() as connection:
                for each in (model, note):
                    table = tables[each.Meta.table]
                    others = [column for column in table.columns if column.name != "pk"]
                    names = [column.name for column in others]
                    for part in range(1, number // FEW):
                        # Each note is about a row of its own.
                        chosen = [c + part * FEW if c.name == "about" else c for c in others]
                        copy = sa.select(*chosen).where(table.c.pk <= FEW)
                        await connection.execute(table.insert().from_select(names, copy))
    async with engine.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(sa.text("ANALYZE"))
    grants = GrantBasedAuthorizer()
    return FewService(provider, grants), ManyService(provider, grants)


class Calls:
    """The calls that are compared, each about another row every time."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.pk = 0

    async def sorted_page(self) -> None:
        await self.service.paged_list(SORTED, ROOT)

    async def filtered_page(self) -> None:
        await self.service.paged_list(FILTERED, ROOT)

    async def first_page(self) -> None:
        await self.service.paged_list(QueryParams(limit=50), ROOT)

    async def bounded_count(self) -> None:
        await self.service.paged_list(QueryParams(limit=50), ROOT, total=1000)

    async def exists(self) -> None:
        self.pk = self.pk % FEW + 1
        await self.service.exists(self.pk, ROOT)

    async def delete_and_restore(self) -> None:
        self.pk = self.pk % FEW + 1
        await self.service.delete(self.pk, ROOT)
        await self.service.restore(self.pk, ROOT)


def ratio(kind: str, name: str) -> float:
    """What a call costs in the large table, divided by what it costs in the small one."""
    clock = time.process_time if kind == "sqlite" else time.perf_counter

    async def spend(call: Any) -> float:
        start = clock()
        for _ in range(10):
            await call()
        return clock() - start

    async def run() -> float:
        if kind not in _prepared:
            _prepared[kind] = await prepare(kind)
        few, many = (getattr(Calls(service), name) for service in _prepared[kind])
        with tenant_context("t"):
            await spend(few)
            await spend(many)
            return statistics.median([await spend(many) / await spend(few) for _ in range(15)])

    return _runner.run(run())


_runner = asyncio.Runner()
_prepared: dict[str, tuple[Any, Any]] = {}
TITLES = {
    "first_page": "a page of 50",
    "sorted_page": "a page of 50, sorted",
    "filtered_page": "a page of 50, filtered",
    "bounded_count": "a page of 50 and a count to 1,000",
    "exists": "exists",
    "delete_and_restore": "delete and restore with what refers to it",
}
CASES: list[Case | Figure] = [
    Figure(
        f"{kind}: {title} in {MANY:,} rows",
        "times that in 20,000",
        "times",
        partial(ratio, kind, name),
        ours=True,
    )
    for kind in ("sqlite", "postgresql")
    for name, title in TITLES.items()
]

if __name__ == "__main__":
    main(CASES, one_core=False)
