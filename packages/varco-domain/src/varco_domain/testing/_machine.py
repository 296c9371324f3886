# ruff: noqa: S101 - these are tests; their names say what they show
"""The isolation machine: random calls of several tenants and users against an oracle."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from varco_domain.exception import StaleEntityError
from varco_domain.model import domain_replace
from varco_domain.providers import RepositoryProvider
from varco_domain.service import CrossTenantError
from varco_domain.testing._machine_service import ServiceRules, several
from varco_domain.testing._models import Document
from varco_domain.testing._oracle import filters, matches, picks, ranks, tenants
from varco_query import AggregationQuery, QueryParams, TransformerNode

_BY_KEY: Final = AggregationQuery(group_by=("pk",))


def isolation_machine(
    make_provider: Callable[[], AbstractAsyncContextManager[RepositoryProvider]],
    *,
    backend: Literal["asyncio", "trio"] = "asyncio",
    partial_unique: bool = True,
) -> type[RuleBasedStateMachine]:
    """A Hypothesis state machine over a backend; run its `TestCase`.

    Every public method of a service with tenants, soft deletion, versions and grants, and of the
    repositories beneath it, is called in the name of random tenants and users, and compared with an
    oracle that knows whose row is whose.

    Args:
        make_provider: Gives a provider with empty tables for `MODELS`, once for each run.
        backend: The event loop to run on.
        partial_unique: Whether unique constraints leave soft-deleted rows out.
    """

    class Machine(IsolationMachine):
        provider_factory = staticmethod(make_provider)
        backend_name = backend
        frees_unique_values = partial_unique

    Machine.__name__ = Machine.__qualname__ = "IsolationMachine"
    return Machine


class IsolationMachine(ServiceRules):
    """The machine behind `isolation_machine`: the rules of services and of repositories."""

    @rule(tenant=tenants, number=picks, node=filters)
    def repository_reads(self, tenant: str, number: int, node: TransformerNode | None) -> None:
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

        groups = self.run(tenant, lambda: repo.aggregate(_BY_KEY, node))
        assert [group["pk"] for group in groups] == selected

        async def stream() -> list[int]:
            return [entity.pk async for entity in repo.stream_by_query(query)]

        assert self.run(tenant, stream) == selected

    @rule(tenant=tenants, rank=ranks, node=filters)
    def repository_update(
        self, tenant: str, rank: int | None, node: TransformerNode | None
    ) -> None:
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
        numbers=several,
        steal=st.booleans(),
        method=st.sampled_from(["save", "delete", "save_many", "delete_many"]),
    )
    def repository_writes(self, tenant: str, numbers: list[int], steal: bool, method: str) -> None:
        """Write entities of anyone, as they are or with the tenant painted over."""
        pks = [pk for pk in self.pick_several(numbers) if pk in self.rows]
        if not method.endswith("many"):
            pks = pks[:1]
        if not pks:
            return
        repo = self.provider.get_repository(Document)
        entities: list[Document] = []
        for pk in pks:
            entity = self.run(self.rows[pk].tenant, lambda: repo.find_by_id(pk))  # noqa: B023 - run at once
            changed = domain_replace(entity, title="r")
            entities.append(domain_replace(changed, tenant_id=tenant) if steal else changed)
        argument: Any = entities if method.endswith("many") else entities[0]
        got = self.run(tenant, lambda: getattr(repo, method)(argument))
        if any(self.rows[pk].tenant != tenant for pk in pks):
            assert type(got) is (StaleEntityError if steal else CrossTenantError)
            return
        for pk in pks:
            if method.startswith("save"):
                self.rows[pk].title = "r"
                self.rows[pk].version += 1
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
    def repository_without_a_tenant(self) -> None:
        repo = self.provider.get_repository(Document)
        everything = QueryParams()
        document = Document(title="nobody's")

        async def stream() -> None:
            async for _ in repo.stream_by_query(everything):
                raise AssertionError("a row without a tenant in context")

        self.refused(
            (
                lambda: repo.find_by_id(1),
                lambda: repo.exists(1),
                repo.find_all,
                repo.count,
                lambda: repo.find_by_query(everything),
                lambda: repo.update_many_by_query(everything, {"rank": 1}),
                lambda: repo.save(document),
                lambda: repo.save_many([document]),
                lambda: repo.delete(document),
                lambda: repo.delete_many([document]),
                stream,
            )
        )
