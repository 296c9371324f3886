"""Turning it on and off."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from varco_otel._metrics import instruments_of
from varco_otel._names import wants_messaging

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

type Part = Literal["services", "events", "tokens", "calls", "caches", "buses"]

# What each part is about, and the extra that brings it.
_SLICES: Final[dict[Part, tuple[str, str]]] = {
    "services": ("varco_domain", "domain"),
    "events": ("varco_events", "events"),
    "tokens": ("varco_auth_jwt", "auth-jwt"),
    "calls": ("varco_resilience", "resilience"),
}
# How to end what is on.
_on: Final[dict[str, Callable[[], None]]] = {}


class HasStats(Protocol):
    """A `varco_cache.CacheBackend`."""

    def stats(self) -> Any:
        """What it did, as `varco_cache.CacheStats`."""
        ...


class HasLags(Protocol):
    """A bus that takes events from partitions, as `varco_kafka.KafkaEventBus`."""

    @property
    def rebalances(self) -> int:
        """How often partitions were dealt out anew."""
        ...

    def lags(self) -> Mapping[str, Mapping[int, int]]:
        """By channel and partition, how many events are not handled."""
        ...


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    handlers: Literal["link", "parent"] | Collection[str] = "link",
    caches: Mapping[str, HasStats] | None = None,
    buses: Mapping[str, HasLags] | None = None,
) -> None:
    """Instrument every distribution of varco that is installed, for the whole process.

    Called again it begins anew, with what it is given then. Call it when the process starts, before
    its work does, and after its tracer provider is set: without one there are no spans, and nothing
    is in the way of a service. A meter provider may be set later.

    Args:
        tracer_provider: That of the process unless given.
        meter_provider: Likewise.
        handlers: Whether the span of a handler begins a trace of its own with a link to where the
            event was made ("link"), or is a child of that ("parent"); or the full names of the
            handlers, "module.qualified_name", whose spans are children.
        caches: The caches to count, by the name that they have in the metrics.
        buses: The buses whose lag to show, likewise.

    Raises:
        ValueError: `handlers` is another text.
    """
    _check(handlers)
    uninstrument()
    if _is_installed("services"):
        instrument_services(tracer_provider=tracer_provider)
    if _is_installed("events"):
        instrument_events(
            tracer_provider=tracer_provider, meter_provider=meter_provider, handlers=handlers
        )
    if _is_installed("tokens"):
        instrument_tokens(tracer_provider=tracer_provider, meter_provider=meter_provider)
    if _is_installed("calls"):
        instrument_calls(meter_provider=meter_provider)
    if caches:
        instrument_caches(caches, meter_provider=meter_provider)
    if buses:
        instrument_buses(buses, meter_provider=meter_provider)


def uninstrument() -> None:
    """Undo all that was instrumented; nothing of it is left in the way of a call.

    Spans that are open end when what they are of ends.
    """
    while _on:
        _on.popitem()[1]()


def instrument_services(*, tracer_provider: TracerProvider | None = None) -> None:
    """Spans of the operations of services and of the calls of repositories.

    Statements of SQL have spans of their own by SQLAlchemy's instrumentation, requests by that of
    the framework.

    Raises:
        ImportError: varco-domain is not installed.
    """
    _begin("services", lambda part: part.watch(tracer_provider), "_services")


def instrument_events(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    handlers: Literal["link", "parent"] | Collection[str] = "link",
) -> None:
    """Spans and metrics of events: made, sent from an outbox, handled, given up.

    The context of who makes an event travels in its headers. `handlers` is that of `instrument`.

    Raises:
        ImportError: varco-events is not installed.
        ValueError: `handlers` is another text.
    """
    _check(handlers)
    instruments = instruments_of(meter_provider)
    messaging = wants_messaging()
    _begin(
        "events",
        lambda part: part.watch(tracer_provider, instruments, handlers, messaging=messaging),
        "_events",
    )


def instrument_tokens(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Spans and metrics of the verification of tokens and of the fetching of key sets.

    Raises:
        ImportError: varco-auth-jwt is not installed.
    """
    instruments = instruments_of(meter_provider)
    _begin("tokens", lambda part: part.watch(tracer_provider, instruments), "_tokens")


def instrument_calls(*, meter_provider: MeterProvider | None = None) -> None:
    """Metrics of breakers, retries, limiters and bulkheads; within a span, events of it.

    Raises:
        ImportError: varco-resilience is not installed.
    """
    instruments = instruments_of(meter_provider)
    _begin("calls", lambda part: part.watch(instruments), "_calls")


def instrument_caches(
    caches: Mapping[str, HasStats], *, meter_provider: MeterProvider | None = None
) -> None:
    """Metrics of caches, by their `stats()`; another call replaces those of the one before.

    Args:
        caches: By the name that they have in the metrics.
        meter_provider: That of the process unless given.
    """
    _end("caches")
    shown = instruments_of(meter_provider).caches
    for name, cache in caches.items():
        shown[name] = cache.stats
    _on["caches"] = shown.clear


def instrument_buses(
    buses: Mapping[str, HasLags], *, meter_provider: MeterProvider | None = None
) -> None:
    """Metrics of buses on partitions: lag and rebalances; another call replaces those before.

    Each process shows the partitions that it has.

    Args:
        buses: By the name that they have in the metrics.
        meter_provider: That of the process unless given.
    """
    _end("buses")
    shown = instruments_of(meter_provider).buses
    shown.update(buses)
    _on["buses"] = shown.clear


def _check(handlers: str | Collection[str]) -> None:
    if isinstance(handlers, str) and handlers not in {"link", "parent"}:
        raise ValueError(
            f"handlers must be 'link', 'parent' or the full names of handlers, not {handlers!r}"
        )


def _is_installed(part: Part) -> bool:
    return find_spec(_SLICES[part][0]) is not None


def _begin(part: Part, watch: Callable[[Any], Callable[[], None]], module: str) -> None:
    needed, extra = _SLICES[part]
    if not _is_installed(part):
        name = needed.replace("_", "-")
        raise ImportError(
            f"instrument_{part} needs {name}: pip install 'varco-otel[{extra}]'", name=needed
        )
    _end(part)
    _on[part] = watch(import_module(f"varco_otel.{module}"))


def _end(part: Part) -> None:
    end = _on.pop(part, None)
    if end is not None:
        end()
