"""The values that BSON has no type for: compared, sorted and read as they are."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Annotated

import pytest

from varco_domain.exception import ModelValueError, StoredValueError, UniqueViolationError
from varco_domain.meta import FieldHint
from varco_domain.model import DomainModel, domain_replace
from varco_domain.testing import QUERY_MODELS
from varco_domain.testing._models import Kept
from varco_query import (
    ComparisonNode,
    NotNode,
    Operation,
    QueryParams,
    SortField,
    SortOrder,
    compile_predicate,
    sort_rows,
)

pytestmark = pytest.mark.anyio


class Slot(DomainModel):
    class Meta:
        table = "beanie_slots"

    at: Annotated[datetime | None, FieldHint(unique=True)] = None
    note: str = ""


THING = QUERY_MODELS[0]
RELATIONS = [op for op in Operation if op in {"=", "!=", "<", "<=", ">", ">="}]
START = datetime(2024, 2, 29, 12, tzinfo=UTC)
MOMENTS = [
    START + timedelta(microseconds=each) for each in (-1, 0, 1, 500, 999, 1000, 1001, 2000, 2999)
]
# Of 34 digits, which a Decimal128 holds, and of more, which lie between two of them.
EXACTS = [Decimal(d) for d in ("0", "1e-30", "-1e-30", "123456789012345678901234567890.1234")]
BETWEEN = [
    Decimal(d)
    for d in (
        "1e-31",
        "-1e-31",
        "123456789012345678901234567890.12341",
        "123456789012345678901234567890.12339999",
        "1e41",
        "-1e41",
        "1e-1500",
        "-1e-1500",
    )
]


async def check(server, field, rows, literals):
    async with server.backend(*QUERY_MODELS) as backend, backend.uow_provider.make_uow() as uow:
        repo = uow.repository(THING)
        saved = await repo.save_many([THING(**{field: value}) for value in (*rows, None)])
        nodes = [ComparisonNode(field, op, literal) for op, literal in product(RELATIONS, literals)]
        nodes += [ComparisonNode(field, Operation.IN, literals[::2])]
        nodes += [ComparisonNode(field, Operation.NOT_IN, literals[1::2])]
        nodes += [ComparisonNode(field, Operation.BETWEEN, (literals[1], literals[-2]))]
        for node in [*nodes, *map(NotNode, nodes)]:
            found = await repo.find_by_query(QueryParams(node))
            wanted = [each for each in saved if compile_predicate(node)(each)]
            assert [each.pk for each in found] == [each.pk for each in wanted], node
        for order in SortOrder:
            keys = (SortField(field, order), SortField("pk"))
            found = await repo.find_by_query(QueryParams(sort=keys))
            assert [each.pk for each in found] == [each.pk for each in sort_rows(saved, keys)]
        await uow.rollback()


async def test_moments_to_the_microsecond(server):
    assert len(RELATIONS) == 6
    await check(server, "moment", MOMENTS, MOMENTS)


async def test_decimals_between_those_that_are_kept(server):
    await check(server, "exact", EXACTS, [*EXACTS, *BETWEEN])


async def test_a_decimal_of_more_digits_is_refused_and_named(server):
    async with server.backend(Kept) as backend:
        repo = backend.uow_provider.get_repository(Kept)
        with pytest.raises(ModelValueError, match=r"Kept\.exact: MongoDB keeps at most 34 digits"):
            await repo.save(Kept(exact=Decimal("12345." + "1" * 30)))
        assert await repo.count() == 0


async def test_others_read_and_write_dates(server):
    async with server.backend(Kept) as backend:
        provider = backend.uow_provider
        repo, rows = provider.get_repository(Kept), provider.storage.collection("contract_kept")
        saved = await repo.save(Kept(moment=MOMENTS[2]))
        document = await rows.find_one({"_id": saved.pk})
        assert document == {"_id": 1, "moment": START.replace(tzinfo=None), "moment:us": 1}
        changed = await repo.save(domain_replace(saved, moment=START))
        assert "moment:us" not in await rows.find_one({"_id": saved.pk})
        await repo.save(domain_replace(changed, moment=None))
        assert await rows.find_one({"_id": saved.pk}) == {"_id": 1}
        await rows.insert_one({"_id": 7, "moment": datetime(2024, 1, 1), "number": 5.0})  # noqa: DTZ001
        found = await repo.find_by_id(7)
        assert (found.moment, found.number) == (datetime(2024, 1, 1, tzinfo=UTC), 5)
        assert type(found.number) is int


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("text", 1), ("number", "1"), ("number", 1.5), ("flag", 1), ("moment", "today")],
        *[("day", 1), ("color", "blue"), ("level", "mid"), ("exact", 1.0), ("token", "x")],
        ("tags", {"a": 1}),
    ],
)
async def test_what_a_field_cannot_be_is_an_error_of_its_document(server, field, value):
    async with server.backend(Kept) as backend:
        provider = backend.uow_provider
        await provider.storage.collection("contract_kept").insert_one({"_id": 7, field: value})
        with pytest.raises(StoredValueError) as caught:
            await provider.get_repository(Kept).find_all()
        assert (caught.value.pk, caught.value.field) == (7, field)


async def test_moments_are_unique_to_the_microsecond(server):
    async with server.backend(Slot) as backend:
        repo = backend.uow_provider.get_repository(Slot)
        await repo.save_many([Slot(at=MOMENTS[1]), Slot(at=MOMENTS[2]), Slot(), Slot()])
        with pytest.raises(UniqueViolationError):
            await repo.save(Slot(at=MOMENTS[2]))
        await repo.upsert([Slot(at=MOMENTS[2], note="a"), Slot(at=MOMENTS[3])], by=["at"])
        assert [each.note for each in await repo.find_all()] == ["", "a", "", "", ""]
