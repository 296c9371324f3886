"""Events with retries, dead letters and a transactional outbox."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varco_events._bus import (
        CHANNEL_ALL,
        CHANNEL_DEFAULT,
        AbstractEventBus,
        ChannelConfig,
        DispatchMode,
        ErrorPolicy,
        EventMiddleware,
        Subscription,
    )
    from varco_events._channel import ChannelManager
    from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
    from varco_events._errors import (
        BusStoppedError,
        BusUnavailableError,
        DeadLetterFailedError,
        DeadLetterQueueFullError,
        EventDecodeError,
        EventsError,
        EventTypeClashError,
        EventTypeNameError,
        HandlersFailedError,
        LifecycleError,
        NoSuchHandlerError,
        UnknownEventTypeError,
        UpcastError,
    )
    from varco_events._event import Event, RawEvent
    from varco_events._event_serializer import EventSerializer, JsonEventSerializer
    from varco_events._memory_bus import InMemoryEventBus
    from varco_events._memory_outbox import InMemoryOutboxRepository
    from varco_events._noop import NoopEventBus
    from varco_events._outbox import OutboxEntry, OutboxRepository
    from varco_events._relay import OutboxRelay
    from varco_events._serialization import JsonSerializer, NoOpSerializer, Serializer
    from varco_events._tracing import (
        CorrelationIdFilter,
        correlation_context,
        current_causation_id,
        current_correlation_id,
        generate_correlation_id,
    )
    from varco_events._upcasting import upcaster
else:
    _MODULES = {
        "_bus": (
            "AbstractEventBus CHANNEL_ALL CHANNEL_DEFAULT ChannelConfig DispatchMode ErrorPolicy "
            "EventMiddleware Subscription"
        ),
        "_channel": "ChannelManager",
        "_dlq": "AbstractDeadLetterQueue DeadLetterEntry",
        "_errors": (
            "BusStoppedError BusUnavailableError DeadLetterFailedError DeadLetterQueueFullError "
            "EventDecodeError EventTypeClashError EventTypeNameError EventsError "
            "HandlersFailedError LifecycleError NoSuchHandlerError UnknownEventTypeError "
            "UpcastError"
        ),
        "_event": "Event RawEvent",
        "_event_serializer": "EventSerializer JsonEventSerializer",
        "_memory_bus": "InMemoryEventBus",
        "_memory_outbox": "InMemoryOutboxRepository",
        "_noop": "NoopEventBus",
        "_outbox": "OutboxEntry OutboxRepository",
        "_relay": "OutboxRelay",
        "_serialization": "JsonSerializer NoOpSerializer Serializer",
        "_tracing": (
            "CorrelationIdFilter correlation_context current_causation_id current_correlation_id "
            "generate_correlation_id"
        ),
        "_upcasting": "upcaster",
    }
    _HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # only when a name is touched

        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})


__all__: tuple[str, ...] = (
    "CHANNEL_ALL",
    "CHANNEL_DEFAULT",
    "AbstractDeadLetterQueue",
    "AbstractEventBus",
    "BusStoppedError",
    "BusUnavailableError",
    "ChannelConfig",
    "ChannelManager",
    "CorrelationIdFilter",
    "DeadLetterEntry",
    "DeadLetterFailedError",
    "DeadLetterQueueFullError",
    "DispatchMode",
    "ErrorPolicy",
    "Event",
    "EventDecodeError",
    "EventMiddleware",
    "EventSerializer",
    "EventTypeClashError",
    "EventTypeNameError",
    "EventsError",
    "HandlersFailedError",
    "InMemoryEventBus",
    "InMemoryOutboxRepository",
    "JsonEventSerializer",
    "JsonSerializer",
    "LifecycleError",
    "NoOpSerializer",
    "NoSuchHandlerError",
    "NoopEventBus",
    "OutboxEntry",
    "OutboxRelay",
    "OutboxRepository",
    "RawEvent",
    "Serializer",
    "Subscription",
    "UnknownEventTypeError",
    "UpcastError",
    "correlation_context",
    "current_causation_id",
    "current_correlation_id",
    "generate_correlation_id",
    "upcaster",
)
