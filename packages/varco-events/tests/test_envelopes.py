"""Envelopes: what travels, what is read, what surrounds handlers, what of each handler is told."""

import pickle
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_events import (
    AbstractEventBus,
    BusUnavailableError,
    ChannelUnavailableError,
    ContextPart,
    DeadLetterEntry,
    Dispatcher,
    Event,
    EventEnvelope,
    EventMiddleware,
    HeldBackError,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    JsonEventSerializer,
    NoopEventBus,
    NoSuchHandlerError,
    OutboxEntry,
    OutboxRelay,
    Outcome,
    RawEvent,
    RetryMiddleware,
    Subscription,
    add_context,
    clean,
    correlation_context,
    current_causation_id,
    current_correlation_id,
    current_envelope,
    from_fields,
    remove_context,
    to_fields,
    upcaster,
)
from varco_resilience import CircuitOpenError, RetryPolicy

pytestmark = pytest.mark.anyio


class Sold(Event):
    __event_type__ = "tests.sold"
    __event_version__ = 2

    cents: int


@upcaster(Sold, from_version=1)
def lift(fields):
    return {**fields, "cents": fields["euros"] * 100}


class Named(Event):
    number: int = 0
    name: str | None = None

    def event_key(self):
        return self.name


def bytes_of(version, fields):
    serializer = JsonEventSerializer()
    known = serializer.serialize(Sold(cents=1))
    head, _, _ = known.partition(b',"version"')
    return head + f',"version":{version},"data":{fields}}}'.encode()


def around(payload, **options):
    return EventEnvelope.around(payload, **options)


async def sent(bus, *envelopes):
    """What became of each, in order."""
    reports = []
    await bus.send(envelopes, lambda envelope, error: reports.append((envelope, error)))
    assert [envelope for envelope, _ in reports] == list(envelopes)
    return [error for _, error in reports]


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(
    payload=st.binary(),
    key=st.none() | TEXT,
    channel=TEXT,
    headers=st.dictionaries(TEXT.filter(lambda name: not name.startswith("varco-")), TEXT),
)
def test_an_envelope_survives_the_fields_of_a_carrier(payload, key, channel, headers):
    envelope = EventEnvelope(
        event_id=uuid4(),
        event_type="any",
        payload=payload,
        version=7,
        channel=channel,
        key=key,
        headers=headers,
    )
    fields = to_fields(envelope)
    assert from_fields(fields) == envelope
    newer = {**fields, "varco-of-tomorrow": b"kept"}
    assert to_fields(from_fields(newer)) == newer
    assert pickle.loads(pickle.dumps(envelope)) == envelope


def test_an_envelope_cannot_be_changed_and_shows_no_payload():
    envelope = EventEnvelope.of(Named(name="secret"), headers={"token": "hush"})
    with pytest.raises(AttributeError):
        envelope.key = "other"
    assert "secret" not in repr(envelope)
    assert "hush" not in repr(envelope)
    with pytest.raises(ValueError, match="varco's own"):
        EventEnvelope.of(Named(), headers={"varco-handler": "x"})


async def test_a_relay_carries_bytes_whose_class_it_does_not_know():
    class Wire(NoopEventBus):
        async def send(self, envelopes, report):
            for envelope in envelopes:
                wire.append(envelope)
                report(envelope, None)

    wire, outbox = [], InMemoryOutboxRepository()
    newer = b'{"type":"tests.sold","version":9,"data":{"who":"knows"}}'
    await outbox.save(OutboxEntry(event_type="tests.sold", payload=newer, channel="c", key="k"))
    await outbox.save(OutboxEntry(event_type="gone", payload=b"\xff", channel="c"))
    await OutboxRelay(outbox=outbox, bus=Wire()).run_once()
    assert [(one.event_type, one.version, one.key, one.payload) for one in wire] == [
        ("tests.sold", 9, "k", newer),
        ("gone", 1, None, b"\xff"),
    ]
    assert await outbox.get_pending() == []


class OldWire(AbstractEventBus):
    """A bus with the methods of the reference alone."""

    def __init__(self):
        self.sent = []

    async def publish(self, event, *, channel="default"):
        self.sent.append((channel, JsonEventSerializer().serialize(event)))

    def subscribe(self, event_type, handler, *, channel="*", filter=None, priority=0):  # noqa: A002
        return Subscription(event_type, handler)


async def test_fields_that_a_class_does_not_know_survive_a_bus_of_the_reference():
    bus, outbox = OldWire(), InMemoryOutboxRepository()
    more = JsonEventSerializer().serialize(Named(number=1))[:-2] + b',"coupon":"SAVE10"}}'
    await outbox.save(OutboxEntry(event_type="Named", payload=more, channel="c"))
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert bus.sent == [("c", more)]


async def test_what_overrides_deliver_is_called():
    class Noting(InMemoryEventBus):
        async def deliver(self, event, *, channel="default", handler=None):
            seen.append((event.number, channel))

    seen = []
    assert await sent(Noting(), EventEnvelope.of(Named(number=3), channel="c")) == [None]
    assert seen == [(3, "c")]


OLD = (
    b'{"__event_type__": "tests.sold", "event_id": "5ac29a97-3d98-4966-b33f-c55cf817a6a2", '
    b'"timestamp": "2026-11-28T00:41:53Z", "euros": 3}'
)


async def test_what_varco_core_1_0_6_wrote_is_read_by_every_way():
    bus, got = InMemoryEventBus(), []
    bus.subscribe(Sold, got.append)
    outbox = InMemoryOutboxRepository()
    await outbox.save(OutboxEntry(event_type="tests.sold", payload=OLD))
    with correlation_context("of somebody else"):
        await OutboxRelay(outbox=outbox, bus=bus).run_once()
        got.append(JsonEventSerializer().deserialize(OLD))
        entry = DeadLetterEntry(envelope=around(OLD))
        got.append(entry.event)
    assert [event.cents for event in got] == [300] * 3
    assert {str(event.event_id) for event in got} == {"5ac29a97-3d98-4966-b33f-c55cf817a6a2"}
    assert {event.correlation_id for event in got} == {None}


async def test_ids_that_are_missing_are_the_same_whoever_reads():
    data = bytes_of(2, '{"cents":1}')
    read = JsonEventSerializer().deserialize
    with correlation_context("mine"):
        first, second = read(data), read(data)
    assert first.event_id == second.event_id == around(data).event_id
    assert first.correlation_id is None


@pytest.mark.parametrize(
    "payload",
    [
        bytes_of(3, '{"cents":1,"currency":"EUR"}'),
        bytes_of(1, '{"euro":1}'),
        bytes_of(2, '{"dollars":1}'),
        b"\xff",
    ],
    ids=["newer", "upcaster fails", "other fields", "garbage"],
)
async def test_what_a_listener_should_have_had_and_nobody_can_read_is_never_acknowledged(payload):
    bus, got, raw = InMemoryEventBus(), [], []
    for wanted in (Sold, Event, "tests.sold"):
        bus.subscribe(wanted, got.append)
    bus.subscribe(RawEvent, raw.append)
    outbox, dlq = InMemoryOutboxRepository(), InMemoryDeadLetterQueue()
    await outbox.save(OutboxEntry(event_type="tests.sold", payload=payload))
    policy = RetryPolicy(max_attempts=1)
    await OutboxRelay(outbox=outbox, bus=bus, dlq=dlq, retry_policy=policy).run_once()
    assert got == []
    assert [event.payload for event in raw] == [payload]
    (letter,) = await dlq.peek()
    assert (letter.envelope.payload, letter.event.payload) == (payload, payload)
    assert await outbox.get_pending() == []


async def test_an_outcome_for_every_handler_whatever_fails():
    class Breaking(EventMiddleware):
        async def __call__(self, event, channel, next):  # noqa: A002
            if event.number == 2:
                raise OSError("middleware")
            await next(event, channel)

    dispatcher = Dispatcher(middleware=[Breaking()])

    def fine(event):
        pass

    def fails(event):
        raise ValueError("no")

    def odd(event):
        return event.number % 2 == 1

    def broken(event):
        return 1 / 0

    for handler, condition in ((fine, None), (fails, None), (fine, odd), (fine, broken)):
        dispatcher.subscribe(Named, handler, channel="*", filter=condition)
    delivery = await dispatcher.dispatch(EventEnvelope.of(Named(number=0)))
    assert [one.outcome for one in delivery.outcomes] == [
        Outcome.HANDLED,
        Outcome.FAILED,
        Outcome.NOT_ADDRESSED,
        Outcome.FAILED,
    ]
    names = [one.handler for one in delivery.outcomes]
    assert len(set(names)) == 4
    assert names[2].endswith("fine#2")
    assert not delivery.is_done
    assert [type(one.error) for one in delivery.failed] == [ValueError, ZeroDivisionError]
    again = await dispatcher.dispatch(EventEnvelope.of(Named(number=2)))
    assert [one.outcome for one in again.outcomes] == [Outcome.FAILED] * 4
    part = await dispatcher.dispatch(EventEnvelope.of(Named(number=1)), handlers=names[2:3])
    assert [(one.handler, one.outcome) for one in part.outcomes] == [(names[2], Outcome.HANDLED)]


async def test_a_success_after_a_retry_in_a_middleware_is_a_success():
    dispatcher, calls = Dispatcher(middleware=[RetryMiddleware(base_delay=0)]), []

    def flaky(event):
        calls.append(event)
        if len(calls) == 1:
            raise ConnectionError("once")

    dispatcher.subscribe(Named, flaky, channel="*")
    assert (await dispatcher.dispatch(EventEnvelope.of(Named()))).is_done
    assert len(calls) == 2


@pytest.mark.parametrize("middleware", [(), (RetryMiddleware(max_attempts=2, base_delay=0),)])
@pytest.mark.parametrize("error", [BusUnavailableError("down"), CircuitOpenError("x", 1.0, 1.0)])
async def test_a_rejection_is_no_attempt(error, middleware, clock):
    bus, outbox = InMemoryEventBus(middleware=middleware), InMemoryOutboxRepository(clock=clock)

    def reject(event):
        raise error

    bus.subscribe(Named, reject)
    await outbox.save(OutboxEntry.from_event(Named()))
    relay = OutboxRelay(
        outbox=outbox, bus=bus, clock=clock, retry_policy=RetryPolicy(max_attempts=1)
    )
    for _ in range(5):
        await relay.run_once()
        clock.seconds += 100
    assert [entry.attempts for entry in await outbox.get_pending()] == [0]


async def test_a_redrive_reaches_the_handler_that_failed_and_no_namesake():
    bus, got, down = InMemoryEventBus(), [], [True]

    def make(name):
        def handle(event):
            if down[0] and name == "second":
                raise ValueError(name)
            got.append(name)

        return handle

    for name in ("first", "second", "third"):
        bus.subscribe(Named, make(name))
    dispatcher = bus._dispatcher
    envelope = EventEnvelope.of(Named(), channel="c", headers={"trace": "1"})
    (failed,) = (await dispatcher.dispatch(envelope)).failed
    queue, down[0] = InMemoryDeadLetterQueue(), False
    letter = DeadLetterEntry.from_failure(
        envelope=envelope, handler_name=failed.handler, last_exc=failed.error, attempts=1
    )
    await queue.push(letter)
    got.clear()
    assert await queue.redrive(bus) == 1
    assert (got, await queue.count()) == (["second"], 0)


async def test_a_redrive_is_of_one_group():
    letter = DeadLetterEntry(event=Named(), handler_name="app.mail", group="mailers")
    redriven = letter.redriven()
    others, own, plain = Dispatcher(group="audit"), Dispatcher(group="mailers"), Dispatcher()
    got = []
    for dispatcher in (others, own, plain):
        dispatcher.subscribe(Named, got.append, channel="*")
    assert (await others.dispatch(redriven)).outcomes == ()
    for dispatcher in (own, plain):  # the handler is gone: not acknowledged unseen
        (failed,) = (await dispatcher.dispatch(redriven)).failed
        assert isinstance(failed.error, NoSuchHandlerError)
    assert got == []


async def test_a_channel_holds_back_itself_and_a_key_its_own():
    class Picky(OldWire):
        async def publish(self, event, *, channel="default"):
            if channel == "full":
                raise ChannelUnavailableError(channel, "full")
            if event.number == 3:
                raise ValueError("no")
            await super().publish(event, channel=channel)

    bus = Picky()
    what = [(1, None, "full"), (2, None, "full"), (3, "a", "c"), (4, "a", "c"), (5, "b", "c")]
    errors = await sent(
        bus,
        *(EventEnvelope.of(Named(number=n, name=key), channel=c) for n, key, c in what),
    )
    assert [type(error) for error in errors] == [
        ChannelUnavailableError,
        ChannelUnavailableError,
        ValueError,
        HeldBackError,
        type(None),
    ]
    assert len(bus.sent) == 1


class Colour(ContextPart):
    def __init__(self):
        self.now = None

    def inject(self, event):
        return {"colour": self.now} if self.now else {}

    @contextmanager
    def attach(self, envelope):
        before, self.now = self.now, envelope.headers.get("colour")
        try:
            yield
        finally:
            self.now = before


async def test_handlers_see_the_surroundings_of_their_event_and_not_of_the_relay():
    part, bus, got = Colour(), InMemoryEventBus(), []
    outbox = InMemoryOutboxRepository()

    def handle(event):
        envelope = current_envelope()
        ids = current_correlation_id(), current_causation_id()
        got.append((part.now, ids, envelope.headers.get("of-the-application")))

    bus.subscribe(Named, handle)
    add_context(part)
    try:
        part.now = "red"
        with correlation_context("c-1"):
            first = Named()
        envelope = EventEnvelope.of(first, headers={"of-the-application": "x"})
        await outbox.save(OutboxEntry.of(envelope))
        part.now = None
        second = Named()
        await outbox.save(OutboxEntry.from_event(second))
        part.now = "of the relay"
        with correlation_context("of the relay"):
            await OutboxRelay(outbox=outbox, bus=bus).run_once()
            assert (part.now, current_correlation_id()) == ("of the relay", "of the relay")
    finally:
        remove_context(part)
    assert got == [
        ("red", ("c-1", first.event_id), "x"),
        (None, (str(second.event_id), second.event_id), None),
    ]


async def test_surroundings_that_fail_are_a_failure_of_the_handlers():
    class Broken(ContextPart):
        def inject(self, event):
            return {}

        def attach(self, envelope):
            raise LookupError("no trace")

    part, dispatcher, got = Broken(), Dispatcher(), []
    dispatcher.subscribe(Named, got.append, channel="*")
    add_context(part)
    try:
        delivery = await dispatcher.dispatch(EventEnvelope.of(Named()))
    finally:
        remove_context(part)
    assert (got, type(delivery.error)) == ([], LookupError)


async def test_handlers_run_in_the_tenant_of_their_event():
    from varco_domain import cross_tenant_access, current_tenant, tenant_context
    from varco_domain.service.tenant import has_tenancy
    from varco_events import EntityDeletedEvent

    bus, got, outbox = InMemoryEventBus(), [], InMemoryOutboxRepository()
    bus.subscribe(Event, lambda event: got.append((current_tenant(), has_tenancy())))
    with tenant_context("a"):
        await outbox.save(OutboxEntry.from_event(Named()))
    with cross_tenant_access("a test"):
        event = EntityDeletedEvent(entity_type="Order", pk=1, tenant_id="b")
        await outbox.save(OutboxEntry.from_event(event))
    await outbox.save(OutboxEntry.from_event(Named()))
    for surroundings in (tenant_context("of the relay"), cross_tenant_access("the relay")):
        with surroundings:
            await OutboxRelay(outbox=outbox, bus=bus).run_once()
        await outbox.save(OutboxEntry.from_event(Named()))
    assert got == [("a", True), ("b", True), (None, False), (None, False)]


@given(st.text(max_size=50))
def test_any_text_becomes_one_that_every_store_takes(text):
    cleaned = clean(text)
    assert "\0" not in cleaned
    cleaned.encode()
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("text", ["bad \0 input", "r\udce9sum\udce9.pdf", "x" * 5_000_000])
async def test_any_error_text_can_be_dead_lettered(text):
    class OddError(Exception):
        def __str__(self):
            if text.startswith("x"):
                raise RuntimeError("no text either")
            return text

    for error in (ValueError(text), OddError(text)):
        letter = DeadLetterEntry.from_failure(
            event=Named(), handler_name="x", last_exc=error, attempts=1
        )
        assert len(letter.error_message.encode()) < 20_000


async def test_a_queue_of_the_reference_is_redriven():
    class Minimal(InMemoryDeadLetterQueue):
        async def pop_batch(self, *, limit=10):
            return await super().pop_batch(limit=limit)

    bus, got, queue = InMemoryEventBus(), [], Minimal()
    bus.subscribe(Named, got.append)
    await queue.push(
        DeadLetterEntry(event=Named(number=1), handler_name=bus.subscribe(Named, got.append).name)
    )
    with anyio.fail_after(30):
        assert await queue.redrive(bus) == 1
    assert len(got) == 1


async def test_an_entry_of_this_process_brings_its_object_and_a_stored_one_is_read():
    outbox, bus, got = InMemoryOutboxRepository(), InMemoryEventBus(), []
    bus.subscribe(Sold, got.append)
    event = Sold(cents=1)
    entry = OutboxEntry.from_event(event)
    await outbox.save_many([entry, replace(entry, entry_id=uuid4())])
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert got == [event, event]
    assert got[0] is event
    assert got[1] is not event


async def test_a_raw_event_of_a_known_type_is_for_no_listener_to_its_class():
    class Raw(JsonEventSerializer):
        def deserialize(self, data, type_hint=None):
            return EventEnvelope.around(data).raw()

    outbox, bus, got = InMemoryOutboxRepository(), InMemoryEventBus(), []
    bus.subscribe(Sold, got.append)
    await outbox.save(OutboxEntry.from_event(Sold(cents=1)))
    await OutboxRelay(outbox=outbox, bus=bus, serializer=Raw()).run_once()
    assert [type(event) for event in got] == [Sold]


async def test_a_serializer_reads_in_the_surroundings_of_the_relay():
    seen = []

    class Looking(JsonEventSerializer):
        def deserialize(self, data, type_hint=None):
            seen.append((current_correlation_id(), current_envelope()))
            return super().deserialize(data, type_hint)

    for bus, relay in [
        (InMemoryEventBus(serializer=Looking()), None),
        (InMemoryEventBus(), Looking()),
    ]:
        bus.subscribe(Sold, lambda event: seen.append(current_correlation_id()))
        outbox = InMemoryOutboxRepository()
        entries = [OutboxEntry.from_event(Sold(cents=number)) for number in range(2)]
        await outbox.save_many([replace(entry) for entry in entries])
        with correlation_context("the relay"):
            await OutboxRelay(outbox=outbox, bus=bus, serializer=relay).run_once()
            assert current_correlation_id() == "the relay"
        first, second = (str(entry.event_id) for entry in entries)
        around = ("the relay", None)
        assert seen == [around, first, around, second]
        seen.clear()
