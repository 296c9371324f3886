"""Foreign keys, which MongoDB does not know: checked, and followed when a row is removed.

In a transaction whoever refers to a row changes a count in it, as MongoDB's manual says to lock a
document: the transaction conflicts with one that removes the row, and one of the two is undone.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from varco_beanie._codecs import of_document
from varco_beanie._collections import HELD, KEY, EntityCollection
from varco_domain.exception import (
    ReferenceViolationError,
    RepositoryClassCreationFailed,
    StillReferencedError,
)
from varco_domain.meta import ForeignKey

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

    from varco_beanie._mapper import Document
    from varco_beanie._transaction import Transaction

type Rows = "AsyncCollection[dict[str, Any]]"


class References:
    """The foreign keys among all collections. Safe to use from several tasks.

    Args:
        entities: The collections by the names of the models' tables; grows with the models.
        rows: Gives the collection of one.
    """

    def __init__(
        self,
        entities: Mapping[str, EntityCollection],
        rows: "Callable[[EntityCollection], Rows]",
    ) -> None:
        self._entities = entities
        self._rows = rows

    def target(self, owner: EntityCollection, field: str, key: ForeignKey) -> EntityCollection:
        """The collection that a foreign key refers to.

        Raises:
            RepositoryClassCreationFailed: No registered model has it, or the field is not unique.
        """
        found = self._entities.get(key.table)
        where = f"{owner.model.__name__}.{field}: a foreign key refers to"
        if found is None:
            known = ", ".join(sorted(self._entities))
            raise RepositoryClassCreationFailed(
                f"{where} {key.table!r}, which no registered model has; tables: {known}",
                owner.model,
            )
        named = _named(found, key)
        if found.codecs[named].matchable is not owner.codecs[field].matchable:
            raise RepositoryClassCreationFailed(
                f"{where} {key.table}.{named}, and only one of the two is an ObjectId", owner.model
            )
        if (named,) not in found.uniques or (
            found.meta.deleted_at_field is not None and (named,) != found.meta.pk_fields
        ):
            raise RepositoryClassCreationFailed(
                f"{where} {key.table}.{named}, which is not unique among all rows (of a model with "
                "soft deletion only those that live are); refer to the primary key",
                owner.model,
            )
        return found

    async def hold(
        self,
        transaction: "Transaction",
        owner: EntityCollection,
        documents: Sequence["Document"],
        fields: Iterable[str] | None = None,
    ) -> None:
        """Check that what documents refer to is there, and keep it there until the commit.

        Args:
            transaction: What it happens in.
            owner: Of the documents.
            documents: As they are written, with tenants.
            fields: The foreign keys that changed; all if None.

        Raises:
            ReferenceViolationError: It is not there, or another tenant's.
        """
        for field, key in owner.meta.foreign_keys.items():
            if fields is not None and field not in fields:
                continue
            target = self.target(owner, field, key)
            place = target.paths[_named(target, key)]
            for scope, values in _wanted(owner, target, field, place, documents):
                wanted = {place: {"$in": values}, **scope}
                rows, session = self._rows(target), transaction.session
                if session is None:
                    count = await rows.count_documents(wanted)
                else:
                    held = await rows.update_many(wanted, {"$inc": {HELD: 1}}, session=session)
                    count = held.matched_count
                if count < len(values):
                    raise ReferenceViolationError(owner.model, field)

    def _referrers(self, target: EntityCollection) -> Iterator[tuple[EntityCollection, str, str]]:
        """Who refers to a collection: (collection, its field, what it does when a row goes)."""
        for other in self._entities.values():
            for field, key in other.meta.foreign_keys.items():
                if key.table == target.meta.table:
                    yield other, field, key.on_delete or "RESTRICT"

    def is_referred_to(self, target: EntityCollection) -> bool:
        """Whether any model refers to a collection."""
        return any(True for _ in self._referrers(target))

    async def release(
        self, transaction: "Transaction", target: EntityCollection, condition: Mapping[str, Any]
    ) -> Callable[[], Awaitable[None]]:
        """What has to happen to the rows that refer to some which go; looks, and changes nothing.

        Args:
            transaction: What it happens in.
            target: The collection that rows leave.
            condition: Selects them.

        Returns:
            What does it, once the rows are gone that were asked for.

        Raises:
            StillReferencedError: A row that stays refers to one of them.
        """
        leaving = _Leaving(transaction, self._rows, target)
        waiting: list[tuple[EntityCollection, Mapping[str, Any]]] = [(target, condition)]
        while waiting:
            entity, which = waiting.pop()
            waiting += await leaving.add(entity, which, list(self._referrers(entity)))
        await leaving.check()
        return leaving.follow


class _Leaving:
    """Rows that are about to go, by table, and what their going does to others."""

    def __init__(
        self,
        transaction: "Transaction",
        rows: "Callable[[EntityCollection], Rows]",
        target: EntityCollection,
    ) -> None:
        self._session = transaction.session
        self._rows = rows
        self._target = target
        self._asked: list[Any] | None = None
        self._gone: dict[str, tuple[EntityCollection, dict[Any, Any]]] = {}
        self._cleared: list[tuple[EntityCollection, str, list[Any]]] = []
        self._holders: list[tuple[EntityCollection, str, list[Any]]] = []

    async def add(
        self,
        entity: EntityCollection,
        which: Mapping[str, Any],
        referrers: Sequence[tuple[EntityCollection, str, str]],
    ) -> list[tuple[EntityCollection, Mapping[str, Any]]]:
        """Note rows of a collection; returns those that go with them, as conditions."""
        named = [
            entity.paths[_named(entity, other.meta.foreign_keys[field])]
            for other, field, _ in referrers
        ]
        _, known = self._gone.setdefault(entity.meta.table, (entity, {}))
        places = dict.fromkeys((KEY, *named), 1)
        found = self._rows(entity).find(which, places, session=self._session)
        new = [each async for each in found if _hashed(each[KEY]) not in known]
        known.update((_hashed(each[KEY]), each[KEY]) for each in new)
        if self._asked is None:
            self._asked = list(known)
        following: list[tuple[EntityCollection, Mapping[str, Any]]] = []
        for (other, field, action), place in zip(referrers, named, strict=True):
            held = [of_document(each, place) for each in new]
            values = [value for value in held if value is not None]
            if not values:
                continue
            if action == "CASCADE":
                following.append((other, {other.paths[field]: {"$in": values}}))
            elif action == "SET NULL":
                self._cleared.append((other, field, values))
            else:
                self._holders.append((other, field, values))
        return following

    async def check(self) -> None:
        """Raise if a row that stays refers to one that goes."""
        for other, field, values in self._holders:
            _, going = self._gone.get(other.meta.table, (other, {}))
            pointing = {other.paths[field]: {"$in": values}, KEY: {"$nin": list(going.values())}}
            rows = self._rows(other)
            if await rows.find_one(pointing, {KEY: 1}, session=self._session) is not None:
                raise StillReferencedError(self._target.model)

    async def follow(self) -> None:
        """Change and remove the others, once those are gone that were asked for."""
        for other, field, values in self._cleared:
            places = dict.fromkeys([path for path, _ in other.sort_keys((field,))], "")
            pointing = {other.paths[field]: {"$in": values}}
            await self._rows(other).update_many(pointing, {"$unset": places}, session=self._session)
        for entity, keys in self._gone.values():
            asked = self._asked if entity is self._target else None
            going = [key for hashed, key in keys.items() if hashed not in (asked or ())]
            if going:
                await self._rows(entity).delete_many({KEY: {"$in": going}}, session=self._session)


def _named(target: EntityCollection, key: ForeignKey) -> str:
    return target.meta.pk_fields[0] if key.field == "pk" else key.field


def _wanted(
    owner: EntityCollection,
    target: EntityCollection,
    field: str,
    place: str,
    documents: Sequence["Document"],
) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """The different values that documents refer to, by the tenant that has to have them."""
    groups: dict[Any, dict[Any, Any]] = {}
    mine, theirs = owner.meta.tenant_field, target.meta.tenant_field
    scoped = mine is not None and theirs is not None
    for document in documents:
        value = of_document(document, owner.paths[field])
        own = owner is target and of_document(document, place) == value
        if value is not None and not own:
            tenant = of_document(document, owner.paths[mine]) if scoped and mine else None
            groups.setdefault(tenant, {})[_hashed(value)] = value
    for tenant, values in groups.items():
        scope = {target.paths[theirs]: tenant} if scoped and theirs else {}
        yield scope, list(values.values())


def _hashed(key: Any) -> Any:
    return tuple(cast("dict[str, Any]", key).values()) if isinstance(key, dict) else key
