# ruff: noqa: S101 - these are tests; their names say what they show
"""What transactions and tenants have to show."""

from datetime import UTC, datetime

import anyio

from varco_domain.exception import (
    FieldNotFound,
    ServiceConflictError,
    StaleEntityError,
    UniqueViolationError,
)
from varco_domain.model import domain_replace
from varco_domain.service.tenant import (
    CrossTenantError,
    TenantRequiredError,
    cross_tenant_access,
    tenant_context,
)
from varco_domain.testing._base import ContractBase, eq, raises
from varco_domain.testing._models import (
    Document,
    Item,
    Label,
    Remark,
)
from varco_query import AndNode, OrNode, QueryParams


class _Stop(Exception):  # noqa: N818 - it stops a block
    pass


class UnitOfWorkContract(ContractBase):
    """A unit of work is one transaction."""

    writers: int = 50
    """How many tasks change one row at the same time; fewer where a server is slow."""

    async def test_commit_and_visibility(self) -> None:
        async with self.provider() as provider:
            async with provider.make_uow() as uow:
                saved = await uow.repository(Label).save(Label(pk="a", text="t"))
                assert await uow.repository(Label).find_by_id("a") == saved
            async with provider.make_uow() as other:
                assert await other.repository(Label).exists("a")

    async def test_tables_are_attributes(self) -> None:
        async with self.provider() as provider, provider.make_uow() as uow:
            assert uow.contract_labels is uow.repository(Label)
            with raises(AttributeError):
                _ = uow.no_such_table

    async def test_rollback_on_an_error(self) -> None:
        async with self.provider() as provider:
            with raises(_Stop):
                async with provider.make_uow() as uow:
                    await uow.repository(Label).save(Label(pk="a", text="t"))
                    raise _Stop
            assert await provider.get_repository(Label).count() == 0

    async def test_rollback_on_cancellation(self) -> None:
        async with self.provider() as provider:
            with anyio.CancelScope() as scope:
                async with provider.make_uow() as uow:
                    await uow.repository(Label).save(Label(pk="a", text="t"))
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            repo = provider.get_repository(Label)
            assert await repo.count() == 0
            await repo.save(Label(pk="a", text="t"))

    async def test_callbacks_run_after_the_commit_only(self) -> None:
        async with self.provider() as provider:
            seen: list[int] = []

            async def look() -> None:
                seen.append(await provider.get_repository(Label).count())

            async with provider.make_uow() as uow:
                await uow.repository(Label).save(Label(pk="a", text="t"))
                uow.on_commit(look)
                assert seen == []
            assert seen == [1]
            with raises(_Stop):
                async with provider.make_uow() as uow:
                    uow.on_commit(look)
                    raise _Stop
            assert seen == [1]

    async def test_no_lost_update_among_concurrent_writers(self) -> None:
        writers = self.writers
        async with self.provider() as provider:
            item = await provider.get_repository(Item).save(Item(name="a", price=0))
            wins = 0

            async def write() -> None:
                nonlocal wins
                while True:
                    try:
                        async with provider.make_uow() as uow:
                            repo = uow.repository(Item)
                            found = await repo.find_by_id(item.pk)
                            assert found is not None
                            await anyio.lowlevel.checkpoint()
                            await repo.save(domain_replace(found, price=found.price + 1))
                    except ServiceConflictError:
                        await anyio.lowlevel.checkpoint()
                        continue
                    wins += 1
                    return

            async with anyio.create_task_group() as group:
                for _ in range(writers):
                    group.start_soon(write)
            found = await provider.get_repository(Item).find_by_id(item.pk)
            assert found is not None
            assert (found.price, found.version, wins) == (writers, writers + 1, writers)


class TenantContract(ContractBase):
    """Repositories of models with a tenant never leave it."""

    async def test_no_tenant_is_an_error(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            document = Document(title="t")
            everything = QueryParams()
            for call in (
                lambda: repo.find_by_id(1),
                lambda: repo.exists(1),
                repo.find_all,
                repo.count,
                lambda: repo.find_by_query(everything),
                lambda: repo.update_many_by_query(everything, {"title": "x"}),
                lambda: repo.save(document),
                lambda: repo.save_many([document]),
                lambda: repo.delete(document),
                lambda: repo.delete_many([document]),
            ):
                with raises(TenantRequiredError):
                    await call()
            with raises(TenantRequiredError):
                _ = [d async for d in repo.stream_by_query(everything)]

    async def test_tenants_that_look_alike_are_apart(self) -> None:
        alike = ["a", "A", "a ", " a", "á", "a\u0301", "%", "_", "a%", "'a'"]
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            kept: dict[str, Document] = {}
            for tenant in alike:
                with tenant_context(tenant):
                    kept[tenant] = await repo.save(Document(title=tenant, slug="s"))
            for tenant in alike:
                with tenant_context(tenant):
                    assert [d.title for d in await repo.find_all()] == [tenant]
                    assert await repo.update_many_by_query(QueryParams(), {"rank": 1}) == 1
                    for other in alike:
                        assert await repo.exists(kept[other].pk) == (other == tenant)

    async def test_a_stream_belongs_to_the_tenant_that_asked(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            for tenant in "ab":
                with tenant_context(tenant):
                    await repo.save(Document(title=tenant))
            with tenant_context("a"):
                stream = repo.stream_by_query(QueryParams())
            with tenant_context("b"):
                assert [document.title async for document in stream] == ["a"]

    async def test_every_method_stays_in_the_tenant(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            with tenant_context("a"):
                mine = await repo.save(Document(title="mine"))
                assert mine.tenant_id == "a"
            with tenant_context("b"):
                other = await repo.save(Document(title="other"))
                assert await repo.find_by_id(mine.pk) is None
                assert not await repo.exists(mine.pk)
                assert await repo.find_all() == [other]
                assert await repo.count() == 1
                everything = QueryParams()
                assert await repo.count(everything) == 1
                assert await repo.find_by_query(everything) == [other]
                named = QueryParams(node=eq("pk", mine.pk))
                assert await repo.find_by_query(named) == []
                both = AndNode(eq("pk", mine.pk), eq("title", "mine"))
                either = OrNode(eq("pk", mine.pk), eq("title", "mine"))
                for node in (both, either, AndNode(either), AndNode(both, either)):
                    reaching = QueryParams(node=node)
                    assert await repo.find_by_query(reaching) == []
                    assert await repo.count(reaching) == 0
                    assert [d async for d in repo.stream_by_query(reaching)] == []
                    assert await repo.update_many_by_query(reaching, {"title": "hit"}) == 0
                    assert await repo.find_by_id(mine.pk, where=node) is None
                    assert not await repo.exists(mine.pk, where=node)
                assert [d async for d in repo.stream_by_query(everything)] == [other]
                assert await repo.update_many_by_query(everything, {"title": "hit"}) == 1
                assert await repo.update_many_by_query(named, {"title": "hit"}) == 0
                for write in (repo.save, repo.delete):
                    with raises(CrossTenantError):
                        await write(mine)
                for write_many in (repo.save_many, repo.delete_many):
                    with raises(CrossTenantError):
                        await write_many([mine])
                with raises(CrossTenantError):
                    await repo.save(Document(title="t", tenant_id="a"))
            with tenant_context("a"):
                found = await repo.find_by_id(mine.pk)
                assert found is not None
                assert (found.title, found.version) == ("mine", 1)

    async def test_a_row_cannot_be_stolen(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            with tenant_context("a"):
                mine = await repo.save(Document(title="mine"))
            with tenant_context("b"):
                stolen = domain_replace(mine, tenant_id="b", title="stolen")
                for write in (repo.save, repo.delete):
                    with raises(StaleEntityError):
                        await write(stolen)
                with raises(StaleEntityError):
                    await repo.save_many([stolen])
                with raises(StaleEntityError):
                    await repo.delete_many([stolen])
                blank = domain_replace(mine, tenant_id="", title="stolen")
                for write in (repo.save, repo.delete):
                    with raises(CrossTenantError):
                        await write(blank)
                with raises(FieldNotFound):
                    await repo.update_many_by_query(QueryParams(), {"tenant_id": "b"})
                assert await repo.count() == 0
            with tenant_context("a"):
                found = await repo.find_by_id(mine.pk)
                assert found is not None
                assert (found.title, found.tenant_id) == ("mine", "a")

    async def test_a_unit_of_work_keeps_its_tenant(self) -> None:
        async with self.provider() as provider:
            with tenant_context("a"):
                async with provider.make_uow() as uow:
                    with tenant_context("b"):
                        saved = await uow.repository(Document).save(Document(title="t"))
            assert saved.tenant_id == "a"

    async def test_crossing_tenants_on_purpose(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            for tenant in "ab":
                with tenant_context(tenant):
                    await repo.save(Document(title=tenant))
            with cross_tenant_access("the contract suite"):
                assert [d.tenant_id for d in await repo.find_all()] == ["a", "b"]
                saved = await repo.save(Document(title="c", tenant_id="c"))
                assert saved.tenant_id == "c"
                with raises(TenantRequiredError):
                    await repo.save(Document(title="nobody's"))
            with raises(TenantRequiredError):
                await repo.find_all()
            with tenant_context("a"):
                with cross_tenant_access("the contract suite"):
                    assert [d.tenant_id for d in await repo.find_all()] == ["a", "b", "c"]
                assert [d.tenant_id for d in await repo.find_all()] == ["a"]
                with tenant_context("b"):
                    assert [d.tenant_id for d in await repo.find_all()] == ["b"]
                assert [d.tenant_id for d in await repo.find_all()] == ["a"]

    async def test_cascades_and_uniqueness_within_a_tenant(self) -> None:
        async with self.provider() as provider:
            documents, remarks = provider.get_repository(Document), provider.get_repository(Remark)
            with tenant_context("a"):
                mine = await documents.save(Document(title="a", slug="s"))
                remark = await remarks.save(Remark(document=mine.pk, text="r"))
            with tenant_context("b"):
                other = await documents.save(Document(title="b", slug="s"))
                kept = await remarks.save(Remark(document=other.pk, text="r"))
            with tenant_context("a"):
                with raises(UniqueViolationError):
                    await documents.save(Document(title="a2", slug="s"))
                await documents.delete(mine)
                assert not await remarks.exists(remark.pk)
            with tenant_context("b"):
                assert await remarks.exists(kept.pk)

    async def test_unique_values_of_deleted_rows_are_free(self) -> None:
        if not self.partial_unique:
            return
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            with tenant_context("a"):
                mine = await repo.save(Document(title="a", slug="s"))
                marked = await repo.save(domain_replace(mine, deleted_at=datetime.now(UTC)))
                await repo.save(Document(title="b", slug="s"))
                with raises(UniqueViolationError):
                    await repo.save(domain_replace(marked, deleted_at=None))
