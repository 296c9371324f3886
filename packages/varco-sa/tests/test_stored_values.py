"""What became unreadable is named, and the page about types says what columns there are."""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntFlag
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa

from varco_domain.exception import ModelValueError, StoredValueError
from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel
from varco_query import QueryParams
from varco_sa import metadata_for

pytestmark = pytest.mark.anyio


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Member(DomainModel):
    class Meta:
        table = "stored_members"

    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)
    mood: Mood = Mood.CALM
    level: Literal["low", "high"] = "low"
    rights: Rights = Rights.READ
    sizes: list[int] | None = None
    anything: Any = 1


@pytest.fixture
async def backend(databases, kind):
    async with databases.backend(kind, Member) as opened:
        yield opened


@pytest.mark.parametrize(
    ("field", "stored"), [("mood", "'gone'"), ("level", "'mid'"), ("sizes", "'[\"a\"]'")]
)
async def test_a_value_that_became_unreadable_is_an_error_of_its_row(backend, field, stored):
    repo = backend.uow_provider.get_repository(Member)
    await repo.save_many([Member(pk="a"), Member(pk="b")])
    async with backend.engine.begin() as connection:
        await connection.execute(
            sa.text(f"UPDATE stored_members SET {field} = {stored} WHERE pk = 'b'")
        )

    async def stream():
        return [each async for each in repo.stream_by_query(QueryParams())]

    for read in (lambda: repo.find_by_id("b"), repo.find_all, stream):
        with pytest.raises(StoredValueError) as caught:
            await read()
        error = caught.value
        assert (error.entity_cls, error.pk, error.field) == (Member, "b", field)
        assert "gone" not in str(error)
    assert (await repo.find_by_id("a")).mood is Mood.CALM


async def test_flags_that_combine_and_lone_numbers_in_json(backend):
    repo = backend.uow_provider.get_repository(Member)
    for number, value in enumerate(
        [5, 1.0, 1e22, "1e22", 10**30, True, [1e22, "-2e+5", {"e+1": 3e40}]]
    ):
        saved = await repo.save(Member(pk=f"{number}", rights=Rights(3), anything=value))
        found = await repo.find_by_id(saved.pk)
        assert repr(found) == repr(saved)
        assert repr(found.anything) == repr(value)
        # What did not change is not written: the comparison knows both forms.
        await repo.save(found)


async def test_a_key_of_an_int_too_long_to_write(backend):
    with pytest.raises(ModelValueError, match="digits"):
        await backend.uow_provider.get_repository(Member).save(Member(pk="a", anything=10**5000))


_NAMES = {
    each.__name__: each
    for each in (Decimal, FieldHint, Mood, Rights, UUID, date, datetime, time, timedelta)
} | {"Annotated": Annotated, "Any": Any, "Literal": Literal}
_URLS = {
    "sqlite": "sqlite://",
    "postgresql": "postgresql+asyncpg://",
    "mariadb": "mariadb+asyncmy://",
}
PAGE = Path(__file__, "../../../../docs/values.md").resolve()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mariadb"])
def test_the_page_about_types_names_the_columns(engine):
    annotations: dict[str, Any] = {}
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in PAGE.read_text().partition("Tables that exist already")[0].splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) >= 18
    for number, (declared, *_) in enumerate(rows):
        source = declared.strip("`").replace("\\|", "|")
        annotations[f"f{number}"] = eval(source, _NAMES)  # a page of ours
    model = type("Page", (DomainModel,), {"__annotations__": annotations, "__module__": __name__})
    table = metadata_for(model, dialect=engine).tables["pages"]
    dialect = sa.create_mock_engine(_URLS[engine], executor=print).dialect
    place = {"sqlite": 1, "postgresql": 2, "mariadb": 3}[engine]
    for number, row in enumerate(rows):
        made = table.c[f"f{number}"].type.compile(dialect)
        assert row[place].strip("`") == re.split(" CHARACTER| COLLATE", made)[0], row[0]
