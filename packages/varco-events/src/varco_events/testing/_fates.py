"""The events of the conservation law, and what becomes of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from varco_events._envelope import EventEnvelope
from varco_events._event import Event
from varco_events._event_serializer import JsonEventSerializer
from varco_events._upcasting import upcaster

_TYPE = "varco.contract.conserved"


class Fate(StrEnum):
    """What happens to an event in the listeners that it is to hit; the others handle it."""

    FINE = "handled"
    FLAKY = "fails once"
    POISON = "fails until mended"
    HOPELESS = "fails until mended, and not worth another attempt"
    REJECTED = "rejected until mended"
    DEADLY = "ends its process until mended"
    FILTERED = "its filter fails until mended"
    WRAPPED = "the middleware fails until mended"
    PASSED_OVER = "its filter is false"
    OLD = "of the version before"
    UNLIFTED = "the upcaster fails until mended"
    NEWER = "of the version after"
    CHANGED = "lacks a field"
    GARBAGE = "no JSON"
    UNKNOWN = "of a type that nobody has"


#: What no listener can ever read.
UNREADABLE = frozenset({Fate.NEWER, Fate.CHANGED, Fate.GARBAGE})
#: What is for all listeners, or for none.
OF_ALL = UNREADABLE | {Fate.WRAPPED, Fate.UNLIFTED, Fate.UNKNOWN}


class Conserved(Event):
    """An event with a fate."""

    __event_type__ = _TYPE
    __event_version__ = 2

    number: int
    fate: Fate
    hits: tuple[str, ...] = ()
    name: str | None = None

    def event_key(self) -> str | None:
        """The name."""
        return self.name


#: The ids of events whose upcaster fails.
unliftable: set[str] = set()


@upcaster(Conserved, from_version=1)
def _lift(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["event_id"] in unliftable:
        raise LookupError("no number")
    return {"number": fields.pop("count"), **fields}


def envelope_of(event: Conserved, channel: str) -> EventEnvelope:
    """The envelope in which it is sent, with bytes as its fate will have them."""
    envelope = EventEnvelope.of(event, channel=channel, headers={"x-own": "of the application"})
    payload = JsonEventSerializer().serialize(event)
    match event.fate:
        case Fate.OLD | Fate.UNLIFTED:
            payload = payload.replace(b'"number":', b'"count":')
            return envelope.replace(version=1, payload=_version(payload, 1), event=None)
        case Fate.NEWER:
            return envelope.replace(version=3, payload=_version(payload, 3), event=None)
        case Fate.CHANGED:
            return envelope.replace(payload=payload.replace(b'"number":', b'"n":'), event=None)
        case Fate.GARBAGE:
            return envelope.replace(payload=b"\xff\x00" + payload, event=None)
        case Fate.UNKNOWN:
            gone = f"{_TYPE}.gone"
            payload = payload.replace(_TYPE.encode(), gone.encode())
            return envelope.replace(event_type=gone, payload=payload, event=None)
        case _:
            return envelope.replace(event=None)


def _version(payload: bytes, version: int) -> bytes:
    return payload.replace(b'"version":2', b'"version":%d' % version)
