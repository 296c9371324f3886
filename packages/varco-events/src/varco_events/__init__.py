"""Events with retries, dead letters and a transactional outbox."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varco_events._backing_off import back_off
    from varco_events._bus import (
        AbstractEventBus,
        ChannelConfig,
        DispatchMode,
        ErrorPolicy,
        EventMiddleware,
    )
    from varco_events._channel import ChannelManager
    from varco_events._cloudevents import from_cloudevent, to_cloudevent
    from varco_events._consumer import EventConsumer, listen
    from varco_events._consumer_state import MOST_CONSUMERS, ConsumerState, ConsumerStates
    from varco_events._context import (
        CHANNEL_DEFAULT,
        channel_context,
        current_channel,
        current_envelope,
    )
    from varco_events._dead_letter_failures import DeadLetterFailureStore
    from varco_events._deduplication import AbstractDeduplicator, InMemoryDeduplicator
    from varco_events._diagnostics import clean, describe
    from varco_events._dispatch import Delivery, Dispatcher, is_rejection
    from varco_events._dlq import RELAY_HANDLER, AbstractDeadLetterQueue, DeadLetterEntry
    from varco_events._entity_events import (
        EntityCreatedEvent,
        EntityDeletedEvent,
        EntityEvent,
        EntityUpdatedEvent,
    )
    from varco_events._entry_failures import (
        error_of_parts,
        inbox_failure,
        parts_of_error,
        relay_failure,
    )
    from varco_events._env_settings import EnvSettings, mask_url
    from varco_events._envelope import EventEnvelope, from_fields, to_fields
    from varco_events._errors import (
        BusStoppedError,
        BusUnavailableError,
        ChannelUnavailableError,
        DeadLetterFailedError,
        DeadLetterQueueFullError,
        DeadlyEventError,
        DeliveryCutOffError,
        EventDecodeError,
        EventFieldError,
        EventsConfigError,
        EventsError,
        EventTypeClashError,
        EventTypeNameError,
        FailureActionError,
        FailureLimitError,
        FailureNotEditableError,
        FailureTokenError,
        HandlersFailedError,
        HeldBackError,
        LifecycleError,
        NoSuchFailureError,
        NoSuchHandlerError,
        UnknownEventTypeError,
        UpcastError,
    )
    from varco_events._event import Event, RawEvent
    from varco_events._event_serializer import EventSerializer, JsonEventSerializer
    from varco_events._failure_store import (
        MAX_AT_ONCE,
        FailureStore,
        OutboxFailureStore,
        check_ids,
        outcomes_of,
        time_edges,
    )
    from varco_events._failures import (
        ALL_FAILURES,
        ActionResult,
        ChannelFigures,
        Failure,
        FailureFilter,
        FailureGroup,
        FailureOutcome,
        FailurePage,
        FailureTally,
        HeldKey,
        StoreFigures,
    )
    from varco_events._in_hand import InHand
    from varco_events._inbox import InboxEntry, InboxRepository
    from varco_events._inbox_poller import InboxPoller
    from varco_events._lanes import Lanes
    from varco_events._memory_bus import InMemoryEventBus
    from varco_events._memory_dlq import InMemoryDeadLetterQueue
    from varco_events._memory_inbox import InMemoryInboxRepository
    from varco_events._memory_outbox import InMemoryOutboxRepository
    from varco_events._middleware import CorrelationMiddleware, LoggingMiddleware, RetryMiddleware
    from varco_events._noop import NoopEventBus
    from varco_events._observer import EventObserver, add_event_observer, remove_event_observer
    from varco_events._outbox import OutboxEntry, OutboxRepository
    from varco_events._outcome import HandlerOutcome, Outcome
    from varco_events._producer import AbstractEventProducer, BusEventProducer, NoopEventProducer
    from varco_events._registry import event_class
    from varco_events._relay import OutboxRelay
    from varco_events._relay_status import RelayStatus
    from varco_events._renaming import takes_former_names
    from varco_events._scanned_failures import Aside, ScannedFailures
    from varco_events._sending import HoldingBack
    from varco_events._serialization import JsonSerializer, NoOpSerializer, Serializer
    from varco_events._service import EventServiceMixin
    from varco_events._subscription import CHANNEL_ALL, Subscription
    from varco_events._surroundings import ContextPart, add_context, remove_context
    from varco_events._threads import in_thread
    from varco_events._tracing import (
        CorrelationIdFilter,
        correlation_context,
        current_causation_id,
        current_correlation_id,
        generate_correlation_id,
    )
    from varco_events._transport import (
        TransportBus,
        TransportLetters,
        TransportLink,
        TransportListener,
        TransportMember,
        TransportSettings,
        TransportUpstream,
    )
    from varco_events._upcasting import upcaster
    from varco_events._workers import HandlingSettings, Upstream, Workers
else:
    _MODULES = {
        "_backing_off": "back_off",
        "_bus": "AbstractEventBus ChannelConfig DispatchMode ErrorPolicy EventMiddleware",
        "_channel": "ChannelManager",
        "_cloudevents": "from_cloudevent to_cloudevent",
        "_consumer": "EventConsumer listen",
        "_consumer_state": "ConsumerState ConsumerStates MOST_CONSUMERS",
        "_context": "CHANNEL_DEFAULT channel_context current_channel current_envelope",
        "_deduplication": "AbstractDeduplicator InMemoryDeduplicator",
        "_diagnostics": "clean describe",
        "_dispatch": "Delivery Dispatcher is_rejection",
        "_dlq": "AbstractDeadLetterQueue DeadLetterEntry RELAY_HANDLER",
        "_entity_events": "EntityCreatedEvent EntityDeletedEvent EntityEvent EntityUpdatedEvent",
        "_env_settings": "EnvSettings mask_url",
        "_envelope": "EventEnvelope from_fields to_fields",
        "_errors": (
            "BusStoppedError BusUnavailableError ChannelUnavailableError DeadLetterFailedError "
            "DeadlyEventError "
            "DeadLetterQueueFullError DeliveryCutOffError EventDecodeError EventTypeClashError "
            "EventTypeNameError EventFieldError EventsConfigError EventsError "
            "FailureActionError FailureLimitError FailureNotEditableError FailureTokenError "
            "NoSuchFailureError HandlersFailedError "
            "HeldBackError LifecycleError "
            "NoSuchHandlerError UnknownEventTypeError UpcastError"
        ),
        "_event": "Event RawEvent",
        "_event_serializer": "EventSerializer JsonEventSerializer",
        "_dead_letter_failures": "DeadLetterFailureStore",
        "_entry_failures": "error_of_parts inbox_failure parts_of_error relay_failure",
        "_failure_store": (
            "FailureStore MAX_AT_ONCE OutboxFailureStore check_ids outcomes_of time_edges"
        ),
        "_failures": (
            "ALL_FAILURES ActionResult ChannelFigures Failure FailureFilter FailureGroup "
            "FailureOutcome FailurePage FailureTally HeldKey StoreFigures"
        ),
        "_in_hand": "InHand",
        "_inbox": "InboxEntry InboxRepository",
        "_memory_inbox": "InMemoryInboxRepository",
        "_inbox_poller": "InboxPoller",
        "_lanes": "Lanes",
        "_memory_bus": "InMemoryEventBus",
        "_memory_dlq": "InMemoryDeadLetterQueue",
        "_memory_outbox": "InMemoryOutboxRepository",
        "_middleware": "CorrelationMiddleware LoggingMiddleware RetryMiddleware",
        "_noop": "NoopEventBus",
        "_observer": "EventObserver add_event_observer remove_event_observer",
        "_outbox": "OutboxEntry OutboxRepository",
        "_outcome": "HandlerOutcome Outcome",
        "_producer": "AbstractEventProducer BusEventProducer NoopEventProducer",
        "_registry": "event_class",
        "_relay": "OutboxRelay",
        "_relay_status": "RelayStatus",
        "_renaming": "takes_former_names",
        "_scanned_failures": "Aside ScannedFailures",
        "_sending": "HoldingBack",
        "_serialization": "JsonSerializer NoOpSerializer Serializer",
        "_service": "EventServiceMixin",
        "_subscription": "CHANNEL_ALL Subscription",
        "_surroundings": "ContextPart add_context remove_context",
        "_threads": "in_thread",
        "_tracing": (
            "CorrelationIdFilter correlation_context current_causation_id "
            "current_correlation_id generate_correlation_id"
        ),
        "_transport": (
            "TransportBus TransportLetters TransportLink TransportListener TransportMember "
            "TransportSettings TransportUpstream"
        ),
        "_upcasting": "upcaster",
        "_workers": "HandlingSettings Upstream Workers",
    }
    _HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
    # What needs an extra, and how to get it.
    _EXTRAS = {"EventServiceMixin": ("varco_domain", "domain")}

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # only when a name is touched

        try:
            value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        except ModuleNotFoundError as error:
            needed, extra = _EXTRAS.get(name, ("", ""))
            if not needed or (error.name or "").split(".")[0] not in {needed, "providify"}:
                raise
            raise ImportError(
                f"{name} needs {needed}: pip install 'varco-events[{extra}]'", name=error.name
            ) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})


__all__: tuple[str, ...] = (
    "ALL_FAILURES",
    "CHANNEL_ALL",
    "CHANNEL_DEFAULT",
    "MAX_AT_ONCE",
    "MOST_CONSUMERS",
    "RELAY_HANDLER",
    "AbstractDeadLetterQueue",
    "AbstractDeduplicator",
    "AbstractEventBus",
    "AbstractEventProducer",
    "ActionResult",
    "Aside",
    "BusEventProducer",
    "BusStoppedError",
    "BusUnavailableError",
    "ChannelConfig",
    "ChannelFigures",
    "ChannelManager",
    "ChannelUnavailableError",
    "ConsumerState",
    "ConsumerStates",
    "ContextPart",
    "CorrelationIdFilter",
    "CorrelationMiddleware",
    "DeadLetterEntry",
    "DeadLetterFailedError",
    "DeadLetterFailureStore",
    "DeadLetterQueueFullError",
    "DeadlyEventError",
    "Delivery",
    "DeliveryCutOffError",
    "DispatchMode",
    "Dispatcher",
    "EntityCreatedEvent",
    "EntityDeletedEvent",
    "EntityEvent",
    "EntityUpdatedEvent",
    "EnvSettings",
    "ErrorPolicy",
    "Event",
    "EventConsumer",
    "EventDecodeError",
    "EventEnvelope",
    "EventFieldError",
    "EventMiddleware",
    "EventObserver",
    "EventSerializer",
    "EventServiceMixin",
    "EventTypeClashError",
    "EventTypeNameError",
    "EventsConfigError",
    "EventsError",
    "Failure",
    "FailureActionError",
    "FailureFilter",
    "FailureGroup",
    "FailureLimitError",
    "FailureNotEditableError",
    "FailureOutcome",
    "FailurePage",
    "FailureStore",
    "FailureTally",
    "FailureTokenError",
    "HandlerOutcome",
    "HandlersFailedError",
    "HandlingSettings",
    "HeldBackError",
    "HeldKey",
    "HoldingBack",
    "InHand",
    "InMemoryDeadLetterQueue",
    "InMemoryDeduplicator",
    "InMemoryEventBus",
    "InMemoryInboxRepository",
    "InMemoryOutboxRepository",
    "InboxEntry",
    "InboxPoller",
    "InboxRepository",
    "JsonEventSerializer",
    "JsonSerializer",
    "Lanes",
    "LifecycleError",
    "LoggingMiddleware",
    "NoOpSerializer",
    "NoSuchFailureError",
    "NoSuchHandlerError",
    "NoopEventBus",
    "NoopEventProducer",
    "OutboxEntry",
    "OutboxFailureStore",
    "OutboxRelay",
    "OutboxRepository",
    "Outcome",
    "RawEvent",
    "RelayStatus",
    "RetryMiddleware",
    "ScannedFailures",
    "Serializer",
    "StoreFigures",
    "Subscription",
    "TransportBus",
    "TransportLetters",
    "TransportLink",
    "TransportListener",
    "TransportMember",
    "TransportSettings",
    "TransportUpstream",
    "UnknownEventTypeError",
    "UpcastError",
    "Upstream",
    "Workers",
    "add_context",
    "add_event_observer",
    "back_off",
    "channel_context",
    "check_ids",
    "clean",
    "correlation_context",
    "current_causation_id",
    "current_channel",
    "current_correlation_id",
    "current_envelope",
    "describe",
    "error_of_parts",
    "event_class",
    "from_cloudevent",
    "from_fields",
    "generate_correlation_id",
    "in_thread",
    "inbox_failure",
    "is_rejection",
    "listen",
    "mask_url",
    "outcomes_of",
    "parts_of_error",
    "relay_failure",
    "remove_context",
    "remove_event_observer",
    "takes_former_names",
    "time_edges",
    "to_cloudevent",
    "to_fields",
    "upcaster",
)
