"""Updates that insert what is not there."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo import InsertOne, UpdateOne

from varco_beanie._codecs import of_document
from varco_beanie._collections import KEY
from varco_domain.backend import upsert_rows
from varco_domain.exception import UniqueViolationError
from varco_domain.model import DomainModel

if TYPE_CHECKING:
    from varco_beanie._mapper import Document
    from varco_beanie._transaction import Transaction
    from varco_beanie._writes import Row, Writes


async def upsert(
    transaction: "Transaction",
    writes: "Writes",
    entities: Sequence[DomainModel],
    by: Sequence[str],
    now: datetime,
) -> None:
    """Insert entities; where a row has the same values of `by`, update it. One command."""
    entity, meta, mapper = writes.entity, writes.entity.meta, writes.mapper
    rows = upsert_rows(meta, entities, by, entity.uniques, now)
    brought = [row for row in rows if None not in meta.pk_values(meta.pk_of(row))]
    values = [mapper.values(row) for row in rows]
    await writes.number(rows)
    documents = [{KEY: mapper.key(row), **each} for row, each in zip(rows, values, strict=True)]
    by_key = set(by) == set(meta.pk_fields)
    if not by_key and brought:
        await _refuse_taken(transaction, writes, documents[: len(brought)], by)
    operations = [
        _operation(writes, row, document, by, by_key=by_key)
        for row, document in zip(rows, documents, strict=True)
    ]
    await writes.references.hold(transaction, entity, documents)
    await writes.rows.bulk_write(operations, session=transaction.session)


def _operation(
    writes: "Writes", row: "Row", document: "Document", by: Sequence[str], *, by_key: bool
) -> InsertOne[Any] | UpdateOne:
    entity, meta = writes.entity, writes.entity.meta
    soft = meta.deleted_at_field
    exempt = any(row[name] is None for name in by) or (soft is not None and row[soft] is not None)
    if exempt and not by_key:
        return InsertOne(document)
    match = _same(writes, document, by, by_key=by_key)
    if meta.tenant_field is not None:
        # A row of another tenant is not found, and then is in the way.
        match[entity.paths[meta.tenant_field]] = {"$eq": row[meta.tenant_field]}
    kept = {*by, meta.tenant_field, meta.created_at_field, meta.version_field, *meta.pk_fields}
    changed = writes.mapper.places(name for name in meta.fields if name not in kept)
    first = writes.mapper.places(
        name for name in (meta.created_at_field,) if name is not None and name not in by
    )
    update: dict[str, dict[str, Any]] = {
        "$set": {path: document[path] for path in changed if path in document},
        "$unset": {path: "" for path in changed if path not in document},
        "$setOnInsert": {path: document[path] for path in first if path in document},
    }
    if not by_key:
        update["$setOnInsert"][KEY] = document[KEY]
    if meta.version_field is not None:
        update["$inc"] = {entity.paths[meta.version_field]: 1}
    update = {word: each for word, each in update.items() if each}
    return UpdateOne(match, update or {"$setOnInsert": {KEY: document[KEY]}}, upsert=True)


def _same(
    writes: "Writes", document: "Document", by: Sequence[str], *, by_key: bool
) -> dict[str, Any]:
    """The rows with the same values of `by`; of those that live, unless it is the key."""
    if by_key:
        return {KEY: document[KEY]}
    found = {path: {"$eq": of_document(document, path)} for path in writes.mapper.places(by)}
    soft = writes.entity.meta.deleted_at_field
    if soft is not None:
        found[writes.entity.paths[soft]] = {"$eq": None}
    return found


async def _refuse_taken(
    transaction: "Transaction",
    writes: "Writes",
    documents: Sequence["Document"],
    by: Sequence[str],
) -> None:
    """Refuse a key that another row has than the one with the same values of `by`.

    Raises:
        UniqueViolationError: One is.
    """
    meta = writes.entity.meta
    wanted = {KEY: {"$in": [each[KEY] for each in documents]}}
    brought = {str(each[KEY]): each for each in documents}
    async for found in writes.rows.find(wanted, session=transaction.session):
        mine = brought[str(found[KEY])]
        for path in writes.mapper.places(by):
            if of_document(found, path) != of_document(mine, path):
                raise UniqueViolationError(meta.entity_cls, meta.pk_fields)
