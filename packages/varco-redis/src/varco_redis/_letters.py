"""A dead letter as bytes, and back, and what kind it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from varco_events import DeadLetterEntry, EventEnvelope
from varco_redis._received import packed, read_head

if TYPE_CHECKING:
    from varco_events import EventSerializer, FailureFilter

logger = logging.getLogger("varco_redis.dlq")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Kind:
    """What many dead letters have in common; the names are those of a `FailureFilter`."""

    channel: str
    event_type: str
    handler: str
    consumer_group: str
    error_type: str

    @classmethod
    def of(cls, entry: DeadLetterEntry) -> Self:
        """The kind of a dead letter."""
        return cls(
            channel=entry.channel,
            event_type=entry.envelope.event_type,
            handler=entry.handler_name,
            consumer_group=entry.group,
            error_type=entry.error_type,
        )

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The kind that `written` wrote."""
        return cls(*json.loads(text))

    def written(self) -> tuple[str, str]:
        """A name of 40 characters for it, and what it is of."""
        text = json.dumps(astuple(self))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text

    def matches(self, wanted: FailureFilter) -> bool:
        """Whether dead letters of this kind can be among those that are wanted."""
        return all(getattr(wanted, name) in {None, getattr(self, name)} for name in self.__slots__)


def written_key(key: str | None) -> bytes:
    """What the scripts take for the key of an event: nothing when it has none."""
    return b"" if key is None else b"k" + key.encode(errors="surrogatepass")


def microseconds(moment: datetime) -> int:
    """Since 1970, as Redis counts them."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(number: int) -> datetime:
    """The time that a number stands for."""
    return _EPOCH + number * _MICROSECOND


def encoded(entry: DeadLetterEntry) -> bytes:
    """The bytes of a dead letter."""
    envelope = entry.envelope
    return packed(
        envelope,
        channel=entry.channel,
        handler=entry.handler_name,
        group=entry.group,
        origin=entry.origin,
        error_type=entry.error_type,
        error_message=entry.error_message,
        attempts=entry.attempts,
        first=entry.first_failed_at.isoformat(),
        last=entry.last_failed_at.isoformat(),
    )


def decoded(name: bytes, data: bytes, serializer: EventSerializer | None = None) -> DeadLetterEntry:
    """The dead letter of its id and bytes.

    Raises:
        Exception: They are none; whatever the bytes of others lead to.
    """
    line, _, payload = data.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    channel = str(head["channel"])
    if "envelope" in head:
        envelope = read_head(head["envelope"], payload)
    else:
        envelope = EventEnvelope.around(
            payload,
            event_type=str(head["type"]),
            channel=channel,
            event_id=UUID(head["event_id"]),
        )
    if serializer is not None:
        with contextlib.suppress(Exception):  # whatever the bytes lead to: it stays a raw event
            envelope = envelope.replace(event=serializer.deserialize(payload))
    return DeadLetterEntry(
        envelope=envelope,
        channel=channel,
        handler_name=str(head["handler"]),
        error_type=str(head["error_type"]),
        error_message=str(head["error_message"]),
        attempts=int(head["attempts"]),
        first_failed_at=datetime.fromisoformat(head["first"]),
        last_failed_at=datetime.fromisoformat(head["last"]),
        entry_id=UUID(name.decode()),
        group=str(head.get("group", "")),
        origin=str(head.get("origin", "")),
    )


def tell_damaged(name: bytes, damaged: str, error: Exception) -> None:
    """Log that a dead letter is among the damaged ones now."""
    logger.error("dead letter %r cannot be read and was set aside in %r: %r", name, damaged, error)
