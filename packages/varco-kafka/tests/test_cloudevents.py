"""CloudEvents in binary mode: what others read of ours, and what is read of theirs."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from varco_events import Event, EventEnvelope, JsonEventSerializer
from varco_kafka import KafkaChannelManager, KafkaEventBus, KafkaEventBusSettings
from varco_kafka._received import read, written

SOURCE = "/orders"


class Placed(Event):
    __event_type__ = "varco.kafka.test.placed"
    __event_version__ = 3
    order: str
    total: int = 0

    def event_key(self):
        return self.order


def headers_of(envelope):
    return {name: text.decode() for name, text in written(envelope, SOURCE)[2]}


def test_the_attributes_are_headers_and_the_fields_are_the_data():
    event = Placed(order="A-1", total=7)
    key, value, headers = written(EventEnvelope.of(event, channel="orders"), SOURCE)
    found = {name: text.decode() for name, text in headers if name.startswith(("ce_", "content"))}
    assert key == b"A-1"
    assert found == {
        "ce_specversion": "1.0",
        "ce_id": str(event.event_id),
        "ce_source": "/orders",
        "ce_type": "varco.kafka.test.placed",
        "ce_time": event.timestamp.isoformat(),
        "ce_eventversion": "3",
        "ce_partitionkey": "A-1",
        "content-type": "application/json",
    }
    assert Placed.model_validate_json(value) == event


@given(
    payload=st.one_of(
        st.binary(max_size=40),
        st.text(max_size=9).map(lambda text: JsonEventSerializer().serialize(Placed(order=text))),
        st.just(b'{"type":"varco.kafka.test.placed","version":3,"data":{}}'),
        st.just(b'{"type":"varco.kafka.test.placed","version":3,"data":[]}'),
    ),
    key=st.none() | st.text(max_size=9),
    headers=st.dictionaries(
        st.sampled_from(["tenant", "content-type", "traceparent"]),
        st.sampled_from(["application/json", "application/cbor", "x"]),
    ),
)
def test_nothing_of_an_envelope_is_lost_on_the_way(payload, key, headers):
    envelope = EventEnvelope(
        event_id=UUID(int=7),
        event_type=Placed.__event_type__,
        version=3,
        channel="c",
        key=key,
        headers=headers,
        payload=payload,
    )
    written_key, value, found = written(envelope, SOURCE)
    assert read(found, written_key, value, "c") == envelope


def test_an_event_of_somebody_else_is_read():
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"not-a-uuid"),
        ("ce_source", b"urn:shop"),
        ("ce_type", Placed.__event_type__.encode()),
        ("ce_time", b"2026-11-28T12:00:00Z"),
        ("ce_correlationid", b"c-1"),
        ("ce_traceparent", b"00-1"),
        ("ce_eventversion", b"3"),
        ("content-type", b"application/json; charset=utf-8"),
    ]
    envelope = read(headers, b"A-9", b'{"order":"A-9","total":2}', "orders")
    event = JsonEventSerializer().deserialize(envelope.payload)
    assert (event.order, event.total, event.event_id) == ("A-9", 2, envelope.event_id)
    assert event.timestamp == envelope.time == datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert (envelope.event_type, envelope.version, envelope.key) == (event.__event_type__, 3, "A-9")
    assert event.correlation_id == "c-1"
    assert envelope.headers["traceparent"] == "00-1"
    assert envelope.headers["source"] == "urn:shop"
    assert read(headers, b"A-9", b"{}", "orders").event_id == envelope.event_id
    letter = written(envelope)  # as a dead letter, or sent anew
    assert read(letter[2], letter[0], letter[1], "orders") == envelope


@pytest.mark.parametrize("changed", [{"ce_type": b""}, {"ce_specversion": b"9"}, {"ce_id": None}])
def test_one_that_is_none_is_bytes_that_nobody_can_read(changed):
    headers = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t"}
    envelope = read(list((headers | changed).items()), None, b'{"a":1}', "c")
    assert (envelope.event_type, envelope.payload) == ("", b'{"a":1}')


@pytest.mark.anyio
@pytest.mark.timeout(300)
async def test_the_official_sdk_reads_ours_and_we_read_its(url, prefix):
    kafka = pytest.importorskip("cloudevents.core.bindings.kafka")
    sdk = pytest.importorskip("cloudevents.core.v1.event")
    settings = KafkaEventBusSettings(
        url=url, topic=f"{prefix}{{channel}}", group=prefix, cloudevents_source=SOURCE
    )
    topic, got = settings.topic_of("c"), []
    async with KafkaChannelManager(settings) as manager:
        await manager.declare_channel("c")
    bus, done = KafkaEventBus(settings), asyncio.Event()

    def handle(event):
        got.append(event)
        if len(got) == 2:
            done.set()

    bus.subscribe(Placed, handle, channel="c")
    ours = Placed(order="A-1", total=7)
    attributes = {"type": Placed.__event_type__, "source": "/elsewhere", "partitionkey": "A-2"}
    theirs = sdk.CloudEvent({**attributes, "eventversion": "3"}, {"order": "A-2", "total": 9})
    message = kafka.to_binary_event(theirs)
    where = url.removeprefix("kafka://")
    async with (
        bus,
        AIOKafkaProducer(bootstrap_servers=where) as producer,
        AIOKafkaConsumer(topic, bootstrap_servers=where, auto_offset_reset="earliest") as consumer,
        asyncio.timeout(60),
    ):
        await bus.publish(ours, channel="c")
        record = await consumer.getone()
        said = kafka.from_binary_event(
            kafka.KafkaMessage(dict(record.headers), record.key, record.value)
        )
        assert (said.get_id(), said.get_source()) == (str(ours.event_id), SOURCE)
        assert Placed.model_validate(said.get_data()) == ours
        key = message.key.encode()
        await producer.send_and_wait(
            topic, message.value, key, headers=list(message.headers.items())
        )
        await done.wait()
    assert got[0] == ours
    assert (got[1].order, got[1].total, str(got[1].event_id)) == ("A-2", 9, theirs.get_id())
