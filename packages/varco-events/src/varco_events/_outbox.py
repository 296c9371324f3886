"""Events that wait in the database of the entities they tell about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer
    from varco_events._failure_store import OutboxFailureStore
    from varco_events._inbox import InboxEntry


_COLUMNS = frozenset(
    {"event_type", "channel", "payload", "key", "event_id", "version", "time", "headers"}
)
_NO_HEADERS: Mapping[str, str] = {}


def utcnow() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, init=False, eq=False)
class OutboxEntry:
    """One event on its way to the bus.

    Entries of one `key` are delivered in the order they were saved; None means no order.

    `event_type`, `channel`, `payload`, `key` and what `event_id` begins are the envelope, column
    by column; a store keeps all of them. Rows without an `event_id` are those of older versions.
    Entries are equal when their envelopes and the other fields are. A claim says with `is_counted`
    that `attempts` has the attempt which it is for, and with `was_interrupted` that the one before
    did not end; no store keeps the two. `claim_id` tells the claims of a store apart that fences
    what is done in their name, see `OutboxRepository.claim`.
    """

    entry_id: UUID
    event_type: str
    channel: str
    payload: bytes
    created_at: datetime
    key: str | None
    attempts: int
    available_at: datetime | None
    last_error: str | None
    leased_until: datetime | None
    event_id: UUID | None
    version: int
    time: datetime | None
    headers: Mapping[str, str]
    is_counted: bool
    was_interrupted: bool
    claim_id: UUID | None

    def __init__(
        self,
        entry_id: UUID | None = None,
        event_type: str = "",
        channel: str = "default",
        payload: bytes = b"",
        created_at: datetime | None = None,
        key: str | None = None,
        attempts: int = 0,
        available_at: datetime | None = None,
        last_error: str | None = None,
        leased_until: datetime | None = None,
        event_id: UUID | None = None,
        version: int = 1,
        time: datetime | None = None,
        headers: Mapping[str, str] | None = None,
        is_counted: bool = False,
        was_interrupted: bool = False,
        claim_id: UUID | None = None,
    ) -> None:
        # An outbox makes one for every row: the __init__ of a frozen dataclass takes four times
        # as long.
        values = self.__dict__
        values["entry_id"] = uuid4() if entry_id is None else entry_id
        values["event_type"] = event_type
        values["channel"] = channel
        values["payload"] = payload
        values["created_at"] = utcnow() if created_at is None else created_at
        values["key"] = key
        values["attempts"] = attempts
        values["available_at"] = available_at
        values["last_error"] = last_error
        values["leased_until"] = leased_until
        values["event_id"] = event_id
        values["version"] = version
        values["time"] = time
        values["headers"] = _NO_HEADERS if headers is None else headers
        values["is_counted"] = is_counted
        values["was_interrupted"] = was_interrupted
        values["claim_id"] = claim_id

    @classmethod
    def from_event(
        cls,
        event: Event,
        *,
        channel: str = "default",
        serializer: EventSerializer | None = None,
        key: str | None = None,
    ) -> Self:
        """The entry of `event`; `key` is that of the event unless one is given."""
        from varco_events._envelope import EventEnvelope  # noqa: PLC0415  # pydantic when needed

        return cls.of(EventEnvelope.of(event, channel=channel, serializer=serializer, key=key))

    @classmethod
    def of(cls, envelope: EventEnvelope) -> Self:
        """The entry of an envelope."""
        entry = cls(**columns_of(envelope))
        entry.__dict__["_envelope"] = envelope
        return entry

    @property
    def envelope(self) -> EventEnvelope:
        """The whole envelope, for the bus."""
        made: EventEnvelope | None = self.__dict__.get("_envelope")
        return envelope_of(self) if made is None else made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutboxEntry) and is_same(self, other)

    def __hash__(self) -> int:
        return hash(self.entry_id)


def is_same(one: OutboxEntry | InboxEntry, other: OutboxEntry | InboxEntry) -> bool:
    """Whether two entries have the same envelope, whatever is in columns, and the rest."""
    rest = [field.name for field in fields(one) if field.name not in _COLUMNS]
    return one.envelope == other.envelope and all(
        getattr(one, name) == getattr(other, name) for name in rest
    )


def columns_of(envelope: EventEnvelope) -> dict[str, Any]:
    """The columns of an envelope."""
    return {name: getattr(envelope, name) for name in _COLUMNS}


def envelope_of(entry: OutboxEntry | InboxEntry) -> EventEnvelope:
    """The envelope of its columns; those that are missing are looked up in the payload."""
    from varco_events._envelope import EventEnvelope  # noqa: PLC0415  # pydantic when needed

    if entry.event_id is None:
        return EventEnvelope.around(
            entry.payload,
            event_type=entry.event_type,
            channel=entry.channel,
            key=entry.key,
            time=entry.created_at if isinstance(entry, OutboxEntry) else entry.received_at,
        )
    return EventEnvelope(
        event_id=entry.event_id,
        event_type=entry.event_type,
        version=entry.version,
        channel=entry.channel,
        key=entry.key,
        time=entry.time,
        headers=entry.headers,
        payload=entry.payload,
    )


class OutboxRepository(ABC):
    """Where outbox entries are kept.

    `save`, `get_pending` and `delete` are enough for one relay process: leases, attempts and
    backoff are then kept in memory, per repository object. An implementation that several
    processes relay from overrides `claim`, `renew`, `release` and `park` with what its database
    does atomically.
    """

    @abstractmethod
    async def save(self, entry: OutboxEntry) -> None:
        """Store `entry`, in the transaction of the caller where the database has one."""

    @abstractmethod
    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries in the order they were saved, leased ones included."""

    @abstractmethod
    async def delete(self, entry_id: UUID) -> None:
        """Forget a delivered entry; an unknown id is no error."""

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store several entries in order."""
        for entry in entries:
            await self.save(entry)

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget several delivered entries."""
        # Not while a claim looks: it could have seen an entry that is gone when it takes it.
        async with self._lock():
            for entry_id in entry_ids:
                await self.delete(entry_id)
                self._held().pop(entry_id, None)

    async def acknowledge(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget entries that were claimed and delivered."""
        await self.delete_many([one.entry_id for one in entries if self._is_of_claim(one)])

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease up to `limit` entries for `lease` seconds, in the order they were saved.

        Never an entry that is leased, parked or not yet `available_at`, nor one whose key has an
        earlier entry that is not in the same claim, unless that one is parked. Time is that of the
        store (of the database, say), and the entries' `leased_until` tells it to the relay.

        An entry whose lease ran out may have killed the process that had it. It is claimed alone,
        and a claim of one entry counts its attempt in the store before it is returned: see
        `batch_of`, which does both. The relay gives back an attempt that was none.

        A process that is stopped for longer than its lease does not know what it has lost. So each
        claim has a `claim_id`, and `acknowledge`, `renew`, `release` and `park` change nothing that
        another claim has by now.
        """
        held = self._held()
        window = limit + len(held)
        async with self._lock():
            while True:
                pending = await self.get_pending(limit=window)
                claimed = _claimable(pending, held, limit)
                if len(claimed) == limit or len(pending) < window:
                    break
                window *= 2  # a long queue of one key must not hide the others
            if len(pending) < window:  # all there is: forget what others deleted
                known = {entry.entry_id for entry in pending}
                for entry_id in [one for one in held if one not in known]:
                    del held[entry_id]
            until, claim_id = utcnow() + timedelta(seconds=lease), uuid4()
            claimed = [
                replace(entry, leased_until=until, claim_id=claim_id)
                for entry in self.batch_of(claimed)
            ]
            held.update((entry.entry_id, entry) for entry in claimed)
        return claimed

    @staticmethod
    def batch_of(entries: Sequence[OutboxEntry]) -> list[OutboxEntry]:
        """What one claim may return of `entries`, which are claimable and in order.

        Their `leased_until` is still what is stored: a time means that a lease ran out. Store the
        `attempts` of what this returns.
        """
        batch: list[OutboxEntry] = []
        for entry in entries:
            if entry.leased_until is not None:
                batch = batch or [entry]
                break
            batch.append(entry)
        if len(batch) != 1:
            return batch
        (alone,) = batch
        interrupted = alone.leased_until is not None
        attempts = alone.attempts + 1
        return [replace(alone, attempts=attempts, is_counted=True, was_interrupted=interrupted)]

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold claimed entries for `lease` seconds from now; those that are gone are left out.

        Relays call it while what they have in hand is not finished. An implementation that
        overrides `claim` overrides this too.
        """
        held, until = self._held(), utcnow() + timedelta(seconds=lease)
        for entry in entries:
            if entry.entry_id in held and self._is_of_claim(entry):
                held[entry.entry_id] = replace(held[entry.entry_id], leased_until=until)

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End the lease of `entries`; keep their `attempts`, `available_at` and `last_error`."""
        held = self._held()
        for entry in filter(self._is_of_claim, entries):
            held[entry.entry_id] = replace(
                entry, leased_until=None, is_counted=False, was_interrupted=False
            )

    async def park(self, entry: OutboxEntry) -> None:
        """Keep `entry` but never claim it again; entries of its key go on."""
        if self._is_of_claim(entry):
            never = datetime.max.replace(tzinfo=UTC)
            self._held()[entry.entry_id] = replace(entry, leased_until=None, available_at=never)

    def _is_of_claim(self, entry: OutboxEntry) -> bool:
        """Whether no other claim of this object has the entry by now."""
        held = self._held().get(entry.entry_id)
        return held is None or entry.claim_id in {None, held.claim_id}

    def failures(self) -> OutboxFailureStore:
        """The parked entries and the held-back keys as operators see them.

        Raises:
            EventsConfigError: this outbox cannot.
        """
        from varco_events._errors import EventsConfigError  # noqa: PLC0415  # when needed

        raise EventsConfigError(f"{type(self).__name__} cannot show failures; implement failures()")

    def now(self) -> datetime:
        """The time of the store, for entries whose `leased_until` does not tell it."""
        return utcnow()

    def notify(self) -> None:
        """Wake the relays of this process: entries were committed."""
        state = vars(self)
        state["_work"] = True
        for waiter in state.get("_waiters", ()):
            waiter.set()

    async def wait_for_work(self, timeout: float) -> None:  # noqa: ASYNC109  # seconds, as everywhere
        """Return when `notify()` was called since the last wait, or after `timeout` seconds."""
        state = vars(self)
        if not state.get("_work"):
            waiters: set[anyio.Event] = state.setdefault("_waiters", set())
            waiter = anyio.Event()
            waiters.add(waiter)
            try:
                with anyio.move_on_after(timeout):
                    await waiter.wait()
            finally:
                waiters.discard(waiter)
        state["_work"] = False

    def _lock(self) -> anyio.Lock:
        """What keeps the default claims and deletions of one repository apart."""
        lock: anyio.Lock = vars(self).setdefault("_claim_lock", anyio.Lock())
        return lock

    def _held(self) -> dict[UUID, OutboxEntry]:
        """What the defaults know of entries that were claimed; made late, for no __init__."""
        held: dict[UUID, OutboxEntry] = vars(self).setdefault("_held_entries", {})
        return held


def _claimable(
    pending: Sequence[OutboxEntry], held: dict[UUID, OutboxEntry], limit: int
) -> list[OutboxEntry]:
    """The first entries that nothing holds back, and that no earlier one of their key does."""
    now, never = utcnow(), datetime.max.replace(tzinfo=UTC)
    claimed: list[OutboxEntry] = []
    blocked: set[str] = set()
    for stored in pending:
        entry = held.get(stored.entry_id, stored)
        if entry.available_at == never or entry.key in blocked:  # parked, or not its turn
            continue
        if len(claimed) < limit and is_claimable(entry, now):
            claimed.append(entry)
        elif entry.key is not None:
            blocked.add(entry.key)
    return claimed


def is_claimable(entry: OutboxEntry, now: datetime) -> bool:
    """Whether nothing but its key can hold an entry back."""
    return (entry.leased_until is None or entry.leased_until <= now) and (
        entry.available_at is None or entry.available_at <= now
    )
