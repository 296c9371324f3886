"""Events from their making to what became of them; needs varco-events."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind

from varco_events import (
    RELAY_HANDLER,
    ContextPart,
    EventObserver,
    add_context,
    add_event_observer,
    current_envelope,
    event_class,
    remove_context,
    remove_event_observer,
)
from varco_otel._names import (
    BATCH,
    CHANNEL,
    ERROR_TYPE,
    EVENT_ID,
    EVENT_TYPE,
    HANDLER,
    OTHER,
    OUTCOME,
)
from varco_otel._tracing import error_type, mark, spanning, tracer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span, Tracer, TracerProvider

    from varco_events import Event, EventEnvelope, OutboxEntry
    from varco_otel._metrics import Instruments

# How many of a batch its span has links to; those of later ones would be dropped by the SDK.
_MOST_LINKS: Final = 128


class _Travelling(ContextPart):
    """The trace context of who makes an event, in the headers that it travels with."""

    def __init__(self, tracer: Tracer | None, instruments: Instruments, *, messaging: bool) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._messaging = messaging

    def inject(self, event: Event) -> Mapping[str, str]:
        name = _name(event)
        self._instruments.events_created.add(1, {EVENT_TYPE: _bounded(name)})
        tracer = self._tracer
        headers: dict[str, str] = {}
        if tracer is None:
            return headers
        attributes: dict[str, str | int] = {EVENT_TYPE: name, EVENT_ID: str(event.event_id)}
        if self._messaging:
            attributes |= {
                "messaging.system": "varco",
                "messaging.operation.name": "create",
                "messaging.operation.type": "create",
                "messaging.message.id": str(event.event_id),
            }
        with spanning(tracer, f"create {name}", attributes, kind=SpanKind.PRODUCER):
            propagate.inject(headers)
        return headers

    def attach(self, envelope: EventEnvelope) -> AbstractContextManager[object] | None:
        if self._tracer is None:
            return None
        # What surrounds who delivers it is nothing of the event's.
        return _attached(trace.set_span_in_context(INVALID_SPAN, _context_of(envelope)))


class _Watching(EventObserver):
    def __init__(
        self,
        tracer: Tracer | None,
        instruments: Instruments,
        children: Callable[[str], bool],
        *,
        messaging: bool,
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._is_child = children
        self._messaging = messaging

    def sending(self, entries: Sequence[OutboxEntry]) -> AbstractContextManager[object] | None:
        tracer = self._tracer
        if tracer is None:
            return None
        links = [
            Link(span)
            for entry in entries[:_MOST_LINKS]
            if (span := _span_in(_context_of(entry.envelope))) is not None
        ]
        attributes: dict[str, str | int] = {BATCH: len(entries)}
        if self._messaging:
            attributes |= {
                "messaging.system": "varco",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.batch.message_count": len(entries),
            }
        return spanning(
            tracer,
            "send from outbox",
            attributes,
            kind=SpanKind.CLIENT,
            context=Context(),
            links=links,
        )

    def sent(self, entry: OutboxEntry, seconds: float) -> None:
        event_type = _bounded(entry.event_type)
        self._instruments.outbox_time.record(seconds, {EVENT_TYPE: event_type})
        self._instruments.outbox_attempts.add(1, {EVENT_TYPE: event_type, OUTCOME: "sent"})

    def not_sent(self, entry: OutboxEntry, error: BaseException) -> None:
        self._instruments.outbox_attempts.add(
            1,
            {
                EVENT_TYPE: _bounded(entry.event_type),
                OUTCOME: "failed",
                ERROR_TYPE: error_type(error),
            },
        )

    @contextmanager
    def handling(self, handler: str, event: Event, channel: str) -> Generator[None]:
        name, begun = _name(event), time.perf_counter()
        measured = {HANDLER: handler, EVENT_TYPE: _bounded(name)}
        tracer = self._tracer
        try:
            with (
                nullcontext()
                if tracer is None
                else self._processing(tracer, handler, event, name, channel)
            ):
                yield
        except BaseException as error:
            measured[ERROR_TYPE] = error_type(error)
            raise
        finally:
            self._instruments.handler_duration.record(time.perf_counter() - begun, measured)

    def _processing(
        self, tracer: Tracer, handler: str, event: Event, name: str, channel: str
    ) -> AbstractContextManager[Span]:
        """The span of one call: a child of what made the event in this task, or linked to it."""
        attributes: dict[str, str | int] = {
            HANDLER: handler,
            EVENT_TYPE: name,
            EVENT_ID: str(event.event_id),
            CHANNEL: channel,
        }
        if self._messaging:
            attributes |= {
                "messaging.system": "varco",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.message.id": str(event.event_id),
                "messaging.destination.name": channel,
            }
        envelope = current_envelope()
        context, links = None, list[Link]()
        if envelope is not None:
            made_in = _context_of(envelope)
            if self._is_child(handler):
                context = made_in
            elif (span := _span_in(made_in)) is not None:
                links.append(Link(span))
        title = f"process {name}"
        kind = SpanKind.CONSUMER
        return spanning(tracer, title, attributes, kind=kind, context=context, links=links)

    def given_up(
        self, envelope: EventEnvelope, handler: str, error: BaseException, attempts: int
    ) -> None:
        del attempts
        measured = {
            HANDLER: handler,
            EVENT_TYPE: _bounded(envelope.event_type),
            ERROR_TYPE: error_type(error),
        }
        self._instruments.events_given_up.add(1, measured)
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event("varco.given_up", measured)
            if self._tracer is not None and handler != RELAY_HANDLER:
                mark(span, error)  # that of the handler, which raises it to nobody


def _name(event: Event) -> str:
    raw: str | None = getattr(event, "raw_type", None)
    return type(event).event_type_name() if raw is None else raw


def _bounded(name: str) -> str:
    """A type name that may stand in a metric: others come from outside, and there is no end."""
    return OTHER if event_class(name) is None else name


def _context_of(envelope: EventEnvelope) -> Context:
    return propagate.extract(envelope.headers, context=Context())


def _span_in(context: Context) -> trace.SpanContext | None:
    span = trace.get_current_span(context).get_span_context()
    return span if span.is_valid else None


@contextmanager
def _attached(context: Context) -> Generator[None]:
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def watch(
    tracer_provider: TracerProvider | None,
    instruments: Instruments,
    handlers: str | Collection[str],
    *,
    messaging: bool,
) -> Callable[[], None]:
    """Begin; what is returned ends it."""
    tracer = tracer_of(tracer_provider)
    children: Callable[[str], bool]
    if isinstance(handlers, str):
        every = handlers == "parent"
        children = lambda _: every  # noqa: E731  # as long as its name
    else:
        children = frozenset(handlers).__contains__
    part = _Travelling(tracer, instruments, messaging=messaging)
    observer = _Watching(tracer, instruments, children, messaging=messaging)
    add_context(part)
    add_event_observer(observer)

    def end() -> None:
        remove_event_observer(observer)
        remove_context(part)

    return end
