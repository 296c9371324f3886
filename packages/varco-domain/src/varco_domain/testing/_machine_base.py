# ruff: noqa: S101 - these are tests; their names say what they show
"""What the rules of the isolation machine share: calls in somebody's name, and the oracle."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ClassVar

from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

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
from varco_domain.providers import RepositoryProvider  # noqa: TC001 - as everywhere here
from varco_domain.service import (
    CrossTenantError,
    TenantRequiredError,
    cross_tenant_access,
    tenant_context,
)
from varco_domain.testing._models import Document, Remark
from varco_domain.testing._oracle import ALL, SECRETS, USERS, Known, allowed, matches
from varco_domain.testing._services import DocumentService, RemarkService, RowByRow
from varco_query import CursorError, TransformerNode

Dto = generate_dtos(Document, include=("expected_version",))
RemarkDto = generate_dtos(Remark)
VIEWS = ("live", "deleted", "all")


class IsolationBase(RuleBasedStateMachine):
    """Rows of several tenants, services over them, and what the oracle knows."""

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
        provider = self.provider
        service = DocumentService(provider, policy)
        self.service = service
        self.views = {
            "live": service,
            "deleted": service.only_deleted(),
            "all": service.with_deleted(),
        }
        self.everyone = AuthContext("x", grants=(ResourceGrant("*", ALL),))
        self.remark_service = RemarkService(provider, GrantBasedAuthorizer())
        seed = [("a", "owner"), ("a", "other"), ("a", None), ("b", "owner"), ("b", None), ("c", "")]
        for number, (tenant, holder) in enumerate(seed):
            rank = None if number % 2 else number
            dto = self.new(tenant, "seed", owner_id=holder, rank=rank)
            self.added(self.run(tenant, lambda: service.create(dto, USERS["admin"])), tenant)  # noqa: B023 - run at once

    def new(self, tenant: str, title: str, **values: Any) -> Any:
        """The DTO of a document whose title nobody else may ever see."""
        return Dto.create.model_validate({"title": title + SECRETS[tenant], **values})

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
                    CursorError,
                ) as error:
                    return error

        result = self.portal.call(inside)
        if isinstance(result, Exception):
            self.check_error(tenant, result)
        return result

    def check_error(self, tenant: str, error: Exception) -> None:
        text = str(problem_for(error)) + repr(error) + repr(error.__cause__)
        assert "SELECT" not in text
        assert "UPDATE " not in text
        for other, secret in SECRETS.items():
            assert other == tenant or secret not in text

    def pick(self, number: int) -> int:
        """The key of a row, whosever it is, or of none."""
        known = [*self.rows, *self.gone, 10**6]
        return known[number % len(known)]

    def pick_several(self, numbers: Iterable[int]) -> list[int]:
        """Several keys, each once."""
        return list(dict.fromkeys(map(self.pick, numbers)))

    def sees(self, tenant: str, user: str, pk: int, view: str = "live") -> bool:
        row = self.rows.get(pk)
        return (
            row is not None
            and row.tenant == tenant
            and (view == "all" or row.deleted == (view == "deleted"))
            and allowed(user, Action.READ, pk, row.owner)
        )

    def visible(
        self, tenant: str, user: str, node: TransformerNode | None = None, view: str = "live"
    ) -> list[int]:
        return [
            pk
            for pk, row in sorted(self.rows.items())
            if self.sees(tenant, user, pk, view) and matches(node, row)
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

    def refused(self, calls: Iterable[Callable[[], Any]]) -> None:
        """Check that without a tenant every call is refused."""

        async def make_calls() -> None:
            for call in calls:
                try:
                    await call()
                except TenantRequiredError:
                    continue
                raise AssertionError("a call without a tenant went through")

        self.portal.call(make_calls)

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
