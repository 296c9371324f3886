# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""What every backend has to show, as test classes."""

from dataclasses import MISSING, fields
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from varco_domain._errors import ModelValueError
from varco_domain.exception import (
    CheckViolationError,
    EntityNotFound,
    FieldNotFound,
    ReferenceViolationError,
    StaleEntityError,
    UniqueViolationError,
)
from varco_domain.model import domain_replace
from varco_domain.testing._base import eq, raises
from varco_domain.testing._identity import IdentityContract
from varco_domain.testing._models import (
    Address,
    Cell,
    Child,
    Color,
    Everything,
    Item,
    Label,
    Parent,
)
from varco_domain.testing._round_trip import RoundTripContract
from varco_query import AndNode, ComparisonNode, Operation, QueryParams, SortField, SortOrder

_NOTHING: Any = None


class RepositoryContract(IdentityContract, RoundTripContract):
    """Repositories store, find, change and remove as their docstrings say."""

    async def test_every_type_round_trips(self) -> None:
        plus_two = timezone(timedelta(hours=2))
        entity = Everything(
            text="naïve ☃ 'quoted' %_\\",
            number=2**53 + 1,
            real=0.1,
            flag=True,
            data=b"\x00\xff",
            amount=Decimal("123456789.1234"),
            moment=datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=plus_two),
            day=date(2024, 2, 29),
            clock=time(23, 59, 59, 999999),
            span=timedelta(days=-3, microseconds=7),
            token=uuid4(),
            color=Color.GREEN,
            level="high",
            tags=["a", "b"],
            options={"x": [1, 2.5, None, {"y": "z"}]},
            address=Address(city="Roma", since=date(2000, 1, 1)),
        )
        filled = domain_replace(
            entity,
            **{
                f"maybe_{name}": getattr(entity, name)
                for name in [
                    "text",
                    "number",
                    "real",
                    "flag",
                    "data",
                    "amount",
                    "moment",
                    "day",
                    "clock",
                    "span",
                    "token",
                    "color",
                    "level",
                    "tags",
                    "address",
                ]
            },
        )
        async with self.provider() as provider:
            repo = provider.get_repository(Everything)
            for given in (entity, filled):
                saved = await repo.save(given)
                found = await repo.find_by_id(saved.pk)
                assert found is not None
                assert isinstance(found.pk, UUID)
                for field in fields(Everything):
                    if field.name != "pk":
                        assert getattr(found, field.name) == getattr(given, field.name), field.name
                        assert type(getattr(found, field.name)) is type(
                            getattr(given, field.name)
                        ), field.name
                assert found.moment.tzinfo is not None
                assert found.amount.as_tuple().exponent == -4

    async def test_save_returns_a_copy_and_leaves_the_argument(self) -> None:
        async with self.provider() as provider, provider.make_uow() as uow:
            repo = uow.repository(Item)
            item = Item(name="a", tags=["x"])
            saved = await repo.save(item)
            assert item.pk is None
            assert not item.is_persisted()
            assert saved.is_persisted()
            assert (saved.version, saved.name) == (1, "a")
            assert saved.created_at == saved.updated_at
            saved.tags.append("mine")
            found = await repo.find_by_id(saved.pk)
            assert found is not None
            assert found.tags == ["x"]

    async def test_keys(self) -> None:
        async with self.provider() as provider:
            items = provider.get_repository(Item)
            first, second = await items.save(Item(name="a")), await items.save(Item(name="b"))
            assert second.pk > first.pk
            cells = provider.get_repository(Cell)
            await cells.save(Cell(row=1, col="x", value="v"))
            found = await cells.find_by_id((1, "x"))
            assert found is not None
            assert found.value == "v"
            assert await cells.find_by_id((1, "y")) is None
            with raises(UniqueViolationError):
                await cells.save(Cell(row=1, col="x"))
            labels = provider.get_repository(Label)
            await labels.save(Label(pk="k", text="t"))
            assert await labels.exists("k")
            with raises(UniqueViolationError):
                await labels.save(Label(pk="k", text="other"))
            with raises(ModelValueError):
                await labels.save(Label(pk=_NOTHING, text="none"))

    async def test_update_counts_versions_and_keeps_creation(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            first = await repo.save(Item(name="a"))
            second = await repo.save(domain_replace(first, name="b"))
            assert (second.name, second.version, second.created_at) == ("b", 2, first.created_at)
            assert second.updated_at >= first.updated_at
            with raises(StaleEntityError):
                await repo.save(domain_replace(first, name="c"))
            with raises(StaleEntityError):
                await repo.delete(first)
            await repo.delete(second)
            with raises(StaleEntityError):
                await repo.save(domain_replace(second, name="d"))

    async def test_writing_what_is_gone(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Label)
            label = await repo.save(Label(pk="k", text="t"))
            await repo.delete(label)
            with raises(EntityNotFound):
                await repo.save(domain_replace(label, text="u"))
            with raises(EntityNotFound):
                await repo.delete(label)
            assert await repo.count() == 0

    async def test_where_narrows(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            item = await repo.save(Item(name="a"))
            assert await repo.find_by_id(item.pk, where=eq("name", "a")) == item
            assert await repo.find_by_id(item.pk, where=eq("name", "b")) is None
            assert await repo.exists(item.pk, where=eq("name", "a"))
            assert not await repo.exists(item.pk, where=eq("name", "b"))

    async def test_queries(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            ranks = (3, None, 1, 2, None)
            await repo.save_many([Item(name=f"n{i}", rank=r) for i, r in enumerate(ranks)])

            async def names(**query: Any) -> list[str]:
                return [item.name for item in await repo.find_by_query(QueryParams(**query))]

            up, down = SortField("rank"), SortField("rank", SortOrder.DESC)
            assert await names(sort=[up]) == ["n1", "n4", "n2", "n3", "n0"]
            assert await names(sort=[down]) == ["n0", "n3", "n2", "n1", "n4"]
            assert await names(sort=[up], limit=2, offset=1) == ["n4", "n2"]
            for many in (2**31, 2**63 - 1):
                assert await names(sort=[up], offset=many) == []
                assert len(await names(limit=many)) == len(await names())
            assert await names(limit=0) == []
            greater = ComparisonNode("rank", Operation.GREATER_THAN, 1)
            assert await names(node=greater, sort=[up]) == ["n3", "n0"]
            assert await names(node=ComparisonNode("pk", Operation.IN, [])) == []
            both = AndNode(greater, ComparisonNode("name", Operation.LIKE, "n%"))
            assert await repo.count(QueryParams(node=both, limit=1)) == 2
            assert await repo.count() == 5
            streamed = [
                i.name async for i in repo.stream_by_query(QueryParams(sort=(down,), limit=3))
            ]
            assert streamed == ["n0", "n3", "n2"]
            assert [item.name for item in await repo.find_all()] == ["n0", "n1", "n2", "n3", "n4"]
            for wrong in ("nothing", "_raw_orm"):
                with raises(FieldNotFound, Exception):
                    await names(node=eq(wrong, 1))
            with raises(FieldNotFound):
                await names(sort=[SortField("nothing")])

    async def test_constraints(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            await repo.save(Item(name="a", group="g", position=1))
            await repo.save(Item(name="b", group="g", position=None))
            await repo.save(Item(name="c", group="g", position=None))
            with raises(UniqueViolationError):
                await repo.save(Item(name="d", group="g", position=1))
            with raises(CheckViolationError):
                await repo.save(Item(name="e", price=-1))
            with raises(CheckViolationError, ModelValueError):
                await repo.save(Item(name="x" * 41))
            with raises(ModelValueError):
                await repo.save(Item(name=_NOTHING))
            labels = provider.get_repository(Label)
            first = await labels.save(Label(pk="1", text="same"))
            with raises(UniqueViolationError):
                await labels.save(Label(pk="2", text="same"))
            await labels.save(domain_replace(first, text="other"))
            await labels.save(Label(pk="2", text="same"))

    async def test_a_naive_datetime_is_refused(self) -> None:
        given: dict[str, Any] = {f.name: None for f in fields(Everything) if f.default is MISSING}
        given["moment"] = datetime(2024, 1, 1)  # noqa: DTZ001 - what is tested
        async with self.provider() as provider:
            with raises(ModelValueError):
                await provider.get_repository(Everything).save(Everything(**given))

    async def test_references(self) -> None:
        async with self.provider() as provider:
            parents, children = provider.get_repository(Parent), provider.get_repository(Child)
            a, b, c = await parents.save_many([Parent(name=n) for n in "abc"])
            child = await children.save(Child(owner=a.pk, friend=b.pk))
            with raises(ReferenceViolationError):
                await children.save(Child(owner=c.pk + 1000))
            await parents.delete(b)
            found = await children.find_by_id(child.pk)
            assert found is not None
            assert (found.owner, found.friend) == (a.pk, None)
            kept = await children.save(Child(keeper=c.pk))
            with raises(ReferenceViolationError):
                await parents.delete(c)
            assert await parents.exists(c.pk)
            await parents.delete(a)
            assert not await children.exists(child.pk)
            assert await children.exists(kept.pk)

    async def test_bulk_is_all_or_nothing(self) -> None:
        async with self.provider() as provider:
            async with provider.make_uow() as uow:
                repo = uow.repository(Label)
                assert await repo.save_many([]) == []
                await repo.delete_many([])
                with raises(UniqueViolationError):
                    await repo.save_many([Label(pk="a", text="1"), Label(pk="b", text="1")])
            repo = provider.get_repository(Label)
            assert await repo.count() == 0
            saved = await repo.save_many([Label(pk=str(i), text=str(i)) for i in range(20)])
            assert [label.pk for label in saved] == [str(i) for i in range(20)]
            changed = await repo.save_many([domain_replace(x, text=x.text + "!") for x in saved])
            assert {x.text for x in changed} == {f"{i}!" for i in range(20)}
            gone = saved[3]
            await repo.delete(gone)
            with raises(EntityNotFound):
                await repo.delete_many([saved[4], gone])
            assert await repo.exists("4")
            await repo.delete_many([x for x in saved if x.pk != "3"])
            assert await repo.count() == 0

    async def test_bulk_checks_versions(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            a, b = await repo.save_many([Item(name="a"), Item(name="b")])
            await repo.save(domain_replace(b, name="b2"))
            with raises(StaleEntityError):
                await repo.save_many([domain_replace(a, name="x"), domain_replace(b, name="x")])
            with raises(StaleEntityError):
                await repo.delete_many([a, b])
            assert [item.name for item in await repo.find_all()] == ["a", "b2"]

    async def test_update_by_query(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Item)
            a, b = await repo.save_many([Item(name="a", rank=1), Item(name="b", rank=2)])
            query = QueryParams(node=eq("rank", 1))
            assert await repo.update_many_by_query(query, {"price": 5}) == 1
            first, second = await repo.find_all()
            assert (first.price, first.version, second.price, second.version) == (5, 2, 0, 1)
            assert first.updated_at >= a.updated_at
            for fixed in ("pk", "version", "created_at", "nothing"):
                with raises(FieldNotFound):
                    await repo.update_many_by_query(query, {fixed: 1})
            with raises(StaleEntityError):
                await repo.save(domain_replace(a, name="x"))
            assert second == b
