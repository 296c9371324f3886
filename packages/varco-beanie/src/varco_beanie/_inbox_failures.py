"""The entries of an inbox in a collection that failed and wait for another attempt."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from varco_beanie._codecs import FINER
from varco_beanie._collections import KEY
from varco_beanie._envelopes import ASIDE, LEASED, Document
from varco_beanie._failures import DocumentFailures, Shape
from varco_events import RELAY_HANDLER, InboxEntry, inbox_failure

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage

FAILED_AT = "failed_at"
# What an entry has while it is a failure, and only then.
NOTED = (FAILED_AT, "error_type", "group", ASIDE)


class InboxFailures(DocumentFailures):
    """What pollers will try again, and operators may have tried now, or not at all."""

    def __init__(
        self,
        storage: "Storage",
        collection: str,
        entry_of: Callable[[Document], InboxEntry],
        clock: Callable[[], datetime],
    ) -> None:
        shape = Shape(
            collection=collection,
            is_failure={FAILED_AT: {"$exists": True}},
            is_waiting={"processed_at": None, FAILED_AT: None},
            load=lambda row, at, in_hand, place: inbox_failure(
                entry_of(row), at, in_hand=in_hand, position=place
            ),
            places={
                "channel": "channel",
                "event_type": "event_type",
                "error_type": "error_type",
                "handler": f"{KEY}.handler",
                "consumer_group": "group",
                "key": "key",
            },
            same={},
            nameless=RELAY_HANDLER,
            entry_id=f"{KEY}.id",
            failed_at=FAILED_AT,
            waiting_since="received_at",
            order=("received_at", f"received_at{FINER}", f"{KEY}.id", f"{KEY}.handler"),
        )
        super().__init__(storage, shape)
        self._clock = clock

    async def _give_back(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        nothing = ("available_at", LEASED, "last_error", *NOTED)
        return await self._rows.update_many(
            {KEY: {"$in": keys}},
            {"$set": {"attempts": 0}, "$unset": dict.fromkeys(nothing, "")},
            session=session,
        )

    async def _remove(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        """As handled, so that it is not handled when it comes again."""
        now = self._clock().astimezone(UTC).replace(tzinfo=None)
        changed = {"processed_at": now, "payload": b""}
        return await self._rows.update_many(
            {KEY: {"$in": keys}},
            {"$set": changed, "$unset": dict.fromkeys(NOTED, "")},
            session=session,
        )
