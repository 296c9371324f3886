"""The tracker whose spans are printed; `serve.py --trace` serves it."""

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from tracker.app import fastapi, litestar
from varco_otel import instrument

__all__ = ("fastapi", "litestar")


def line(span: ReadableSpan) -> str:
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    ids = " ".join(trace.format_trace_id(link.context.trace_id) for link in span.links)
    mine = trace.format_trace_id(span.context.trace_id)
    return f"{mine} {took:8.2f} ms  {span.name}{' of ' + ids if ids else ''}\n"


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
trace.set_tracer_provider(provider)
instrument()
