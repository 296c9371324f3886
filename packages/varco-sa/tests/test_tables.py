"""What a model declares of its table means the same on every engine, or is refused by name."""

import keyword
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntFlag
from typing import Annotated
from uuid import UUID

import pytest
from sqlalchemy.dialects.mysql.reserved_words import RESERVED_WORDS_MARIADB
from sqlalchemy.ext.asyncio import create_async_engine

from varco_domain import DomainModel, InMemoryRepositoryProvider, SoftDeleteDomainModel
from varco_domain.exception import (
    CheckViolationError,
    ModelDefinitionError,
    RepositoryClassCreationFailed,
    UniqueViolationError,
)
from varco_domain.meta import CheckConstraint, FieldHint, ForeignKey, UniqueConstraint
from varco_sa import metadata_for

pytestmark = pytest.mark.anyio


class Level(IntFlag):
    LOW = 1
    HIGH = 2


class Offer(DomainModel):
    price: Decimal = Decimal(1)
    at: datetime = datetime(2024, 6, 1, tzinfo=UTC)
    on: date = date(2024, 6, 1)
    opens: time = time(9)
    token: UUID = UUID(int=1)
    span: timedelta = timedelta(days=1)
    level: Level = Level.HIGH

    class Meta:
        constraints = (
            CheckConstraint("price > 0.5 AND price < 1000000"),
            CheckConstraint("at >= 2024-01-01T00:00:00.5Z"),
            CheckConstraint("on >= 2024-02-29"),
            CheckConstraint('opens >= "08:30" AND span > PT1H AND level > 1'),
            CheckConstraint("token != '00000000-0000-0000-0000-000000000000'"),
            CheckConstraint('on < "2100-01-01" AND at < "2100-01-01T00:00:00Z"'),
        )


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        ({"price": Decimal("0.51")}, {"price": Decimal("0.5")}),
        ({"price": Decimal("9.75")}, {"price": Decimal(-12)}),
        ({"price": Decimal(999_999)}, {"price": Decimal("1e6")}),
        (
            {"at": datetime(2024, 1, 1, microsecond=500_000, tzinfo=UTC)},
            {"at": datetime(2024, 1, 1, microsecond=499_999, tzinfo=UTC)},
        ),
        ({"on": date(2024, 2, 29)}, {"on": date(2024, 2, 28)}),
        ({"opens": time(8, 30)}, {"opens": time(8, 29, 59, 999_999)}),
        ({"token": UUID(int=2)}, {"token": UUID(int=0)}),
        ({"span": timedelta(hours=2)}, {"span": timedelta(hours=1)}),
        ({"level": Level.LOW | Level.HIGH}, {"level": Level.LOW}),
        ({"on": date(2099, 12, 31)}, {"on": date(2100, 1, 1)}),
        ({"at": datetime(2099, 12, 31, tzinfo=UTC)}, {"at": datetime(2100, 1, 1, tzinfo=UTC)}),
    ],
)
async def test_checks_compare_as_the_model_does(open_backend, url, kept, refused):
    backend = await open_backend(url, Offer)
    async with backend.uow_provider.make_uow() as uow:
        await uow.offers.save(Offer(**kept))
    with pytest.raises(CheckViolationError):
        async with backend.uow_provider.make_uow() as uow:
            await uow.offers.save(Offer(**refused))


class Named(DomainModel, abstract=True):
    slug: Annotated[str, FieldHint(max_length=40)]

    class Meta:
        constraints = (UniqueConstraint("slug", name="uq_slug"),)


class Red(Named):
    pass


class Blue(Named):
    pass


async def test_a_name_of_a_constraint_is_its_tables_own(open_backend, url):
    backend = await open_backend(url, Red, Blue)
    async with backend.uow_provider.make_uow() as uow:
        await uow.reds.save(Red(slug="a"))
        await uow.blues.save(Blue(slug="a"))
    with pytest.raises(UniqueViolationError) as caught:
        async with backend.uow_provider.make_uow() as uow:
            await uow.blues.save(Blue(slug="a"))
    assert caught.value.fields == ("slug",)


class Board(SoftDeleteDomainModel):
    slug: Annotated[str, FieldHint(max_length=40, unique=True)]
    title: str = ""


class BySlug(DomainModel):
    board: Annotated[str, ForeignKey("boards", field="slug")]


class ByTitle(DomainModel):
    board: Annotated[str, FieldHint(max_length=40), ForeignKey("boards", field="title")]


class ByNobody(DomainModel):
    board: Annotated[int, ForeignKey("bords")]


class ByText(DomainModel):
    board: Annotated[str, FieldHint(max_length=40), ForeignKey("boards")]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (BySlug, r"BySlug\.board: .* boards\.slug, which is not unique among all rows"),
        (ByTitle, r"ByTitle\.board: .* boards\.title, which is not unique"),
        (ByText, r"ByText\.board: it is stored as str, and boards\.pk, .* as int"),
        (ByNobody, r"ByNobody\.board: .* 'bords', which no registered model has; tables: boards"),
    ],
)
async def test_a_reference_to_what_is_not_unique_is_refused_by_name(open_backend, url, model, said):
    with pytest.raises(RepositoryClassCreationFailed, match=said):
        await open_backend(url, Board, model)
    if model is not ByNobody:
        with pytest.raises(ModelDefinitionError, match=said.replace("boards", "Board")):
            InMemoryRepositoryProvider(model, Board)


# Reserved by PostgreSQL 15 to 18, MariaDB and SQLite, or so in some places.
WORDS = sorted(
    RESERVED_WORDS_MARIADB
    | {"collation", "concurrently", "lateral", "system_user", "tablesample", "user", "order"}
    | {"analyse", "asymmetric", "do", "freeze", "ilike", "isnull", "notnull", "verbose", "window"}
    | {
        "abort",
        "attach",
        "glob",
        "indexed",
        "pragma",
        "raise",
        "reindex",
        "temp",
        "vacuum",
        "nothing",
        "returning",
    }
)
# What a model cannot call a field: words of Python, and names that every model has.
FIELDS = [word for word in WORDS if word.isidentifier() and not hasattr(DomainModel, word)]


async def test_reserved_words_are_names_like_others(open_backend, url):
    fields = [word for word in FIELDS if not keyword.iskeyword(word)]
    namespace = {"__annotations__": dict.fromkeys(fields, int)} | dict.fromkeys(fields, 0)
    wordy = type("Wordy", (DomainModel,), namespace)
    lateral = type(
        "Lateral",
        (DomainModel,),
        {"__annotations__": {"n": int}, "n": 0, "Meta": type("Meta", (), {"table": "lateral"})},
    )
    backend = await open_backend(url, wordy, lateral)
    async with backend.uow_provider.make_uow() as uow:
        saved = await uow.repository(wordy).save(wordy(**{fields[0]: 7}))
        await uow.repository(lateral).save(lateral(n=1))
    async with backend.uow_provider.make_uow() as uow:
        found = await uow.repository(wordy).find_by_id(saved.pk)
        assert getattr(found, fields[0]) == 7
        assert await uow.repository(lateral).count() == 1


class Wide(DomainModel):
    short: Annotated[str, FieldHint(max_length=255)] = ""
    text: Annotated[str, FieldHint(max_length=100_000)] = ""
    blob: Annotated[bytes, FieldHint(max_length=100_000)] = b""
    huge: Annotated[str, FieldHint(max_length=20_000_000)] = ""


async def test_long_texts_have_room_on_every_engine(open_backend, url):
    backend = await open_backend(url, Wide)
    async with backend.uow_provider.make_uow() as uow:
        saved = await uow.wides.save(Wide(text="é" * 100_000, blob=b"\xff" * 100_000, huge="x"))
    async with backend.uow_provider.make_uow() as uow:
        assert await uow.wides.find_by_id(saved.pk) == saved


def wide(count, hint):
    fields = {f"f{number}": "" for number in range(count)}
    annotations = dict.fromkeys(fields, Annotated[str, hint])
    return type("Broad", (DomainModel,), {"__annotations__": annotations, **fields})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            wide(1, FieldHint(max_length=769, unique=True)),
            r"Broad\.f0: this engine indexes at most",
        ),
        (wide(65, FieldHint(max_length=255)), r"Broad\.f0, f1, f2: a row of this engine holds"),
    ],
)
def test_a_row_or_key_that_is_too_wide_is_refused_by_name(model, said):
    with pytest.raises(RepositoryClassCreationFailed, match=said):
        metadata_for(model, dialect="mariadb")
    assert metadata_for(model, dialect="postgresql")


async def test_the_widest_row_and_key_that_are_not_refused_are_made(databases):
    backend_url = databases.url("mariadb")
    key = wide(1, FieldHint(max_length=767, unique=True))
    row = type("Row", (wide(63, FieldHint(max_length=255)),), {})
    metadata = metadata_for(key, row, dialect="mariadb")
    engine = create_async_engine(backend_url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(metadata.drop_all)
    finally:
        await engine.dispose()
