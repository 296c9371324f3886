"""CloudEvents 1.0, structured JSON format: https://cloudevents.io."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from varco_events import _registry
from varco_events._errors import EventDecodeError, UpcastError
from varco_events._event_serializer import (
    JsonEventSerializer,
    problems,
    raw_event,
    read_envelope,
)
from varco_events._upcasting import upcast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from varco_events._event import Event, RawEvent

_ENVELOPE = frozenset({"event_id", "timestamp", "correlation_id", "causation_id"})


def to_cloudevent(event: Event, *, source: str) -> dict[str, Any]:
    """The CloudEvent of `event`: a dict of JSON values.

    The correlation and causation ids, the version and the key travel as extension attributes
    `correlationid`, `causationid`, `eventversion` and `partitionkey`.

    Args:
        event: Any event; the fields are written under their Python names.
        source: A URI reference of what the event happened to, say "/orders".

    Raises:
        EventDecodeError: a `RawEvent` whose bytes are no envelope, so that it has no data.
    """
    if not source:
        raise ValueError("a CloudEvent needs a source, a URI reference such as '/orders'")
    name, version, fields = read_envelope(JsonEventSerializer().serialize(event))
    attributes = {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": source,
        "type": name,
        "time": event.timestamp.isoformat(),
        "datacontenttype": "application/json",
        "eventversion": version,
        "correlationid": event.correlation_id,
        "causationid": None if event.causation_id is None else str(event.causation_id),
        "partitionkey": event.event_key(),
    }
    data = {name: value for name, value in fields.items() if name not in _ENVELOPE}
    return {**{k: v for k, v in attributes.items() if v is not None}, "data": data}


def from_cloudevent(
    attributes: Mapping[str, Any], *, type_hint: type[Event] | None = None
) -> Event:
    """The event of a CloudEvent; a `RawEvent` when its type is unknown.

    An id that is no UUID becomes one, always the same for the same source and id.

    Args:
        attributes: The CloudEvent as a mapping, `data` or `data_base64` included.
        type_hint: The class to read it as, whatever its type name.

    Raises:
        EventDecodeError: a required attribute is missing or wrong, or the data do not fit.
    """
    name, source = _text(attributes, "type"), _text(attributes, "source")
    identity = _text(attributes, "id")
    if _text(attributes, "specversion") != "1.0":
        raise EventDecodeError(
            f"CloudEvents specversion must be '1.0', not {attributes['specversion']!r}"
        )
    version = attributes.get("eventversion", 1)
    if type(version) is not int:
        raise EventDecodeError(f"eventversion must be an integer, not {version!r}")
    fields = {
        **_data(attributes),
        "event_id": _event_id(source, identity),
        "correlation_id": attributes.get("correlationid"),
        "causation_id": attributes.get("causationid"),
    }
    if "time" in attributes:
        fields["timestamp"] = attributes["time"]
    return _event(name, version, fields, type_hint)


def _event(name: str, version: int, fields: dict[str, Any], hint: type[Event] | None) -> Event:
    cls = hint or _registry.event_class(name)
    if cls is None:
        return _raw(name, version, fields)
    try:
        fields = upcast(name, fields, version, cls.__event_version__)
    except UpcastError:
        if hint is not None:
            raise
        return _raw(name, version, fields)
    try:
        # Both names and aliases: a CloudEvent need not come from here.
        return cls.model_validate_json(to_json(fields), by_alias=True, by_name=True)
    except ValidationError as error:
        raise EventDecodeError(f"CloudEvent of type {name}: {problems(error)}") from error


def _raw(name: str, version: int, fields: dict[str, Any]) -> RawEvent:
    payload = to_json({"type": name, "version": version, "data": fields})
    return raw_event(name, version, fields, payload)


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value:
        raise EventDecodeError(f"a CloudEvent needs {name!r}, a string with content, not {value!r}")
    return value


def _event_id(source: str, identity: str) -> str:
    try:
        return str(UUID(identity))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"{source}#{identity}"))


def _data(attributes: Mapping[str, Any]) -> dict[str, Any]:
    data: Any = attributes.get("data")
    if data is None and "data_base64" in attributes:
        try:
            data = from_json(b64decode(attributes["data_base64"], validate=True))
        except (ValueError, TypeError) as error:
            raise EventDecodeError(f"data_base64 holds no JSON in base64: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise EventDecodeError(f"the data of a CloudEvent must be a JSON object, not {data!r:.200}")
    return cast("dict[str, Any]", data)
