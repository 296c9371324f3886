# ruff: noqa: E501, T201 - a table of code, and a script that reports
"""Take out one scoping line at a time, and see whether the contract suite notices.

Run as a script: it prints the mutations that survive. Each runs in a forked child, so that the
libraries are imported once.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

MUTATIONS = [
    # The repository of a tenant
    ("_tenancy.py", "find_by_id(pk, where=self._where(where))", "find_by_id(pk, where=where)"),
    ("_tenancy.py", "find_by_query(QueryParams(node=self._scope))", "find_by_query(QueryParams())"),
    ("_tenancy.py", "self._inner.save(self._owned(entity))", "self._inner.save(entity)"),
    ("_tenancy.py", "self._inner.delete(self._owned(entity))", "self._inner.delete(entity)"),
    ("_tenancy.py", "find_by_query(self._params(params))", "find_by_query(params)"),
    ("_tenancy.py", "self._inner.count(self._params(params))", "self._inner.count(params)"),
    ("_tenancy.py", "return QueryParams(node=self._scope)", "return QueryParams()"),
    ("_tenancy.py", "exists(pk, where=self._where(where))", "exists(pk, where=where)"),
    (
        "_tenancy.py",
        "save_many([self._owned(entity) for entity in entities])",
        "save_many(entities)",
    ),
    (
        "_tenancy.py",
        "delete_many([self._owned(entity) for entity in entities])",
        "delete_many(entities)",
    ),
    ("_tenancy.py", "update_many_by_query(self._params(params), ", "update_many_by_query(params, "),
    ("_tenancy.py", "stream_by_query(self._params(params))", "stream_by_query(params)"),
    ("_tenancy.py", "return both(self._scope, node)", "return node"),
    ("_tenancy.py", "            raise CrossTenantError(self._entity_cls)", "            return entity"),
    ("_tenancy.py", "            raise TenantRequiredError\n        else", "            self._scope = None\n        else"),
    ("_tenancy.py", "            if not owner:\n                raise TenantRequiredError", ""),
    ("uow.py", "TenantScopedRepository(found, entity_cls, self._tenancy)", "found"),
    ("uow.py", "            self._tenancy = tenancy()\n        await", "            pass\n        await"),
    # What a statement that writes has to match
    ("_memory_changes.py", "any(row[n] != getattr(entity, n) for n in meta.match_fields)", "False"),
    ("_memory_changes.py", "return any(row[theirs] == tenant for row in rows)", "return bool(rows)"),
    # The service of a tenant
    ("service/tenant.py", "return (tenant_node(field, tenant), *nodes)", "return nodes"),
    ("service/tenant.py", "            raise TenantRequiredError\n        return current", "            pass\n        return current"),
    ("service/tenant.py", "            raise CrossTenantError(self._entity_cls)", "            return entity"),
    ("service/tenant.py", "raise ReferenceViolationError(self._entity_cls, field)", "return"),
    ("service/tenant.py", "node = AndNode(tenant_node(target.tenant_field, tenant), node)", "pass"),
    ("service/tenant.py", "return domain_replace(entity, **{field: tenant})", "return entity"),
    # Deleted rows
    ("service/soft_delete.py", "return (*nodes, ComparisonNode(self._mark, op))", "return nodes"),
    ("service/soft_delete.py", "await self.only_deleted()._restore", "await self.with_deleted()._restore"),
    # What the caller may see and do
    ("service/_reader.py", "return (_ROW_BY_ROW if node is None else node,)", "return ()"),
    ("service/_reader.py", "find_by_id(pk, where=where)", "find_by_id(pk)"),
    ("service/_reader.py", "exists(pk, where=where)", "exists(pk)"),
    ("service/_reader.py", "node = wanted if where is None else AndNode(wanted, where)", "node = wanted"),
    ("service/_reader.py", "if entity is None or (by_row and not await self._permits(ctx, Action.READ, entity)):\n            raise", "if entity is None:\n            raise"),
    ("service/_reader.py", "if entity is None or (by_row and not await self._permits(ctx, Action.READ, entity)):\n                raise", "if entity is None:\n                raise"),
    ("service/_reader.py", "if not await self._permits(ctx, Action.READ, entity):\n                    continue", "pass"),
    ("service/_reader.py", "if not await self._permits(ctx, Action.READ, entity):\n                        continue", "pass"),
    ("service/_reader.py", "        if by_row:\n            return len(await", "        if False:\n            return len(await"),
    ("service/base.py", "await self._authorizer.authorize(ctx, Action.CREATE, Resource(self._entity_cls, entity))\n        if", "if"),
    ("service/base.py", "            await self._authorizer.authorize(ctx, Action.CREATE, Resource(self._entity_cls, entity))\n        await", "            pass\n        await"),
    ("service/base.py", "await self._authorizer.authorize(ctx, Action.UPDATE, resource)", "pass"),
    ("service/base.py", "await self._authorizer.authorize(ctx, Action.UPDATE, Resource(self._entity_cls, entity))", "pass"),
    ("service/base.py", "await self._authorizer.authorize(ctx, Action.DELETE, Resource(self._entity_cls, before))", "pass"),
    ("service/base.py", "await self._authorizer.authorize(ctx, Action.DELETE, resource)", "pass"),
    ("service/soft_delete.py", "await self._authorizer.authorize(ctx, Action.DELETE, Resource(self._entity_cls, before))", "pass"),
    ("service/_paging.py", "QueryParams(_both(node, where), sort, self._limited(params), params.offset)", "QueryParams(node, sort, self._limited(params), params.offset)"),
    ("service/_paging.py", "QueryParams(_both(self._checked(params)[0], where))", "QueryParams(self._checked(params)[0])"),
    ("service/_paging.py", "QueryParams(_both(node, where), sort, params.limit, params.offset)", "QueryParams(node, sort, params.limit, params.offset)"),
    ("service/_paging.py", "here = everything = _both(node, where)", "here = everything = node"),
]  # fmt: skip


def probe() -> None:
    """Run the suite's classes that are about who sees what; raise if one fails."""
    from varco_domain._memory_changes import Changes
    from varco_domain.memory import InMemoryRepositoryProvider
    from varco_domain.testing import MODELS, ServiceContract, TenantContract

    class Memory(TenantContract, ServiceContract):
        @asynccontextmanager
        async def provider(self):
            yield InMemoryRepositoryProvider(*MODELS)

    suite = Memory()
    names = sorted(name for name in dir(suite) if name.startswith("test_"))
    for name in names:
        asyncio.run(getattr(suite, name)())
    asyncio.run(check_references())
    # Once more as over a backend whose foreign keys know nothing of tenants.
    check = Changes._exists
    Changes._exists = lambda self, target, fk, value, tenant: check(self, target, fk, value, None)
    asyncio.run(suite.test_references_stay_in_the_tenant())


async def check_references() -> None:
    """Refer to another tenant's row through a repository."""
    from varco_domain import InMemoryRepositoryProvider, ReferenceViolationError, tenant_context
    from varco_domain.testing._models import MODELS, Document, Remark

    provider = InMemoryRepositoryProvider(*MODELS)
    with tenant_context("a"):
        foreign = await provider.get_repository(Document).save(Document(title="a"))
    with tenant_context("b"):
        try:
            await provider.get_repository(Remark).save(Remark(document=foreign.pk, text="r"))
        except ReferenceViolationError:
            return
    raise AssertionError("a reference left its tenant")


def start_mutated(source: Path, module: str, old: str, new: str) -> int:
    """Start a child that ends with 0 if the suite does not notice the change."""
    child = os.fork()
    if child:
        return child
    folder = Path(tempfile.mkdtemp())
    try:
        # With the compiled files, which stay valid for all modules but the changed one.
        shutil.copytree(source, folder / "varco_domain")
        target = folder / "varco_domain" / module
        target.write_text(target.read_text().replace(old, new))
        sys.path.insert(0, str(folder))
        sys.dont_write_bytecode = True
        probe()
    except BaseException:
        os._exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main() -> None:
    import anyio.from_thread
    import hypothesis.stateful
    import providify
    import pydantic

    import varco_query

    del anyio, hypothesis, providify, pydantic, varco_query
    source = Path(sys.argv[1])
    if os.waitpid(start_mutated(source, "_tenancy.py", "", ""), 0)[1] != 0:
        print("the suite fails without any mutation")
    waiting: dict[int, str] = {}
    for module, old, new in [*MUTATIONS, ("", "", "")]:
        if module and old not in (source / module).read_text():
            print(f"{module}: no longer has {old!r}")
            continue
        while len(waiting) == (os.cpu_count() or 1) or (waiting and not module):
            child, status = os.wait()
            survivor = waiting.pop(child)
            if status == 0:
                print(survivor)
        if module:
            child = start_mutated(source, module, old, new)
            waiting[child] = f"{module}: survives without {old!r}"


if __name__ == "__main__":
    main()
