"""A query selects the same rows in memory and on every engine."""
# ruff: noqa: DTZ001 - naive datetimes and long lists of odd values on purpose

import asyncio
import dataclasses
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel
from varco_query import (
    ComparisonNode,
    Operation,
    QueryParams,
    QueryParser,
    SortField,
    SortOrder,
    compile_predicate,
    keyset_node,
    sort_rows,
)
from varco_query.testing import CASES, ROWS, SCHEMA, sample_nodes, trees


class Mood(Enum):
    CALM = "calm"
    WILD = "Wild"


class Rank(Enum):
    LOW = 1
    HIGH = 20


class Thing(DomainModel):
    text: str | None = None
    short: Annotated[str | None, FieldHint(max_length=60, index=True)] = None
    number: int | None = None
    real: float | None = None
    exact: Decimal | None = None
    money: Annotated[Decimal | None, FieldHint(precision=12, scale=2)] = None
    flag: bool | None = None
    moment: datetime | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    token: UUID | None = None
    mood: Mood | None = None
    rank: Rank | None = None
    level: Literal["low", "High"] | None = None


# Letters whose case, width or order engines are known to disagree on, wildcards of every engine,
# and the edges of UTF-8 and UTF-16.
LETTERS = "aAbBzZ éÉßẞıIiİσςΣǅ%_\\*?[]^-'\"\n\t ~\u0301\u00ff\ud7ff\ue000\uffff😀𝔸"
texts = st.text(LETTERS, max_size=6)
numbers = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 10**18])
)
reals = st.sampled_from([0.0, -0.0, 0.1, 1.0, 1.5, -2.5, 1e-300, 1e300, 2.0**53, -1e18, 5e-324])
exacts = st.sampled_from(
    [
        Decimal(d)
        for d in [
            "0",
            "0.1",
            "0.10",
            "-0.1",
            "1",
            "1.5",
            "-1.5",
            "10",
            "99.99",
            "100",
            "1e-20",
            "1234567890.123456789",
            "-3e5",
        ]
    ]
)
moneys = st.sampled_from(
    [Decimal(d) for d in ["0", "0.01", "0.10", "-0.01", "1.5", "99.99", "-1234567890.12"]]
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-7))])
moments = st.one_of(
    st.sampled_from(
        [
            datetime(2024, 2, 29, tzinfo=UTC),
            datetime(2024, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1600, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(9999, 12, 1, tzinfo=UTC),
        ]
    ),
    st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 1), timezones=zones),
)
days = st.dates(date(2024, 2, 27), date(2024, 3, 2)) | st.just(date(1583, 1, 1))
clocks = st.sampled_from([time(), time(12), time(12, 0, 0, 1), time(23, 59, 59, 999999)])
spans = st.sampled_from(
    [timedelta(), timedelta(microseconds=-1), timedelta(days=3), timedelta(days=-9)]
)
tokens = st.sampled_from([UUID(int=0), UUID(int=1), UUID(int=2**127), UUID(int=2**128 - 1)])

VALUES = {
    "text": texts,
    "short": texts,
    "number": numbers,
    "real": reals,
    "exact": exacts,
    "money": moneys,
    "flag": st.booleans(),
    "moment": moments,
    "day": days,
    "clock": clocks,
    "span": spans,
    "token": tokens,
    "mood": st.sampled_from(Mood),
    "rank": st.sampled_from(Rank),
    "level": st.sampled_from(["low", "High"]),
}
# What may stand beside a field: mostly its own kind, at times its neighbours', at times anything.
scalars = st.one_of(
    texts,
    numbers,
    reals,
    exacts,
    st.booleans(),
    moments,
    days,
    clocks,
    spans,
    tokens,
    st.sampled_from(
        [2**70, -(2**70), 10**40, 0.5, Decimal("0.005"), Decimal("1e-40"), Decimal("1e30")]
    ),
    st.sampled_from(["calm", "Wild", "WILD", 20]),
    st.datetimes(datetime(2024, 2, 27), datetime(2024, 3, 2)),
    st.sampled_from([timedelta.max, timedelta.min]),
)
things = st.lists(
    st.builds(dict, **{name: st.none() | values for name, values in VALUES.items()}),
    min_size=1,
    max_size=8,
)
patterns = st.lists(
    st.sampled_from([*"aAé%_*?[]Σσß😀", "\\%", "\\_", "\\\\", "\\a"]), max_size=5
).map("".join)


@st.composite
def comparisons(draw):
    field = draw(st.sampled_from([*VALUES, "pk"]))
    value = scalars | VALUES.get(field, numbers)
    op = draw(st.sampled_from(Operation))
    if op in {Operation.IS_NULL, Operation.IS_NOT_NULL}:
        return ComparisonNode(field, op)
    if op in {Operation.IN, Operation.NOT_IN}:
        return ComparisonNode(field, op, draw(st.lists(value, max_size=4)))
    if op is Operation.BETWEEN:
        return ComparisonNode(field, op, (draw(value), draw(value)))
    if op in {Operation.LIKE, Operation.ILIKE}:
        return ComparisonNode(field, op, draw(patterns))
    if op in {Operation.CONTAINS, Operation.STARTSWITH, Operation.ENDSWITH}:
        return ComparisonNode(field, op, draw(texts))
    return ComparisonNode(field, op, draw(value))


nodes = trees(comparisons(), max_leaves=6)
sorts = st.lists(
    st.builds(SortField, st.sampled_from([*VALUES]), st.sampled_from(SortOrder)),
    max_size=3,
    unique_by=lambda each: each.field,
).map(tuple)


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def backend(databases, kind, loop):
    opened = databases.backend(kind, Thing)
    yield loop.run(opened.__aenter__())
    loop.run(opened.__aexit__(None, None, None))


async def stored(uow, rows):
    """The rows as entities of an otherwise empty table."""
    repo = uow.repository(Thing)
    await repo.delete_many(await repo.find_all())
    saved = await repo.save_many([Thing(**row) for row in rows])
    return repo, saved


def profile():
    """The profile's number of examples, without the check that fixtures are made anew for each."""
    return settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        # Each example is a transaction of its own: fewer than of a function in memory.
        max_examples=max(10, settings.get_profile(settings._current_profile).max_examples * 2 // 5),
    )


@profile()
@given(rows=things, node=nodes, sort=sorts)
def test_filter_and_sort_select_the_same(backend, loop, rows, node, sort):
    async def check():
        async with backend.uow_provider.make_uow() as uow:
            repo, saved = await stored(uow, rows)
            by_key = (SortField("pk"),)
            wanted = sort_rows(filter(compile_predicate(node), saved), (*sort, *by_key))
            params = QueryParams(node, sort)
            found = await repo.find_by_query(params)
            assert [each.pk for each in found] == [each.pk for each in wanted]
            assert await repo.count(params) == len(wanted)
            await uow.rollback()

    loop.run(check())


class Sample(DomainModel):
    """The rows of varco_query.testing."""

    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field(init=True)
    title: str | None = None
    count: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    published: bool | None = None
    created_at: datetime | None = None
    born: date | None = None
    uid: UUID | None = None


@pytest.fixture
def samples(databases, kind, loop):
    opened = databases.backend(kind, Sample)
    backend = loop.run(opened.__aenter__())
    repo = backend.uow_provider.get_repository(Sample)
    loop.run(repo.save_many([Sample(**dataclasses.asdict(row)) for row in ROWS]))
    yield repo
    loop.run(opened.__aexit__(None, None, None))


def test_the_cases_of_the_query_language(samples, loop):
    parser = QueryParser(schema=SCHEMA)

    async def check():
        for text, expected in CASES:
            found = await samples.find_by_query(parser.parse(text))
            assert {each.pk for each in found} == expected, text

    loop.run(check())


@profile()
@given(node=sample_nodes())
def test_random_filters_of_the_query_language(samples, loop, node):
    expected = {row.pk for row in ROWS if compile_predicate(node)(row)}
    found = loop.run(samples.find_by_query(QueryParams(node)))
    assert {each.pk for each in found} == expected


@profile()
@given(rows=things, sort=sorts.filter(bool), at=st.integers(0, 7))
def test_a_keyset_continues_where_it_stopped(backend, loop, rows, sort, at):
    async def check():
        async with backend.uow_provider.make_uow() as uow:
            repo, saved = await stored(uow, rows)
            sort_keys = (*sort, SortField("pk"))
            ordered = sort_rows(saved, sort_keys)
            last = ordered[min(at, len(ordered) - 1)]
            values = [getattr(last, each.field) for each in sort_keys]
            after = keyset_node(sort_keys, values)
            found = await repo.find_by_query(QueryParams(after, sort_keys))
            expected = ordered[ordered.index(last) + 1 :]
            assert [each.pk for each in found] == [each.pk for each in expected]
            await uow.rollback()

    loop.run(check())


@profile()
@given(row=st.builds(dict, **VALUES))
def test_values_come_back_as_they_were(backend, loop, row):
    async def check():
        async with backend.uow_provider.make_uow() as uow:
            saved = await uow.repository(Thing).save(Thing(**row))
            found = await uow.repository(Thing).find_by_id(saved.pk)
            for name, value in row.items():
                assert getattr(found, name) == value, name
                assert type(getattr(found, name)) is type(value), name
            await uow.rollback()

    loop.run(check())
