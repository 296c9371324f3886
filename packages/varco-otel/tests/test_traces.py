"""One request through service, outbox, bus and handler; errors, cancellation, tasks apart."""

import asyncio
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind, StatusCode

from varco_domain import (
    AsyncService,
    BaseAuthorizer,
    DomainModel,
    InMemoryRepositoryProvider,
    ServiceNotFoundError,
    generate_dtos,
)
from varco_events import (
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    listen,
)
from varco_otel import instrument, uninstrument

pytestmark = pytest.mark.anyio


class Order(DomainModel):
    title: str


class Everybody(BaseAuthorizer):
    def decide(self, ctx, action, resource):
        return True


DTO = generate_dtos(Order)
NEW = DTO.create(title="a secret title")


class OrderTraced(Event):
    title: str = ""


class FailingError(ValueError):
    http_status = 503


class Orders(AsyncService[Order, int, Any, Any, Any]):
    """Puts an event into an outbox with each order."""

    outbox = InMemoryOutboxRepository()

    async def _after_write(self, uow, ctx, changes):
        await super()._after_write(uow, ctx, changes)
        await self.outbox.save(OutboxEntry.from_event(OrderTraced(title="a secret title")))


def service():
    made = Orders(InMemoryRepositoryProvider(Order), Everybody())
    made.outbox = InMemoryOutboxRepository()
    return made


def links_of(span):
    return [link.context.span_id for link in span.links]


def is_child(span, parent):
    return span.parent is not None and span.parent.span_id == parent.context.span_id


async def test_a_request_is_one_whole_from_the_service_to_the_handler(on):
    orders, bus = service(), InMemoryEventBus()
    tracer = on.tracer_provider.get_tracer("test")

    async def handle(event):
        with tracer.start_as_current_span("what the handler does"):
            pass

    bus.subscribe(OrderTraced, handle)
    with tracer.start_as_current_span("request"):
        await orders.create(NEW)
    await OutboxRelay(outbox=orders.outbox, bus=bus).run_once()

    request, create = on.one("request"), on.one("Orders.create")
    made, sent, handled = (
        on.one("create OrderTraced"),
        on.one("send from outbox"),
        on.one("process OrderTraced"),
    )
    assert is_child(create, request)
    assert is_child(on.one("InMemoryRepository.save"), create)
    assert is_child(made, create)
    assert (made.kind, sent.kind, handled.kind) == (
        SpanKind.PRODUCER,
        SpanKind.CLIENT,
        SpanKind.CONSUMER,
    )
    assert links_of(sent) == links_of(handled) == [made.context.span_id]
    assert sent.parent is None
    assert handled.parent is None
    assert is_child(on.one("what the handler does"), handled)


async def test_handlers_are_children_by_declaration(seen):
    def first(event):
        pass

    def second(event):
        pass

    for handlers in ("parent", [f"{__name__}.{first.__qualname__}"]):
        seen.exporter.clear()
        instrument(**seen.providers, handlers=handlers)
        outbox, bus = InMemoryOutboxRepository(), InMemoryEventBus()
        bus.subscribe(OrderTraced, first)
        bus.subscribe(OrderTraced, second)
        await outbox.save(OutboxEntry.from_event(OrderTraced()))
        await OutboxRelay(outbox=outbox, bus=bus).run_once()
        made = seen.one("create OrderTraced")
        children = [is_child(span, made) for span in seen.named("process OrderTraced")]
        assert children == [True, handlers == "parent"]


async def test_an_event_of_this_process_is_handled_within_what_published_it(on):
    bus = InMemoryEventBus()
    bus.subscribe(OrderTraced, lambda event: None)
    with on.tracer_provider.get_tracer("test").start_as_current_span("request"):
        await bus.publish(OrderTraced())
    assert is_child(on.one("process OrderTraced"), on.one("request"))


async def test_baggage_travels_and_that_of_the_relay_does_not(on):
    outbox, bus, got = InMemoryOutboxRepository(), InMemoryEventBus(), []
    bus.subscribe(OrderTraced, lambda event: got.append(dict(baggage.get_all())))
    token = context.attach(baggage.set_baggage("plan", "gold"))
    await outbox.save(OutboxEntry.from_event(OrderTraced()))
    context.detach(token)
    token = context.attach(baggage.set_baggage("of", "the relay"))
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    assert dict(baggage.get_all()) == {"of": "the relay"}
    context.detach(token)
    assert got == [{"plan": "gold"}]


async def test_an_event_without_a_trace_is_handled_in_one_of_its_own(on):
    uninstrument()
    outbox, bus = InMemoryOutboxRepository(), InMemoryEventBus()
    bus.subscribe(OrderTraced, lambda event: None)
    await outbox.save(OutboxEntry.from_event(OrderTraced()))
    instrument(**on.providers)
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    handled = on.one("process OrderTraced")
    assert (handled.parent, handled.links) == (None, ())


async def test_values_and_texts_of_errors_are_in_no_span(on):
    orders, bus, letters = service(), InMemoryEventBus(), InMemoryDeadLetterQueue()

    class Mails(EventConsumer):
        @listen(OrderTraced, dlq=letters)
        async def on(self, event):
            raise FailingError("a secret title")

    Mails().register_to(bus)
    await orders.create(NEW)
    await OutboxRelay(outbox=orders.outbox, bus=bus).run_once()
    handled = on.one("process OrderTraced")
    assert handled.status.status_code is StatusCode.ERROR
    assert handled.attributes["error.type"] == f"{__name__}.FailingError"
    for span in on.spans:
        assert "secret" not in span.to_json()
    assert sum(on.points("varco.events.given_up").values()) == 1


async def test_what_a_caller_asked_for_wrongly_is_no_failure_of_the_service(on):
    with pytest.raises(ServiceNotFoundError):
        await service().get(12345)
    span = on.one("Orders.get")
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["error.type"].endswith("ServiceNotFoundError")
    assert "12345" not in span.to_json().replace(f"{span.context.trace_id:032x}", "")


async def test_a_failure_of_the_service_has_the_message_that_callers_get(on):
    class Broken(Orders):
        async def _validate(self, entity, ctx):
            raise RuntimeError("a secret title")

    with pytest.raises(RuntimeError):
        await Broken(InMemoryRepositoryProvider(Order), Everybody()).create(NEW)
    span = on.one("Broken.create")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description
    assert "secret" not in span.to_json()


async def test_a_cancellation_ends_the_spans(on):
    begun = asyncio.Event()

    class Endless(Orders):
        async def _validate(self, entity, ctx):
            begun.set()
            await asyncio.Event().wait()

    endless = Endless(InMemoryRepositoryProvider(Order), Everybody())
    task = asyncio.create_task(endless.create(NEW))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    span = on.one("Endless.create")
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status.status_code is StatusCode.UNSET
    assert not trace.get_current_span().is_recording()


async def test_tasks_have_contexts_of_their_own(on):
    orders, tracer = service(), on.tracer_provider.get_tracer("test")

    async def request(number):
        with tracer.start_as_current_span(f"request {number}"):
            await asyncio.sleep(0)
            await orders.create(NEW)

    await asyncio.gather(*map(request, range(20)))
    creates = {span.context.span_id: span for span in on.named("Orders.create")}
    requests = [on.one(f"request {number}") for number in range(20)]
    parents = {span.parent.span_id for span in creates.values()}
    assert parents == {span.context.span_id for span in requests}
    for made in on.named("create OrderTraced"):
        assert made.context.trace_id == creates[made.parent.span_id].context.trace_id


async def test_the_conventions_of_messaging_are_asked_for(seen, monkeypatch):
    async def handled():
        seen.exporter.clear()
        instrument(**seen.providers)
        bus = InMemoryEventBus()
        bus.subscribe(OrderTraced, lambda event: None)
        await bus.publish(OrderTraced(), channel="orders")
        return seen.one("process OrderTraced").attributes

    assert not [name for name in await handled() if name.startswith("messaging.")]
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, messaging")
    attributes = await handled()
    assert attributes["messaging.operation.type"] == "process"
    assert attributes["messaging.destination.name"] == attributes["varco.event.channel"] == "orders"


async def test_a_handler_for_another_wakes_with_the_batch_of_many_linked(on):
    outbox, bus = InMemoryOutboxRepository(), InMemoryEventBus()
    bus.subscribe(OrderTraced, lambda event: None)
    await outbox.save_many([OutboxEntry.from_event(OrderTraced()) for _ in range(3)])
    await OutboxRelay(outbox=outbox, bus=bus).run_once()
    sent = on.one("send from outbox")
    assert sorted(links_of(sent)) == sorted(
        s.context.span_id for s in on.named("create OrderTraced")
    )
    assert sent.attributes["varco.batch.size"] == 3
