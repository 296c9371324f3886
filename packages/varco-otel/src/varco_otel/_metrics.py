"""The metrics: what there is of them, and the instruments of one meter provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from varco_otel._names import BREAKER, BUS, CACHE, CHANNEL, NAME, PARTITION, STORE, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import (
        CallbackOptions,
        Counter,
        Histogram,
        Meter,
        MeterProvider,
    )

_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 3600)


@dataclass(frozen=True, slots=True)
class Metric:
    """What one metric is called, and what it counts.

    Attributes:
        name: As it is exported.
        kind: "counter", "histogram", or "gauge".
        unit: In UCUM.
        description: What it counts or measures.
    """

    name: str
    kind: str
    unit: str
    description: str


METRICS: Final[tuple[Metric, ...]] = (
    Metric("varco.events.created", "counter", "{event}", "Events put into an envelope"),
    Metric("varco.events.given_up", "counter", "{event}", "Dead letters and parked outbox entries"),
    Metric("varco.handler.duration", "histogram", "s", "Calls of handlers"),
    Metric("varco.outbox.time", "histogram", "s", "Time that delivered events spent in the outbox"),
    Metric("varco.outbox.attempts", "counter", "{attempt}", "Deliveries from an outbox"),
    Metric("varco.bus.lag", "gauge", "{event}", "Events of a partition that are not handled"),
    Metric("varco.bus.rebalances", "counter", "{rebalance}", "Times partitions were dealt anew"),
    Metric("varco.store.waiting", "gauge", "{event}", "Depth: events that wait in a store"),
    Metric("varco.store.waiting.age", "gauge", "s", "Age of the oldest event that waits"),
    Metric("varco.store.failed", "gauge", "{event}", "Failures in a store"),
    Metric("varco.store.failed.age", "gauge", "s", "Age of the oldest failure"),
    Metric("varco.breaker.state", "gauge", "{state}", "0 closed, 1 half open, 2 open"),
    Metric("varco.breaker.changes", "counter", "{change}", "Circuit breakers that changed state"),
    Metric("varco.retries", "counter", "{retry}", "Retries, recoveries and exhausted calls"),
    Metric("varco.refusals", "counter", "{call}", "Calls refused by limiter, bulkhead or breaker"),
    Metric("varco.tokens.verified", "counter", "{token}", "Tokens that were accepted or refused"),
    Metric("varco.keys.fetch.duration", "histogram", "s", "Fetches of key sets"),
    Metric("varco.cache.hits", "counter", "{read}", "Reads that a cache answered"),
    Metric("varco.cache.misses", "counter", "{read}", "Reads that it did not"),
    Metric("varco.cache.stale", "counter", "{read}", "Values served beyond their time to live"),
    Metric("varco.cache.loads", "counter", "{load}", "Loads of missing values"),
    Metric("varco.cache.evictions", "counter", "{entry}", "Entries that had to make room"),
    Metric("varco.cache.errors", "counter", "{call}", "Calls that a cache failed"),
    Metric("varco.cache.entries", "gauge", "{entry}", "Entries that a cache holds"),
)
"""Every metric that this package makes."""
_BY_NAME: Final = {metric.name: metric for metric in METRICS}


class Instruments:
    """The instruments of one meter provider, made once: it would keep every callback for ever.

    What is observed is read from the mappings here; empty ones are nothing.
    """

    def __init__(self, meter: Meter) -> None:
        self.caches: dict[str, Callable[[], Any]] = {}
        self.breakers: dict[str, int] = {}
        self.buses: dict[str, Any] = {}
        self.stores: dict[str, Any] = {}
        self._meter = meter
        self.events_created: Counter = self._counter("varco.events.created")
        self.events_given_up: Counter = self._counter("varco.events.given_up")
        self.handler_duration: Histogram = self._histogram("varco.handler.duration")
        self.outbox_time: Histogram = self._histogram("varco.outbox.time")
        self.outbox_attempts: Counter = self._counter("varco.outbox.attempts")
        self.breaker_changes: Counter = self._counter("varco.breaker.changes")
        self.retries: Counter = self._counter("varco.retries")
        self.refusals: Counter = self._counter("varco.refusals")
        self.tokens_verified: Counter = self._counter("varco.tokens.verified")
        self.keys_fetch_duration: Histogram = self._histogram("varco.keys.fetch.duration")
        self._observed("varco.breaker.state", self._breaker_states)
        self._observed("varco.bus.lag", self._lags)
        self._observed("varco.bus.rebalances", self._rebalances)
        for name, attribute in {
            "varco.store.waiting": "waiting",
            "varco.store.waiting.age": "waiting_age",
            "varco.store.failed": "failed",
            "varco.store.failed.age": "failed_age",
        }.items():
            self._observed(name, self._of_stores(attribute))
        for name in ("hits", "misses", "stale", "loads", "evictions", "errors", "entries"):
            self._observed(f"varco.cache.{name}", self._of_caches(name))

    def _counter(self, name: str) -> Counter:
        metric = _BY_NAME[name]
        return self._meter.create_counter(name, metric.unit, metric.description)

    def _histogram(self, name: str) -> Histogram:
        metric = _BY_NAME[name]
        return self._meter.create_histogram(
            name,
            metric.unit,
            metric.description,
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def _observed(
        self, name: str, callback: Callable[[CallbackOptions], Iterable[Observation]]
    ) -> None:
        metric = _BY_NAME[name]
        meter = self._meter
        if metric.kind == "counter":
            meter.create_observable_counter(name, [callback], metric.unit, metric.description)
        else:
            meter.create_observable_gauge(name, [callback], metric.unit, metric.description)

    def _breaker_states(self, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002  # as it is called
        for name, state in tuple(self.breakers.items()):
            yield Observation(state, {BREAKER: name})

    def _lags(self, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002  # likewise
        for name, bus in tuple(self.buses.items()):
            for channel, lags in bus.lags().items():
                for partition, lag in lags.items():
                    yield Observation(lag, {BUS: name, CHANNEL: channel, PARTITION: partition})

    def _rebalances(self, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002  # likewise
        for name, bus in tuple(self.buses.items()):
            yield Observation(bus.rebalances, {BUS: name})

    def _of_stores(self, attribute: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG001  # likewise
            for name, figures in tuple(self.stores.items()):
                yield Observation(getattr(figures, attribute), {STORE: name})

        return observe

    def _of_caches(self, attribute: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG001  # likewise
            for name, stats in tuple(self.caches.items()):
                yield Observation(getattr(stats(), attribute), {CACHE: name})

        return observe


_made: Final[WeakKeyDictionary[MeterProvider, Instruments]] = WeakKeyDictionary()
# Those of the provider of the process, whichever that will be: the API binds them when it is set.
_of_the_process: Final[list[Instruments]] = []


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """The instruments of a provider, by default of the one of the process, set or not yet."""
    if provider is None:
        if not _of_the_process:
            _of_the_process.append(Instruments(metrics.get_meter(NAME, VERSION)))
        return _of_the_process[0]
    found = _made.get(provider)
    if found is None:
        found = _made[provider] = Instruments(provider.get_meter(NAME, VERSION))
    return found
