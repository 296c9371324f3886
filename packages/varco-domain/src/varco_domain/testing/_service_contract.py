# ruff: noqa: S101 - these are tests; their names say what they show
"""What services over every backend have to show."""

from collections.abc import Awaitable, Callable
from typing import Any

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, ResourceGrant
from varco_domain.auth.helpers import AnyOf, GrantBasedAuthorizer, OwnershipAuthorizer
from varco_domain.dto import generate_dtos
from varco_domain.exception import (
    ReferenceViolationError,
    ServiceAuthorizationError,
    ServiceNotFoundError,
    StaleEntityError,
    UniqueViolationError,
)
from varco_domain.providers import RepositoryProvider
from varco_domain.repository import AsyncRepository
from varco_domain.service import (
    CrossTenantError,
    TenantRequiredError,
    cross_tenant_access,
    tenant_context,
)
from varco_domain.testing._base import eq, raises
from varco_domain.testing._models import Document, Remark
from varco_domain.testing._reference_contract import ReferenceContract
from varco_domain.testing._services import DocumentService, RemarkService, RowByRow
from varco_domain.uow import AsyncUnitOfWork
from varco_query import CursorError, QueryParams, SortField

Dto = generate_dtos(Document, include=("expected_version",))
RemarkDto = generate_dtos(Remark)
ALL = frozenset(Action)
ADMIN = AuthContext(
    "admin",
    grants=(ResourceGrant("contract_documents", ALL), ResourceGrant("contract_remarks", ALL)),
)
READER = AuthContext(
    "reader", grants=(ResourceGrant("contract_documents", frozenset({Action.READ})),)
)
USER = AuthContext("user")
THIEF = AuthContext("thief", grants=READER.grants)

type Call = Callable[[DocumentService, int], Awaitable[Any]]


def new(title: str, **values: Any) -> Any:
    """A create DTO of a document."""
    return Dto.create.model_validate({"title": title, **values})


def change(**values: Any) -> Any:
    """An update DTO of a document."""
    return Dto.update.model_validate(values)


class _Unscoped(DocumentService):
    """Works on the backend's own repository, so that the service's scope is the only one."""

    def _get_repo(self, uow: AsyncUnitOfWork) -> AsyncRepository[Document, int]:
        scoped: Any = super()._get_repo(uow)
        inner: AsyncRepository[Document, int] = scoped.inner
        return inner


def services(provider: RepositoryProvider) -> list[DocumentService]:
    """Services that have to behave alike: by condition and by row, scoped and not."""
    policy = AnyOf(GrantBasedAuthorizer(), OwnershipAuthorizer())
    policies: list[AbstractAuthorizer] = [policy, RowByRow(policy)]
    return [cls(provider, each) for cls in (DocumentService, _Unscoped) for each in policies]


READS: dict[str, Call] = {
    "get": lambda s, pk: s.get(pk, USER),
    "update": lambda s, pk: s.update(pk, change(title="hit"), USER),
    "patch": lambda s, pk: s.patch(pk, change(title="hit"), USER),
    "update_many": lambda s, pk: s.update_many([(pk, change(title="hit"))], USER),
    "delete": lambda s, pk: s.delete(pk, USER),
    "delete_many": lambda s, pk: s.delete_many([pk], USER),
    "restore": lambda s, pk: s.restore(pk, USER),
}


class ServiceContract(ReferenceContract):
    """Services see and touch what they should, and nothing else."""

    async def test_create_read_update_delete(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                with tenant_context("t"):
                    made: Any = await service.create(new("one", rank=1), ADMIN)
                    assert (made.title, made.tenant_id, made.version) == ("one", "t", 1)
                    assert await service.get(made.pk, ADMIN) == made
                    changed: Any = await service.update(made.pk, change(rank=None), ADMIN)
                    assert (changed.title, changed.rank, changed.version) == ("one", None, 2)
                    many = await service.create_many([new("two"), new("three")], ADMIN)
                    keys = [made.pk, *(dto.pk for dto in many)]
                    listed = await service.list(QueryParams(), ADMIN)
                    assert [dto.pk for dto in listed] == keys
                    page = await service.paged_list(QueryParams(limit=2), ADMIN, total=True)
                    assert ([dto.pk for dto in page.results], page.total_count) == (keys[:2], 3)
                    assert page.next is not None
                    rest = QueryParams(limit=2, cursor=page.next.cursor)
                    page = await service.paged_list(rest, ADMIN)
                    assert ([dto.pk for dto in page.results], page.next) == (keys[2:], None)
                    for pk in keys:
                        await service.delete(pk, ADMIN)
                        await service.purge(pk, ADMIN)
                    assert await service.count(QueryParams(), ADMIN) == 0

    async def test_hidden_rows_look_missing_everywhere(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                hidden = await self._hidden(service)
                own: Any = None
                with tenant_context("mine"):
                    own = await service.create(new("own", owner_id="user"), USER)
                    for pk in hidden:
                        for name, call in READS.items():
                            if name == "restore" and pk == hidden[1]:
                                continue  # what is one's own and deleted can be restored
                            with raises(ServiceNotFoundError):
                                await call(service, pk)
                        assert not await service.exists(pk, USER)
                    with raises(ServiceNotFoundError):
                        await service.purge(hidden[0], USER)
                    with raises(ServiceNotFoundError):
                        await service.purge(hidden[2], USER)
                    with raises(ServiceNotFoundError):
                        await service.restore(own.pk, USER)
                    await self._sees_only(service, own.pk)
                    page = await service.only_deleted().list(QueryParams(), USER)
                    assert [dto.pk for dto in page] == [hidden[1]]
                    page = await service.with_deleted().list(QueryParams(), USER)
                    assert [dto.pk for dto in page] == [hidden[1], own.pk]
                    await service.purge(own.pk, USER)
                    await service.purge(hidden[1], USER)

    async def _hidden(self, service: DocumentService) -> list[int]:
        """A foreign, a deleted, an unreadable and a missing key."""
        with tenant_context("other"):
            foreign: Any = await service.create(new("foreign", owner_id="user"), ADMIN)
        with tenant_context("mine"):
            deleted: Any = await service.create(new("deleted", owner_id="user"), ADMIN)
            await service.delete(deleted.pk, ADMIN)
            unreadable: Any = await service.create(new("unreadable", owner_id="else"), ADMIN)
        return [foreign.pk, deleted.pk, unreadable.pk, 10**6]

    async def _sees_only(self, service: DocumentService, pk: int) -> None:
        assert [dto.pk for dto in await service.list(QueryParams(), USER)] == [pk]
        assert await service.count(QueryParams(), USER) == 1
        page = await service.paged_list(QueryParams(sort=(SortField("rank"),)), USER, total=True)
        assert ([dto.pk for dto in page.results], page.total_count) == ([pk], 1)
        streamed: list[Any] = [dto async for dto in service.stream(QueryParams(), USER)]
        assert [dto.pk for dto in streamed] == [pk]
        assert await service.exists(pk, USER)

    async def test_pages_after_the_first_stay_in_scope(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                hidden = await self._hidden(service)
                with tenant_context("mine"):
                    own: list[Any] = await service.create_many(
                        [new("own", owner_id="user", rank=rank) for rank in (None, 1, 2)], USER
                    )
                    await service.create(new("unreadable", owner_id="else", rank=1), ADMIN)
                    keys = [dto.pk for dto in own]
                    sort = (SortField("rank"),)
                    found: list[int] = []
                    cursor: str | None = None
                    counted = await service.paged_list(
                        QueryParams(limit=1, offset=0), USER, total=True
                    )
                    assert counted.total_count == len(keys)
                    page = await service.paged_list(QueryParams(sort=sort, limit=1), USER)
                    while True:
                        assert page.total_count is None
                        found += [dto.pk for dto in page.results]
                        if page.next is None:
                            break
                        cursor = page.next.cursor
                        query = QueryParams(sort=sort, limit=1, cursor=cursor)
                        page = await service.paged_list(query, USER)
                        listed = await service.list(query, USER)
                        assert [dto.pk for dto in listed] == [dto.pk for dto in page.results]
                    assert found == keys
                    assert page.previous is not None
                    back = QueryParams(sort=sort, cursor=page.previous.cursor)
                    page = await service.paged_list(back, USER)
                    assert [dto.pk for dto in page.results] == keys[:-1]
                    for node in (eq("rank", 1), eq("pk", hidden[2])):
                        with raises(CursorError):
                            await service.list(
                                QueryParams(node=node, sort=sort, cursor=cursor), USER
                            )
                with tenant_context("other"), raises(CursorError):
                    await service.list(QueryParams(sort=sort, cursor=cursor), USER)
                with tenant_context("mine"):
                    for pk in [*keys, hidden[1]]:
                        await service.purge(pk, USER)

    async def test_actions_are_asked_for(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                with tenant_context("t"):
                    made: Any = await service.create(new("x", owner_id="user"), ADMIN)
                    pk = made.pk
                    denied: list[Callable[[], Awaitable[Any]]] = [
                        lambda: service.create(new("y"), READER),  # noqa: B023 - run at once
                        lambda: service.create_many([new("y")], READER),  # noqa: B023 - as above
                        lambda: service.update(pk, change(title="y"), READER),  # noqa: B023 - as above
                        lambda: service.update_many([(pk, change(title="y"))], READER),  # noqa: B023 - as above
                        lambda: service.delete(pk, READER),  # noqa: B023 - as above
                        lambda: service.delete_many([pk], READER),  # noqa: B023 - as above
                        lambda: service.purge(pk, READER),  # noqa: B023 - as above
                        lambda: service.update(pk, change(owner_id="else"), USER),  # noqa: B023 - as above
                        lambda: service.update(pk, change(owner_id="thief"), THIEF),  # noqa: B023 - as above
                        lambda: service.create(new("y", owner_id="else"), USER),  # noqa: B023 - as above
                    ]
                    for call in denied:
                        with raises(ServiceAuthorizationError):
                            await call()
                    assert await service.get(pk, READER) == made
                    await service.delete(pk, ADMIN)
                    with raises(ServiceAuthorizationError):
                        await service.restore(pk, READER)
                    await service.purge(pk, ADMIN)
                    assert await service.with_deleted().count(QueryParams(), ADMIN) == 0

    async def test_no_tenant_is_an_error_on_every_path(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                calls: list[Callable[[], Awaitable[Any]]] = [
                    lambda: service.get(1, ADMIN),  # noqa: B023 - run at once
                    lambda: service.exists(1, ADMIN),  # noqa: B023 - as above
                    lambda: service.list(QueryParams(), ADMIN),  # noqa: B023 - as above
                    lambda: service.count(QueryParams(), ADMIN),  # noqa: B023 - as above
                    lambda: service.paged_list(QueryParams(), ADMIN),  # noqa: B023 - as above
                    lambda: service.create(new("x"), ADMIN),  # noqa: B023 - as above
                    lambda: service.create_many([new("x")], ADMIN),  # noqa: B023 - as above
                    lambda: service.update(1, change(title="x"), ADMIN),  # noqa: B023 - as above
                    lambda: service.update_many([(1, change(title="x"))], ADMIN),  # noqa: B023 - as above
                    lambda: service.delete(1, ADMIN),  # noqa: B023 - as above
                    lambda: service.delete_many([1], ADMIN),  # noqa: B023 - as above
                    lambda: service.restore(1, ADMIN),  # noqa: B023 - as above
                    lambda: service.purge(1, ADMIN),  # noqa: B023 - as above
                ]
                for call in calls:
                    with raises(TenantRequiredError):
                        await call()
                with raises(TenantRequiredError):
                    service.stream(QueryParams(), ADMIN)

    async def test_a_new_row_is_the_tenants(self) -> None:
        class Giving(_Unscoped):
            def _prepare_new(self, entity: Document, ctx: AuthContext) -> Document:
                entity.tenant_id = "other"
                prepared: Document = super()._prepare_new(entity, ctx)
                return prepared

        async with self.provider() as provider:
            service = Giving(provider, GrantBasedAuthorizer())
            with tenant_context("mine"), raises(CrossTenantError):
                await service.create(new("x"), ADMIN)

    async def test_references_stay_in_the_tenant(self) -> None:
        async with self.provider() as provider:
            documents = DocumentService(provider, GrantBasedAuthorizer())
            remarks = RemarkService(provider, GrantBasedAuthorizer())
            with tenant_context("a"):
                foreign: Any = await documents.create(new("a"), ADMIN)
            with tenant_context("b"):
                mine: Any = await documents.create(new("b"), ADMIN)
                dto = RemarkDto.create.model_validate({"document": mine.pk, "text": "r"})
                made = await remarks.create(dto, ADMIN)
                wrong = RemarkDto.create.model_validate({"document": foreign.pk, "text": "r"})
                moved = RemarkDto.update.model_validate({"document": foreign.pk})
                with raises(ReferenceViolationError):
                    await remarks.create(wrong, ADMIN)
                with raises(ReferenceViolationError):
                    await remarks.create_many([wrong], ADMIN)
                with raises(ReferenceViolationError):
                    await remarks.update(made.pk, moved, ADMIN)
                with raises(ReferenceViolationError):
                    await remarks.update_many([(made.pk, moved)], ADMIN)
                await remarks.create_many([dto, dto], ADMIN)
                with raises(ReferenceViolationError):
                    await remarks.create_many([dto, wrong], ADMIN)
            with cross_tenant_access("the contract suite"), raises(ReferenceViolationError):
                await remarks.update(made.pk, moved, ADMIN)

    async def test_versions(self) -> None:
        async with self.provider() as provider:
            service = DocumentService(provider, GrantBasedAuthorizer())
            with tenant_context("t"):
                made: Any = await service.create(new("x"), ADMIN)
                fresh = change(title="y", expected_version=1)
                await service.update(made.pk, fresh, ADMIN)
                with raises(StaleEntityError):
                    await service.update(made.pk, fresh, ADMIN)
                with raises(StaleEntityError):
                    await service.update_many([(made.pk, fresh)], ADMIN)
                with raises(StaleEntityError):
                    await service.delete(made.pk, ADMIN, expected_version=1)

    async def test_restore_keeps_unique_values_unique(self) -> None:
        if not self.partial_unique:
            return
        async with self.provider() as provider:
            service = DocumentService(provider, GrantBasedAuthorizer())
            with tenant_context("t"):
                first: Any = await service.create(new("x", slug="s"), ADMIN)
                await service.delete(first.pk, ADMIN)
                second: Any = await service.create(new("y", slug="s"), ADMIN)
                with raises(UniqueViolationError):
                    await service.restore(first.pk, ADMIN)
                await service.delete(second.pk, ADMIN)
                restored: Any = await service.restore(first.pk, ADMIN)
                assert (restored.slug, restored.deleted_at) == ("s", None)

    async def test_filters_cannot_leave_the_scope(self) -> None:
        async with self.provider() as provider:
            for service in services(provider):
                hidden = await self._hidden(service)
                with tenant_context("mine"):
                    own: Any = await service.create(new("own", owner_id="user"), USER)
                    for node in (eq("tenant_id", "other"), *(eq("pk", pk) for pk in hidden)):
                        query = QueryParams(node=node)
                        assert await service.list(query, USER) == []
                        assert await service.count(query, USER) == 0
                        assert (await service.paged_list(query, USER)).results == []
                    either = eq("tenant_id", "other") | eq("pk", own.pk)
                    listed = await service.list(QueryParams(node=either), USER)
                    assert [dto.pk for dto in listed] == [own.pk]
                    await service.purge(own.pk, USER)
