"""CloudEvents 1.0 in the binary mode of their Kafka protocol binding: attributes are headers.

What is written here has the headers of the envelope as well, so that nothing is lost between
processes of varco: to them a CloudEvent is an addition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic_core import from_json, to_json

from varco_events import EventDecodeError, EventEnvelope

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "content-type"
_JSON = b"application/json"
_ATTRIBUTE = "ce_"
_KNOWN = ("specversion", "id", "type", "time", "eventversion", "correlationid", "causationid")
# What was done to a record: its value is what the envelope has around, its content type is added.
_CHANGED = "varco-cloudevent"
_DATA, _TYPED = b"data", b"content-type"


def attributed(
    envelope: EventEnvelope, payload: bytes, source: str
) -> tuple[bytes, dict[str, bytes]]:
    """The value and the headers that make a CloudEvent of a record.

    The data of an event that is JSON of ours are its fields; other bytes are the data themselves.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(envelope.event_id),
        "ce_source": source,
        "ce_type": envelope.event_type,
        "ce_time": envelope.time.isoformat(),
        "ce_eventversion": str(envelope.version),
    }
    if envelope.key is not None:
        headers["ce_partitionkey"] = envelope.key
    found = {name: text.encode(errors="replace") for name, text in headers.items()}
    changes: list[bytes] = []
    head = _head(envelope.event_type, envelope.version)
    if payload.startswith(head + b"{") and payload.endswith(b"}}"):
        payload = payload[len(head) : -1]
        changes.append(_DATA)
    if CONTENT_TYPE not in envelope.headers:
        found[CONTENT_TYPE] = _JSON
        changes.append(_TYPED)
    found[_CHANGED] = b" ".join(changes)
    return payload, found


def is_cloudevent(fields: Mapping[str, bytes]) -> bool:
    """Whether headers are those of a CloudEvent in binary mode."""
    return "ce_specversion" in fields


def restored(fields: dict[str, bytes], payload: bytes) -> bytes:
    """The payload as `attributed` was given it; what it has added is taken from `fields`."""
    changes = fields.pop(_CHANGED, None)
    if changes is None:
        return payload
    for name in [one for one in fields if one.startswith(_ATTRIBUTE)]:
        del fields[name]
    done = changes.split()
    if _TYPED in done:
        fields.pop(CONTENT_TYPE, None)
    if _DATA in done:
        name, version = fields["varco-type"].decode(), int(fields["varco-version"])
        payload = _head(name, version) + payload + b"}"
    return payload


def foreign(
    fields: Mapping[str, bytes], payload: bytes, channel: str, key: str | None
) -> EventEnvelope:
    """The envelope of a CloudEvent that somebody else wrote.

    An id that is no UUID becomes one, always the same for the same source and id. Attributes that
    an envelope has no place for are headers, by their names.

    Raises:
        EventDecodeError: An attribute is missing that has to be there, or is wrong.
    """
    texts = {name: text.decode(errors="replace") for name, text in fields.items()}
    said = {
        name.removeprefix(_ATTRIBUTE): text
        for name, text in texts.items()
        if name.startswith(_ATTRIBUTE)
    }
    for name in ("id", "source", "type"):
        if not said.get(name):
            raise EventDecodeError(f"a CloudEvent needs ce_{name}")
    if said["specversion"] != "1.0":
        raise EventDecodeError(f"ce_specversion must be '1.0', not {said['specversion']!r}")
    version = said.get("eventversion", "1")
    if not version.isdecimal():
        raise EventDecodeError(f"ce_eventversion must be an integer, not {version!r}")
    event_id = _identity(said["source"], said["id"])
    whole = _whole(said, int(version), event_id, texts.get(CONTENT_TYPE), payload)
    envelope = EventEnvelope.around(
        whole,
        event_type=said["type"],
        channel=channel,
        key=said.get("partitionkey") if key is None else key,
        event_id=event_id,
    )
    others = {name: text for name, text in texts.items() if not name.startswith(_ATTRIBUTE)}
    others |= {name: text for name, text in said.items() if name not in _KNOWN}
    if whole is not payload:
        others.pop(CONTENT_TYPE, None)  # it is JSON of ours now
    return envelope.replace(version=int(version), headers={**others, **envelope.headers})


def _whole(
    said: Mapping[str, str], version: int, event_id: UUID, content_type: str | None, payload: bytes
) -> bytes:
    """The payload with what our serializer has around the fields, where it is a JSON object."""
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return payload
    try:
        data: Any = from_json(payload) if payload else {}
    except ValueError:
        return payload
    if not isinstance(data, dict):
        return payload
    fields: dict[str, Any] = {
        **cast("dict[str, Any]", data),
        "event_id": event_id,
        "correlation_id": said.get("correlationid"),
        "causation_id": said.get("causationid"),
    }
    if "time" in said:
        fields["timestamp"] = said["time"]
    return to_json({"type": said["type"], "version": version, "data": fields})


def _head(name: str, version: int) -> bytes:
    return to_json({"type": name, "version": version})[:-1] + b',"data":'


def _identity(source: str, identity: str) -> UUID:
    try:
        return UUID(identity)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{source}#{identity}")
