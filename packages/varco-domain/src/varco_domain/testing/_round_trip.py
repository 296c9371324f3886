# ruff: noqa: S101 - these are tests; their names say what they show
"""What is saved comes back."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from json import dumps
from math import inf, nan
from typing import Any
from uuid import UUID

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varco_domain._errors import ModelValueError
from varco_domain.dto import generate_dtos
from varco_domain.memory import InMemoryRepositoryProvider
from varco_domain.model import domain_replace
from varco_domain.providers import RepositoryProvider
from varco_domain.testing._base import ContractBase, raises
from varco_domain.testing._models import Address, Color, Kept, Place, Rights, Size
from varco_query import QueryParams

_ZONES = st.sampled_from([None, UTC, *(timezone(timedelta(hours=h)) for h in (-23, -5, 2, 14, 23))])
_TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["", " ", "a ", "\0", "\ud800", "low", "x" * 6, "y" * 256, "😀" * 255, "1e22", '"e+5"', "\r\n"]
)
_INTS = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, 2, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**22, 10**400]),
)
_FLOATS = st.floats() | st.sampled_from(
    [-0.0, 1.0, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, inf, nan, 2.0**63]
)
_DECIMALS = st.decimals(allow_nan=True) | st.sampled_from(
    [
        Decimal(text)
        for text in [
            "-0",
            "0.10",
            "100",
            "1E+2",
            "1E+30",
            "1E+34",
            "1E+35",
            "1E-30",
            "1E-31",
            "0E-40",
            "0E+40",
            "9999999999.99",
            "10000000000",
            "0.005",
            "1E+6144",
            "1E-6143",
            "Infinity",
            "-NaN",
            "sNaN",
            "12345678901234567890.123456789",
        ]
    ]
)
_EDGES = ["0001-01-01", "0001-01-02", "0999-12-31", "9999-12-31", "9999-12-31T23:59:59.999999"]
_MOMENTS = st.datetimes(timezones=_ZONES) | st.sampled_from(
    [
        datetime.fromisoformat(edge).replace(tzinfo=zone)
        for edge in _EDGES
        for zone in (None, UTC, timezone(timedelta(hours=-3)), timezone(timedelta(hours=3)))
    ]
)
_CLOCKS = st.one_of(
    st.times(),
    st.sampled_from([time.min, time.max, time(1, tzinfo=UTC), time(1, fold=1)]),
)
_SPANS = st.timedeltas() | st.sampled_from([timedelta.max, timedelta.min, timedelta(0)])
_MEMBERS = st.sampled_from([*Color, *Size, *Rights, Rights(0), Rights(3), Rights(8), "RED", "red"])
_ATOMS = st.one_of(st.none(), st.booleans(), _INTS, _FLOATS, _TEXTS)


_WIDE: list[Any] = [list(range(3000)), {str(n): n for n in range(1000)}, [[1]] * 50]


def _nested(depth: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


_JSON = st.recursive(
    _ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)
_ODD_JSON: st.SearchStrategy[Any] = st.one_of(
    _JSON,
    st.builds(_nested, st.sampled_from([1, 30, 31, 32, 500]), st.sampled_from([list, dict])),
    st.sampled_from(_WIDE),
    st.sampled_from([(1, 2), {1, 2}, {1: 2}, [Decimal(1)], [b"x"], [date.min], [Color.RED], [nan]]),
)
_ADDRESSES = st.builds(Address, city=_TEXTS, since=st.dates())
_PLACES = st.builds(
    Place, street_name=st.text(), height=st.floats(allow_nan=False) | st.integers(-9, 9)
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXTS,
    "short": _TEXTS,
    "indexed": _TEXTS,
    "number": _INTS,
    "real": _FLOATS,
    "flag": st.booleans(),
    "data": st.binary(max_size=8),
    "exact": _DECIMALS,
    "money": _DECIMALS,
    "whole": _DECIMALS | st.sampled_from([Decimal(10_000), Decimal(10**34), Decimal("1E+8")]),
    "moment": _MOMENTS,
    "day": st.dates(),
    "clock": _CLOCKS,
    "span": _SPANS,
    "token": st.uuids() | st.just(UUID(int=0)),
    "color": _MEMBERS,
    "size": _MEMBERS,
    "rights": _MEMBERS,
    "level": st.sampled_from(["low", "high", "LOW", ""]),
    "step": st.sampled_from([1, 2, 3, True, 1.0]),
    "anything": _ODD_JSON,
    "tags": st.lists(_TEXTS, max_size=4),
    "scores": st.lists(_FLOATS | _INTS, max_size=4),
    "options": st.dictionaries(_TEXTS, _ODD_JSON, max_size=3),
    "pair": st.tuples(_INTS, _TEXTS),
    "either": _INTS | _TEXTS | st.lists(_INTS, max_size=3),
    "address": _ADDRESSES,
    "place": _PLACES,
}
"""Values of each field of `Kept`: its own, those at its limits, and some past them."""


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, Any]:
    """Few fields at a time, so that one refusal does not hide the others' values."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    # Mostly a field's own values, at times those of another.
    sources = {
        n: draw(st.sampled_from([n, n, n, n, draw(st.sampled_from(sorted(VALUES)))])) for n in names
    }
    return {name: draw(VALUES[source]) for name, source in sources.items()}


async def _outcome(
    provider: RepositoryProvider, entity: Kept
) -> tuple[Kept, Kept] | tuple[str, ...]:
    """What was saved and what a new unit of work reads; or the fields that were refused."""
    try:
        async with provider.make_uow() as uow:
            saved = await uow.repository(Kept).save(entity)
    except ModelValueError as error:
        return tuple(problem.field or "" for problem in error.errors)
    async with provider.make_uow() as uow:
        found = await uow.repository(Kept).find_by_id(saved.pk)
    assert found is not None
    return saved, found


def _same(one: Any, other: Any) -> bool:
    """Equal and of one class, as repr shows, in any order of an object's keys."""
    return bool(one == other) and sorted(repr(one)) == sorted(repr(other))


class RoundTripContract(ContractBase):
    """What `save` takes comes back equal and of the same type; the rest it refuses."""

    narrows: bool = False
    """Whether this backend refuses values that others keep."""
    rows: float = 1.0
    """How many rows are drawn, as a part of Hypothesis' `max_examples`."""

    async def test_what_is_saved_comes_back(self) -> None:
        async with self.provider() as provider:
            backends = (InMemoryRepositoryProvider(Kept), provider)

            async def check(row: dict[str, Any]) -> None:
                for stored in (False, True):
                    outcomes: list[tuple[Any, ...]] = []
                    for backend in backends:
                        entity = Kept()
                        if stored:
                            entity = await backend.get_repository(Kept).save(entity)
                        outcomes.append(await _outcome(backend, domain_replace(entity, **row)))
                        _compare(row, outcomes[-1])
                    first, second = outcomes
                    refused = [isinstance(each[0], str) for each in outcomes]
                    if self.narrows and refused == [False, True]:
                        continue
                    assert refused[0] == refused[1], outcomes
                    if refused[0]:
                        assert first == second

            await anyio.to_thread.run_sync(_each_row, check, self.rows)

    async def test_a_refusal_names_every_field(self) -> None:
        async with self.provider() as provider:
            repo = provider.get_repository(Kept)
            row: dict[str, Any] = {
                "text": "\0",
                "number": 2**63,
                "day": date(2024, 1, 1),
                "real": nan,
            }
            for stop in (1, 2):
                entities = [Kept(**row), Kept()][:stop]
                with raises(ModelValueError) as caught:
                    await repo.save_many(entities)
                assert caught.error.model == "Kept"
                assert [each.field for each in caught.error.errors] == ["text", "number", "real"]
            with raises(ModelValueError):
                await repo.save(Kept(**row))
            assert await repo.count() == 0
            await repo.save(Kept())
            for name, value in row.items():
                if name != "day":
                    with raises(ModelValueError):
                        await repo.update_many_by_query(QueryParams(), {name: value})


def _each_row(check: Callable[[dict[str, Any]], Any], share: float) -> None:
    most = settings.get_profile(settings.get_current_profile_name()).max_examples

    @settings(
        max_examples=max(10, round(most * share)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(row=_rows())
    def run(row: dict[str, Any]) -> None:
        anyio.from_thread.run(check, row)

    run()


def _compare(row: dict[str, Any], outcome: tuple[Any, ...]) -> None:
    if isinstance(outcome[0], str):
        assert set(outcome) <= set(row)
        return
    saved, found = outcome
    read = generate_dtos(Kept).read
    shown = [read.model_validate(each).model_dump(mode="json") for each in outcome]
    assert _same(*shown), shown
    assert len({dumps(each) for each in shown}) == 1, shown
    for field in fields(Kept):
        value = getattr(found, field.name)
        assert _same(value, getattr(saved, field.name)), (field.name, value, saved)
        if field.name not in row:
            continue
        wanted = row[field.name]
        if isinstance(wanted, datetime):
            wanted = wanted.astimezone(UTC)
        assert value == wanted, field.name
        assert type(value) is type(wanted) or (type(value), type(wanted)) == (float, int), (
            field.name
        )
