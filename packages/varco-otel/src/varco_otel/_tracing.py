"""Spans, while somebody takes them."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider, SpanKind, Status, StatusCode

from varco_otel._names import ERROR_TYPE, NAME, VERSION

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

logger = logging.getLogger("varco_otel")

# From here on, a status of HTTP says that the service failed, and not who called it.
_SERVER_ERROR: Final = 500


def tracer_of(provider: TracerProvider | None) -> Tracer | None:
    """The tracer of a provider, by default that of the process; None while that has none.

    Spans that nobody takes would cost a fifth of a call in memory, so then there are none at all.
    """
    found = trace.get_tracer_provider() if provider is None else provider
    if isinstance(found, ProxyTracerProvider):
        logger.info("no tracer provider is set, so there are no spans: set it before instrument()")
        return None
    return found.get_tracer(NAME, VERSION)


@contextmanager
def spanning(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, str | int],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    links: Sequence[Link] = (),
) -> Generator[Span]:
    """A span around a block, ended however that ends; of an error it has what may be known."""
    with tracer.start_as_current_span(
        name,
        context,
        kind,
        dict(attributes),
        links,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            if span.is_recording():
                mark(span, error)
            raise


def mark(span: Span, error: BaseException) -> None:
    """Say of an error its type, and what the callers of the service may be told.

    Never its text, which may have values in it. A call that was refused for what the caller asked,
    or that was cancelled, is no failure of the service.
    """
    span.set_attribute(ERROR_TYPE, error_type(error))
    status: Any = getattr(error, "http_status", _SERVER_ERROR)
    if isinstance(error, Exception) and not (isinstance(status, int) and status < _SERVER_ERROR):
        span.set_status(Status(StatusCode.ERROR, _public_message(error)))


def error_type(error: BaseException) -> str:
    """The name of its class, with the module of those that are not Python's own."""
    cls = type(error)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _public_message(error: Exception) -> str | None:
    # It is there when there are services, whose callers are told it.
    exceptions = sys.modules.get("varco_domain.exception")
    if exceptions is None:
        return None
    message: str = exceptions.error_message_for(error).message
    return message
