# ruff: noqa: S101, DTZ001, RUF001 - these are tests, with odd values on purpose
"""A query selects the same rows in memory and in every backend."""

import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import isclose
from typing import Annotated, Any, ClassVar, Literal, cast
from uuid import UUID

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository
from varco_domain.testing._base import ContractBase
from varco_domain.uow import AsyncUnitOfWork
from varco_query import (
    AggregationExpression,
    AggregationFunc,
    AggregationQuery,
    ComparisonNode,
    F,
    Operation,
    QueryParams,
    QueryParser,
    SortField,
    SortOrder,
    aggregate,
    compile_predicate,
    keyset_node,
    sort_rows,
)
from varco_query.testing import CASES, ROWS, SCHEMA, sample_nodes, trees


class Mood(Enum):
    """An enum of text."""

    CALM = "calm"
    WILD = "Wild"


class Rank(Enum):
    """An enum of _NUMBERS."""

    LOW = 1
    HIGH = 20


class Thing(DomainModel):
    """One field of every kind that can be compared."""

    class Meta:
        table: ClassVar[str] = "contract_things"

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
_LETTERS = "aAbBzZ éÉßẞıIiİσςΣǅ%_\\*?[]^-'\"\n\t ~\u0301\u00ff\ud7ff\ue000\uffff😀𝔸"
_TEXTS = st.text(_LETTERS, max_size=6)
_NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 10**18])
)
_REALS = st.sampled_from([0.0, -0.0, 0.1, 1.0, 1.5, -2.5, 1e-300, 1e300, 2.0**53, -1e18, 5e-324])
_EXACTS = st.sampled_from(
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
_MONEYS = st.sampled_from(
    [Decimal(d) for d in ["0", "0.01", "0.10", "-0.01", "1.5", "99.99", "-1234567890.12"]]
)
_ZONES = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-7))])
_MOMENTS = st.one_of(
    st.sampled_from(
        [
            datetime(2024, 2, 29, tzinfo=UTC),
            datetime(2024, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1600, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(9999, 12, 1, tzinfo=UTC),
        ]
    ),
    st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 1), timezones=_ZONES),
)
_DAYS = st.dates(date(2024, 2, 27), date(2024, 3, 2)) | st.just(date(1583, 1, 1))
_CLOCKS = st.sampled_from([time(), time(12), time(12, 0, 0, 1), time(23, 59, 59, 999999)])
_SPANS = st.sampled_from(
    [timedelta(), timedelta(microseconds=-1), timedelta(days=3), timedelta(days=-9)]
)
_TOKENS = st.sampled_from([UUID(int=0), UUID(int=1), UUID(int=2**127), UUID(int=2**128 - 1)])

_VALUES = {
    "text": _TEXTS,
    "short": _TEXTS,
    "number": _NUMBERS,
    "real": _REALS,
    "exact": _EXACTS,
    "money": _MONEYS,
    "flag": st.booleans(),
    "moment": _MOMENTS,
    "day": _DAYS,
    "clock": _CLOCKS,
    "span": _SPANS,
    "token": _TOKENS,
    "mood": st.sampled_from(Mood),
    "rank": st.sampled_from(Rank),
    "level": st.sampled_from(["low", "High"]),
}
# What may stand beside a field: mostly its own kind, at times its neighbours', at times anything.
_SCALARS = st.one_of(
    _TEXTS,
    _NUMBERS,
    _REALS,
    _EXACTS,
    st.booleans(),
    _MOMENTS,
    _DAYS,
    _CLOCKS,
    _SPANS,
    _TOKENS,
    st.sampled_from(
        [2**70, -(2**70), 10**40, 0.5, Decimal("0.005"), Decimal("1e-40"), Decimal("1e30")]
    ),
    st.sampled_from(["calm", "Wild", "WILD", 20]),
    st.datetimes(datetime(2024, 2, 27), datetime(2024, 3, 2)),
    st.sampled_from([timedelta.max, timedelta.min]),
)
_THINGS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(dict[str, Any], **{name: st.none() | values for name, values in _VALUES.items()}),
    min_size=1,
    max_size=8,
)
_PATTERNS = st.lists(
    st.sampled_from([*"aAé%_*?[]Σσß😀", "\\%", "\\_", "\\\\", "\\a"]), max_size=5
).map("".join)


@st.composite
def _comparisons(draw: st.DrawFn) -> ComparisonNode:
    field = draw(st.sampled_from([*_VALUES, "pk"]))
    value: st.SearchStrategy[Any] = _SCALARS | _VALUES.get(field, _NUMBERS)
    op = draw(st.sampled_from(Operation))
    if op in {Operation.IS_NULL, Operation.IS_NOT_NULL}:
        return ComparisonNode(field, op)
    if op in {Operation.IN, Operation.NOT_IN}:
        return ComparisonNode(field, op, draw(st.lists(value, max_size=4)))
    if op is Operation.BETWEEN:
        return ComparisonNode(field, op, (draw(value), draw(value)))
    if op in {Operation.LIKE, Operation.ILIKE}:
        return ComparisonNode(field, op, draw(_PATTERNS))
    if op in {Operation.CONTAINS, Operation.STARTSWITH, Operation.ENDSWITH}:
        return ComparisonNode(field, op, draw(_TEXTS))
    return ComparisonNode(field, op, draw(value))


_NODES = trees(_comparisons(), max_leaves=6)
_SORTS = st.lists(
    st.builds(SortField, st.sampled_from([*_VALUES]), st.sampled_from(SortOrder)),
    max_size=3,
    unique_by=lambda each: each.field,
).map(tuple)


@st.composite
def _aggregations(draw: st.DrawFn) -> AggregationQuery:
    func = st.sampled_from(AggregationFunc)
    fields = st.sampled_from([*_VALUES, "pk"])
    groups = draw(st.lists(fields, max_size=2, unique=True))
    numbers = st.sampled_from(["number", "real", "exact", "money", "rank", "pk"])
    computed = [AggregationExpression(AggregationFunc.COUNT, None, "rows")]
    for at in range(draw(st.integers(0, 3))):
        each = draw(func)
        summed = each in {AggregationFunc.SUM, AggregationFunc.AVG}
        computed.append(AggregationExpression(each, draw(numbers if summed else fields), f"a{at}"))
    having = draw(st.none() | st.builds(F.rows.__ge__, st.integers(1, 3)))
    sort = [SortField("rows", draw(st.sampled_from(SortOrder))), *map(SortField, groups)]
    limit, offset = draw(st.none() | st.integers(0, 3)), draw(st.integers(0, 1))
    return AggregationQuery(tuple(groups), tuple(computed), having, limit, offset, tuple(sort))


def _same(one: object, other: object) -> bool:
    """Whether two results are one; in which order floats are added is nobody's promise."""
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and one == other


class Sample(DomainModel):
    """The rows of varco_query.testing."""

    class Meta:
        table: ClassVar[str] = "contract_samples"

    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field(init=True)
    title: str | None = None
    count: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    published: bool | None = None
    created_at: datetime | None = None
    born: date | None = None
    uid: UUID | None = None


QUERY_MODELS: tuple[type[DomainModel], ...] = (Thing, Sample)
"""The models of `QueryContract`; its provider has to have them."""


class QueryContract(ContractBase):
    """What a query selects, and in which order, is what it does in memory.

    `provider` gives a provider with empty tables for all of `QUERY_MODELS`.

    Attributes:
        share: How many examples are drawn, as a part of two fifths of Hypothesis' `max_examples`.
    """

    share: ClassVar[float] = 1.0

    async def test_filter_and_sort_select_the_same(self) -> None:
        strategy = st.tuples(_THINGS, _NODES, _SORTS)

        async def check(uow: AsyncUnitOfWork, drawn: Any) -> None:
            rows, node, sort = drawn
            repo, saved = await _stored(uow, rows)
            by_key = (*sort, SortField("pk"))
            wanted = sort_rows(filter(compile_predicate(node), saved), by_key)
            params = QueryParams(node, sort)
            found = await repo.find_by_query(params)
            assert [each.pk for each in found] == [each.pk for each in wanted]
            assert await repo.count(params) == len(wanted)

        await self._each(strategy, check)

    async def test_an_aggregation_computes_the_same(self) -> None:
        strategy = st.tuples(_THINGS, st.none() | _NODES, _aggregations())
        share = 0.25  # what computes groups beside the filters is small

        async def check(uow: AsyncUnitOfWork, drawn: Any) -> None:
            rows, node, query = drawn
            repo, saved = await _stored(uow, rows)
            found = await repo.aggregate(query, node)
            wanted = aggregate(saved, query, node)
            assert len(found) == len(wanted)
            for one, other in zip(found, wanted, strict=True):
                assert list(one) == list(other)
                assert all(_same(one[name], other[name]) for name in one), (one, other)

        await self._each(strategy, check, share)

    async def test_a_keyset_continues_where_it_stopped(self) -> None:
        strategy = st.tuples(_THINGS, _SORTS.filter(bool), st.integers(0, 7))

        async def check(uow: AsyncUnitOfWork, drawn: Any) -> None:
            rows, sort, at = cast("tuple[list[dict[str, Any]], tuple[SortField, ...], int]", drawn)
            repo, saved = await _stored(uow, rows)
            sort_keys = (*sort, SortField("pk"))
            ordered: list[Thing] = sort_rows(saved, sort_keys)
            last: Thing = ordered[min(at, len(ordered) - 1)]
            values = [getattr(last, each.field) for each in sort_keys]
            after = keyset_node(sort_keys, values)
            found = await repo.find_by_query(QueryParams(after, sort_keys))
            expected = ordered[ordered.index(last) + 1 :]
            assert [each.pk for each in found] == [each.pk for each in expected]

        await self._each(strategy, check)

    async def test_values_come_back_as_they_were(self) -> None:
        async def check(uow: AsyncUnitOfWork, row: dict[str, Any]) -> None:
            saved = await uow.repository(Thing).save(Thing(**row))
            found = await uow.repository(Thing).find_by_id(saved.pk)
            for name, value in row.items():
                assert getattr(found, name) == value, name
                assert type(getattr(found, name)) is type(value), name

        await self._each(st.builds(dict[str, Any], **_VALUES), check)

    async def test_the_cases_of_the_query_language(self) -> None:
        parser = QueryParser(schema=SCHEMA)
        async with self.provider() as provider:
            repo = provider.get_repository(Sample)
            await repo.save_many([Sample(**dataclasses.asdict(row)) for row in ROWS])
            for text, expected in CASES:
                found = await repo.find_by_query(parser.parse(text))
                assert {each.pk for each in found} == expected, text

            async def check(node: Any) -> None:
                selected = {row.pk for row in ROWS if compile_predicate(node)(row)}
                found = await repo.find_by_query(QueryParams(node))
                assert {each.pk for each in found} == selected

            await anyio.to_thread.run_sync(_run, sample_nodes(), check, self.share)

    async def _each(
        self,
        strategy: st.SearchStrategy[Any],
        check: Callable[[AsyncUnitOfWork, Any], Coroutine[Any, Any, None]],
        share: float = 1.0,
    ) -> None:
        """Check examples, each in a transaction that is undone."""
        async with self.provider() as provider:

            async def undone(drawn: Any) -> None:
                async with provider.make_uow() as uow:
                    await check(uow, drawn)
                    await uow.rollback()

            await anyio.to_thread.run_sync(_run, strategy, undone, self.share * share)


async def _stored(
    uow: AsyncUnitOfWork, rows: Sequence[dict[str, Any]]
) -> tuple[AsyncRepository[Thing, Any], list[Thing]]:
    """The rows as entities of an otherwise empty table."""
    repo = uow.repository(Thing)
    await repo.delete_many(await repo.find_all())
    return repo, await repo.save_many([Thing(**row) for row in rows])


def _run(
    strategy: st.SearchStrategy[Any],
    check: Callable[[Any], Coroutine[Any, Any, None]],
    share: float,
) -> None:
    profile = settings.get_profile(settings.get_current_profile_name())

    @settings(
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        # Each example is a transaction of its own: fewer than of a function in memory.
        max_examples=max(10, round(profile.max_examples * 2 // 5 * share)),
    )
    @given(drawn=strategy)
    def run(drawn: Any) -> None:
        anyio.from_thread.run(check, drawn)

    run()
