"""What travels from an outbox to a handler."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_json

from varco_events._errors import EventDecodeError
from varco_events._event import is_raw, type_name_of
from varco_events._event_serializer import JsonEventSerializer, ids_of, raw_event, read_envelope
from varco_events._surroundings import CAUSATION_ID, CORRELATION_ID, headers_of_ids, injected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from varco_events._event import Event, RawEvent
    from varco_events._event_serializer import EventSerializer

#: The header that says what the payload is written in; JSON where there is none.
CONTENT_TYPE: Final = "content-type"
# What a redrive adds: the one handler that failed, its group, and which dead letter it is.
HANDLER: Final = "varco-handler"
GROUP: Final = "varco-group"
REDRIVEN: Final = "varco-redriven"
# What an edited copy of a failure adds: the failure that it is a copy of.
EDITED: Final = "varco-edited"

_RESERVED = "varco-"
_JSON = JsonEventSerializer()
_NO_HEADERS: dict[str, str] = {}
# A fifth of the time of UUID(text).
_uuid = TypeAdapter(UUID).validator.validate_python


class EventEnvelope:
    """One event on its way: immutable, and complete without the class of the event.

    Outboxes, brokers, dead letters and redrives carry all of it and change nothing. Whoever needs
    the event itself reads the payload; a carrier never does.

    Attributes:
        event_id: The identity of the event; the same however often it is sent.
        event_type: The type name that listeners subscribe to.
        version: Of the fields.
        channel: Where it goes.
        key: What its order is kept for, on every transport; None for no order.
        time: When the event happened.
        headers: Correlation, trace, tenant and what the application adds: text by lower-case name.
        payload: The bytes as the producer's serializer wrote them.
        event: The object, where it is still at hand in this process. It never travels and does not
            count in comparisons.
    """

    event_id: UUID
    event_type: str
    version: int
    channel: str
    key: str | None
    time: datetime
    headers: Mapping[str, str]
    payload: bytes
    event: Event | None

    def __init__(
        self,
        *,
        event_id: UUID,
        event_type: str,
        payload: bytes,
        version: int = 1,
        channel: str = "default",
        key: str | None = None,
        time: datetime | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        event: Event | None = None,
    ) -> None:
        # One is made for every event on its way: this takes a third of the time of setattr.
        values = self.__dict__
        values["event_id"] = event_id
        values["event_type"] = event_type
        values["version"] = version
        values["channel"] = channel
        values["key"] = key
        values["time"] = datetime.now(UTC) if time is None else time
        values["headers"] = headers
        values["payload"] = payload
        values["event"] = event

    @classmethod
    def of(
        cls,
        event: Event,
        *,
        channel: str = "default",
        serializer: EventSerializer | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """The envelope of `event`, written now and with the headers of where it is made.

        Args:
            event: A `RawEvent` keeps its bytes, type and version.
            channel: Where it goes.
            serializer: Writes the payload; JSON unless given. Its `content_type`, if it has one,
                becomes a header.
            key: That of `event.event_key()` unless given.
            headers: The application's own; they go before those of the surroundings.

        Raises:
            ValueError: a header of the application begins with "varco-".
        """
        writer = serializer or _JSON
        found = injected(event)
        content_type: str | None = getattr(writer, "content_type", None)
        if content_type is not None:
            found[CONTENT_TYPE] = content_type
        if headers:
            found.update(checked_headers(headers))
        if is_raw(event):
            version, payload = event.raw_version, event.payload
        else:
            version, payload = event.__event_version__, writer.serialize(event)
        return cls(
            event_id=event.event_id,
            event_type=type_name_of(event),
            version=version,
            channel=channel,
            key=event.event_key() if key is None else key,
            time=event.timestamp,
            headers=found,
            payload=payload,
            event=event,
        )

    @classmethod
    def around(
        cls,
        payload: bytes,
        *,
        event_type: str = "",
        channel: str = "default",
        key: str | None = None,
        event_id: UUID | None = None,
        time: datetime | None = None,
    ) -> Self:
        """The envelope of bytes that came without one: from old rows, or from varco-core 1.0.6.

        What is not given is looked up in the payload where that is JSON of ours; `time` is that of
        a payload without one. Bytes that nobody
        can read get an id of their own, always the same for the same bytes.
        """
        try:
            name, version, fields = read_envelope(payload)
        except EventDecodeError:
            name, version, fields = event_type, 1, {}
        ids = ids_of(fields, payload)
        return cls(
            event_id=event_id or ids["event_id"],
            event_type=event_type or name,
            version=version,
            channel=channel,
            key=key,
            time=ids.get("timestamp", time),
            headers=headers_of_ids(ids.get("correlation_id"), ids.get("causation_id")),
            payload=payload,
        )

    def raw(self) -> RawEvent:
        """The event as it came, for those who listen to a type without a class."""
        ids = {
            "event_id": self.event_id,
            "timestamp": self.time,
            "correlation_id": self.headers.get(CORRELATION_ID),
            "causation_id": self.headers.get(CAUSATION_ID),
        }
        return raw_event(self.event_type, self.version, ids, self.payload)

    @property
    def handler(self) -> str | None:
        """The full name of the one handler it is for, as that of a redrive; None for all."""
        return self.headers.get(HANDLER)

    def addressed(self, handler: str, group: str = "") -> Self:
        """The same for one handler alone, of one group of processes where that is named."""
        headers = {**self.headers, HANDLER: handler}
        if group:
            headers[GROUP] = group
        return self.replace(headers=headers)

    def replace(self, **changes: Any) -> Self:
        """The same with other values for the attributes that are named."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> Any:
        return _restored, (vars(self) | {"event": None},)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventEnvelope):
            return NotImplemented
        return vars(self) | {"event": None} == vars(other) | {"event": None}

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:  # without the payload and the headers: both may hold secrets
        return (
            f"<EventEnvelope {self.event_type} version {self.version} {self.event_id} "
            f"on {self.channel!r}>"
        )


def _restored(values: dict[str, Any]) -> EventEnvelope:
    return EventEnvelope(**values)


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers, if they are the application's own.

    Raises:
        ValueError: a name begins with "varco-".
    """
    for name in headers:
        if name.startswith(_RESERVED):
            raise ValueError(
                f"header {name!r}: names that begin with {_RESERVED!r} are varco's own"
            )
    return headers


def to_fields(envelope: EventEnvelope) -> dict[str, bytes]:
    """The envelope as a flat mapping, for carriers without columns: Redis, Kafka headers.

    Everything but headers stands under a name that begins with "varco-", and headers under their
    own, so that what a newer version adds survives an older one.
    """
    fields = {
        "varco-id": to_json(envelope.event_id)[1:-1],  # a quarter of the time of str()
        "varco-type": envelope.event_type.encode(),
        "varco-version": str(envelope.version).encode(),
        "varco-channel": envelope.channel.encode(errors="surrogatepass"),
        "varco-time": envelope.time.isoformat().encode(),
        "varco-payload": envelope.payload,
    }
    if envelope.key is not None:
        fields["varco-key"] = envelope.key.encode(errors="surrogatepass")
    for name, value in envelope.headers.items():
        fields.setdefault(name, value.encode(errors="replace"))
    return fields


def from_fields(fields: Mapping[str, bytes]) -> EventEnvelope:
    """The envelope of what `to_fields` returned, perhaps in another version of this package.

    Raises:
        EventDecodeError: there is no payload, or an id, version or time that is none.
    """
    rest = dict(fields)
    payload = rest.pop("varco-payload", None)
    if payload is None:
        raise EventDecodeError(f"an envelope needs 'varco-payload'; there is {sorted(rest)}")
    channel, key = rest.pop("varco-channel", b"default"), rest.pop("varco-key", None)
    try:
        return EventEnvelope(
            event_id=_uuid(rest.pop("varco-id").decode()),
            event_type=rest.pop("varco-type").decode(errors="surrogatepass"),
            version=int(rest.pop("varco-version", b"1")),
            channel=channel.decode(errors="surrogatepass"),
            key=None if key is None else key.decode(errors="surrogatepass"),
            time=datetime.fromisoformat(rest.pop("varco-time").decode()),
            headers={name: value.decode(errors="replace") for name, value in rest.items()},
            payload=payload,
        )
    except (KeyError, ValueError) as error:
        raise EventDecodeError(f"an envelope with a wrong or missing field: {error!r}") from error
