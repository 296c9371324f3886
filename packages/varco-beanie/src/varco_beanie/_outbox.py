"""The outbox: events committed with the entities they are about."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from pymongo import IndexModel, UpdateOne

from varco_beanie._codecs import naive
from varco_beanie._collections import KEY
from varco_beanie._counters import COUNTERS
from varco_beanie._envelopes import (
    ASIDE,
    CLAIM,
    CLAIMS,
    LEASED,
    Document,
    aware,
    loaded,
    next_number,
    server_time,
    stored,
    translated,
)
from varco_beanie._failures import aside_of
from varco_beanie._indexes import create_indexes
from varco_beanie._line import AT_ONCE, BEFORE, BEHIND, HELD, IN_LINE, PARKED, READY, SEQ, Line
from varco_beanie._outbox_failures import OutboxFailures
from varco_beanie._transaction import in_transaction
from varco_beanie._watch import Watch
from varco_events import OutboxEntry, OutboxRepository, parts_of_error

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
    CLAIM,
    "event_id",
    "version",
    "time",
    "headers",
)
# How many seconds what others removed may keep something waiting.
_LOST_EVERY: Final = 60.0


class BeanieOutbox(OutboxRepository):
    """The outbox as relays use it: every call is a transaction of its own.

    Any number of relays, in any number of processes, may share it: claims follow one another, by
    the clock of the server. Safe to use from several tasks.
    """

    def __init__(self, storage: "Storage") -> None:
        self._storage = storage
        self._rows = storage.collection(OUTBOX)
        self._counters = storage.collection(COUNTERS)
        self._looks_for_lost = 0.0
        self._watch = Watch(self._rows, self.notify)

    @property
    def indexes(self) -> list[IndexModel]:
        """What claims and operators look through."""
        held, aside = {HELD: True}, {PARKED: True}
        return [
            IndexModel([(PARKED, 1), (SEQ, 1)], name="ix_varco_outbox_seq"),
            IndexModel([(READY, 1), (SEQ, 1)], name="ix_varco_outbox_ready"),
            IndexModel([("key", 1), (PARKED, 1), (SEQ, 1)], name="ix_varco_outbox_line"),
            IndexModel([(BEHIND, 1)], name="ix_varco_outbox_behind", sparse=True),
            _index("held", ("key",), held),
            _index("postponed", ("available_at", SEQ), held),
            _index("errors", ("error_type", SEQ, "parked_at"), aside),
            _index("channels", ("channel", SEQ, "parked_at"), aside),
        ]

    async def create_indexes(self) -> None:
        """Create those that are missing."""
        await create_indexes(self._rows, self.indexes)

    async def insert(
        self,
        session: "AsyncClientSession | None",
        entries: Sequence[OutboxEntry],
        **aside: Any,
    ) -> None:
        """Insert entries in their order, in a transaction."""
        # No part of it: whoever saves at the same time would wait, or fail.
        first, _ = await next_number(self._counters, OUTBOX, len(entries))
        rows = [
            {
                KEY: entry.entry_id,
                SEQ: seq,
                **stored(entry, _FIELDS),
                **(aside or {PARKED: False, **_ready(entry)}),
            }
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

    async def _transact[T](self, work: "Callable[[AsyncClientSession], Awaitable[T]]") -> T:
        return await in_transaction(self._storage.database.client, work)

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return await self._select(parked=False, limit=limit)

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that were put aside."""
        return await self._select(parked=True, limit=limit)

    async def _select(self, *, parked: bool, limit: int) -> list[OutboxEntry]:
        async with translated():
            found = self._rows.find({PARKED: parked}, sort=[(SEQ, 1)], limit=limit)
            return [_entry(each) for each in await found.to_list()]

    async def delete(self, entry_id: UUID) -> None:
        """Forget a delivered entry."""
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget delivered entries; the next of their keys are claimed again."""
        await self._remove({KEY: {"$in": list(entry_ids)}}, len(entry_ids))

    async def acknowledge(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget delivered entries, but none that another claim has by now."""
        await self._remove(_of_claim(entries), len(entries))

    async def _remove(self, named: Document, count: int) -> None:
        async with translated():
            gone = await self._rows.delete_many({**named, BEFORE: None})
        if gone.deleted_count < count:
            await self._transact(lambda session: self._remove_first_ones(session, named))

    async def _remove_first_ones(self, session: "AsyncClientSession", named: Document) -> None:
        """Remove entries that have others behind them, and bring these forward."""
        rows = await self._rows.find(named, {SEQ: 1}, session=session).to_list()
        if rows:
            keys = [row[KEY] for row in rows]
            await self._rows.delete_many({KEY: {"$in": keys}}, session=session)
            await self._bring_forward(session, [row[SEQ] for row in rows])

    async def _bring_forward(
        self, session: "AsyncClientSession | None", gone: Sequence[int]
    ) -> None:
        """Let claims look at what was behind entries that are gone."""
        forward = {"$set": {READY: AT_ONCE}, "$unset": {BEHIND: ""}}
        await self._rows.update_many({BEHIND: {"$in": list(gone)}}, forward, session=session)

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries by the clock of the server, oldest first.

        Of each key none before its earlier ones. What is parked, postponed or behind such an entry
        of its key is not looked at, however much there is of it.
        """
        if time.monotonic() >= self._looks_for_lost:
            self._looks_for_lost = time.monotonic() + _LOST_EVERY
            await self._transact(self._bring_lost_forward)
        seen: int | None = 0
        batch: list[OutboxEntry] = []
        while not batch and seen is not None:
            look = partial(self._claim, limit=limit, lease=timedelta(seconds=lease), seen=seen)
            batch, seen = await self._transact(look)
        return batch

    async def _claim(
        self, session: "AsyncClientSession", *, limit: int, lease: timedelta, seen: int
    ) -> tuple[list[OutboxEntry], int | None]:
        """What was claimed of what comes after `seen`, and where to look on; None at the end."""
        # Whoever claims at the same time conflicts with this, and comes after it.
        _, now = await next_number(self._counters, CLAIMS, 1, session)
        line = Line(self._rows, session, now, limit, seen)
        batch = self.batch_of([_entry(row) for row in await line.take()])
        until, claim_id = now + lease, uuid4()
        if batch:
            values: Document = {LEASED: until, READY: until, CLAIM: claim_id, HELD: True}
            if batch[0].is_counted:  # and alone
                values["attempts"] = batch[0].attempts
            leased = {KEY: {"$in": [entry.entry_id for entry in batch]}}
            changed = {"$set": values, "$unset": {BEHIND: ""}}
            await self._rows.update_many(leased, changed, session=session)
        return (
            [replace(one, leased_until=aware(until), claim_id=claim_id) for one in batch],
            line.seen if line.goes_on else None,
        )

    async def _bring_lost_forward(self, session: "AsyncClientSession") -> None:
        """What is behind an entry that was removed by hand."""
        rows = self._rows
        groups: list[Document] = [
            {"$match": {BEHIND: {"$exists": True}}},
            {"$group": {KEY: f"${BEHIND}"}},
        ]
        cursor = await rows.aggregate(groups, session=session)
        behind = {row[KEY] for row in await cursor.to_list()}
        if behind:
            first = {PARKED: False, SEQ: {"$in": list(behind)}}
            there = await rows.find(first, {SEQ: 1}, session=session).to_list()
            if lost := behind - {row[SEQ] for row in there}:
                await self._bring_forward(session, list(lost))

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold claimed entries for longer, from now on by the clock of the server."""
        held = {**_of_claim(entries), LEASED: {"$ne": None}}
        async with translated():
            until = await server_time(self._storage.database) + timedelta(seconds=lease)
            await self._rows.update_many(held, {"$set": {LEASED: until, READY: until}})

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases; keep attempts, the time of the next one and the last error."""
        operations = [
            UpdateOne(
                _of_claim([entry]),
                {
                    "$set": {**_noted(entry), PARKED: False, **_ready(entry)},
                    "$unset": {BEHIND: ""},
                },
            )
            for entry in entries
        ]
        if operations:
            async with translated():
                await self._rows.bulk_write(operations)

    async def park(self, entry: OutboxEntry) -> None:
        """Keep an entry but never claim it again; the next of its key is claimed."""
        async with translated():
            aside = await self._aside(entry)
        changed = {"$set": {**_noted(entry), **aside}, "$unset": dict.fromkeys(IN_LINE, "")}

        async def park(session: "AsyncClientSession") -> None:
            row = await self._rows.find_one_and_update(
                _of_claim([entry]), changed, projection={SEQ: 1}, session=session
            )
            if row is not None:
                await self._bring_forward(session, [row[SEQ]])

        await self._transact(park)

    async def _aside(self, entry: OutboxEntry) -> Document:
        """What is noted with an entry that is put aside."""
        number, now = await next_number(self._counters, aside_of(OUTBOX), 1)
        error_type, _ = parts_of_error(entry.last_error)
        return {PARKED: True, "parked_at": now, ASIDE: number, "error_type": error_type}

    async def wait_for_work(self, timeout: float) -> None:  # noqa: ASYNC109  # seconds, as everywhere
        """Return when entries were committed by any process, or after a time.

        A change stream tells, which the first call opens and `aclose` ends; a server that has none
        leaves it to the time, and to what this process commits.
        """
        await self._watch.start()
        await super().wait_for_work(timeout)

    async def aclose(self) -> None:
        """Stop watching."""
        await self._watch.stop()

    def failures(self) -> OutboxFailures:
        """The parked entries and the held-back keys as operators see them."""

        async def insert(entry: OutboxEntry) -> None:
            async with translated():
                await self.insert(None, [entry], **await self._aside(entry))

        return OutboxFailures(self._storage, OUTBOX, _entry, insert, self.notify)


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


def _index(name: str, fields: Sequence[str], which: Mapping[str, Any]) -> IndexModel:
    return IndexModel(
        [(field, 1) for field in fields],
        name=f"ix_varco_outbox_{name}",
        partialFilterExpression=which,
    )


def _of_claim(entries: Sequence[OutboxEntry]) -> Document:
    """Which documents are these entries, and of the claim they are from if that is known."""
    named: Document = {KEY: {"$in": [entry.entry_id for entry in entries]}}
    claims = {entry.claim_id for entry in entries}
    return named if None in claims else {**named, CLAIM: {"$in": list(claims)}}


def _noted(entry: OutboxEntry) -> Document:
    """What became of an entry that nobody has in hand any more."""
    noted = ("attempts", "available_at", "last_error")
    return {**dict.fromkeys((*noted, LEASED)), **stored(entry, noted)}


def _ready(entry: OutboxEntry) -> Document:
    """From when on an entry that nobody has in hand may be claimed."""
    if entry.available_at is None:
        return {READY: AT_ONCE}
    return {READY: naive(entry.available_at.astimezone(UTC)), HELD: True}


def _entry(row: dict[str, Any]) -> OutboxEntry:
    return OutboxEntry(entry_id=row[KEY], **loaded(row, _FIELDS))
