from dataclasses import dataclass
from decimal import Decimal

import pytest

from varco_query import (
    AggregationExpression,
    AggregationFunc,
    AggregationQuery,
    CoercionError,
    F,
    InvalidNodeError,
    OperationNotSupportedError,
    QuerySchema,
    UnknownFieldError,
    aggregate,
    coerce_aggregation,
)

COUNT, SUM, AVG, MIN, MAX = AggregationFunc


@dataclass
class Sale:
    shop: str | None
    amount: int | None = None
    price: Decimal | None = None
    weight: float | None = None
    paid: bool = True


SALES = [
    Sale("a", 1, Decimal("0.1"), 0.1),
    Sale("b", 10, Decimal("0.2"), 0.2),
    Sale("a", 2, None, 0.3, paid=False),
    Sale(None, 9007199254740993),
    Sale("b", None),
]


def of(func, field, alias="x"):
    return AggregationExpression(func, field, alias)


def total(func, field, rows=SALES):
    (group,) = aggregate(rows, AggregationQuery(aggregations=[of(func, field)]))
    return group["x"]


def test_functions():
    assert total(COUNT, None) == 5
    assert total(COUNT, "amount") == 4
    assert total(SUM, "amount") == 9007199254741006
    assert total(SUM, "price") == Decimal("0.3")
    assert total(SUM, "weight") == 0.6
    assert total(AVG, "price") == 0.15
    assert total(AVG, "amount", SALES[:2]) == 5.5
    assert total(MIN, "shop") == "a"
    assert total(MAX, "price") == Decimal("0.2")


def test_of_no_rows():
    assert total(COUNT, None, []) == 0
    assert total(SUM, "amount", []) is total(AVG, "amount", []) is total(MAX, "amount", []) is None
    assert aggregate([], AggregationQuery(["shop"], [of(COUNT, None)])) == []


def test_groups_filter_having_order_and_page():
    query = AggregationQuery(["shop"], [of(COUNT, None, "n"), of(SUM, "amount", "sum")])
    assert aggregate(SALES, query) == [
        {"shop": None, "n": 1, "sum": 9007199254740993},
        {"shop": "a", "n": 2, "sum": 3},
        {"shop": "b", "n": 2, "sum": 10},
    ]
    assert [group["n"] for group in aggregate(SALES, query, F.paid == True)] == [1, 1, 2]  # noqa: E712  # builds a node
    larger = AggregationQuery(["shop"], query.aggregations, F.n > 1, 1, 1, (F.sum.asc(),))
    assert aggregate(SALES, larger) == [{"shop": "b", "n": 2, "sum": 10}]


def test_groups_of_a_related_field():
    rows = [{"shop": {"name": "a"}}, {"shop": {"name": "a"}}, {"shop": None}]
    query = AggregationQuery(["shop.name"], [of(COUNT, None, "n")], F.shop.name.is_not_null())
    assert aggregate(rows, query) == [{"shop.name": "a", "n": 2}]


def test_true_and_one_are_two_groups():
    query = AggregationQuery(["x"], [of(COUNT, None, "n")])
    rows = [{"x": True}, {"x": 1}, {"x": 1.0}]
    assert sorted(group["n"] for group in aggregate(rows, query)) == [1, 2]


@pytest.mark.parametrize("value", [[1], {}, Decimal("sNaN")])
def test_what_cannot_be_a_group(value):
    query = AggregationQuery(["x"], [of(COUNT, None, "n")])
    with pytest.raises(InvalidNodeError, match="group by x"):
        aggregate([{"x": value}], query)


def test_sums_are_exact():
    rows = [{"x": Decimal(10) ** 40}, {"x": Decimal("0.1")}, {"x": 1}]
    assert total(SUM, "x", rows) == Decimal(10) ** 40 + 1 + Decimal("0.1") or str(
        total(SUM, "x", rows)
    ).endswith("1.1")
    assert total(SUM, "x", [{"x": 1e100}, {"x": 1.0}, {"x": -1e100}]) == 1.0


@pytest.mark.parametrize(
    ("func", "rows"),
    [
        (SUM, [{"x": "a"}]),
        (SUM, [{"x": True}]),
        (AVG, [{"x": "a"}]),
        (AVG, [{"x": 10**400}]),
        (MIN, [{"x": "a"}, {"x": 1}]),
        (MAX, [{"x": Decimal("NaN")}, {"x": 1}]),
        (SUM, [{"x": Decimal("sNaN")}, {"x": 1}]),
    ],
)
def test_what_cannot_be_computed(func, rows):
    with pytest.raises(InvalidNodeError, match="'x'"):
        total(func, "x", rows)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (AggregationQuery, InvalidNodeError),
        (lambda: AggregationQuery(["a", "a"]), InvalidNodeError),
        (lambda: AggregationQuery(["a"], [of(COUNT, None, "a")]), InvalidNodeError),
        (lambda: AggregationQuery(["a"], limit=-1), InvalidNodeError),
        (lambda: AggregationQuery(["a"], offset=True), InvalidNodeError),
        (lambda: AggregationQuery(["a"], having=F.b == 1), UnknownFieldError),
        (lambda: AggregationQuery(["a"], sort=[F.b.asc()]), UnknownFieldError),
        (lambda: AggregationQuery(["__class__"]), UnknownFieldError),
        (lambda: of(SUM, None), InvalidNodeError),
        (lambda: of("MEDIAN", "a"), InvalidNodeError),
        (lambda: of(SUM, "__class__"), UnknownFieldError),
        (lambda: of(SUM, "a", "x y"), UnknownFieldError),
    ],
)
def test_what_is_no_aggregation(wrong, error):
    with pytest.raises(error):
        wrong()


SCHEMA = QuerySchema.of(Sale, exclude=["weight"], aliases={"store": "shop"})


def test_a_schema_coerces_an_aggregation():
    query = AggregationQuery(
        ["store"],
        [of(COUNT, None, "n"), of(SUM, "price", "sum"), of(AVG, "amount", "avg")],
        (F.n > Decimal("1.0")) & (F.sum > 1) & (F.avg > 1) & (F.store == "a"),
        sort=[F.store.asc()],
    )
    coerced = coerce_aggregation(query, SCHEMA)
    assert coerced.group_by == ("shop",)
    assert coerced.sort == (F.shop.asc(),)
    assert coerced.having == (F.n > 1) & (F.sum > Decimal(1)) & (F.avg > 1.0) & (F.shop == "a")
    assert aggregate(SALES, coerced) == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (AggregationQuery(["weight"]), UnknownFieldError),
        (AggregationQuery(["metadata"]), UnknownFieldError),
        (AggregationQuery([], [of(SUM, "weight")]), UnknownFieldError),
        (AggregationQuery([], [of(SUM, "shop")]), OperationNotSupportedError),
        (AggregationQuery([], [of(AVG, "paid")]), OperationNotSupportedError),
        (AggregationQuery([], [of(COUNT, "shop")], F.x == "many"), CoercionError),
    ],
)
def test_what_a_schema_refuses(query, error):
    with pytest.raises(error):
        coerce_aggregation(query, SCHEMA)
