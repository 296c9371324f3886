"""What happens when several write at once, and when one of them is cut off."""

import asyncio
from typing import Annotated

import pymongo
import pytest
from pymongo.monitoring import CommandListener

from varco_beanie import TransactionAbortedError, bootstrap
from varco_domain.exception import (
    CheckViolationError,
    ReferenceViolationError,
    RepositoryException,
    StaleEntityError,
    StorageUnavailableError,
    UniqueViolationError,
)
from varco_domain.meta import CheckConstraint, FieldHint
from varco_domain.model import VersionedDomainModel, domain_replace
from varco_domain.testing._models import Child, Item, Label, Parent
from varco_query import AggregationQuery, F, QueryParams

pytestmark = pytest.mark.anyio


class Account(VersionedDomainModel):
    class Meta:
        table = "beanie_accounts"
        constraints = (CheckConstraint("low <= 10 OR high > 5", name="ck_accounts_span"),)

    name: Annotated[str, FieldHint(unique=True, max_length=20)]
    low: int = 0
    high: int = 0


async def test_no_reference_is_left_dangling(server):
    async with server.backend(Parent, Child) as backend:
        provider = backend.uow_provider
        parents, children = provider.get_repository(Parent), provider.get_repository(Child)
        outcomes = []
        for number in range(6):
            parent = await parents.save(Parent(name=f"{number}"))

            async def refer(parent=parent):
                await children.save(Child(keeper=parent.pk))

            async def remove(parent=parent):
                await parents.delete(parent)

            done = await asyncio.gather(refer(), remove(), refer(), return_exceptions=True)
            assert all(each is None or isinstance(each, ReferenceViolationError) for each in done)
            exists = await parents.exists(parent.pk)
            held = await children.count(QueryParams(F.keeper == parent.pk))
            assert exists is (held > 0), done
            assert exists is (done[1] is not None)
            outcomes.append(exists)


async def test_those_who_refer_to_one_row_at_once_wait_for_each_other(server):
    async with server.backend(Parent, Child) as backend:
        provider = backend.uow_provider
        parent = await provider.get_repository(Parent).save(Parent(name="a"))
        children = provider.get_repository(Child)
        await asyncio.gather(*(children.save(Child(owner=parent.pk)) for _ in range(6)))
        assert await children.count() == 6


async def test_a_later_write_that_conflicts_says_to_run_it_again(server):
    async with server.backend(Item, Label) as backend:
        provider = backend.uow_provider
        item = await provider.get_repository(Item).save(Item(name="a"))
        with pytest.raises(RepositoryException, match="leave the unit"):  # noqa: PT012  # the block is it
            async with provider.make_uow() as uow:
                await uow.repository(Label).save(Label(pk="k", text="t"))
                await provider.get_repository(Item).save(domain_replace(item, name="b"))
                with pytest.raises(TransactionAbortedError) as caught:
                    await uow.repository(Item).save(domain_replace(item, name="c"))
                assert isinstance(caught.value, StorageUnavailableError)
        assert not await provider.get_repository(Label).exists("k")


async def test_a_stale_write_is_told_apart_from_a_value_that_is_taken(server):
    async with server.backend(Account) as backend:
        repo = backend.uow_provider.get_repository(Account)
        first, second = await repo.save_many([Account(name="a"), Account(name="b")])
        newer = await repo.save(domain_replace(first, low=1))
        with pytest.raises(StaleEntityError):
            await repo.save(domain_replace(first, name="b"))  # it is taken, too
        with pytest.raises(UniqueViolationError) as caught:
            await repo.save(domain_replace(newer, name="b"))
        assert caught.value.fields == ("name",)
        assert (await repo.find_by_id(second.pk)).version == 1


async def test_checks_hold_for_every_way_of_writing(server):
    async with server.backend(Account) as backend:
        repo = backend.uow_provider.get_repository(Account)
        account = await repo.save(Account(name="a", low=20, high=6))
        for write in (
            lambda: repo.save(domain_replace(account, high=1)),
            lambda: repo.save_many([Account(name="b", low=11)]),
            lambda: repo.upsert([Account(name="a", low=12, high=0)], by=["name"]),
            lambda: repo.update_many_by_query(QueryParams(), {"high": 2}),
        ):
            with pytest.raises(CheckViolationError, match="ck_accounts_span"):
                await write()
        assert await repo.find_all() == [account]
        with pymongo.MongoClient(server.url) as client:
            rows = client[backend.uow_provider.database.name]["beanie_accounts"]
            with pytest.raises(pymongo.errors.WriteError):
                rows.update_one({}, {"$set": {"high": 0}})


async def test_wherever_a_unit_of_work_is_cancelled_all_or_nothing_is_there(server):
    async with server.backend(Label, Item) as backend:
        provider = backend.uow_provider
        labels, items = provider.get_repository(Label), provider.get_repository(Item)

        async def both(number):
            async with provider.make_uow() as uow:
                await uow.repository(Label).save(Label(pk=f"{number}", text=f"{number}"))
                await uow.repository(Item).save(Item(name=f"{number}"))

        for number in range(12):
            task = asyncio.create_task(both(number))
            await asyncio.sleep(number * 0.003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            found = await items.count(QueryParams(F.name == f"{number}"))
            assert await labels.exists(f"{number}") is (found == 1)
        await both("last")


async def test_a_server_that_is_not_there_is_an_error_to_try_again():
    url = "mongodb://127.0.0.1:9/none?serverSelectionTimeoutMS=200"
    with pytest.raises(StorageUnavailableError):
        await bootstrap(url, Label)
    with pytest.raises(RepositoryException, match="names no database"):
        await bootstrap("mongodb://127.0.0.1:9", Label)


class Commands(CommandListener):
    def __init__(self):
        self.names = []

    def started(self, event):
        self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


async def test_no_more_commands_than_by_hand(server):
    seen = Commands()
    url = server.url_of(server.name())
    async with bootstrap(url, Label, event_listeners=[seen]) as backend:
        provider = backend.uow_provider

        async def commands(work):
            seen.names.clear()
            async with provider.make_uow() as uow:
                await work(uow.repository(Label))
            return [name for name in seen.names if name != "endSessions"]

        label = Label(pk="a", text="a")
        assert await commands(lambda repo: repo.save(label)) == ["insert", "commitTransaction"]
        assert await commands(lambda repo: repo.find_by_id("a")) == ["find"]
        assert await commands(lambda repo: repo.find_all()) == ["find"]
        many = [Label(pk=f"{number}", text=f"{number}") for number in range(300)]
        assert await commands(lambda repo: repo.save_many(many)) == ["insert", "commitTransaction"]
        found = await provider.get_repository(Label).find_by_id("a")
        changed = domain_replace(found, text="b")
        assert await commands(lambda repo: repo.save(changed)) == ["update", "commitTransaction"]
        assert await commands(lambda repo: repo.count()) == ["aggregate"]
        by_text, few = AggregationQuery(group_by=("text",)), F.pk < "11"
        assert await commands(lambda repo: repo.aggregate(by_text, few)) == ["aggregate"]
        assert await commands(lambda repo: repo.exists("a")) == ["find"]
        written = ["update", "commitTransaction"]
        more = [Label(pk=each.pk, text=f"{each.text} again") for each in many]
        assert await commands(lambda repo: repo.upsert(more, by=["pk"])) == written
        some, change = QueryParams(F.pk == "7"), {"text": "seven"}
        assert await commands(lambda repo: repo.update_many_by_query(some, change)) == written
        rest = await provider.get_repository(Label).find_by_query(QueryParams(F.pk != "7"))
        removed = ["delete", "commitTransaction"]
        assert await commands(lambda repo: repo.delete_many(rest[1:])) == removed
        assert await commands(lambda repo: repo.delete(rest[0])) == removed
