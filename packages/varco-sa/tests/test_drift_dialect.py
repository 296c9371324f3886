"""The live schema is compared with the tables as its own kind of engine has them."""

from typing import Annotated

import pytest

from varco_domain import FieldHint, SoftDeleteDomainModel
from varco_sa import metadata_for, migration_source, schema_drift


class DriftTag(SoftDeleteDomainModel):
    name: Annotated[str, FieldHint(max_length=20, unique=True)]
    flag: bool = False


MODELS = (DriftTag,)


async def test_the_dialect_is_the_engines(url, open_backend):
    backend = await open_backend(url, *MODELS)
    assert await schema_drift(backend.engine, metadata_for(*MODELS)) == []
    own = metadata_for(*MODELS, dialect=backend.engine.dialect.name)
    assert await schema_drift(backend.engine, own) == []


async def test_another_dialect_is_refused(url, open_backend):
    backend = await open_backend(url, *MODELS)
    name = backend.engine.dialect.name
    other = "sqlite" if name != "sqlite" else "postgresql"
    for compare in (schema_drift, migration_source):
        with pytest.raises(ValueError, match=rf"is for {other} and the engine is {name}"):
            await compare(backend.engine, metadata_for(*MODELS, dialect=other))
