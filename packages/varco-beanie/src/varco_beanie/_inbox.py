"""The inbox: which events were handled, remembered with what handling them changed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from pymongo import IndexModel, ReturnDocument

from varco_beanie._codecs import FINER
from varco_beanie._collections import KEY
from varco_beanie._counters import COUNTERS
from varco_beanie._envelopes import (
    ASIDE,
    CLAIM,
    LEASED,
    aware,
    is_over,
    loaded,
    next_number,
    server_time,
    stored,
    translated,
)
from varco_beanie._failures import aside_of
from varco_beanie._inbox_failures import FAILED_AT, NOTED, InboxFailures
from varco_beanie._indexes import create_indexes
from varco_domain.backend import utc_now
from varco_events import InboxEntry, InboxRepository, inbox_failure

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage
    from varco_beanie._uow import BeanieUnitOfWork

INBOX: Final = "varco_inbox"
_FIELDS: Final = (
    "event_type",
    "channel",
    "payload",
    "received_at",
    "processed_at",
    "event_id",
    "version",
    "key",
    "time",
    "headers",
    "attempts",
    LEASED,
    "last_error",
    "available_at",
    CLAIM,
)
_OLDEST: Final = [("received_at", 1), (f"received_at{FINER}", 1), (KEY, 1)]


class BeanieInbox(InboxRepository):
    """The inbox as consumers use it; every call is a command of its own.

    An event that is handled with `uow.inbox` is marked in the transaction that its handler writes
    in, so that its effect happens once. Safe to use from several tasks.
    """

    def __init__(self, storage: "Storage", clock: Callable[[], datetime] = utc_now) -> None:
        self._storage = storage
        self._rows = storage.collection(INBOX)
        self._clock = clock

    @property
    def indexes(self) -> list[IndexModel]:
        """What claims, marks and operators look through."""
        failed = {FAILED_AT: {"$exists": True}}
        kind = [(f"{KEY}.handler", 1), ("error_type", 1), ("group", 1), (FAILED_AT, 1)]
        channel = [("channel", 1), (FAILED_AT, 1)]
        return [
            IndexModel([(f"{KEY}.id", 1)], name="ix_varco_inbox_id"),
            IndexModel([("processed_at", 1), *_OLDEST], name="ix_varco_inbox_received"),
            IndexModel(kind, name="ix_varco_inbox_errors", partialFilterExpression=failed),
            IndexModel(channel, name="ix_varco_inbox_channels", partialFilterExpression=failed),
        ]

    async def create_indexes(self) -> None:
        """Create those that are missing."""
        await create_indexes(self._rows, self.indexes)

    async def accept(self, session: "AsyncClientSession | None", entry: InboxEntry) -> bool:
        """Insert an entry in a transaction; False if it is there."""
        row = stored(entry, _FIELDS)
        if entry.handler_name and entry.processed_at is None:
            # From here on its handler has it in hand, which pollers judge by this clock.
            row.pop(f"received_at{FINER}", None)
            row["received_at"] = await server_time(self._storage.database)
        done = await self._rows.update_one(
            {KEY: _key(entry)}, {"$setOnInsert": row}, upsert=True, session=session
        )
        return done.upserted_id is not None

    def now(self) -> datetime:
        """The time of the injected clock."""
        return self._clock()

    async def save(self, entry: InboxEntry) -> None:
        """Store an entry; an id that is there already is left as it is."""
        async with translated():
            await self.accept(None, entry)

    async def mark_processed(self, entry_id: UUID) -> None:
        """Note that an entry was handled, and drop its payload."""
        now = self._clock().astimezone(UTC).replace(tzinfo=None)
        async with translated():
            await self._rows.update_many(
                {f"{KEY}.id": entry_id},
                {
                    "$set": {"processed_at": now, "payload": b""},
                    "$unset": dict.fromkeys(NOTED, ""),
                },
            )

    async def get_unprocessed(self, *, limit: int = 100) -> list[InboxEntry]:
        """The oldest entries that were not handled."""
        async with translated():
            found = self._rows.find({"processed_at": None}, sort=_OLDEST, limit=limit)
            return [_entry(each) for each in await found.to_list()]

    async def claim(self, *, limit: int = 100, lease: float = 60.0) -> list[InboxEntry]:
        """Take the oldest entries that nobody has in hand, by the clock of the server."""
        claimed: list[InboxEntry] = []
        async with translated():
            now = await server_time(self._storage.database)
            until = timedelta(seconds=lease)
            nobodys = {"$or": [{f"{KEY}.handler": ""}, {"received_at": {"$lte": now - until}}]}
            free = {
                "processed_at": None,
                "$and": [is_over(LEASED, now), is_over("available_at", now), nobodys],
            }
            leased = {LEASED: now + until, CLAIM: uuid4()}
            attempt = {"$set": leased, "$inc": {"attempts": 1}}
            while len(claimed) < limit:
                row = await self._rows.find_one_and_update(
                    free, attempt, sort=_OLDEST, return_document=ReturnDocument.AFTER
                )
                if row is None:
                    break
                claimed.append(_entry(row))
        return claimed

    async def release(self, entry: InboxEntry, *, delay: float = 0.0) -> None:
        """Keep what happened to a claimed entry; it can be claimed again after a delay."""
        async with translated():
            due = None
            if delay:
                due = await server_time(self._storage.database) + timedelta(seconds=delay)
            values = {
                LEASED: None,
                "attempts": entry.attempts,
                "last_error": entry.last_error,
                "available_at": due,
            }
            if entry.last_error is not None:
                values |= await self._failed(entry)
            waiting: dict[str, Any] = {KEY: _key(entry), "processed_at": None}
            if entry.claim_id is not None:
                waiting[CLAIM] = entry.claim_id
            await self._rows.update_one(waiting, {"$set": values})

    async def _failed(self, entry: InboxEntry) -> dict[str, Any]:
        """What is noted with an entry that failed."""
        counters = self._storage.collection(COUNTERS)
        number, now = await next_number(counters, aside_of(INBOX), 1)
        failure = inbox_failure(entry, aware(now), in_hand=False)
        kind = {"error_type": failure.error_type, "group": failure.consumer_group}
        return {FAILED_AT: now, ASIDE: number, **kind}

    def failures(self) -> InboxFailures:
        """The entries that failed and wait for another attempt, as operators see them."""
        return InboxFailures(self._storage, INBOX, _entry, self._clock)

    async def is_processed(self, entry_id: UUID) -> bool:
        """Whether an entry was handled."""
        wanted = {f"{KEY}.id": entry_id, "processed_at": {"$ne": None}}
        async with translated():
            return await self._rows.find_one(wanted, {KEY: 1}) is not None

    async def discard(self, entry_id: UUID) -> None:
        """Remove an entry that was dead-lettered, so that it can be handled when it comes again."""
        async with translated():
            await self._rows.delete_many({f"{KEY}.id": entry_id})

    async def forget(self, before: datetime) -> int:
        """Remove what was handled before a moment, and return how much that was."""
        moment = before.astimezone(UTC).replace(tzinfo=None)
        async with translated():
            gone = await self._rows.delete_many({"processed_at": {"$lt": moment}})
        return gone.deleted_count


class Inbox:
    """The inbox of one unit of work."""

    __slots__ = ("_inbox", "_uow")

    def __init__(self, uow: "BeanieUnitOfWork", inbox: BeanieInbox) -> None:
        self._uow = uow
        self._inbox = inbox

    async def accept(self, event_id: UUID, handler_name: str = "") -> bool:
        """Tell whether the handler sees the event for the first time, and remember it.

        The memory is part of this transaction: it goes when the transaction is rolled back. Another
        transaction that accepts the same event waits until this one ends, or is aborted.
        """
        now = self._inbox.now()
        entry = InboxEntry(
            entry_id=event_id, handler_name=handler_name, received_at=now, processed_at=now
        )
        return await self._uow.write(None, lambda t: self._inbox.accept(t.session, entry))


def _key(entry: InboxEntry) -> dict[str, Any]:
    return {"id": entry.entry_id, "handler": entry.handler_name}


def _entry(row: dict[str, Any]) -> InboxEntry:
    values = loaded(row, _FIELDS)
    return InboxEntry(entry_id=row[KEY]["id"], handler_name=row[KEY]["handler"], **values)
