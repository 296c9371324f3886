"""Indexes besides those of the models, and what is in their way."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import pytest
from hypothesis import settings

from varco_beanie import Index, bootstrap, schema_drift
from varco_domain.exception import (
    FieldNotFound,
    RepositoryClassCreationFailed,
    RepositoryException,
)
from varco_domain.meta import FieldHint, ForeignKey
from varco_domain.model import DomainModel

pytestmark = pytest.mark.anyio


class Session(DomainModel):
    class Meta:
        table = "beanie_sessions"

    name: Annotated[str | None, FieldHint(unique=True)] = None
    room: Annotated[str, FieldHint(index=True)] = ""
    seen_at: datetime | None = None


class Visit(DomainModel):
    class Meta:
        table = "beanie_visits"

    session: Annotated[int | None, ForeignKey(Session)] = None


INDEXES = {Session: [Index("seen_at", expire_after=3600), Index("room", "name")]}


async def test_documents_expire_by_declaration(server):
    url = server.url_of(server.name())
    async with bootstrap(url, Session, indexes=INDEXES) as backend:
        assert await schema_drift(backend.uow_provider) == []
        rows = backend.uow_provider.storage.collection("beanie_sessions")
        known = await rows.index_information()
        assert known["ttl_beanie_sessions_seen_at"]["expireAfterSeconds"] == 3600
        assert known["ttl_beanie_sessions_seen_at"]["key"] == [("seen_at", 1)]
        assert known["ix_beanie_sessions_room_name"]["key"] == [("room", 1), ("name", 1)]
        # What the server goes by is there to the millisecond.
        moment = datetime(2024, 1, 1, 1, 1, 1, 123456, tzinfo=UTC)
        saved = await backend.uow_provider.get_repository(Session).save(Session(seen_at=moment))
        document = await rows.find_one({"_id": saved.pk})
        assert document["seen_at"] == moment.replace(tzinfo=None, microsecond=123000)
        # Another time for the same index is in the way of what is there.
        with pytest.raises(RepositoryException) as caught:
            await bootstrap(url, Session, indexes={Session: [Index("seen_at", expire_after=60)]})
        assert "'beanie_sessions' has an index 'ttl_beanie_sessions_seen_at'" in str(caught.value)
        assert "'expireAfterSeconds': 3600" in str(caught.value)
        assert "dropIndex('ttl_beanie_sessions_seen_at')" in str(caught.value)


@pytest.mark.skipif(
    settings.get_current_profile_name() != "deep",
    reason="the server looks for what has expired once a minute: HYPOTHESIS_PROFILE=deep",
)
async def test_what_has_expired_is_removed_and_nothing_else(server):
    soon = {Session: [Index("seen_at", expire_after=1)]}
    async with bootstrap(server.url_of(server.name()), Session, indexes=soon) as backend:
        repo = backend.uow_provider.get_repository(Session)
        await repo.save_many(
            [
                Session(room="gone", seen_at=datetime(2024, 1, 1, tzinfo=UTC)),
                Session(room="later", seen_at=datetime(2999, 1, 1, tzinfo=UTC)),
                Session(room="never"),
            ]
        )
        async with asyncio.timeout(180):
            while await repo.count() > 2:
                await asyncio.sleep(0.5)
        assert [each.room for each in await repo.find_all()] == ["later", "never"]


@pytest.mark.parametrize("name", ["uq_beanie_sessions_name", "by_hand"])
async def test_an_index_that_is_in_the_way_is_named(server, name):
    url = server.url_of(server.name())
    async with bootstrap(url) as backend:
        rows = backend.uow_provider.database["beanie_sessions"]
        partial = {"name": {"$exists": True}}
        unique = name == "by_hand"
        await rows.create_index("name", name=name, unique=unique, partialFilterExpression=partial)
    with pytest.raises(RepositoryException, match=rf"has an index '{name}'.*dropIndex\('{name}'\)"):
        await bootstrap(url, Session)


async def test_documents_that_are_the_same_are_in_the_way_of_a_unique_index(server):
    url = server.url_of(server.name())
    async with bootstrap(url) as backend:
        rows = backend.uow_provider.database["beanie_sessions"]
        await rows.insert_many([{"name": "secret"}, {"name": "secret"}])
    with pytest.raises(RepositoryException, match=r"\(uq_beanie_sessions_name\): change") as caught:
        await bootstrap(url, Session)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("index", "error", "why"),
    [
        (Index("typo"), FieldNotFound, "typo"),
        (Index("room"), RepositoryClassCreationFailed, "declares an index of room already"),
        (Index("room", expire_after=1), RepositoryClassCreationFailed, "no moment"),
        (Index("seen_at", expire_after=1), RepositoryClassCreationFailed, "refer to it"),
    ],
)
async def test_an_index_that_cannot_be_is_refused_before_anything_is_made(
    server, index, error, why
):
    with pytest.raises(error, match=why):
        await bootstrap(server.url_of(server.name()), Visit, Session, indexes={Session: [index]})


def test_an_index_is_checked_when_it_is_declared():
    for wrong in (
        Index,
        lambda: Index("a", "b", expire_after=1),
        lambda: Index("a", expire_after=-1),
    ):
        with pytest.raises(ValueError, match=r"index|expire"):
            wrong()
