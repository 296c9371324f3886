# ruff: noqa: S101 - these are tests; their names say what they show
"""The isolation machine's calls of services."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from varco_domain.auth import Action
from varco_domain.exception import (
    ReferenceViolationError,
    ServiceAuthorizationError,
    ServiceNotFoundError,
    StaleEntityError,
    UniqueViolationError,
)
from varco_domain.service import TenantRequiredError, cross_tenant_access
from varco_domain.testing._machine_base import VIEWS, Dto, IsolationBase, RemarkDto
from varco_domain.testing._oracle import (
    SECRETS,
    USERS,
    allowed,
    filters,
    owners,
    picks,
    ranks,
    slugs,
    tenants,
    titles,
    users,
)
from varco_query import CursorError, QueryParams, SortField, SortOrder, TransformerNode

views = st.sampled_from(VIEWS)
several = st.lists(picks, min_size=1, max_size=3)


class ServiceRules(IsolationBase):
    """Every public method of a service, in the name of anyone."""

    def __init__(self) -> None:
        super().__init__()
        # Cursors that pages gave out: (tenant, query, cursor).
        self.cursors: list[tuple[str, QueryParams, str]] = []

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
        dto = self.new(tenant, title, owner_id=owner, rank=rank, slug=slug)
        got = self.run(tenant, lambda: self.service.create(dto, USERS[user]))
        if not allowed(user, Action.CREATE, None, owner):
            assert type(got) is ServiceAuthorizationError
        elif self.slug_taken(tenant, slug):
            assert type(got) is UniqueViolationError
        else:
            self.added(got, tenant)

    @rule(tenant=tenants, user=users, batch=st.lists(st.tuples(titles, owners), max_size=3))
    def create_many(self, tenant: str, user: str, batch: list[tuple[str, str | None]]) -> None:
        dtos = [self.new(tenant, title, owner_id=owner) for title, owner in batch]
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
        method=st.sampled_from(["update", "patch", "update_many"]),
        view=views,
    )
    def update(
        self,
        tenant: str,
        user: str,
        number: int,
        changes: dict[str, Any],
        based_on: str | None,
        method: str,
        view: str,
    ) -> None:
        pk = self.pick(number)
        row = self.rows.get(pk)
        if "title" in changes:
            changes["title"] += SECRETS[tenant]
        version = {None: None, "right": row.version if row else 1, "wrong": 99}[based_on]
        dto = Dto.update.model_validate({**changes, "expected_version": version})
        service = self.views[view]
        if method == "update_many":
            got = self.run(tenant, lambda: service.update_many([(pk, dto)], USERS[user]))
            got = got if isinstance(got, Exception) else got[0]
        else:
            got = self.run(tenant, lambda: getattr(service, method)(pk, dto, USERS[user]))
        if row is None or not self.sees(tenant, user, pk, view):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.UPDATE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        elif based_on == "wrong":
            assert type(got) is StaleEntityError
        elif not allowed(user, Action.UPDATE, pk, changes.get("owner_id", row.owner)):
            assert type(got) is ServiceAuthorizationError
        elif not (row.deleted and self.frees_unique_values) and self.slug_taken(
            tenant, changes.get("slug", row.slug), pk
        ):
            assert type(got) is UniqueViolationError
        else:
            row.title = changes.get("title", row.title)
            row.owner = changes.get("owner_id", row.owner)
            row.rank = changes.get("rank", row.rank)
            row.slug = changes.get("slug", row.slug)
            row.version += 1
            self.check_row(got)

    @rule(tenant=tenants, user=users, number=picks, bulk=st.booleans(), view=views)
    def delete(self, tenant: str, user: str, number: int, bulk: bool, view: str) -> None:
        pk = self.pick(number)
        service = self.views[view]
        if bulk:
            got = self.run(tenant, lambda: service.delete_many([pk], USERS[user]))
        else:
            got = self.run(tenant, lambda: service.delete(pk, USERS[user]))
        row = self.rows.get(pk)
        if row is None or not self.sees(tenant, user, pk, view):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.DELETE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        else:
            assert got is None
            row.deleted = True
            row.version += 1

    @rule(tenant=tenants, user=users, numbers=several, removing=st.booleans())
    def change_several(self, tenant: str, user: str, numbers: list[int], removing: bool) -> None:
        pks = self.pick_several(numbers)
        dto = Dto.update.model_validate({"rank": 7})
        updates = [(pk, dto) for pk in pks]
        action = Action.DELETE if removing else Action.UPDATE
        if removing:
            got = self.run(tenant, lambda: self.service.delete_many(pks, USERS[user]))
        else:
            got = self.run(tenant, lambda: self.service.update_many(updates, USERS[user]))
        if not all(self.sees(tenant, user, pk) for pk in pks):
            assert type(got) is ServiceNotFoundError
        elif not all(allowed(user, action, pk, self.rows[pk].owner) for pk in pks):
            assert type(got) is ServiceAuthorizationError
        else:
            for pk in pks:
                row = self.rows[pk]
                row.version += 1
                if removing:
                    row.deleted = True
                else:
                    row.rank = 7

    @rule(tenant=tenants, user=users, number=picks)
    def restore(self, tenant: str, user: str, number: int) -> None:
        pk = self.pick(number)
        got = self.run(tenant, lambda: self.service.restore(pk, USERS[user]))
        row = self.rows.get(pk)
        if row is None or not self.sees(tenant, user, pk, "deleted"):
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
        if row is None or not self.sees(tenant, user, pk, "all"):
            assert type(got) is ServiceNotFoundError
        elif not allowed(user, Action.DELETE, pk, row.owner):
            assert type(got) is ServiceAuthorizationError
        else:
            assert got is None
            self.drop(pk)

    @rule(tenant=tenants, number=picks, moving=st.integers(0, 3))
    def remark(self, tenant: str, number: int, moving: int) -> None:
        """Refer to any document, in a new row or in one of the tenant's own."""
        pk = self.pick(number)
        mine = sorted(k for k, (owner, _) in self.remarks.items() if owner == tenant)
        kept = False
        if moving and mine:
            chosen = mine[moving % len(mine)]
            kept = self.remarks[chosen][1] == pk
            change = RemarkDto.update.model_validate({"document": pk})
            got = self.run(
                tenant, lambda: self.remark_service.update(chosen, change, self.everyone)
            )
        else:
            dto = RemarkDto.create.model_validate({"document": pk, "text": "x"})
            got = self.run(tenant, lambda: self.remark_service.create(dto, self.everyone))
        row = self.rows.get(pk)
        if row is None or row.tenant != tenant or (row.deleted and not kept):
            assert type(got) is ReferenceViolationError
        else:
            self.remarks[got.pk] = (tenant, pk)
        everything = QueryParams()
        listed = self.run(tenant, lambda: self.remark_service.list(everything, self.everyone))
        expected = [k for k, (owner, _) in sorted(self.remarks.items()) if owner == tenant]
        assert [dto.pk for dto in listed] == expected

    @rule(tenant=tenants, user=users, number=picks, view=views)
    def get(self, tenant: str, user: str, number: int, view: str) -> None:
        pk = self.pick(number)
        service = self.views[view]
        got = self.run(tenant, lambda: service.get(pk, USERS[user]))
        exists = self.run(tenant, lambda: service.exists(pk, USERS[user]))
        if self.sees(tenant, user, pk, view):
            self.check_row(got)
            assert exists is True
        else:
            assert type(got) is ServiceNotFoundError
            assert str(got) == f"Document with key {pk!r} not found"
            assert exists is False

    @rule(
        tenant=tenants,
        user=users,
        node=filters,
        limit=st.integers(0, 5),
        offset=st.integers(0, 2),
        view=views,
    )
    def read_many(
        self,
        tenant: str,
        user: str,
        node: TransformerNode | None,
        limit: int,
        offset: int,
        view: str,
    ) -> None:
        ctx = USERS[user]
        service = self.views[view]
        expected = self.visible(tenant, user, node, view)
        query = QueryParams(node=node, limit=limit, offset=offset)
        listed = self.run(tenant, lambda: service.list(query, ctx))
        assert [dto.pk for dto in listed] == expected[offset : offset + limit]
        for dto in listed:
            self.check_row(dto)
        assert self.run(tenant, lambda: service.count(query, ctx)) == len(expected)

        async def stream() -> list[int]:
            return [dto.pk async for dto in service.stream(query, ctx)]

        assert self.run(tenant, stream) == expected[offset : offset + limit]
        page = self.run(tenant, lambda: service.paged_list(query, ctx, total=True))
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
        self, tenant: str, user: str, node: TransformerNode | None, limit: int, order: SortOrder
    ) -> None:
        expected = self.visible(tenant, user, node)

        def key(pk: int) -> tuple[bool, int]:
            rank = self.rows[pk].rank
            return rank is not None, rank or 0

        expected.sort(key=key, reverse=order is SortOrder.DESC)
        query = QueryParams(node=node, sort=(SortField("rank", order),), limit=limit)

        async def pages() -> list[int]:
            found: list[int] = []
            cursor: str | None = None
            while True:
                page = await self.service.paged_list(_at(query, cursor), USERS[user])
                found += [dto.pk for dto in page.results]
                if page.next is None or page.next.cursor is None:
                    return found
                cursor = page.next.cursor
                self.cursors.append((tenant, query, cursor))

        assert self.run(tenant, pages) == expected

    @rule(tenant=tenants, user=users, number=picks, listing=st.booleans())
    def go_on(self, tenant: str, user: str, number: int, listing: bool) -> None:
        """Use a cursor that somebody was given, maybe in another tenant."""
        if not self.cursors:
            return
        owner, query, cursor = self.cursors[number % len(self.cursors)]
        call: Any = self.service.list if listing else self.service.paged_list
        got = self.run(tenant, lambda: call(_at(query, cursor), USERS[user]))
        if owner != tenant:
            assert isinstance(got, CursorError)
            return
        found = [dto.pk for dto in (got if listing else got.results)]
        assert set(found) <= set(self.visible(tenant, user))

    @rule(user=users, number=picks)
    def across(self, user: str, number: int) -> None:
        """Cross tenants on purpose: everyone's rows are seen, and grants still count."""
        pk = self.pick(number)
        ctx = USERS[user]
        everything = QueryParams()

        async def calls() -> tuple[list[Any], int, bool]:
            with cross_tenant_access("the isolation machine"):
                try:
                    await self.service.create(Dto.create.model_validate({"title": "x"}), ctx)
                except (TenantRequiredError, ServiceAuthorizationError):
                    pass
                else:
                    raise AssertionError("a row of no tenant was created")
                listed = await self.service.list(everything, ctx)
                count = await self.service.count(everything, ctx)
                return list(listed), count, await self.service.exists(pk, ctx)

        listed, count, exists = self.portal.call(calls)
        expected = sorted(key for t in SECRETS for key in self.visible(t, user))
        assert [dto.pk for dto in listed] == expected
        assert count == len(expected)
        assert exists == (pk in expected)

    @rule()
    def service_without_a_tenant(self) -> None:
        ctx = USERS["admin"]
        dto, change = Dto.create.model_validate({"title": "t"}), Dto.update.model_validate({})
        everything = QueryParams()
        service = self.service

        async def stream() -> None:
            service.stream(everything, ctx)

        self.refused(
            (
                lambda: service.get(1, ctx),
                lambda: service.exists(1, ctx),
                lambda: service.list(everything, ctx),
                lambda: service.paged_list(everything, ctx),
                lambda: service.count(everything, ctx),
                stream,
                lambda: service.create(dto, ctx),
                lambda: service.create_many([dto], ctx),
                lambda: service.update(1, change, ctx),
                lambda: service.patch(1, change, ctx),
                lambda: service.update_many([(1, change)], ctx),
                lambda: service.delete(1, ctx),
                lambda: service.delete_many([1], ctx),
                lambda: service.restore(1, ctx),
                lambda: service.purge(1, ctx),
                lambda: self.remark_service.list(everything, self.everyone),
            )
        )


def _at(query: QueryParams, cursor: str | None) -> QueryParams:
    return QueryParams(query.node, query.sort, query.limit, cursor=cursor)
