# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Which row a write is about."""

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from math import nan
from typing import Any

from varco_domain._errors import ModelValueError
from varco_domain.exception import (
    FieldNotFound,
    ReferenceViolationError,
    RepositoryException,
    StaleEntityError,
    StillReferencedError,
    UniqueViolationError,
)
from varco_domain.model import DomainModel, domain_replace
from varco_domain.service.tenant import CrossTenantError, tenant_context
from varco_domain.testing._base import ContractBase, eq, raises
from varco_domain.testing._models import Cell, Document, Entry, Item, Label, Node
from varco_query import QueryParams


class IdentityContract(ContractBase):
    """Writes reach the row that was loaded, and no other; no entity is left out in silence."""

    async def test_a_changed_key_is_refused(self) -> None:
        rows: list[tuple[DomainModel, DomainModel, dict[str, Any]]] = [
            (Item(name="a"), Item(name="b"), {}),
            (Label(pk="a", text="a"), Label(pk="b", text="b"), {}),
            (Cell(row=1, col="x", value="a"), Cell(row=2, col="x", value="b"), {"row": 2}),
        ]
        async with self.provider() as provider:
            for first, second, changes in rows:
                repo = provider.get_repository(type(first))
                one, two = await repo.save_many([first, second])
                moved = domain_replace(one, **(changes or {"pk": two.pk}))
                twin = pickle.loads(pickle.dumps(moved))  # noqa: S301 - its own
                assert moved == two
                for changed in (moved, twin):
                    for write in (repo.save, repo.delete):
                        with raises(ModelValueError):
                            await write(changed)
                    for write_many in (repo.save_many, repo.delete_many):
                        with raises(ModelValueError):
                            await write_many([changed])
                    with raises(ModelValueError):
                        await repo.upsert([changed], by=["row", "col"] if changes else ["pk"])
                found = await repo.find_all()
                assert [each.stored_key for each in found] == [one.pk, two.pk]
                back = pickle.loads(pickle.dumps(one))  # noqa: S301 - its own
                await repo.delete(await repo.save(back))
                await repo.delete(two)

    async def test_counted_keys_end_with_64_bits(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            given = Item(name="a")
            given.pk = 2**63 - 2
            await repo.save(given)
            last = await repo.save(Item(name="b"))
            assert last.pk == 2**63 - 1
            for write in (
                repo.save(Item(name="d")),
                repo.save_many([Item(name="d"), Item(name="e")]),
                repo.upsert([Item(name="d", position=1)], by=["group", "position"]),
            ):
                with raises(ModelValueError) as caught:
                    await write
                assert [each.field for each in caught.error.errors] == ["pk"]
            assert sorted(each.name for each in await repo.find_all()) == ["a", "b"]

    async def test_a_row_that_refers_to_itself_holds_nobody(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Node)
            for bulk in (False, True):
                own = Node()
                own.pk = own.parent = 7
                own = await repo.save(own)
                other = await repo.save(Node(parent=7))
                with raises(StillReferencedError):
                    await repo.delete(own)
                with raises(StillReferencedError):
                    await repo.delete_many([own])
                assert await repo.find_by_id(7) == own
                assert [each.parent for each in await repo.find_all()] == [7, 7]
                if bulk:
                    await repo.delete_many([own, other])
                else:
                    await repo.delete(other)
                    await repo.delete(own)
                assert await repo.count() == 0

    async def test_a_row_is_named_once_in_a_call(self) -> None:
        async with self.provider() as provider:
            for model in (Label(pk="k", text="t"), Item(name="a"), Cell(row=1, col="x")):
                repo = provider.get_repository(type(model))
                saved = await repo.save(model)
                for write_many in (repo.save_many, repo.delete_many):
                    with raises(ModelValueError):
                        await write_many([saved, domain_replace(saved)])
                assert await repo.count() == 1
            entries = provider.get_repository(Entry)
            with raises(UniqueViolationError):
                await entries.save_many([Entry(pk=1, name="a"), Entry(pk=1, name="b")])
            with raises(ModelValueError):
                await entries.upsert([Entry(name="a"), Entry(name="a", note="2")], by=["name"])
            assert await entries.count() == 0

    async def test_keys_are_given_or_counted(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Entry)
            await repo.save(Entry(pk=1, name="given"))
            assert (await repo.save(Entry(name="counted"))).pk == 2
            saved = await repo.save_many([Entry(name="c"), Entry(pk=7, name="g"), Entry(name="d")])
            assert [each.pk for each in saved] == [8, 7, 9]
            await repo.save(Entry(pk=3, name="behind"))
            assert (await repo.save(Entry(name="e"))).pk == 10
            await repo.upsert([Entry(name="f"), Entry(pk=20, name="h")], by=["pk"])
            assert [each.pk for each in await repo.find_all()] == [1, 2, 3, 7, 8, 9, 10, 20, 21]
            with raises(ModelValueError):
                await repo.save(Entry(pk=0, name="nought"))
            with raises(ModelValueError):
                await repo.save_many([Entry(pk=0, name="nought")])
            await repo.save(Entry(pk=-1, name="below"))
            assert (await repo.save(Entry(name="i"))).pk == 22
            with raises(ModelValueError):
                nothing: Any = None
                await provider.get_repository(Cell).save(Cell(row=nothing, col="x"))

    async def test_a_key_is_asked_for_as_what_it_is(self) -> None:
        async with self.provider() as provider:
            entries = provider.get_repository(Entry)
            await entries.save(Entry(pk=1, name="a"))
            for found in (1, 1.0, Decimal(1)):
                assert await entries.exists(found)
            for nobody in (True, "1", 1.5, 2**64, None, [1], b"1", nan):
                assert await entries.find_by_id(nobody) is None
                assert not await entries.exists(nobody)
            cells = provider.get_repository(Cell)
            await cells.save(Cell(row=1, col="x"))
            assert await cells.exists([1, "x"])
            for others in ((True, "x"), ("1", "x"), (1, b"x"), (1, None), (1, "x\0"), (1, ["x"])):
                assert await cells.find_by_id(others) is None
                assert not await cells.exists(others)

    async def test_new_rows_of_a_call_come_first(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Entry)
            old = await repo.save(Entry(name="a"))
            changed, new = domain_replace(old, name="b"), Entry(name="a")
            for both in ([changed, new], [new, changed]):
                with raises(UniqueViolationError):
                    await repo.save_many(both)
            assert [each.name for each in await repo.find_all()] == ["a"]

    async def test_children_leave_before_their_parents(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Node)
            for order in permutations(range(3)):
                parent = await repo.save(Node())
                child = await repo.save(Node(parent=parent.pk))
                nodes = [parent, child, await repo.save(Node(parent=child.pk))]
                with raises(ReferenceViolationError):
                    await repo.delete_many(nodes[:2])
                await repo.delete_many([nodes[place] for place in order])
                assert await repo.count() == 0
            one = await repo.save(Node())
            two = await repo.save(Node(parent=one.pk))
            one = await repo.save(domain_replace(one, parent=two.pk))
            with raises(ReferenceViolationError):
                await repo.delete_many([one, two])
            assert await repo.count() == 2

    async def test_what_stays_is_not_reported_as_changed(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            item = await repo.save(Item(name="a"))
            moved = domain_replace(item, created_at=datetime(2000, 1, 1, tzinfo=UTC))
            for saved in (await repo.save(moved), *await repo.find_all()):
                assert saved.created_at == item.created_at

    async def test_upsert_inserts_or_updates(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Entry)
            first = await repo.save(Entry(name="a"))
            async with provider.make_uow() as uow:
                await uow.upsert([], by=["name"])
                await uow.upsert([Entry(name="b"), Entry(name="a", note="new")], by=["name"])
            found = {each.name: each for each in await repo.find_all()}
            assert (found["a"].pk, found["a"].note, found["b"].note) == (first.pk, "new", "")
            await repo.upsert([Entry(pk=first.pk, name="c")], by=["pk"])
            assert {each.name for each in await repo.find_all()} == {"b", "c"}
            with raises(UniqueViolationError):
                await repo.upsert([Entry(name="d"), Entry(pk=first.pk, name="b")], by=["pk"])
            with raises(FieldNotFound):
                await repo.upsert([Entry(name="d")], by=["nothing"])
            with raises(RepositoryException):
                await repo.upsert([Entry(name="d")], by=["note"])
            with raises(ModelValueError):
                await repo.upsert([Entry(name="d"), Entry(name="\0")], by=["name"])
            assert {each.name for each in await repo.find_all()} == {"b", "c"}
            other = await repo.save(Entry(name="e"))
            for taken, by, fields in (
                (Entry(pk=other.pk, name="b"), ["name"], ("pk",)),
                (Entry(pk=other.pk, name="b"), ["pk"], ("name",)),
            ):
                with raises(UniqueViolationError) as caught:
                    await repo.upsert([taken], by=by)
                assert caught.error.fields == fields
            await repo.upsert([Entry(pk=other.pk + 100, name="e", note="kept")], by=["name"])
            assert (await repo.find_by_id(other.pk)) == other
            assert not await repo.exists(other.pk + 100)
            items = provider.get_repository(Item)
            item = await items.save(Item(name="a", group="g", position=1))
            await items.upsert([Item(name="b", group="g", position=1)], by=["position", "group"])
            (changed,) = await items.find_all()
            assert (changed.pk, changed.name, changed.version) == (item.pk, "b", 2)
            assert changed.created_at == item.created_at
            with raises(StaleEntityError):
                await items.save(item)

    async def test_upsert_leaves_no_conflict_out(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Document)
            with tenant_context("a"):
                mine = await repo.save(Document(title="mine", slug="s"))
                await repo.upsert([Document(title="more", slug="s")], by=["tenant_id", "slug"])
                with raises(CrossTenantError):
                    await repo.upsert([Document(title="t", tenant_id="b")], by=["pk"])
            taken = domain_replace(Document(title="stolen"), pk=mine.pk)
            with tenant_context("b"):
                with raises(UniqueViolationError):
                    await repo.save(taken)
                with raises(UniqueViolationError):
                    await repo.upsert([Document(title="other"), taken], by=["pk"])
                assert await repo.count() == 0
            with tenant_context("a"):
                (found,) = await repo.find_by_query(QueryParams(node=eq("slug", "s")))
                assert (found.pk, found.title, found.version) == (mine.pk, "more", 2)
