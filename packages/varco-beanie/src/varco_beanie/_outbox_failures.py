"""The parked entries of an outbox in a collection, and the keys that one entry holds back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from varco_beanie._collections import KEY
from varco_beanie._envelopes import ASIDE, LEASED, Document, aware, is_over, server_time, translated
from varco_beanie._failures import DocumentFailures, Shape
from varco_beanie._line import AT_ONCE, BEHIND, HELD, PARKED, READY, SEQ
from varco_events import (
    RELAY_HANDLER,
    ActionResult,
    Failure,
    HeldKey,
    OutboxEntry,
    OutboxFailureStore,
    check_ids,
    error_of_parts,
    relay_failure,
)

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage


class OutboxFailures(DocumentFailures, OutboxFailureStore):
    """The parked entries of an outbox, and its held-back keys."""

    def __init__(
        self,
        storage: "Storage",
        collection: str,
        entry_of: Callable[[Document], OutboxEntry],
        insert: Callable[[OutboxEntry], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        places = {
            "channel": "channel",
            "event_type": "event_type",
            "error_type": "error_type",
            "key": "key",
        }
        shape = Shape(
            collection=collection,
            is_failure={PARKED: True},
            is_waiting={PARKED: False},
            load=lambda row, at, _in_hand, place: relay_failure(entry_of(row), at, position=place),
            places=places,
            same={"handler": RELAY_HANDLER, "consumer_group": ""},
            failed_at="parked_at",
            waiting_since="created_at",
            order=(SEQ,),
        )
        super().__init__(storage, shape)
        self._insert = insert
        self._wake = wake

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give parked entries back to the relays."""
        result = await super().retry(entry_ids)
        if result.done:
            self._wake()
        return result

    async def _give_back(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        nothing = ("available_at", LEASED, "last_error", "error_type", "parked_at", ASIDE, BEHIND)
        changed = {PARKED: False, "attempts": 0, READY: AT_ONCE}
        return await self._rows.update_many(
            {KEY: {"$in": keys}},
            {"$set": changed, "$unset": dict.fromkeys(nothing, "")},
            session=session,
        )

    async def _remove(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        return await self._rows.delete_many({KEY: {"$in": keys}}, session=session)

    async def add(self, failure: Failure) -> None:
        """Park an entry."""
        entry = replace(
            OutboxEntry.of(failure.envelope),
            entry_id=failure.entry_id,
            attempts=failure.attempts,
            last_error=error_of_parts(failure.error_type, failure.error_message),
        )
        await self._insert(entry)

    async def held_keys(self, *, limit: int = 100) -> list[HeldKey]:
        """Keys whose first entry is not due yet."""
        found: list[HeldKey] = []
        async with translated():
            now = await server_time(self._storage.database)
            later = {"$gt": now}
            postponed = {HELD: True, READY: later, "available_at": later, PARKED: False}
            cursor = self._rows.find(
                {**postponed, "key": {"$ne": None}}, sort=[("available_at", 1), (SEQ, 1)]
            )
            async with cursor:
                async for row in cursor:
                    if len(found) >= limit:
                        break
                    line = {"key": row["key"], PARKED: False}
                    first = await self._rows.find_one(line, {SEQ: 1}, sort=[(SEQ, 1)])
                    if first is not None and first[SEQ] == row[SEQ]:
                        found.append(_held(row, await self._rows.count_documents(line)))
        return found

    async def release_keys(self, keys: Sequence[str]) -> int:
        """Make the next attempt of such keys due now."""
        asked = check_ids(keys)

        async def release(session: "AsyncClientSession") -> int:
            now = await server_time(self._storage.database)
            held = {
                "key": {"$in": asked},
                HELD: True,
                PARKED: False,
                "available_at": {"$gt": now},
                **is_over(LEASED, now),
            }
            rows = await self._rows.find(held, {"key": 1}, session=session).to_list()
            if rows:
                await self._rows.update_many(
                    {KEY: {"$in": [row[KEY] for row in rows]}},
                    {"$set": {READY: AT_ONCE, "available_at": None}},
                    session=session,
                )
            return len({row["key"] for row in rows})

        released = await self.run(release) if asked else 0
        if released:
            self._wake()
        return released


def _held(row: Document, waiting: int) -> HeldKey:
    return HeldKey(
        key=row["key"],
        channel=row["channel"],
        entry_id=row[KEY],
        event_type=row["event_type"],
        attempts=int(row["attempts"]),
        error=row.get("last_error") or "",
        until=aware(row["available_at"]),
        waiting=waiting,
    )
