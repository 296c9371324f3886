"""CloudEvents both ways."""

import json
from base64 import b64encode
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from varco_events import (
    Event,
    EventDecodeError,
    RawEvent,
    correlation_context,
    from_cloudevent,
    to_cloudevent,
)


class Shipped(Event):
    __event_type__ = "shop.shipped"
    __event_version__ = 2

    parcel: str
    weight: float = Field(1.5, alias="weightInKg")

    def event_key(self):
        return self.parcel


def test_an_event_is_a_valid_cloudevent_and_comes_back():
    with correlation_context("c-1", causation_id=uuid4()):
        event = Shipped(parcel="p")
    cloud = to_cloudevent(event, source="/shop")
    assert json.loads(json.dumps(cloud)) == cloud
    assert cloud == {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": "/shop",
        "type": "shop.shipped",
        "time": event.timestamp.isoformat(),
        "datacontenttype": "application/json",
        "eventversion": 2,
        "correlationid": "c-1",
        "causationid": str(event.causation_id),
        "partitionkey": "p",
        "data": {"parcel": "p", "weight": 1.5},
    }
    assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in cloud)
    assert from_cloudevent(cloud) == event


def foreign(**changes):
    base = {"specversion": "1.0", "id": "17", "source": "/x", "type": "shop.shipped"}
    return {**base, "eventversion": 2, "data": {"parcel": "p", "weightInKg": 2}, **changes}


def test_a_foreign_cloudevent_has_any_id_and_may_use_aliases():
    event = from_cloudevent(foreign())
    assert event.weight == 2
    assert event.correlation_id is None
    assert isinstance(event.event_id, UUID)
    assert event.event_id == from_cloudevent(foreign()).event_id
    assert event.event_id != from_cloudevent(foreign(source="/y")).event_id


def test_base64_data_is_read():
    data = b64encode(b'{"parcel":"p"}').decode()
    assert from_cloudevent(foreign(data=None, data_base64=data)).parcel == "p"


def test_an_unknown_type_or_newer_version_survives():
    raw = from_cloudevent(foreign(type="elsewhere"))
    assert isinstance(raw, RawEvent)
    assert to_cloudevent(raw, source="/x")["data"] == {"parcel": "p", "weightInKg": 2}
    assert to_cloudevent(raw, source="/x")["type"] == "elsewhere"
    assert isinstance(from_cloudevent(foreign(eventversion=9)), RawEvent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": None}, "'type'"),
        ({"id": ""}, "'id'"),
        ({"source": 7}, "'source'"),
        ({"specversion": "0.3"}, "specversion"),
        ({"eventversion": "2"}, "eventversion"),
        ({"data": [1]}, "JSON object"),
        ({"data": {}}, "parcel"),
        ({"data": None, "data_base64": "?"}, "data_base64"),
        ({"time": "yesterday"}, "timestamp"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(EventDecodeError, match=message):
        from_cloudevent(foreign(**changes))


@pytest.mark.parametrize("payload", [b"\xff", b"{}"])
def test_bytes_that_are_no_envelope_have_no_data(payload):
    with pytest.raises(EventDecodeError):
        to_cloudevent(RawEvent(raw_type="garbage", payload=payload), source="/x")


def test_a_source_is_needed():
    with pytest.raises(ValueError, match="source"):
        to_cloudevent(Shipped(parcel="p"), source="")
