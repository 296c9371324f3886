"""A page costs the same whatever the table's size: no count, and every row by way of an index."""

from typing import Annotated, Any

import pytest
import sqlalchemy as sa

from varco_domain import (
    Action,
    AuthContext,
    ForeignKey,
    GrantBasedAuthorizer,
    ResourceGrant,
    SoftDeleteService,
    StillReferencedError,
    TenantAwareService,
    TenantSoftDeleteDomainModel,
    generate_dtos,
    tenant_context,
)
from varco_query import QueryParams

ROOT = AuthContext("r", grants=(ResourceGrant("*", frozenset(Action)),))


class PageBoard(TenantSoftDeleteDomainModel):
    name: str


class PageCard(TenantSoftDeleteDomainModel):
    board: Annotated[int, ForeignKey(PageBoard)]


class Boards(
    TenantAwareService[PageBoard, int, Any, Any, Any],
    SoftDeleteService[PageBoard, int, Any, Any, Any],
):
    pass


class Cards(
    TenantAwareService[PageCard, int, Any, Any, Any],
    SoftDeleteService[PageCard, int, Any, Any, Any],
):
    pass


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_no_statement_of_a_page_or_a_check_looks_at_the_whole_table(url, open_backend):
    backend = await open_backend(url, PageBoard, PageCard)
    boards = Boards(backend.uow_provider, GrantBasedAuthorizer())
    cards = Cards(backend.uow_provider, GrantBasedAuthorizer())
    said: list[tuple[str, Any]] = []

    def listen(_connection, _cursor, statement, parameters, *_rest):
        if "page_" in statement and not statement.startswith(("EXPLAIN", "CREATE")):
            said.append((statement, parameters))

    sa.event.listen(backend.engine.sync_engine, "before_cursor_execute", listen)
    with tenant_context("t"):
        held = await boards.create(generate_dtos(PageBoard).create(name="a"), ROOT)
        await cards.create(generate_dtos(PageCard).create(board=held.pk), ROOT)
        free = await boards.create(generate_dtos(PageBoard).create(name="b"), ROOT)
        said.clear()
        page = await boards.paged_list(QueryParams(limit=1), ROOT)
        assert page.total_count is None
        assert len(said) == 1
        await boards.paged_list(QueryParams(limit=1, cursor=page.next.cursor), ROOT)
        await boards.paged_list(QueryParams(limit=1, offset=1), ROOT)
        assert "count(" not in " ".join(statement for statement, _ in said)
        await boards.paged_list(QueryParams(limit=1), ROOT, total=10)
        assert "LIMIT" in said[-1][0]
        await boards.exists(held.pk, ROOT)
        with pytest.raises(StillReferencedError):
            await boards.delete(held.pk, ROOT)
        await boards.delete(free.pk, ROOT)
        await boards.restore(free.pk, ROOT)
    async with backend.engine.connect() as connection:
        for statement, parameters in said:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [row[-1] for row in plan]
            for step in steps:
                whole = step.startswith("SCAN page_") and "USING" not in step
                assert not whole, (statement, steps)
                assert "TEMP B-TREE" not in step or "LIMIT" not in statement, (statement, steps)
