"""Events to bytes and back: `{"type":...,"version":...,"data":{...}}`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # pydantic reads the annotations
from typing import TYPE_CHECKING, Any, TypedDict, cast
from uuid import UUID, uuid5

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from varco_events import _registry
from varco_events._context import handling
from varco_events._errors import EventDecodeError, UpcastError
from varco_events._event import Event, RawEvent
from varco_events._serialization import Serializer
from varco_events._upcasting import upcast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

type EventSerializer = Serializer[Event]
"""What turns events into bytes and back."""

_DATA = b',"data":'
# How the fields begin in what `serialize` wrote: it left out no id, which would be made up then.
_IDS = b'{"event_id":'


class _Ids(TypedDict, total=False):
    event_id: UUID
    timestamp: datetime
    correlation_id: str | None
    causation_id: UUID | None


_IDS_OF = TypeAdapter(_Ids)
_NAMESPACE = UUID("6f1a3a0e-5d0b-5c11-9a51-0d6a57f4a5c2")

# Never those of who reads an event that came without them.
_NO_CAUSE: Mapping[str, None] = {"correlation_id": None, "causation_id": None}

_OLD_TYPE = "__event_type__"
_BRACE = ord("}")

# How to read the fields after a head, and the head before the fields with how to write them: every
# look at an attribute of a model class costs a tenth of a serialization. For importable classes
# alone: a cache must keep no class alive that is local to a function. Cleared when a class is
# registered or built again; single dict operations.
_readers: dict[bytes, Callable[..., Event]] = {}
_writers: dict[type[Event], tuple[bytes, Callable[..., bytes]]] = {}
_registry.on_change(_readers.clear)
_registry.on_change(_writers.clear)


class JsonEventSerializer:
    """JSON with the type name and version around the fields, under their Python names.

    Also reads what varco-core 1.0.6 wrote. A type without a class, or of a version that cannot be
    lifted, becomes a `RawEvent` that serializes to the bytes it came from. Holds no state.
    """

    def serialize(self, event: Event) -> bytes:
        """UTF-8 JSON of the event; one that is being handled keeps the bytes it came in."""
        _, _, envelope, handled, _, _ = handling.get()
        if handled is event and envelope is not None:
            return envelope.payload  # what its class does not know survives
        writer = _writers.get(type(event))
        if writer is None:
            if type(event) is RawEvent:  # isinstance() of a pydantic model takes Python code
                return event.payload
            writer = _writer(type(event))
        head, write = writer
        return head + write(event, by_alias=False, round_trip=True) + b"}"

    def deserialize(self, data: bytes, type_hint: type[Event] | None = None) -> Event:
        """The event of `data`.

        Args:
            data: What `serialize` wrote.
            type_hint: The class to read it as, whatever its type name.

        Raises:
            EventDecodeError: `data` is no envelope, or its fields do not fit the class.
        """
        if type_hint is None:
            head, _, body = data.partition(_DATA)
            read = _readers.get(head)
            if read is not None and data[-1] == _BRACE and body.startswith(_IDS):
                try:
                    return read(body[:-1], by_alias=False, by_name=True)
                except ValidationError:  # the long way says what is wrong, if anything
                    pass
        return _deserialize(data, type_hint)


def _writer(cls: type[Event]) -> tuple[bytes, Callable[..., bytes]]:
    writer = cls.__event_head__, cls.__pydantic_serializer__.to_json
    if _registry.is_importable(cls):
        _writers[cls] = writer
    return writer


def _deserialize(data: bytes, type_hint: type[Event] | None) -> Event:
    """The long way: any JSON with the three members, any version, any type."""
    name, version, fields = read_envelope(data)
    fields = {**_NO_CAUSE, **fields}
    if "event_id" not in fields:
        fields["event_id"] = str(_id_of(data))
    cls = type_hint or _registry.event_class(name)
    if cls is None:
        return raw_event(name, version, fields, data)
    try:
        fields = upcast(name, fields, version, cls.__event_version__)
    except UpcastError:
        if type_hint is not None:
            raise
        return raw_event(name, version, fields, data)
    if _registry.is_importable(cls):
        _readers[cls.__event_head__.removesuffix(_DATA)] = cls.__pydantic_validator__.validate_json
    try:
        return cls.model_validate_json(to_json(fields), by_alias=False, by_name=True)
    except ValidationError as error:
        raise EventDecodeError(f"{name} version {version}: {problems(error)}") from error


def problems(error: ValidationError) -> str:
    """Which fields are wrong, and why, without their values: they stay out of logs."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:10])


def read_envelope(data: bytes) -> tuple[str, int, dict[str, Any]]:
    """The type name, the version and the fields in `data`, whatever their spelling."""
    try:
        envelope: Any = from_json(data)
    except ValueError as error:
        raise EventDecodeError(f"not JSON: {error}") from error
    if isinstance(envelope, dict):
        members = cast("dict[str, Any]", envelope)
        if isinstance(members.get(_OLD_TYPE), str):  # varco-core 1.0.6: the fields beside the type
            return members.pop(_OLD_TYPE), 1, members
        name, version, fields = (members.get(k) for k in ("type", "version", "data"))
        if isinstance(name, str) and type(version) is int and isinstance(fields, dict):
            return name, version, cast("dict[str, Any]", fields)
    raise EventDecodeError(
        'an event is a JSON object with "type" (a string), "version" (an int) and "data" '
        f"(an object), not these {len(data)} bytes"
    )


def _id_of(data: bytes) -> UUID:
    """The id of an event that came without one; to make it takes as long as to read one."""
    return uuid5(_NAMESPACE, data.hex())


def ids_of(fields: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
    """The ids among the fields, checked; made of the bytes where there is none, or a wrong one."""
    try:
        ids: dict[str, Any] = dict(_IDS_OF.validate_python(fields))
    except ValidationError:
        ids = {}
    if "event_id" not in ids:
        ids["event_id"] = _id_of(payload)
    return ids


def raw_event(name: str, version: int, fields: Mapping[str, Any], payload: bytes) -> RawEvent:
    """Keep what cannot be read; the ids are taken from the fields where they are there."""
    ids: dict[str, Any] = {**_NO_CAUSE, **ids_of(fields, payload)}
    return RawEvent(raw_type=name, raw_version=version, payload=payload, **ids)
