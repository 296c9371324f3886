"""Events: names, versions, aliases, what survives the way through bytes."""

import gc
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    computed_field,
)

from varco_events import (
    Event,
    EventDecodeError,
    EventsConfigError,
    EventTypeClashError,
    EventTypeNameError,
    JsonEventSerializer,
    JsonSerializer,
    NoOpSerializer,
    RawEvent,
    Serializer,
    UpcastError,
    upcaster,
)
from varco_events._registry import event_class

serializer = JsonEventSerializer()


def again(event):
    return serializer.deserialize(serializer.serialize(event))


class Color(Enum):
    RED = "red"


class Address(BaseModel):
    model_config = ConfigDict(alias_generator=str.upper)
    street: str


class EverythingHappened(Event):
    __event_type__ = "everything.happened"

    amount: Decimal
    ratio: float
    raw: bytes
    at: datetime
    color: Color
    tags: tuple[str, ...]
    table: dict[str, int]
    note: str | None
    address: Address
    first: int = Field(alias="second")
    second: int = Field(alias="first")
    deep: str = Field(validation_alias=AliasPath("a", "b"), serialization_alias="out")
    either: int = Field(validation_alias=AliasChoices("x", "y"))

    @computed_field
    def doubled(self) -> float:
        return self.ratio * 2


class StrictlyHappened(Event):
    model_config = ConfigDict(extra="forbid", strict=True)

    order_id: int

    @computed_field
    def shown(self) -> str:
        return str(self.order_id)


class PaidV3(Event):
    __event_type__ = "paid"
    __event_version__ = 3

    cents: int
    currency: str


@upcaster(PaidV3, from_version=1)
def _to_cents(data):
    return {**data, "cents": round(data.pop("euros") * 100)}


@upcaster(PaidV3, from_version=2)
def _with_currency(data):
    return {**data, "currency": "EUR"}


def test_events_are_frozen_and_have_an_identity():
    one, other = StrictlyHappened(order_id=1), StrictlyHappened(order_id=1)
    assert one.event_id != other.event_id
    assert one.timestamp.tzinfo is not None
    with pytest.raises(ValidationError):
        one.order_id = 2


def test_the_type_name_is_that_of_the_class_unless_it_says_so():
    assert StrictlyHappened.event_type_name() == "StrictlyHappened"
    assert EverythingHappened.event_type_name() == "everything.happened"

    class Special(EverythingHappened):
        pass

    assert Special.event_type_name() == "Special"


def _module_level(name, module, qualname=None, **body):
    namespace = {"__module__": module, "__qualname__": qualname or name, "__annotations__": {}}
    return type(Event)(name, (Event,), {**namespace, **body})


def test_two_importable_classes_cannot_share_a_name():
    first = _module_level("Shared", "shop.orders")
    with pytest.raises(EventTypeClashError) as caught:
        _module_level("Shared", "shop.billing")
    assert "shop.orders.Shared" in str(caught.value)
    assert "shop.billing.Shared" in str(caught.value)
    assert "__event_type__" in str(caught.value)
    assert event_class("Shared") is first
    with pytest.raises(EventTypeClashError):
        _module_level("Other", "shop.billing", __event_type__="Shared")


def test_a_redefinition_of_the_same_class_replaces_it():
    first = _module_level("Reloaded", "shop.orders")
    event = first()
    second = _module_level("Reloaded", "shop.orders")
    assert event_class("Reloaded") is second
    assert type(again(event)) is second
    assert type(again(second())) is second


def test_a_class_that_is_built_again_is_written_and_read_as_it_is_then():
    class Seen(Event):
        number: "later"

    later = int  # found through the frame of this function
    assert Seen.model_rebuild() is True
    assert again(Seen(number=1)).number == 1

    cls = _module_level("Built", "shop.orders", __annotations__={"number": int})
    assert again(again(cls(number=1))).number == 1
    cls.model_fields["number"].annotation = str
    cls.model_rebuild(force=True)
    assert again(again(cls(number="one"))).number == "one"


def test_classes_local_to_a_function_do_not_clash_and_do_not_leak():
    def make():
        class Local(Event):
            number: int

        return Local

    first, second = make(), make()
    assert type(again(second(number=1))) is second
    del first, second
    gc.collect()
    assert event_class("Local") is None


def test_an_importable_class_goes_before_a_local_one_of_its_name():
    importable = _module_level("Twice", "shop.orders")
    local = type(Event)("Twice", (Event,), {"__module__": "x", "__qualname__": "f.<locals>.Twice"})
    assert event_class("Twice") is importable
    assert local.event_type_name() == "Twice"


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "x" * 256, 7])
def test_a_type_name_has_to_fit_into_an_envelope(name):
    with pytest.raises(EventTypeNameError, match="event type name"):
        _module_level("Odd", "shop.orders", __event_type__=name)


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0])
def test_a_version_is_a_number_from_one(version):
    with pytest.raises(EventTypeNameError, match="__event_version__"):
        _module_level("Odd", "shop.orders", __event_version__=version)


def everything(**changes):
    data = {
        "amount": "1.10",
        "ratio": 0.1,
        "raw": b"\xff\x00",
        "at": datetime(2030, 1, 1, 12, tzinfo=UTC),
        "color": "red",
        "tags": ["a", "b"],
        "table": {"x": 1},
        "note": None,
        "address": {"STREET": "Main"},
        "second": 1,
        "first": 2,
        "a": {"b": "deep"},
        "y": 3,
        **changes,
    }
    return EverythingHappened.model_validate(data)


def test_fields_aliases_and_computed_fields_come_back():
    event = everything()
    assert (event.first, event.second) == (1, 2)
    back = again(event)
    assert back == event
    assert type(back) is EverythingHappened
    assert again(StrictlyHappened(order_id=1)).order_id == 1


@given(
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    ratio=st.floats(allow_nan=False),
    raw=st.binary(),
    at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])),
    tags=st.lists(st.text(st.characters(codec="utf-8"))),
    note=st.none() | st.text(st.characters(codec="utf-8")),
)
def test_any_content_comes_back(**changes):
    event = everything(**changes)
    assert again(event) == event


def test_a_float_that_is_no_number_comes_back():
    assert math.isnan(again(everything(ratio=math.nan)).ratio)


class Wrapped[T](Event):
    value: T


def test_generic_events_are_types_of_their_own():
    event = Wrapped[int](value=1)
    assert event.event_type_name() == "Wrapped[int]"
    back = again(event)
    assert back == event
    assert type(back) is Wrapped[int]


def test_an_envelope_in_any_spelling_is_read():
    event = StrictlyHappened(order_id=1)
    fields = event.model_dump_json(include={"event_id", "timestamp", "order_id"})
    data = f'{{ "data": {fields}, "version" : 1, "type": "StrictlyHappened", "more": 0 }}'
    assert serializer.deserialize(data.encode()).order_id == 1


@pytest.mark.parametrize("tail", [b"\n", b" \r\n\t"])
def test_what_comes_after_the_fields_is_read_the_same_way_at_any_time(tail):
    data = serializer.serialize(StrictlyHappened(order_id=1))
    serializer.deserialize(data)  # the short way is known from now on
    assert serializer.deserialize(data + tail).order_id == 1
    assert serializer.deserialize(data[:-1] + b',"more":0}').order_id == 1
    with pytest.raises(EventDecodeError, match="not JSON"):
        serializer.deserialize(data[:-1] + b"]")


def test_the_type_hint_decides():
    class Copy(Event):
        order_id: int

    event = StrictlyHappened(order_id=1)
    copy = serializer.deserialize(serializer.serialize(event), Copy)
    assert type(copy) is Copy
    assert copy.event_id == event.event_id


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no",
        b"[]",
        b'"x"',
        b"{}",
        b'{"type":1,"version":1,"data":{}}',
        b'{"type":"x","version":"1","data":{}}',
        b'{"type":"x","version":true,"data":{}}',
        b'{"type":"x","version":1,"data":[]}',
        b"\xff\xfe",
        b'{"type":"StrictlyHappened","version":1,"data":{"order_id":"x"}}',
        b'{"type":"StrictlyHappened","version":1,"data":{"order_id":1}} trailing',
        b'{"type":"StrictlyHappened","version":1,"data":',
    ],
)
def test_what_is_no_event_is_refused(data):
    with pytest.raises(EventDecodeError):
        serializer.deserialize(data)


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode("utf-8", "ignore")))
def test_garbage_never_escapes_as_another_error(data):
    with suppress(EventDecodeError):
        serializer.deserialize(data)


@given(
    name=st.text(st.characters(codec="utf-8"), min_size=1),
    version=st.integers(0, 10**6),
    data=st.dictionaries(
        st.text(st.characters(codec="utf-8")),
        st.none() | st.integers() | st.text(st.characters(codec="utf-8")),
    ),
)
def test_an_unknown_type_survives_byte_by_byte(name, version, data):
    payload = JsonSerializer().serialize(
        {"type": f"unknown.{name}", "version": version, "data": data}
    )
    raw = serializer.deserialize(payload)
    assert isinstance(raw, RawEvent)
    assert (raw.raw_type, raw.raw_version) == (f"unknown.{name}", version)
    assert serializer.serialize(raw) == payload
    assert serializer.deserialize(payload).event_id == raw.event_id


def test_a_raw_event_keeps_the_identity_of_the_event():
    event = everything()
    payload = serializer.serialize(event).replace(b"everything.happened", b"elsewhere.happened")
    raw = serializer.deserialize(payload)
    assert (raw.event_id, raw.timestamp) == (event.event_id, event.timestamp)
    anonymous = serializer.deserialize(b'{"type":"elsewhere","version":1,"data":{"event_id":7}}')
    assert isinstance(anonymous.event_id, UUID)


def old(version, **fields):
    return JsonSerializer().serialize({"type": "paid", "version": version, "data": fields})


def test_old_versions_are_lifted_step_by_step():
    first = serializer.deserialize(old(1, euros=1.25, event_id=str(uuid4())))
    assert (first.cents, first.currency) == (125, "EUR")
    second = serializer.deserialize(old(2, cents=125))
    assert (second.cents, second.currency) == (125, "EUR")
    assert again(first) == first


def test_a_version_from_the_future_survives_as_it_is():
    payload = old(4, cents=1, currency="EUR", more=True)
    raw = serializer.deserialize(payload)
    assert isinstance(raw, RawEvent)
    assert serializer.serialize(raw) == payload
    with pytest.raises(UpcastError, match="newer than the class"):
        serializer.deserialize(payload, PaidV3)


def test_a_missing_or_broken_step_is_named():
    class Broken(Event):
        __event_version__ = 3

    data = b'{"type":"Broken","version":1,"data":{}}'
    with pytest.raises(UpcastError, match="from_version=1"):
        serializer.deserialize(data, Broken)
    assert isinstance(serializer.deserialize(data), RawEvent)

    @upcaster("Broken", from_version=1)
    def step(fields):
        return fields["missing"]

    with pytest.raises(UpcastError, match="failed: KeyError"):
        serializer.deserialize(data, Broken)


def test_a_step_is_made_by_one_function():
    def step(module):
        def lift(fields):
            return fields

        lift.__module__, lift.__qualname__ = module, "lift"
        return lift

    register = upcaster("stepped.twice", from_version=1)
    register(step("shop.orders"))
    register(step("shop.orders"))  # a reload
    with pytest.raises(EventsConfigError, match=r"shop\.orders\.lift, so shop\.billing\.lift"):
        register(step("shop.billing"))
    with pytest.raises(ValueError, match="from_version"):
        upcaster("stepped.twice", from_version=0)


def test_the_serializers_are_serializers():
    for one in (JsonEventSerializer(), JsonSerializer(), NoOpSerializer()):
        assert isinstance(one, Serializer)
    assert JsonSerializer().deserialize(b'{"key":"value"}') == {"key": "value"}
    assert JsonSerializer().deserialize(b"[1]", list[int]) == [1]
    address = JsonSerializer().deserialize(b'{"STREET":"Main"}', Address)
    assert address == Address(STREET="Main")
    data = b"raw"
    assert NoOpSerializer().serialize(data) is data
    assert NoOpSerializer().deserialize(data) is data
