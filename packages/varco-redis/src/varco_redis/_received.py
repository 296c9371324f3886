"""An event as it lies in Redis: an envelope as the fields of an entry of a stream."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from varco_events import (
    DeadLetterEntry,
    Delivery,
    EventDecodeError,
    EventEnvelope,
    HandlerOutcome,
    Outcome,
    from_fields,
    to_fields,
)
from varco_redis._errors import RedisPoisonError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from varco_events import Event, EventSerializer

# Short names, which processes of the first version read as well; the stream says the channel.
_SHORT = {"varco-payload": b"e", "varco-key": b"k", "varco-handler": b"h"}
_LONG = {short: name for name, short in _SHORT.items()}
_CHANNEL, _PAYLOAD = "varco-channel", "varco-payload"
_PACKED = b'{"envelope": '


@dataclass(slots=True, eq=False)
class Received:
    """An event as it came from Redis, and what is known of its attempts."""

    stream: str
    number: str
    channel: str
    fields: dict[bytes, bytes] | None
    """None while it waits behind so many others that it is read again when its turn comes."""
    key: bytes = b""
    attempts: int = 0
    """How many were begun and not given back, the one that runs left out."""
    counted: bool = False
    """Whether the attempt that runs, or comes next, is counted already."""
    claimed: bool = False
    """Whether it was taken before, by a process that may have died of it."""
    rejections: int = 0
    handlers: Collection[str] | None = None
    """Those that are left after an attempt; all when None."""
    first_failed_at: datetime | None = None
    envelope: EventEnvelope | None = None

    @property
    def place(self) -> str:
        """Where it lies; unique, for ever."""
        return f"{self.stream} {self.number}"

    def read(self) -> EventEnvelope:
        """The envelope; one around the bytes when there is no more than these."""
        if self.envelope is None:
            self.envelope = _read(self.fields or {}, self.channel)
        return self.envelope

    def event(self, serializer: EventSerializer) -> Event:
        """The event; as it came when it cannot be read."""
        envelope = self.read()
        try:
            return envelope.event or serializer.deserialize(envelope.payload)
        except Exception:  # noqa: BLE001 # whatever the bytes lead to
            return envelope.raw()

    def undelivered(self) -> Delivery:
        """What is to be said of it when the attempts are used up and nobody can say by what."""
        return self._given_up(Outcome.FAILED, RedisPoisonError(self.attempts))

    def unreadable(self) -> Delivery | None:
        """What is to be said when nobody can tell what it is; None when one can."""
        envelope = self.read()
        if envelope.event_type:
            return None
        error = EventDecodeError(f"{len(envelope.payload)} bytes that name no event type")
        return self._given_up(Outcome.UNREADABLE, error)

    def _given_up(self, outcome: Outcome, error: Exception) -> Delivery:
        envelope = self.read()
        return Delivery(envelope, (HandlerOutcome(envelope.handler or "", outcome, error),))

    def dead_letters(
        self, failed: Iterable[HandlerOutcome], group: str
    ) -> Iterator[DeadLetterEntry]:
        """One for each handler that failed, the same whenever it is made."""
        now = datetime.now(UTC)
        for one in failed:
            assert one.error is not None  # noqa: S101 # of what failed
            yield DeadLetterEntry.from_failure(
                envelope=self.read(),
                handler_name=one.handler,
                last_exc=one.error,
                attempts=self.attempts,
                first_failed_at=self.first_failed_at or now,
                group=group,
                origin="RedisEventBus",
                now=now,
            )


def written(envelope: EventEnvelope) -> list[str | bytes]:
    """The fields and values of the entry of `envelope`."""
    flat: list[str | bytes] = []
    for name, value in to_fields(envelope).items():
        if name != _CHANNEL:
            flat += (_SHORT.get(name, name), value)
    return flat


def packed(envelope: EventEnvelope, **more: Any) -> bytes:
    """The envelope, and more beside it, as a line of JSON before the payload."""
    head = {
        name: value.decode(errors="surrogateescape")
        for name, value in to_fields(envelope).items()
        if name != _PAYLOAD
    }
    return json.dumps({**more, "envelope": head}).encode() + b"\n" + envelope.payload


def unpacked(data: bytes, channel: str) -> EventEnvelope:
    """The envelope of what `packed` returned, or one around the bytes."""
    if data.startswith(_PACKED):
        line, _, payload = data.partition(b"\n")
        with contextlib.suppress(ValueError, KeyError, AttributeError):
            return read_head(json.loads(line)["envelope"], payload)
    return EventEnvelope.around(data, channel=channel)


def read_head(head: dict[str, str], payload: bytes) -> EventEnvelope:
    """The envelope of the fields in a line of `packed`."""
    fields = {name: value.encode(errors="surrogateescape") for name, value in head.items()}
    return from_fields({**fields, _PAYLOAD: payload})


def _read(fields: dict[bytes, bytes], channel: str) -> EventEnvelope:
    names = {
        _LONG.get(name) or name.decode(errors="replace"): value for name, value in fields.items()
    }
    try:
        return from_fields({**names, _CHANNEL: channel.encode(errors="surrogatepass")})
    except EventDecodeError:  # of the first version of this package, or of somebody else
        key = fields.get(b"k", b"").decode(errors="replace")
        bare = EventEnvelope.around(fields.get(b"e", b""), channel=channel, key=key or None)
        handler = fields.get(b"h")
        return bare if handler is None else bare.addressed(handler.decode(errors="replace"))
