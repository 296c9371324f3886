"""An event as it lies in Kafka: an envelope as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from varco_events import EventDecodeError, EventEnvelope, InHand, from_fields, to_fields
from varco_kafka._cloudevents import attributed, foreign, is_cloudevent, restored
from varco_kafka._errors import KafkaPoisonError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import ConsumerRecord

_ID, _PAYLOAD, _CHANNEL, _KEY = "varco-id", "varco-payload", "varco-channel", "varco-key"

type Headers = list[tuple[str, bytes]]


@dataclass(slots=True, eq=False, kw_only=True)
class Received(InHand):
    """An event as it came from Kafka, and what is known of its attempts."""

    origin = "KafkaEventBus"
    poison = KafkaPoisonError

    record: ConsumerRecord[bytes, bytes]

    def _read(self) -> EventEnvelope:
        record = self.record
        return read(record.headers, record.key, record.value, self.channel)


def written(
    envelope: EventEnvelope, source: str | None = None
) -> tuple[bytes | None, bytes, Headers]:
    """The key, the value and the headers of a record; its topic says the channel.

    Args:
        envelope: What is written.
        source: That of a CloudEvent, which the record is besides where it is given.
    """
    fields = to_fields(envelope)
    payload = fields.pop(_PAYLOAD)
    key = fields.pop(_KEY, None)
    del fields[_CHANNEL]
    if source is not None and envelope.event_type:
        payload, added = attributed(envelope, payload, source)
        fields |= added
    return key, payload, list(fields.items())


def read(
    headers: Sequence[tuple[str, bytes]], key: bytes | None, value: bytes | None, channel: str
) -> EventEnvelope:
    """The envelope of a record, or one around the bytes when somebody else wrote it."""
    payload = value or b""
    fields = {name: text or b"" for name, text in headers}
    text = None if key is None else key.decode(errors="replace")
    try:
        if is_cloudevent(fields):
            if _ID not in fields:
                return foreign(fields, payload, channel, text)
            payload = restored(fields, payload)
        fields[_PAYLOAD] = payload
        fields[_CHANNEL] = channel.encode(errors="surrogatepass")
        if key is not None:
            fields[_KEY] = key
        return from_fields(fields)
    except (EventDecodeError, KeyError, ValueError):
        return EventEnvelope.around(payload, channel=channel, key=text)
