"""Models on the collections of beanie's documents: what one writes, the other reads."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import beanie
import pymongo
import pytest
from bson import ObjectId
from pydantic import BaseModel, Field

from varco_beanie import BeanieRepositoryProvider
from varco_domain.exception import (
    ModelValueError,
    RepositoryClassCreationFailed,
    UniqueViolationError,
)
from varco_domain.meta import PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel, domain_replace
from varco_query import (
    ComparisonNode,
    F,
    NotNode,
    Operation,
    OperationNotSupportedError,
    QueryParams,
    SortField,
    compile_predicate,
)

pytestmark = pytest.mark.anyio


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(BaseModel):
    width: int = 0
    tags: list[str] = []


class Thing(beanie.Document):
    email: Annotated[str, beanie.Indexed(unique=True)]
    title: str = Field(default="", alias="heading")
    price: beanie.DecimalAnnotation | None = None
    token: UUID | None = None
    color: Color | None = None
    size: Size | None = None
    at: datetime | None = None
    day: date | None = None
    span: timedelta | None = None
    number: int = 0
    theirs: str = "kept"

    class Settings:
        name = "beanie_things"
        indexes: ClassVar = [pymongo.IndexModel([("heading", 1), ("number", 1)], unique=True)]


class Mapped(DomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)
    email: str = ""
    title: str = ""
    price: Decimal | None = None
    token: UUID | None = None
    color: Color | None = None
    size: Size | None = None
    at: datetime | None = None
    day: date | None = None
    span: timedelta | None = None
    number: int = 0


VALUES = {
    "email": "a@example.com",
    "title": "A",
    "price": Decimal("1.50"),
    "token": UUID(int=7),
    "color": Color.BLUE,
    "size": Size(width=1, tags=["x"]),
    "at": datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "day": date(2024, 1, 2),
    "span": timedelta(seconds=1, microseconds=5),
    "number": 5,
}


@pytest.fixture
async def things(server):
    client = pymongo.AsyncMongoClient(server.url_of(server.name()), tz_aware=True)
    async with client:
        database = client.get_default_database()
        await beanie.init_beanie(database, document_models=[Thing])
        provider = BeanieRepositoryProvider(database)
        provider.map(Mapped, Thing)
        await provider.create_collections()
        yield provider.get_repository(Mapped)


def values_of(one):
    return {name: getattr(one, name) for name in VALUES}


async def test_what_one_writes_the_other_reads(things):
    theirs = await Thing(**VALUES | {"heading": VALUES["title"]}, theirs="other").insert()
    (found,) = await things.find_all()
    assert found.pk == str(theirs.id)
    assert values_of(found) == VALUES
    # Nulls as beanie writes them are no change, and what the model does not know stays.
    changed = await things.save(domain_replace(found, price=None, number=6))
    read = await Thing.get(found.pk)
    assert values_of(read) == VALUES | {"price": None, "number": 6}
    assert read.theirs == "other"
    await read.set({"number": 9})
    assert (await things.find_by_id(changed.pk)).number == 9
    # A document of ours, with a moment to the millisecond that a document has.
    moment = VALUES["at"] + timedelta(microseconds=999)
    mine = Mapped(pk=str(ObjectId()), **VALUES | {"email": "b", "title": "B", "at": moment})
    saved = await things.save(mine)
    assert saved.at == VALUES["at"]
    assert saved == await things.find_by_id(mine.pk)
    assert values_of(await Thing.get(mine.pk)) == VALUES | {"email": "b", "title": "B"}
    assert (await Thing.get(mine.pk)).theirs == "kept"
    bare = await things.save(Mapped(pk=str(ObjectId()), email="c"))
    assert (await Thing.get(bare.pk)).price is None


async def test_what_is_taken_is_named_by_the_indexes_of_the_document(things):
    saved = await things.save(Mapped(pk=str(ObjectId()), email="a"))
    with pytest.raises(UniqueViolationError) as caught:
        await things.save(Mapped(pk=str(ObjectId()), email="a", number=1))
    assert caught.value.fields == ("email",)
    with pytest.raises(UniqueViolationError) as caught:
        await things.save(Mapped(pk=str(ObjectId()), email="b"))
    assert caught.value.fields == ("title", "number")
    await things.upsert([Mapped(pk=saved.pk, email="a", number=4)], by=["email"])
    assert (await things.find_by_id(saved.pk)).number == 4
    with pytest.raises(ModelValueError, match=r"Mapped\.pk: an ObjectId is of 24"):
        await things.save(Mapped(pk="A" * 24, email="c"))


async def test_keys_that_are_object_ids_compare_as_their_text(things):
    keys = ["0" * 24, "0123456789abcdef01234567", "a" * 24, "f" * 24]
    saved = [await things.save(Mapped(pk=key, email=key, title=key)) for key in keys]
    texts = [*keys, "", "0", "012345678", "a" * 25, "A", "g", "a" * 23 + "g", "$where", "é"]
    relations = [op for op in Operation if op in {"=", "!=", "<", "<=", ">", ">="}]
    nodes = [ComparisonNode("pk", op, text) for op in relations for text in texts]
    nodes += [ComparisonNode("pk", Operation.IN, texts[1:])]
    for node in [*nodes, *map(NotNode, nodes)]:
        found = await things.find_by_query(QueryParams(node, (SortField("pk"),)))
        wanted = [each.pk for each in saved if compile_predicate(node)(each)]
        assert [each.pk for each in found] == wanted, node
    with pytest.raises(OperationNotSupportedError):
        await things.count(QueryParams(F.pk.like("a%")))
    assert await things.find_by_id("$where") is None
    moments = await things.count(QueryParams(F.at == VALUES["at"]))
    assert moments == 0


class Key(DomainModel):
    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()
    name: str = ""


def document(settings=None, **fields: Any):
    """A class of documents, with an id that is a UUID."""
    given = {"id": UUID, "name": str} | fields
    made = {name: each for name, each in given.items() if each is not None}
    body = {"__annotations__": made, "__module__": __name__, "id": Field(default_factory=uuid4)}
    if settings is not None:
        body["Settings"] = type("Settings", (), settings)
        made["Settings"] = ClassVar[type]
    return type("Odd", (beanie.Document,), body)


@pytest.mark.parametrize(
    ("document_cls", "why"),
    [
        (document(name=None), "there is no field 'name'"),
        (document(name=int), "'name' is"),
        (document(name=beanie.Link[Thing]), "'name' is"),
        (document(more=str), "it requires more"),
        (document({"use_revision": True}), "revisions"),
        (document({"is_root": True}), "several classes"),
        (document({"bson_encoders": {str: str.upper}}), "'name' is"),
    ],
)
def test_a_document_that_cannot_be_shared_is_refused(document_cls, why):
    provider = BeanieRepositoryProvider(pymongo.AsyncMongoClient("mongodb://nowhere")["x"])
    with pytest.raises(RepositoryClassCreationFailed, match=why):
        provider.map(Key, document_cls)
    provider.map(Key, document())
