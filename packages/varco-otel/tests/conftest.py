"""Spans and metrics in memory; whatever a test instruments is undone after it."""

import logging

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from varco_otel import instrument, uninstrument


class Seen:
    """What was exported."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])

    @property
    def providers(self):
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def spans(self):
        return list(self.exporter.get_finished_spans())

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def one(self, name):
        (span,) = self.named(name)
        return span

    def points(self, name):
        """The points of a metric: value (or count of a histogram) by its attributes."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        for point in metric.data.data_points:
                            value = getattr(point, "value", None)
                            value = point.count if value is None else value
                            found[frozenset(point.attributes.items())] = value
        return found


@pytest.fixture
def seen():
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    seen = Seen()
    yield seen
    uninstrument()
    seen.tracer_provider.shutdown()
    seen.meter_provider.shutdown()


@pytest.fixture
def on(seen):
    instrument(**seen.providers)
    return seen


@pytest.fixture
def anyio_backend():
    return "asyncio"
