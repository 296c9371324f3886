"""The outbox: events committed with the entities they are about."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from pymongo import ReturnDocument, UpdateOne

from varco_beanie._collections import KEY
from varco_beanie._counters import COUNTERS
from varco_beanie._envelopes import (
    CLAIM,
    CLAIMS,
    LEASED,
    aware,
    loaded,
    next_number,
    server_time,
    stored,
    translated,
)
from varco_beanie._transaction import Transaction
from varco_events import OutboxEntry, OutboxRepository

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage
    from varco_beanie._uow import BeanieUnitOfWork

OUTBOX: Final = "varco_outbox"
_FIELDS: Final = (
    "event_type",
    "channel",
    "payload",
    "created_at",
    "key",
    "attempts",
    "available_at",
    "last_error",
    LEASED,
    "event_id",
    "version",
    "time",
    "headers",
)
_PLACES: Final = {"key": 1, LEASED: 1, "available_at": 1}


class BeanieOutbox(OutboxRepository):
    """The outbox as relays use it: every call is a transaction of its own.

    Any number of relays, in any number of processes, may share it: claims follow one another, by
    the clock of the server. A claim looks at what waits from the oldest on, until it has enough.
    Safe to use from several tasks.
    """

    def __init__(self, storage: "Storage") -> None:
        self._storage = storage
        self._rows = storage.collection(OUTBOX)
        self._counters = storage.collection(COUNTERS)

    async def create_indexes(self) -> None:
        """Create what claims look through."""
        await self._rows.create_index([("parked", 1), ("seq", 1)], name="ix_varco_outbox_seq")

    async def insert(
        self, session: "AsyncClientSession | None", entries: Sequence[OutboxEntry]
    ) -> None:
        """Insert entries in their order, in a transaction."""
        # No part of it: whoever saves at the same time would wait, or fail.
        first = await next_number(self._counters, OUTBOX, len(entries))
        rows = [
            {KEY: entry.entry_id, "seq": seq, "parked": False, **stored(entry, _FIELDS)}
            for seq, entry in enumerate(entries, first)
        ]
        await self._rows.insert_many(rows, session=session)

    async def save(self, entry: OutboxEntry) -> None:
        """Store an entry in a transaction of its own."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store entries in order, in a transaction of their own."""
        if entries:
            await self._transact(lambda session: self.insert(session, entries))
            self.notify()

    async def _transact[T](self, work: Callable[[Any], Awaitable[T]]) -> T:
        transaction = Transaction(self._storage.database.client, transactions=True)
        try:
            done = await transaction.write(None, lambda: work(transaction.session), bulk=True)
            await transaction.commit()
        finally:
            await transaction.rollback()
        return done

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return await self._select(parked=False, limit=limit)

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that were put aside."""
        return await self._select(parked=True, limit=limit)

    async def _select(self, *, parked: bool, limit: int) -> list[OutboxEntry]:
        async with translated():
            found = self._rows.find({"parked": parked}, sort=[("seq", 1)], limit=limit)
            return [_entry(each) for each in await found.to_list()]

    async def delete(self, entry_id: UUID) -> None:
        """Forget a delivered entry."""
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget delivered entries."""
        async with translated():
            await self._rows.delete_many({KEY: {"$in": list(entry_ids)}})

    async def acknowledge(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget delivered entries, but none that another claim has by now."""
        async with translated():
            await self._rows.delete_many(_of_claim(entries))

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries by the clock of the server, oldest first.

        Of each key none before its earlier ones.
        """
        return await self._transact(lambda session: self._claim(session, limit, lease))

    async def _claim(self, session: Any, limit: int, lease: float) -> list[OutboxEntry]:
        # Whoever claims at the same time conflicts with this, and comes after it.
        turn = {"n": {"$add": [{"$ifNull": ["$n", 0]}, 1]}, "at": "$$NOW"}
        known: Any = await self._counters.find_one_and_update(
            {KEY: CLAIMS},
            [{"$set": turn}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        now: datetime = known["at"]
        wanted = await self._claimable(session, now, limit)
        if not wanted:
            return []
        named = {KEY: {"$in": wanted}}
        found = await self._rows.find(named, sort=[("seq", 1)], session=session).to_list()
        batch = self.batch_of([_entry(each) for each in found])
        until, claim_id = now + timedelta(seconds=lease), uuid4()
        values: dict[str, Any] = {LEASED: until, CLAIM: claim_id}
        if batch[0].is_counted:  # and alone
            values["attempts"] = batch[0].attempts
        leased = {KEY: {"$in": [entry.entry_id for entry in batch]}}
        await self._rows.update_many(leased, {"$set": values}, session=session)
        return [replace(entry, leased_until=aware(until), claim_id=claim_id) for entry in batch]

    async def _claimable(self, session: Any, now: datetime, limit: int) -> list[UUID]:
        """The first entries that nobody holds, and that no earlier one of their key holds back."""
        found: list[UUID] = []
        blocked: set[str] = set()
        rows = self._rows.find({"parked": False}, _PLACES, sort=[("seq", 1)], session=session)
        async with rows:
            async for row in rows:
                key: str | None = row.get("key")
                if key in blocked:
                    continue
                if all(
                    row.get(name) is None or row[name] <= now for name in (LEASED, "available_at")
                ):
                    found.append(row[KEY])
                    if len(found) == limit:
                        break
                elif key is not None:
                    blocked.add(key)
        return found

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold claimed entries for longer, from now on by the clock of the server."""
        held = {**_of_claim(entries), LEASED: {"$ne": None}}
        async with translated():
            until = await server_time(self._storage.database) + timedelta(seconds=lease)
            await self._rows.update_many(held, {"$set": {LEASED: until}})

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases; keep attempts, the time of the next one and the last error."""
        await self._note(entries, parked=False)

    async def park(self, entry: OutboxEntry) -> None:
        """Keep an entry but never claim it again; the next of its key is claimed."""
        await self._note([entry], parked=True)

    async def _note(self, entries: Sequence[OutboxEntry], *, parked: bool) -> None:
        if not entries:
            return
        noted = ("attempts", "available_at", "last_error")
        operations = [
            UpdateOne(
                _of_claim([entry]),
                {
                    "$set": {**dict.fromkeys((*noted, LEASED)), **stored(entry, noted)}
                    | {"parked": parked}
                },
            )
            for entry in entries
        ]
        async with translated():
            await self._rows.bulk_write(operations)


class TransactionalOutbox:
    """The outbox of one unit of work: entries are committed, or undone, with the entities."""

    __slots__ = ("_outbox", "_uow")

    def __init__(self, uow: "BeanieUnitOfWork", outbox: BeanieOutbox) -> None:
        self._uow = uow
        self._outbox = outbox

    async def save(self, entry: OutboxEntry) -> None:
        """Store an entry."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store entries in order."""
        if entries:
            await self._uow.write(None, lambda t: self._outbox.insert(t.session, entries))
            self._uow.on_commit(self._wake)

    async def _wake(self) -> None:
        self._outbox.notify()


def _of_claim(entries: Sequence[OutboxEntry]) -> dict[str, Any]:
    """These entries, as far as they are of the claims that they are from, if that is known."""
    named: dict[str, Any] = {KEY: {"$in": [entry.entry_id for entry in entries]}}
    claims = {entry.claim_id for entry in entries}
    return named if None in claims else {**named, CLAIM: {"$in": list(claims)}}


def _entry(row: dict[str, Any]) -> OutboxEntry:
    return OutboxEntry(entry_id=row[KEY], **loaded(row, _FIELDS))
