# ruff: noqa: S101 - these are tests; their names say what they show
"""The isolation machine: random calls of several tenants and users against an oracle."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Literal

from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, ResourceGrant
from varco_domain.auth.helpers import AllOf, AnyOf, GrantBasedAuthorizer, OwnershipAuthorizer
from varco_domain.dto import generate_dtos
from varco_domain.exception import (
    ReferenceViolationError,
    ServiceAuthorizationError,
    ServiceNotFoundError,
    StaleEntityError,
    UniqueViolationError,
    problem_for,
)
from varco_domain.model import domain_replace
from varco_domain.providers import IUoWProvider, RepositoryProvider
from varco_domain.service import (
    CrossTenantError,
    TenantRequiredError,
    cross_tenant_access,
    tenant_context,
)
from varco_domain.testing._models import Document, Remark
from varco_domain.testing._oracle import (
    ALL,
    USERS,
    Known,
    allowed,
    filters,
    matches,
    owners,
    picks,
    ranks,
    slugs,
    tenants,
    titles,
    users,
)
from varco_domain.testing._services import DocumentService, RemarkService, RowByRow
from varco_query import ComparisonNode, QueryParams, SortField, SortOrder

Dto = generate_dtos(Document)
RemarkDto = generate_dtos(Remark)


def isolation_machine(
    make_provider: Callable[[], AbstractAsyncContextManager[RepositoryProvider]],
    *,
    backend: Literal["asyncio", "trio"] = "asyncio",
    partial_unique: bool = True,
) -> type[RuleBasedStateMachine]:
    """Return a Hypothesis state machine over a backend; run its ``TestCase``.

    Every public method of a service with tenants, soft deletion, versions and grants, and of the
    repositories beneath it, is called in the name of random tenants and users, and compared with an
    oracle that knows whose row is whose.

    Args:
        make_provider: Gives a provider with empty tables for ``MODELS``, once for each run.
        backend: The event loop to run on.
        partial_unique: Whether unique constraints leave soft-deleted rows out.
    """

    class Machine(IsolationMachine):
        provider_factory = staticmethod(make_provider)
        backend_name = backend
        frees_unique_values = partial_unique

    Machine.__name__ = Machine.__qualname__ = "IsolationMachine"
    return Machine


class IsolationMachine(RuleBasedStateMachine):
    """The machine behind ``isolation_machine``."""

    provider_factory: ClassVar[Any]
    backend_name: ClassVar[str] = "asyncio"
    frees_unique_values: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._portal_context = start_blocking_portal(self.backend_name)
        self.portal = self._portal_context.__enter__()
        self.rows: dict[int, Known] = {}
        self.gone: list[int] = []
        self.remarks: dict[int, tuple[str, int]] = {}
        self._provider_context = self.portal.wrap_async_context_manager(self.provider_factory())
        self.provider: RepositoryProvider = self._provider_context.__enter__()

    def teardown(self) -> None:
        try:
            self._provider_context.__exit__(None, None, None)
        finally:
            self._portal_context.__exit__(None, None, None)

    @initialize(by_row=st.sampled_from(["compiled", "rows", "mixed"]))
    def start(self, by_row: str) -> None:
        grants: AbstractAuthorizer = GrantBasedAuthorizer()
        owner: AbstractAuthorizer = OwnershipAuthorizer()
        policy: AbstractAuthorizer = AnyOf(grants, owner)
        if by_row == "rows":
            policy = RowByRow(policy)
        elif by_row == "mixed":
            policy = AllOf(AnyOf(grants, RowByRow(owner)))
        provider: IUoWProvider = self.provider
        self.service = DocumentService(provider, policy)
        everyone = AuthContext("x", grants=(ResourceGrant("contract_remarks", ALL),))
        self.everyone = everyone
        self.remark_service = RemarkService(provider, GrantBasedAuthorizer())
        seed = [("a", "owner"), ("a", "other"), ("a", None), ("b", "owner"), ("b", None), ("c", "")]
        for number, (tenant, holder) in enumerate(seed):
            dto = Dto.create.model_validate(
                {"title": "seed", "owner_id": holder, "rank": None if number % 2 else number}
            )
            self.added(self.run(tenant, lambda: self.service.create(dto, USERS["admin"])), tenant)  # noqa: B023 - run at once

    def run(self, tenant: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a call for a tenant and return its result, or the error that it raised."""

        async def inside() -> Any:
            with tenant_context(tenant):
                try:
                    return await call()
                except (
                    ServiceNotFoundError,
                    ServiceAuthorizationError,
                    StaleEntityError,
                    UniqueViolationError,
                    ReferenceViolationError,
                    CrossTenantError,
                ) as error:
                    return error

        result = self.portal.call(inside)
        if isinstance(result, Exception):
            self.check_error(tenant, result)
        return result

    def check_error(self, tenant: str, error: Exception) -> None:
        text = str(problem_for(error)) + repr(error)
        assert "SELECT" not in text
        assert "UPDATE " not in text
        for row in self.rows.values():
            if row.tenant != tenant and row.title.startswith("secret"):
                assert row.title not in text

    def pick(self, number: int) -> int:
        """Return the key of a row, whosever it is, or of none."""
        known = [*self.rows, *self.gone, 10**6]
        return known[number % len(known)]

    def sees(self, tenant: str, user: str, pk: int, *, deleted: bool = False) -> bool:
        row = self.rows.get(pk)
        return (
            row is not None
            and row.tenant == tenant
            and row.deleted == deleted
            and allowed(user, Action.READ, pk, row.owner)
        )

    def visible(self, tenant: str, user: str, node: ComparisonNode | None = None) -> list[int]:
        return [
            pk
            for pk, row in sorted(self.rows.items())
            if self.sees(tenant, user, pk) and matches(node, row)
        ]

    def slug_taken(self, tenant: str, slug: str | None, but: int | None = None) -> bool:
        return slug is not None and any(
            row.slug == slug
            and row.tenant == tenant
            and pk != but
            and not (row.deleted and self.frees_unique_values)
            for pk, row in self.rows.items()
        )

    def check_row(self, dto: Any) -> None:
        row = self.rows[dto.pk]
        assert (dto.tenant_id, dto.title, dto.owner_id, dto.rank, dto.slug, dto.version) == (
            row.tenant,
            row.title,
            row.owner,
            row.rank,
            row.slug,
            row.version,
        )

    def added(self, dto: Any, tenant: str) -> None:
        assert dto.pk not in self.rows
        assert dto.pk not in self.gone
        self.rows[dto.pk] = Known(tenant, dto.title, dto.owner_id, dto.rank, dto.slug)
        self.check_row(dto)

    def drop(self, pk: int) -> None:
        del self.rows[pk]
        self.gone.append(pk)
        for remark, (_, document) in list(self.remarks.items()):
            if document == pk:
                del self.remarks[remark]

    @rule(tenant=tenants, user=users, title=titles, owner=owners, rank=ranks, slug=slugs)
    def create(
        self,
        tenant: str,
        user: str,
        title: str,
        owner: str | None,
        rank: int | None,
        slug: str | None,
    ) -> None:
        dto = Dto.create.model_validate(
            {"title": title, "owner_id": owner, "rank": rank, "slug": slug}
        )
        got = self.run(tenant, lambda: self.service.create(dto, USERS[user]))
        if not allowed(user, Action.CREATE, None, owner):
            assert type(got) is ServiceAuthorizationError
        elif self.slug_taken(tenant, slug):
            assert type(got) is UniqueViolationError
        else:
            self.added(got, tenant)

    @rule(tenant=tenants, user=users, batch=st.lists(st.tuples(titles, owners), max_size=3))
    def create_many(self, tenant: str, user: str, batch: list[tuple[str, str | None]]) -> None:
        dtos = [Dto.create.model_validate({"title": t, "owner_id": o}) for t, o in batch]
        got = self.run(tenant, lambda: self.service.create_many(dtos, USERS[user]))
        if all(allowed(user, Action.CREATE, None, owner) for _, owner in batch):
            assert len(got) == len(batch)
            for dto in got:
                self.added(dto, tenant)
        else:
            assert type(got) is ServiceAuthorizationError

    @rule(
        tenant=tenants,
        user=users,
        number=picks,
        changes=st.fixed_dictionaries(
            {}, optional={"title": titles, "owner_id": owners, "rank": ranks, "slug": slugs}
        ),
        based_on=st.sampled_from([None, "right", "wrong"]),
        bulk=st.booleans(),
    )
    def update(
        self,
        tenant: str,
        user: str,
        number: int,
        changes: dict[str, Any],
        based_on: str | None,
        bulk: bool,
    ) -> None:
        pk = self.pick(number)
        row = self.rows.get(pk)
        version = {None: None, "right": row.version if row else 1, "wrong": 99}[based_on]
        dto = Dto.update.model_validate({**changes, "expected_version": version})
        if bulk:
            got = self.run(tenant, lambda: self.service.update_many([(pk, dto)], USERS[user]))
            got = got if isinstance(got, Exception) else got[0]
        else:
            got = self.run(tenant, lambda: self.service.patch(pk, dto, USERS[user]))
        if row is None or not self.sees(tenant, user, pk):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.UPDATE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        elif based_on == "wrong":
            assert type(got) is StaleEntityError
        elif not allowed(user, Action.UPDATE, pk, changes.get("owner_id", row.owner)):
            assert type(got) is ServiceAuthorizationError
        elif self.slug_taken(tenant, changes.get("slug", row.slug), pk):
            assert type(got) is UniqueViolationError
        else:
            row.title = changes.get("title", row.title)
            row.owner = changes.get("owner_id", row.owner)
            row.rank = changes.get("rank", row.rank)
            row.slug = changes.get("slug", row.slug)
            row.version += 1
            self.check_row(got)

    @rule(tenant=tenants, user=users, number=picks, bulk=st.booleans())
    def delete(self, tenant: str, user: str, number: int, bulk: bool) -> None:
        pk = self.pick(number)
        if bulk:
            got = self.run(tenant, lambda: self.service.delete_many([pk], USERS[user]))
        else:
            got = self.run(tenant, lambda: self.service.delete(pk, USERS[user]))
        row = self.rows.get(pk)
        if row is None or not self.sees(tenant, user, pk):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.DELETE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        else:
            assert got is None
            row.deleted = True
            row.version += 1

    @rule(tenant=tenants, user=users, number=picks)
    def restore(self, tenant: str, user: str, number: int) -> None:
        pk = self.pick(number)
        got = self.run(tenant, lambda: self.service.restore(pk, USERS[user]))
        row = self.rows.get(pk)
        if row is None or not self.sees(tenant, user, pk, deleted=True):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.DELETE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        elif self.slug_taken(tenant, row.slug, pk):
            assert type(got) is UniqueViolationError
        else:
            row.deleted = False
            row.version += 1
            self.check_row(got)

    @rule(tenant=tenants, user=users, number=picks)
    def purge(self, tenant: str, user: str, number: int) -> None:
        pk = self.pick(number)
        got = self.run(tenant, lambda: self.service.purge(pk, USERS[user]))
        row = self.rows.get(pk)
        seen = row is not None and self.sees(tenant, user, pk, deleted=row.deleted)
        if row is None or not seen:
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.DELETE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        else:
            assert got is None
            self.drop(pk)

    @rule(tenant=tenants, number=picks)
    def remark(self, tenant: str, number: int) -> None:
        pk = self.pick(number)
        dto = RemarkDto.create.model_validate({"document": pk, "text": "x"})
        got = self.run(tenant, lambda: self.remark_service.create(dto, self.everyone))
        row = self.rows.get(pk)
        if row is None or row.tenant != tenant:
            assert type(got) is ReferenceViolationError
        else:
            self.remarks[got.pk] = (tenant, pk)

    @rule(tenant=tenants, user=users, number=picks)
    def get(self, tenant: str, user: str, number: int) -> None:
        pk = self.pick(number)
        got = self.run(tenant, lambda: self.service.get(pk, USERS[user]))
        exists = self.run(tenant, lambda: self.service.exists(pk, USERS[user]))
        if self.sees(tenant, user, pk):
            self.check_row(got)
            assert exists is True
        else:
            assert type(got) is ServiceNotFoundError
            assert str(got) == f"Document with key {pk!r} not found"
            assert exists is False

    @rule(
        tenant=tenants, user=users, node=filters, limit=st.integers(0, 5), offset=st.integers(0, 2)
    )
    def read_many(
        self, tenant: str, user: str, node: ComparisonNode | None, limit: int, offset: int
    ) -> None:
        ctx = USERS[user]
        expected = self.visible(tenant, user, node)
        query = QueryParams(node=node, limit=limit, offset=offset)
        listed = self.run(tenant, lambda: self.service.list(query, ctx))
        assert [dto.pk for dto in listed] == expected[offset : offset + limit]
        for dto in listed:
            self.check_row(dto)
        assert self.run(tenant, lambda: self.service.count(query, ctx)) == len(expected)

        async def stream() -> list[int]:
            return [dto.pk async for dto in self.service.stream(query, ctx)]

        assert self.run(tenant, stream) == expected[offset : offset + limit]
        page = self.run(tenant, lambda: self.service.paged_list(query, ctx))
        assert [dto.pk for dto in page.results] == expected[offset : offset + limit]
        assert page.total_count == len(expected)

    @rule(
        tenant=tenants,
        user=users,
        node=filters,
        limit=st.integers(1, 4),
        order=st.sampled_from(SortOrder),
    )
    def walk(
        self, tenant: str, user: str, node: ComparisonNode | None, limit: int, order: SortOrder
    ) -> None:
        expected = self.visible(tenant, user, node)

        def key(pk: int) -> tuple[bool, int]:
            rank = self.rows[pk].rank
            return rank is not None, rank or 0

        expected.sort(key=key, reverse=order is SortOrder.DESC)

        async def pages() -> list[int]:
            found: list[int] = []
            cursor: str | None = None
            while True:
                query = QueryParams(
                    node=node, sort=(SortField("rank", order),), limit=limit, cursor=cursor
                )
                page = await self.service.paged_list(query, USERS[user])
                found += [dto.pk for dto in page.results]
                if page.next is None:
                    return found
                cursor = page.next.cursor

        assert self.run(tenant, pages) == expected

    @rule(tenant=tenants, user=users)
    def read_deleted(self, tenant: str, user: str) -> None:
        ctx = USERS[user]
        everything = QueryParams()
        deleted = [pk for pk in sorted(self.rows) if self.sees(tenant, user, pk, deleted=True)]
        view = self.service.only_deleted()
        assert [d.pk for d in self.run(tenant, lambda: view.list(everything, ctx))] == deleted
        both = sorted(deleted + self.visible(tenant, user))
        view = self.service.with_deleted()
        assert [d.pk for d in self.run(tenant, lambda: view.list(everything, ctx))] == both

    @rule(tenant=tenants, number=picks, node=filters)
    def repository_reads(self, tenant: str, number: int, node: ComparisonNode | None) -> None:
        pk = self.pick(number)
        repo = self.provider.get_repository(Document)
        mine = [pk for pk, row in sorted(self.rows.items()) if row.tenant == tenant]
        selected = [pk for pk in mine if matches(node, self.rows[pk])]
        query = QueryParams(node=node)
        found = self.run(tenant, lambda: repo.find_by_id(pk))
        assert (found is not None) == (pk in mine)
        assert self.run(tenant, lambda: repo.exists(pk)) == (pk in mine)
        assert [e.pk for e in self.run(tenant, repo.find_all)] == mine
        assert [e.pk for e in self.run(tenant, lambda: repo.find_by_query(query))] == selected
        assert self.run(tenant, lambda: repo.count(query)) == len(selected)
        assert self.run(tenant, repo.count) == len(mine)

        async def stream() -> list[int]:
            return [entity.pk async for entity in repo.stream_by_query(query)]

        assert self.run(tenant, stream) == selected

    @rule(tenant=tenants, rank=ranks, node=filters)
    def repository_update(self, tenant: str, rank: int | None, node: ComparisonNode | None) -> None:
        repo = self.provider.get_repository(Document)
        update = {"rank": rank}
        got = self.run(tenant, lambda: repo.update_many_by_query(QueryParams(node=node), update))
        hit = [row for row in self.rows.values() if row.tenant == tenant and matches(node, row)]
        assert got == len(hit)
        for row in hit:
            row.rank = rank
            row.version += 1

    @rule(
        tenant=tenants,
        number=picks,
        steal=st.booleans(),
        method=st.sampled_from(["save", "delete", "save_many", "delete_many"]),
    )
    def repository_writes(self, tenant: str, number: int, steal: bool, method: str) -> None:
        pk = self.pick(number)
        row = self.rows.get(pk)
        if row is None:
            return
        repo = self.provider.get_repository(Document)
        entity = self.run(row.tenant, lambda: repo.find_by_id(pk))
        changed = domain_replace(entity, title="r")
        if steal:
            changed = domain_replace(changed, tenant_id=tenant)
        argument: Any = [changed] if method.endswith("many") else changed
        got = self.run(tenant, lambda: getattr(repo, method)(argument))
        if row.tenant != tenant:
            assert type(got) is (StaleEntityError if steal else CrossTenantError)
        elif method.startswith("save"):
            row.title = "r"
            row.version += 1
        else:
            self.drop(pk)

    @rule(tenant=tenants, owner=tenants)
    def repository_insert(self, tenant: str, owner: str) -> None:
        repo = self.provider.get_repository(Document)
        got = self.run(tenant, lambda: repo.save(Document(title="i", tenant_id=owner)))
        if owner == tenant:
            self.added(got, tenant)
        else:
            assert type(got) is CrossTenantError

    @rule()
    def without_a_tenant(self) -> None:
        async def calls() -> None:
            ctx = USERS["admin"]
            dto = Dto.create.model_validate({"title": "t"})
            for call in (
                lambda: self.service.get(1, ctx),
                lambda: self.service.list(QueryParams(), ctx),
                lambda: self.service.create(dto, ctx),
                lambda: self.service.delete(1, ctx),
                lambda: self.service.restore(1, ctx),
                lambda: self.service.purge(1, ctx),
                self.provider.get_repository(Document).find_all,
            ):
                try:
                    await call()
                except TenantRequiredError:
                    continue
                raise AssertionError("a call without a tenant went through")

        self.portal.call(calls)

    @invariant()
    def everything_is_where_it_belongs(self) -> None:
        async def dump() -> tuple[list[Document], list[Remark]]:
            with cross_tenant_access("the isolation machine"):
                async with self.provider.make_uow() as uow:
                    return (
                        await uow.repository(Document).find_all(),
                        await uow.repository(Remark).find_all(),
                    )

        documents, remarks = self.portal.call(dump)
        assert [d.pk for d in documents] == sorted(self.rows)
        for document in documents:
            self.check_row(document)
            assert (document.deleted_at is not None) == self.rows[document.pk].deleted
        assert {r.pk: (r.tenant_id, r.document) for r in remarks} == self.remarks
