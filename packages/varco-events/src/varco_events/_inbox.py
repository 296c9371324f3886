"""Events that were received, and which of them were handled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from uuid import UUID, uuid4

import anyio

from varco_events._errors import EventsConfigError
from varco_events._outbox import columns_of, envelope_of, is_same, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer
    from varco_events._failure_store import FailureStore


@dataclass(frozen=True, slots=True, eq=False)
class InboxEntry:
    """One event that was received, for one handler when it has a `handler_name`.

    `event_id` and what follows it are the rest of the envelope; rows without them are those of
    older versions. `claim_id` tells the claims of a store apart, see `InboxRepository.release`.
    """

    entry_id: UUID = field(default_factory=uuid4)
    event_type: str = ""
    channel: str = "default"
    payload: bytes = b""
    received_at: datetime = field(default_factory=utcnow)
    processed_at: datetime | None = None
    handler_name: str = ""
    event_id: UUID | None = None
    version: int = 1
    key: str | None = None
    time: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    attempts: int = 0
    leased_until: datetime | None = None
    last_error: str | None = None
    available_at: datetime | None = None
    claim_id: UUID | None = None

    @classmethod
    def from_event(
        cls,
        event: Event,
        *,
        channel: str = "default",
        serializer: EventSerializer | None = None,
    ) -> Self:
        """The entry of `event`, under its id, so that a repetition is seen as one."""
        from varco_events._envelope import EventEnvelope  # noqa: PLC0415  # pydantic when needed

        return cls.of(EventEnvelope.of(event, channel=channel, serializer=serializer))

    @classmethod
    def of(cls, envelope: EventEnvelope) -> Self:
        """The entry of an envelope, under the id of its event."""
        return cls(entry_id=envelope.event_id, **columns_of(envelope))

    @property
    def envelope(self) -> EventEnvelope:
        """The whole envelope."""
        return envelope_of(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InboxEntry) and is_same(self, other)

    def __hash__(self) -> int:
        return hash(self.entry_id)


class InboxRepository(ABC):
    """Where inbox entries are kept.

    An effect happens exactly once when `handling` puts the handler and the mark into one
    transaction of the database that the handler writes to.
    """

    @abstractmethod
    async def save(self, entry: InboxEntry) -> None:
        """Store `entry`; an id that is there already is left as it is."""

    @abstractmethod
    async def mark_processed(self, entry_id: UUID) -> None:
        """Note that an entry was handled; an unknown id is no error."""

    @abstractmethod
    async def get_unprocessed(self, *, limit: int = 100) -> list[InboxEntry]:
        """The oldest entries that are not marked."""

    def now(self) -> datetime:
        """The time by which entries are claimed: that of the store, where it has one."""
        return utcnow()

    async def claim(self, *, limit: int = 100, lease: float = 60.0) -> list[InboxEntry]:
        """Take the oldest entries that are not marked and that nobody has in hand.

        An entry of a handler is in its hand for `lease` seconds from when it was received. This
        default knows what was claimed through this object, for a single process; an inbox that
        several processes poll overrides it and counts the attempt in its database.

        Returns:
            The entries, leased for `lease` seconds; `attempts` has the one that begins.
        """
        window = limit
        while True:
            pending = await self.get_unprocessed(limit=window)
            now = self.now()
            held, until = self._held(now), now + timedelta(seconds=lease)
            free = [entry for entry in pending if is_free(entry, held, now, lease)][:limit]
            if len(free) == limit or len(pending) < window:
                break
            window *= 2  # what is in hand must not hide the others
        claim_id = uuid4()
        claimed = [
            replace(
                entry,
                leased_until=until,
                attempts=known.attempts + 1,
                last_error=known.last_error,
                claim_id=claim_id,
            )
            for entry in free
            for known in (held.get((entry.entry_id, entry.handler_name), entry),)
        ]
        held.update(((entry.entry_id, entry.handler_name), entry) for entry in claimed)
        return claimed

    async def release(self, entry: InboxEntry, *, delay: float = 0.0) -> None:
        """Keep what happened to a claimed entry; it can be claimed again after `delay` seconds.

        Nothing happens to one that another claim has by now: its `claim_id` is another.
        """
        until = self.now() + timedelta(seconds=delay)
        held: dict[tuple[UUID, str], InboxEntry] = self._held(self.now())
        known = held.get((entry.entry_id, entry.handler_name))
        if known is not None and entry.claim_id not in {None, known.claim_id}:
            return
        held[entry.entry_id, entry.handler_name] = replace(entry, leased_until=until)

    def _held(self, now: datetime) -> dict[tuple[UUID, str], InboxEntry]:
        """What was claimed; also what was handled since, for whoever looked before that."""
        held: dict[tuple[UUID, str], InboxEntry] = vars(self).setdefault("_held_entries", {})
        if len(held) > _MAX_HELD:
            for key in [key for key, entry in held.items() if not _is_leased(entry, now)]:
                del held[key]
        return held

    def failures(self) -> FailureStore:
        """The entries that failed and wait for another attempt, as operators see them.

        Raises:
            EventsConfigError: this inbox cannot.
        """
        raise EventsConfigError(f"{type(self).__name__} cannot show failures; implement failures()")

    async def is_processed(self, entry_id: UUID) -> bool:  # noqa: ARG002  # for those that can tell
        """Whether an entry was marked. Without an implementation, repetitions are handled again.

        Implement `discard` as well, so that an event that was dead-lettered and handled since is
        recognized when the dead letter is driven again.
        """
        return False

    async def discard(self, entry_id: UUID) -> None:
        """Remove an entry that was dead-lettered; an unknown id is no error.

        This default marks it, and a dead letter that is driven again is then no repetition. Do not
        override it with the same: an override says that the entry is really gone.
        """
        await self.mark_processed(entry_id)

    @asynccontextmanager
    async def handling(self, entry: InboxEntry) -> AsyncGenerator[bool]:
        """The block in which `entry` is handled; what `as` binds says whether it has to be.

        The entry is marked when the block ends well. Override it to do all of it, the block
        included, in one transaction.
        """
        if await self.is_processed(entry.entry_id):
            yield False
            return
        await self.save(entry)
        yield True
        with anyio.CancelScope(shield=True):  # it is handled and must not come again
            await self.mark_processed(entry.entry_id)


# How many entries the default claim remembers before it forgets those whose leases are over.
_MAX_HELD = 10_000


def _is_leased(entry: InboxEntry, now: datetime) -> bool:
    return entry.leased_until is not None and entry.leased_until > now


def is_free(
    entry: InboxEntry, held: Mapping[tuple[UUID, str], InboxEntry], now: datetime, lease: float
) -> bool:
    if entry.handler_name and entry.received_at + timedelta(seconds=lease) > now:
        return False
    if entry.available_at is not None and entry.available_at > now:
        return False
    return not _is_leased(held.get((entry.entry_id, entry.handler_name), entry), now)
