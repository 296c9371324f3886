"""Traces, metrics and log ids for OpenTelemetry, by the public hooks of each distribution."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_otel._instrument import (
        HasLags,
        HasStats,
        instrument,
        instrument_buses,
        instrument_caches,
        instrument_calls,
        instrument_events,
        instrument_services,
        instrument_tokens,
        uninstrument,
    )
    from varco_otel._logs import TraceIdFilter
    from varco_otel._metrics import METRICS, Metric
    from varco_otel._sampler import HasFigures, Sampler
else:
    _MODULES = {
        "_instrument": (
            "HasLags HasStats instrument instrument_buses instrument_caches instrument_calls "
            "instrument_events instrument_services instrument_tokens uninstrument"
        ),
        "_logs": "TraceIdFilter",
        "_metrics": "METRICS Metric",
        "_sampler": "HasFigures Sampler",
    }
    _HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # only when a name is touched

        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})


__all__: tuple[str, ...] = (
    "METRICS",
    "HasFigures",
    "HasLags",
    "HasStats",
    "Metric",
    "Sampler",
    "TraceIdFilter",
    "instrument",
    "instrument_buses",
    "instrument_caches",
    "instrument_calls",
    "instrument_events",
    "instrument_services",
    "instrument_tokens",
    "uninstrument",
)
