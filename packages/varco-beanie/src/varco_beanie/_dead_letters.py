"""Dead letters in a collection."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from pymongo import IndexModel, ReturnDocument

from varco_beanie._collections import KEY
from varco_beanie._counters import COUNTERS
from varco_beanie._dead_letter_failures import DeadLetterFailures
from varco_beanie._envelopes import (
    CLAIM,
    LEASED,
    is_over,
    loaded,
    next_number,
    server_time,
    stored,
    translated,
)
from varco_beanie._indexes import create_indexes
from varco_beanie._transaction import Transaction
from varco_events import (
    AbstractDeadLetterQueue,
    AbstractEventBus,
    DeadLetterEntry,
    DeadLetterQueueFullError,
    EventEnvelope,
    takes_former_names,
)

if TYPE_CHECKING:
    from varco_beanie._storage import Storage

DEAD_LETTERS: Final = "varco_dead_letters"
_FIELDS: Final = (
    "channel",
    "handler_name",
    "error_type",
    "error_message",
    "attempts",
    "first_failed_at",
    "last_failed_at",
    "origin",
    "group",
)
_ENVELOPE: Final = (
    "event_id",
    "event_type",
    "version",
    "channel",
    "key",
    "time",
    "headers",
    "payload",
)


class BeanieDeadLetterQueue(AbstractDeadLetterQueue):
    """Failed events in a collection; safe to use from several tasks and processes.

    Args:
        storage: The database.
        max_size: A push beyond it is refused; None for no limit.
    """

    def __init__(self, storage: "Storage", *, max_size: int | None = None) -> None:
        self._storage = storage
        self._rows = storage.collection(DEAD_LETTERS)
        self._counters = storage.collection(COUNTERS)
        self._max_size = max_size

    @property
    def indexes(self) -> list[IndexModel]:
        """What leases and operators look through."""
        kind = ("handler_name", "error_type", "group", "seq", "failed_at")
        fields = {"seq": ("seq",), "kind": kind, "channel": ("channel", "seq", "failed_at")}
        return [
            IndexModel([(each, 1) for each in of], name=f"ix_varco_dead_letters_{name}")
            for name, of in fields.items()
        ]

    async def create_indexes(self) -> None:
        """Create those that are missing."""
        await create_indexes(self._rows, self.indexes)

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append an entry; an entry id that is there already is kept once."""
        transaction = Transaction(
            self._storage.database.client, transactions=self._max_size is not None
        )
        try:
            await transaction.write(None, lambda: self._push(transaction, entry), bulk=True)
            await transaction.commit()
        finally:
            await transaction.rollback()

    async def _push(self, transaction: Transaction, entry: DeadLetterEntry) -> None:
        # With a limit, whoever pushes at the same time conflicts with this, and comes after it.
        session = transaction.session
        number, now = await next_number(self._counters, DEAD_LETTERS, 1, session)
        if self._max_size is not None:
            if await self._rows.find_one({KEY: entry.entry_id}, session=session) is not None:
                return
            if await self._rows.count_documents({}, session=session) >= self._max_size:
                raise DeadLetterQueueFullError(entry.entry_id, self._max_size)
        row = {
            "seq": number,
            "failed_at": now,
            **stored(entry, _FIELDS),
            "envelope": stored(entry.envelope, _ENVELOPE),
        }
        await self._rows.update_one(
            {KEY: entry.entry_id}, {"$setOnInsert": row}, upsert=True, session=session
        )

    @takes_former_names(visibility_timeout="lease")
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, by the clock of the server."""
        found: list[DeadLetterEntry] = []
        claim_id = uuid4()
        async with translated():
            now = await server_time(self._storage.database)
            until = now + timedelta(seconds=lease)
            while len(found) < limit:
                row = await self._rows.find_one_and_update(
                    is_over(LEASED, now),
                    {"$set": {LEASED: until, CLAIM: claim_id}},
                    sort=[("seq", 1)],
                    return_document=ReturnDocument.AFTER,
                )
                if row is None:
                    break
                found.append(_entry(row).of_claim(claim_id))
        return found

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good."""
        async with translated():
            await self._rows.delete_one({KEY: entry_id})

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:
        """Make a leased entry visible again, at its old place, unless another has leased it."""
        held: dict[str, Any] = {KEY: entry_id}
        if claim_id is not None:
            held[CLAIM] = claim_id
        async with translated():
            await self._rows.update_one(held, {"$unset": {LEASED: ""}})

    async def count(self) -> int:
        """How many entries are kept, leased ones included."""
        async with translated():
            return await self._rows.count_documents({})

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailures:
        """The entries as operators see them: filtered, grouped, retried and discarded."""
        return DeadLetterFailures(self._storage, DEAD_LETTERS, _entry, self, bus)

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""
        async with translated():
            if limit <= 0:
                return []
            found = self._rows.find({}, sort=[("seq", 1)], limit=limit)
            return [_entry(each) for each in await found.to_list()]


def _entry(row: dict[str, Any]) -> DeadLetterEntry:
    envelope = EventEnvelope(**loaded(row["envelope"], _ENVELOPE))
    return DeadLetterEntry(entry_id=row[KEY], envelope=envelope, **loaded(row, _FIELDS))
