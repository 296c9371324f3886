"""Turning it on and off: once, twice, without providers, without the slices."""

import logging
import subprocess
import sys

import pytest
from opentelemetry import trace

import varco_auth_jwt
import varco_domain
import varco_events._observer
import varco_events._surroundings
import varco_resilience._observers
from varco_events import InMemoryEventBus, correlation_context
from varco_otel import (
    TraceIdFilter,
    instrument,
    instrument_events,
    instrument_services,
    uninstrument,
)
from varco_otel import _instrument as state

pytestmark = pytest.mark.anyio

CLASSES = (
    varco_domain.AsyncService,
    varco_domain.AsyncRepository,
    varco_domain.InMemoryRepositoryProvider,
    varco_auth_jwt.JwtParser,
    varco_auth_jwt.JwtAuthority,
    varco_auth_jwt.TrustedIssuerRegistry,
)


def everything():
    return (
        [dict(vars(cls)) for cls in CLASSES],
        varco_events._observer.observers,
        list(varco_events._surroundings._added),
        varco_resilience._observers.observers,
        dict(state._on),
    )


def test_nothing_is_left(seen):
    before = everything()
    instrument(**seen.providers)
    instrument(**seen.providers, handlers="parent")
    assert len(varco_events._observer.observers) == 1
    assert len(varco_events._surroundings._added) == 1
    assert len(varco_resilience._observers.observers) == 1
    assert everything() != before
    uninstrument()
    uninstrument()
    assert everything() == before


def test_a_part_can_be_instrumented_alone(seen):
    before = everything()
    instrument_services(tracer_provider=seen.tracer_provider)
    assert varco_events._observer.observers == ()
    uninstrument()
    assert everything() == before


def test_a_wrong_word_for_handlers_is_refused():
    with pytest.raises(ValueError, match="'link', 'parent' or the full names"):
        instrument(handlers="child")
    with pytest.raises(ValueError, match="'link', 'parent' or the full names"):
        instrument_events(handlers="child")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_not_installed_is_left_out_and_says_how_to_get_it():
    said = run(
        "import sys\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: (\n"
        "    real(name, *a) if name.startswith(('varco_otel', 'opentelemetry')) else None)\n"
        "import varco_otel\n"
        "varco_otel.instrument(); varco_otel.TraceIdFilter()\n"
        "try:\n    varco_otel.instrument_tokens()\n"
        "except ImportError as error:\n    print(error)\n"
        "print([m for m in sys.modules if m.startswith('varco_') and 'otel' not in m])"
    )
    assert said.splitlines() == [
        "instrument_tokens needs varco-auth-jwt: pip install 'varco-otel[auth-jwt]'",
        "[]",
    ]


def test_without_a_provider_nothing_is_in_the_way_and_it_can_be_called_again_with_one():
    said = run(
        "import asyncio, varco_otel\n"
        "varco_otel.instrument()\n"
        "from varco_domain import AsyncService\n"
        "assert not hasattr(AsyncService.get, '__varco_written__')\n"
        "from varco_events import Event, InMemoryEventBus\n"
        "class E(Event): pass\n"
        "bus = InMemoryEventBus(); bus.subscribe(E, lambda e: None)\n"
        "asyncio.run(bus.publish(E()))\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "exporter = InMemorySpanExporter(); provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(exporter))\n"
        "trace.set_tracer_provider(provider)\n"
        "varco_otel.instrument()\n"
        "assert hasattr(AsyncService.get, '__varco_written__')\n"
        "asyncio.run(bus.publish(E()))\n"
        "print([span.name for span in exporter.get_finished_spans()])"
    )
    assert said == "['process E']"


def test_a_meter_provider_that_is_set_later_gets_everything_once():
    said = run(
        "import asyncio, varco_otel\n"
        "from varco_events import InMemoryOutboxRepository\n"
        "sampler = varco_otel.Sampler({'Outbox': InMemoryOutboxRepository().failures()})\n"
        "varco_otel.instrument()\n"
        "asyncio.run(sampler.sample())\n"
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "reader = InMemoryMetricReader()\n"
        "metrics.set_meter_provider(MeterProvider([reader]))\n"
        "varco_otel.instrument()\n"
        "asyncio.run(sampler.sample())\n"
        "found = [m.name for r in reader.get_metrics_data().resource_metrics\n"
        "    for s in r.scope_metrics for m in s.metrics for p in m.data.data_points]\n"
        "print(found.count('varco.store.waiting'), len(found) == len(set(found)))"
    )
    assert said == "1 True"


async def test_log_records_have_the_ids(seen):
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "hello", None, None)
    assert TraceIdFilter(fallback="none").filter(record)
    assert (record.trace_id, record.span_id, record.correlation_id) == ("none",) * 3
    tracer = seen.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as span, correlation_context("c-1"):
        TraceIdFilter().filter(record)
    found = span.get_span_context()
    assert record.trace_id == trace.format_trace_id(found.trace_id)
    assert record.span_id == trace.format_span_id(found.span_id)
    assert record.correlation_id == "c-1"


async def test_a_span_that_is_open_when_it_is_turned_off_ends(on):
    bus = InMemoryEventBus()

    class Late(varco_events.Event):
        pass

    bus.subscribe(Late, lambda event: uninstrument())
    await bus.publish(Late())
    assert len(on.named("process Late")) == 1
