"""Spans of the operations of services and of the calls of repositories; needs varco-domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varco_domain.observe import ServiceObserver, add_service_observer, remove_service_observer
from varco_otel._names import OPERATION, REPOSITORY, SERVICE
from varco_otel._tracing import spanning, tracer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Tracer, TracerProvider


class _Services(ServiceObserver):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def operation(self, service: object, name: str) -> AbstractContextManager[object]:
        owner = type(service).__name__
        return spanning(self._tracer, f"{owner}.{name}", {SERVICE: owner, OPERATION: name})

    def repository_call(self, repository: object, name: str) -> AbstractContextManager[object]:
        owner = type(repository).__name__
        return spanning(self._tracer, f"{owner}.{name}", {REPOSITORY: owner, OPERATION: name})


def watch(tracer_provider: TracerProvider | None) -> Callable[[], None]:
    """Begin; what is returned ends it."""
    tracer = tracer_of(tracer_provider)
    if tracer is None:
        return lambda: None
    observer = _Services(tracer)
    add_service_observer(observer)
    return lambda: remove_service_observer(observer)
