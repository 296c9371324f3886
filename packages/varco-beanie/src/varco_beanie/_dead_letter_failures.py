"""The dead letters in a collection, as operators see them."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from varco_beanie._collections import KEY
from varco_beanie._envelopes import CLAIM, LEASED, Document, server_time, translated
from varco_beanie._failures import DocumentFailures, Shape
from varco_events import (
    AbstractDeadLetterQueue,
    AbstractEventBus,
    ActionResult,
    DeadLetterEntry,
    DeadLetterFailureStore,
    Failure,
    FailureOutcome,
)

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage


class DeadLetterFailures(DeadLetterFailureStore, DocumentFailures):
    """The entries of a dead letter queue."""

    def __init__(
        self,
        storage: "Storage",
        collection: str,
        entry_of: Callable[[Document], DeadLetterEntry],
        queue: AbstractDeadLetterQueue,
        bus: AbstractEventBus | None,
    ) -> None:
        DeadLetterFailureStore.__init__(self, bus)
        shape = Shape(
            collection=collection,
            is_failure={},
            is_waiting=None,
            load=lambda row, at, in_hand, place: self.failure_of(
                entry_of(row), failed_at=at, in_hand=in_hand, position=place
            ),
            places={
                "channel": "channel",
                "event_type": "envelope.event_type",
                "error_type": "error_type",
                "handler": "handler_name",
                "consumer_group": "group",
                "key": "envelope.key",
            },
            same={},
            failed_at="failed_at",
            waiting_since="failed_at",
            number="seq",
            order=("seq",),
        )
        DocumentFailures.__init__(self, storage, shape)
        self._queue = queue
        # What this store has leased for a retry, and under which claims.
        self._held: dict[UUID, UUID] = {}

    @property
    def _counted_as(self) -> str:
        return self._shape.collection

    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand, by the clock of the server."""
        if not entry_ids:
            return [], ()
        claim_id = uuid4()

        async def hold(
            session: "AsyncClientSession",
        ) -> tuple[list[Failure], Collection[UUID]]:
            free, outcomes = await self.take(session, entry_ids)
            if free:
                until = await server_time(self._storage.database) + timedelta(seconds=lease)
                await self._rows.update_many(
                    {KEY: {"$in": [row[KEY] for row in free]}},
                    {"$set": {LEASED: until, CLAIM: claim_id}},
                    session=session,
                )
            in_hand = [
                one for one, outcome in outcomes.items() if outcome is FailureOutcome.IN_HAND
            ]
            return [self.loaded(row, in_hand=False) for row in free], in_hand

        held, others = await self.run(hold)
        self._held.update((one.entry_id, claim_id) for one in held)
        return held, others

    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""
        claims = {self._held.pop(one) for one in (*done, *given_back) if one in self._held}
        async with translated():
            if done:
                await self._rows.delete_many({KEY: {"$in": list(done)}})
            if given_back:
                back = {KEY: {"$in": list(given_back)}, CLAIM: {"$in": list(claims)}}
                await self._rows.update_many(back, {"$unset": {LEASED: ""}})

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove entries that nobody has in hand."""
        return await DocumentFailures.discard(self, entry_ids)

    async def _give_back(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        raise NotImplementedError  # they are sent

    async def _remove(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        return await self._rows.delete_many({KEY: {"$in": keys}}, session=session)

    async def add(self, failure: Failure) -> None:
        """Push an entry."""
        await self._queue.push(self.letter_of(failure))
