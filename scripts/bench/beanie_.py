"""varco-beanie beside PyMongo and beanie by hand: same work, same DTOs, same server, in turn.

Measured is CPU time of this process: the server's share and the waiting are the same for all.
Writes of all three are in a transaction. The server is that of VARCO_TEST_MONGODB_URL, or the
stand-in of the tests.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import beanie
from _harness import Case, main
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient

from varco_beanie import bootstrap
from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import VersionedDomainModel
from varco_query import F, QueryParams, SortField

sys.path.insert(0, str(Path(__file__).parents[1]))

import mongodb

ROWS, LISTED = 2_000, 200


class Post(VersionedDomainModel):
    class Meta:
        table = "bench_posts"

    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=100)]
    body: str
    views: Annotated[int, FieldHint(index=True)] = 0
    published: bool = False


class BeaniePost(beanie.Document):
    id: UUID  # type: ignore[assignment]
    title: str
    body: str
    views: int
    published: bool
    created_at: datetime
    updated_at: datetime
    version: int

    class Settings:
        name = "bench_beanie_posts"


@dataclass(slots=True)
class PostRead:
    pk: UUID
    title: str
    body: str
    views: int
    published: bool
    created_at: datetime
    updated_at: datetime
    version: int


def of_entity(one: Any) -> PostRead:
    return PostRead(
        one.pk,
        one.title,
        one.body,
        one.views,
        one.published,
        one.created_at,
        one.updated_at,
        one.version,
    )


def of_beanie(one: BeaniePost) -> PostRead:
    return PostRead(
        one.id,
        one.title,
        one.body,
        one.views,
        one.published,
        one.created_at,
        one.updated_at,
        one.version,
    )


def of_document(one: dict[str, Any]) -> PostRead:
    return PostRead(
        one["_id"],
        one["title"],
        one["body"],
        one["views"],
        one["published"],
        one["created_at"],
        one["updated_at"],
        one["version"],
    )


def document(number: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "title": f"title {number}",
        "body": "x" * 200,
        "views": number,
        "published": number % 2 == 0,
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }


class Varco:
    def __init__(self, provider: Any, pk: UUID) -> None:
        self._provider = provider
        self._pk = pk

    async def get(self) -> PostRead:
        async with self._provider.make_uow() as uow:
            return of_entity(await uow.repository(Post).find_by_id(self._pk))

    async def list(self) -> list[PostRead]:
        params = QueryParams(F.views >= 100, (SortField("views"),), LISTED)
        async with self._provider.make_uow() as uow:
            return [of_entity(each) for each in await uow.repository(Post).find_by_query(params)]

    async def stream(self) -> int:
        params = QueryParams(None, (SortField("views"),))
        async with self._provider.make_uow() as uow:
            return sum(
                [
                    of_entity(each).views
                    async for each in uow.repository(Post).stream_by_query(params)
                ]
            )

    async def bulk(self) -> None:
        made = [Post(title=f"t{n}", body="x" * 200, views=-n) for n in range(500)]
        async with self._provider.make_uow() as uow:
            await uow.repository(Post).save_many(made)


class Beanie:
    def __init__(self, client: Any, pk: UUID) -> None:
        self._client = client
        self._pk = pk

    async def get(self) -> PostRead:
        found = await BeaniePost.get(self._pk)
        assert found is not None
        return of_beanie(found)

    async def list(self) -> list[PostRead]:
        found = BeaniePost.find(BeaniePost.views >= 100).sort("+views", "+_id").limit(LISTED)
        return [of_beanie(each) for each in await found.to_list()]

    async def stream(self) -> int:
        return sum(
            [of_beanie(each).views async for each in BeaniePost.find().sort("+views", "+_id")]
        )

    async def bulk(self) -> None:
        made = [BeaniePost(id=uuid4(), **document(-n)) for n in range(500)]
        async with self._client.start_session() as session, await session.start_transaction():
            await BeaniePost.insert_many(made, session=session)


class ByHand:
    def __init__(self, client: Any, rows: Any, pk: UUID) -> None:
        self._client = client
        self._rows = rows
        self._pk = pk

    async def get(self) -> PostRead:
        return of_document(await self._rows.find_one({"_id": self._pk}))

    async def list(self) -> list[PostRead]:
        found = self._rows.find({"views": {"$gte": 100}}, sort=[("views", 1), ("_id", 1)])
        return [of_document(each) for each in await found.limit(LISTED).to_list()]

    async def stream(self) -> int:
        rows = self._rows.find(sort=[("views", 1), ("_id", 1)])
        return sum([of_document(each).views async for each in rows])

    async def bulk(self) -> None:
        made = [{"_id": uuid4(), **document(-n)} for n in range(500)]
        async with self._client.start_session() as session, await session.start_transaction():
            await self._rows.insert_many(made, session=session)


async def of_varco(url: str) -> Varco:
    backend = await bootstrap(url, Post)
    async with backend.uow_provider.make_uow() as uow:
        made = [Post(title=f"title {n}", body="x" * 200, views=n) for n in range(ROWS)]
        saved = await uow.repository(Post).save_many(made)
    return Varco(backend.uow_provider, saved[0].pk)


async def _filled(url: str, name: str) -> tuple[Any, Any, UUID]:
    client: AsyncMongoClient[Any] = AsyncMongoClient(url, uuidRepresentation="standard")
    aware: CodecOptions[Any] = CodecOptions(tz_aware=True, uuid_representation=4)
    rows = client.get_default_database().get_collection(name, codec_options=aware)
    key = uuid4()
    await rows.insert_many(
        [{"_id": key if n == 0 else uuid4(), **document(n)} for n in range(ROWS)]
    )
    await rows.create_index("views")
    return client, rows, key


async def of_beanies(url: str) -> Beanie:
    client, _, key = await _filled(url, "bench_beanie_posts")
    await beanie.init_beanie(client.get_default_database(), document_models=[BeaniePost])
    return Beanie(client, key)


async def by_hand(url: str) -> ByHand:
    return ByHand(*await _filled(url, "bench_by_hand"))


def prepared(make: Callable[[str], Awaitable[Any]], work: str) -> Callable[[], Awaitable[object]]:
    """A contender that prepares itself when it is called first."""
    contender: list[Any] = []
    url = mongodb.database_url(os.environ[mongodb.VARIABLE], f"varco_bench_{uuid4().hex[:8]}")

    async def call() -> object:
        if not contender:
            contender.append(await make(url))
        return await getattr(contender[0], work)()

    return call


WORKS = {
    "get one by key": "get",
    f"list {LISTED} of {ROWS}": "list",
    f"stream {ROWS}": "stream",
    "insert 500 in a transaction": "bulk",
}
CASES = [
    Case(title, name, partial(prepared, make, work), ours=make is of_varco)
    for title, work in WORKS.items()
    for name, make in (
        ("varco-beanie", of_varco),
        ("beanie by hand", of_beanies),
        ("PyMongo by hand", by_hand),
    )
]

if __name__ == "__main__":
    with mongodb.server() as server:
        os.environ[mongodb.VARIABLE] = server
        main(CASES, clock=time.process_time, one_core=False)
