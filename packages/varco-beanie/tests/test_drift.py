"""Collections that are not what the models say."""

from typing import Annotated

import pymongo
import pytest

from varco_beanie import schema_drift
from varco_domain.meta import CheckConstraint, FieldHint
from varco_domain.model import DomainModel

pytestmark = pytest.mark.anyio


class Shelf(DomainModel):
    class Meta:
        table = "beanie_shelves"
        constraints = (CheckConstraint("width > 0", name="ck_width"),)

    name: Annotated[str | None, FieldHint(unique=True)] = None
    room: Annotated[str, FieldHint(index=True)] = ""
    width: int = 1


async def test_what_was_made_from_the_models_does_not_drift(server):
    async with server.backend(Shelf) as backend:
        provider = backend.uow_provider
        assert await schema_drift(provider) == []
        with pymongo.MongoClient(server.url) as client:
            database = client[provider.database.name]
            shelves = database["beanie_shelves"]
            shelves.drop_index("ix_beanie_shelves_room")
            shelves.drop_index("uq_beanie_shelves_name")
            shelves.create_index([("name", 1)], name="uq_beanie_shelves_name")
            shelves.create_index([("width", -1)], name="by_hand")
            database.command("collMod", "beanie_shelves", validator={})
            database.drop_collection("varco_inbox")
        drift = "\n".join(await schema_drift(provider))
        assert "beanie_shelves: its validator is not that of the model's checks" in drift
        assert "beanie_shelves: no model declares the index by_hand" in drift
        assert "beanie_shelves: the index uq_beanie_shelves_name is {'key': [('name', 1)]}" in drift
        assert "beanie_shelves: there is no index ix_beanie_shelves_room" in drift
        assert "varco_inbox: there is no such collection" in drift
        assert drift.count("\n") == 4
