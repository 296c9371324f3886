"""Kafka backend of varco: event bus, dead letters and channels, on aiokafka.

What you touch is loaded when you touch it.
"""

# Not from typing: importing that costs more than importing this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from varco_kafka._bus import KafkaEventBus
    from varco_kafka._bus_settings import KafkaEventBusSettings
    from varco_kafka._dead_letters import KafkaDeadLetterQueue, KafkaDeadLetterQueueSettings
    from varco_kafka._dead_letters import KafkaDeadLetterQueue as KafkaDLQ
    from varco_kafka._di import KafkaConfiguration
    from varco_kafka._errors import (
        KafkaBackendError,
        KafkaChannelRefusedError,
        KafkaConfigError,
        KafkaEventTooLargeError,
        KafkaPoisonError,
        KafkaTopicMismatchError,
        KafkaUnavailableError,
    )
    from varco_kafka._settings import KafkaSettings
    from varco_kafka._topics import KafkaChannelManager
else:
    _HOMES = {
        "_bus": "KafkaEventBus",
        "_bus_settings": "KafkaEventBusSettings",
        "_dead_letters": "KafkaDeadLetterQueue KafkaDeadLetterQueueSettings",
        "_di": "KafkaConfiguration",
        "_errors": (
            "KafkaBackendError KafkaChannelRefusedError KafkaConfigError KafkaEventTooLargeError "
            "KafkaPoisonError KafkaTopicMismatchError KafkaUnavailableError"
        ),
        "_settings": "KafkaSettings",
        "_topics": "KafkaChannelManager",
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name == "KafkaDLQ":
            return __getattr__("KafkaDeadLetterQueue")
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # lazy

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__: tuple[str, ...] = (
    "KafkaBackendError",
    "KafkaChannelManager",
    "KafkaChannelRefusedError",
    "KafkaConfigError",
    "KafkaConfiguration",
    "KafkaDLQ",
    "KafkaDeadLetterQueue",
    "KafkaDeadLetterQueueSettings",
    "KafkaEventBus",
    "KafkaEventBusSettings",
    "KafkaEventTooLargeError",
    "KafkaPoisonError",
    "KafkaSettings",
    "KafkaTopicMismatchError",
    "KafkaUnavailableError",
)
