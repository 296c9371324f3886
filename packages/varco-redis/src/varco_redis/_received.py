"""An event as it lies in Redis: an envelope as the fields of an entry of a stream."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from itertools import chain
from typing import Any

from varco_events import EventDecodeError, EventEnvelope, InHand, from_fields, to_fields
from varco_redis._errors import RedisPoisonError

# Short names, which processes of the first version read as well; the stream says the channel.
_SHORT = {"varco-payload": "e", "varco-key": "k", "varco-handler": "h"}
_LONG = {short.encode(): name for name, short in _SHORT.items()}
_CHANNEL, _PAYLOAD = "varco-channel", "varco-payload"
_PACKED = b'{"envelope": '


@dataclass(slots=True, eq=False, kw_only=True)
class Received(InHand):
    """An event as it came from Redis, and what is known of its attempts."""

    origin = "RedisEventBus"
    poison = RedisPoisonError

    fields: dict[bytes, bytes] | None = None
    """None while it waits behind so many others that it is read again when its turn comes."""

    @property
    def deliveries(self) -> int:
        """How often Redis says that it was delivered, once the next attempt is counted."""
        return 1 + self.attempts + 1

    def _read(self) -> EventEnvelope:
        return _read(self.fields or {}, self.channel)

    def forget(self) -> None:
        """Let go of the fields: COUNT brings them again."""
        self.fields = None


def written(envelope: EventEnvelope) -> list[str | bytes]:
    """The fields and values of the entry of `envelope`."""
    fields = to_fields(envelope)
    del fields[_CHANNEL]
    for name, short in _SHORT.items():
        if name in fields:
            fields[short] = fields.pop(name)
    return list(chain.from_iterable(fields.items()))


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
