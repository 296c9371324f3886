"""The commands of one model that write."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pymongo import DeleteOne, UpdateOne

from varco_beanie._collections import KEY, EntityCollection
from varco_domain import PKStrategy
from varco_domain.backend import (
    changed_values,
    check_distinct,
    children_first,
    insert_values,
    row_key,
    update_values,
)
from varco_domain.exception import EntityNotFound, StaleEntityError
from varco_domain.model import DomainModel
from varco_query import QueryParams

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

    from varco_beanie._counters import Counter
    from varco_beanie._mapper import Document, DocumentMapper
    from varco_beanie._references import References
    from varco_beanie._transaction import Transaction

# An update that changes nothing, to find out whether the row is there.
_IDLE: Final = {"$setOnInsert": {KEY: None}}

type Row = dict[str, Any]


class Writes:
    """Inserts, updates and deletes. Has no state that changes; shared by all units of work."""

    def __init__(
        self,
        entity: EntityCollection,
        rows: "AsyncCollection[dict[str, Any]]",
        mapper: "DocumentMapper",
        references: "References",
        counter: "Counter",
    ) -> None:
        meta = entity.meta
        self.entity = entity
        self.rows = rows
        self.mapper = mapper
        self.references = references
        self._meta = meta
        self._counter = counter
        self._counted = meta.pk_fields[0] if meta.pk_strategy is PKStrategy.INT_AUTO else None
        fixed = (meta.tenant_field, meta.created_at_field)
        self._fixed = [name for name in fixed if name is not None]
        self._fixed_places = mapper.places(self._fixed)

    async def save(self, transaction: "Transaction", entity: DomainModel, now: datetime) -> Any:
        """Insert or update one entity."""
        if entity.is_persisted():
            return await self._save_changed(transaction, entity, now)
        row = insert_values(self._meta, entity, now)
        values = self.mapper.values(row)
        await self.number([row])
        document = {KEY: self.mapper.key(row), **values}
        await self.references.hold(transaction, self.entity, [document])
        await self.rows.insert_one(document, session=transaction.session)
        return self.mapper.stored(row, document)

    async def number(self, rows: Sequence[Row]) -> None:
        """Give new rows the next keys, unless they bring one; those that do come first."""
        name = self._counted
        if name is None:
            return
        given = [row[name] for row in rows if row[name] is not None]
        if given and max(given) > 0:
            await self._counter.follow(max(given))
        if len(given) < len(rows):
            key = await self._counter.take(len(rows) - len(given))
            for row in rows:
                if row[name] is None:
                    row[name], key = key, key + 1

    async def _save_changed(
        self, transaction: "Transaction", entity: DomainModel, now: datetime
    ) -> Any:
        row, document, update = self._changed(entity, now)
        match = self._match(entity)
        await self._hold_changed(transaction, [document], [update])
        done = await self.rows.update_one(match, update or _IDLE, session=transaction.session)
        if done.matched_count == 0:
            raise self._missing(entity)
        return self.mapper.stored(row, document)

    def _changed(
        self, entity: DomainModel, now: datetime
    ) -> tuple[Row, "Document", dict[str, Any]]:
        """The new row, its document, and what to change of the one that is stored."""
        row = update_values(self._meta, entity, now)
        document = self.mapper.document(row)
        loaded = self.mapper.loaded(entity)
        set_to, gone = self.mapper.changes(loaded, document, self._fixed_places)
        if loaded:
            # They stay what they are, whatever the entity says.
            for path in self._fixed_places:
                document.pop(path, None)
                if path in loaded:
                    document[path] = loaded[path]
            for name in self._fixed:
                row[name] = self.mapper.value(name, document)
        update = {"$set": set_to} if set_to else {}
        return row, document, update | ({"$unset": gone} if gone else {})

    async def _hold_changed(
        self,
        transaction: "Transaction",
        documents: Sequence["Document"],
        updates: Iterable[Mapping[str, Any]],
    ) -> None:
        keys = self._meta.foreign_keys
        if keys:
            changed = {path for update in updates for path in update.get("$set", ())}
            fields = {name for name in keys if self.entity.paths[name] in changed}
            await self.references.hold(transaction, self.entity, documents, fields)

    def _match(self, entity: DomainModel) -> dict[str, Any]:
        """The row that an entity stands for, if it is still as it was loaded."""
        meta = self._meta
        key = meta.pk_values(row_key(meta, entity))
        match = {KEY: self.mapper.key(dict(zip(meta.pk_fields, key, strict=True)))}
        for name in meta.match_fields:
            match[self.entity.paths[name]] = {"$eq": getattr(entity, name)}
        return match

    def _missing(self, entity: DomainModel) -> Exception:
        version = self._meta.version_field
        if version is not None:
            return StaleEntityError(self._meta.entity_cls, getattr(entity, version))
        return EntityNotFound(entity.pk, self._meta.entity_cls)

    async def delete(self, transaction: "Transaction", entity: DomainModel) -> None:
        """Delete the row of one entity, and do to those that refer to it what they say."""
        await self._delete(transaction, [entity])

    async def delete_many(
        self, transaction: "Transaction", entities: Sequence[DomainModel]
    ) -> None:
        """Delete in one command."""
        check_distinct(self._meta, entities)
        await self._delete(transaction, children_first(self._meta, entities))

    async def _delete(self, transaction: "Transaction", entities: Sequence[DomainModel]) -> None:
        matches = [self._match(entity) for entity in entities]
        follow = None
        if self.references.is_referred_to(self.entity):
            condition = matches[0] if len(matches) == 1 else {"$or": matches}
            follow = await self.references.release(transaction, self.entity, condition)
        session = transaction.session
        if len(matches) == 1:
            count = (await self.rows.delete_one(matches[0], session=session)).deleted_count
        else:
            operations = [DeleteOne(match) for match in matches]
            count = (await self.rows.bulk_write(operations, session=session)).deleted_count
        if count < len(matches):
            raise await self._missing_of(transaction, entities)
        if follow is not None:
            await follow()

    async def save_many(
        self, transaction: "Transaction", entities: Sequence[DomainModel], now: datetime
    ) -> list[Any]:
        """Insert and update in a command each."""
        check_distinct(self._meta, entities)
        rows: dict[int, Row] = {}
        changed: dict[int, tuple[Row, Document, dict[str, Any]]] = {}
        for index, entity in enumerate(entities):
            if entity.is_persisted():
                changed[index] = self._changed(entity, now)
            else:
                rows[index] = insert_values(self._meta, entity, now)
        values = {index: self.mapper.values(row) for index, row in rows.items()}
        await self.number(list(rows.values()))
        key = self.mapper.key
        documents = {index: {KEY: key(row), **values[index]} for index, row in rows.items()}
        session = transaction.session
        if documents:
            # Those with a key of their own, then those that got one, which are larger.
            await self.rows.insert_many(documents.values(), session=session)
            await self.references.hold(transaction, self.entity, list(documents.values()))
        if changed:
            operations = [
                UpdateOne(self._match(entities[index]), update or _IDLE)
                for index, (_, _, update) in changed.items()
            ]
            done = await self.rows.bulk_write(operations, session=session)
            if done.matched_count < len(operations):
                wanted = [entities[index] for index in changed]
                raise await self._missing_of(transaction, wanted)
            written = [document for _, document, _ in changed.values()]
            await self._hold_changed(
                transaction, written, [update for _, _, update in changed.values()]
            )
        saved = {
            **{index: self.mapper.stored(row, documents[index]) for index, row in rows.items()},
            **{index: self.mapper.stored(row, doc) for index, (row, doc, _) in changed.items()},
        }
        return [saved[index] for index in range(len(entities))]

    async def _missing_of(
        self, transaction: "Transaction", entities: Sequence[DomainModel]
    ) -> Exception:
        """The error of the first entity whose row is not as it was."""
        version = self._meta.version_field
        for entity in entities:
            match = self._match(entity)
            if version is not None:
                # A row that did match has been written by now, and has the next version.
                match[self.entity.paths[version]] = {"$eq": getattr(entity, version) + 1}
            session = transaction.session
            if await self.rows.find_one(match, {KEY: 1}, session=session) is None:
                return self._missing(entity)
        return self._missing(entities[0])

    async def update_by_query(
        self,
        transaction: "Transaction",
        params: QueryParams,
        update: Mapping[str, Any],
        now: datetime,
    ) -> int:
        """Set fields of all rows that a query selects."""
        meta = self._meta
        row = changed_values(meta, update, now)
        set_to = self.mapper.values(row)
        gone = {path: "" for path in self.mapper.places(row) if path not in set_to}
        command: dict[str, Any] = {"$set": set_to} if set_to else {}
        if gone:
            command["$unset"] = gone
        if meta.version_field is not None:
            command["$inc"] = {self.entity.paths[meta.version_field]: 1}
        node = params.node
        condition = {} if node is None else self.entity.filters.compile(node)
        session = transaction.session
        if not command:
            return await self.rows.count_documents(condition, session=session)
        if meta.foreign_keys.keys() & row.keys():
            await self._hold_for(transaction, condition, set_to, row)
        return (await self.rows.update_many(condition, command, session=session)).matched_count

    async def _hold_for(
        self,
        transaction: "Transaction",
        condition: Mapping[str, Any],
        set_to: "Document",
        row: Mapping[str, Any],
    ) -> None:
        """Hold what all rows of a condition are to refer to, for the tenants that they have."""
        tenant = self._meta.tenant_field
        documents: list[Document] = [set_to]
        if tenant is not None:
            path = self.entity.paths[tenant]
            found = await self.rows.distinct(path, condition, session=transaction.session)
            documents = [{**set_to, path: each} for each in found]
        await self.references.hold(transaction, self.entity, documents, row)
