"""What can go wrong with Kafka.

KafkaBackendError
├── KafkaConfigError (ValueError)     a setting that makes no sense
├── KafkaUnavailableError             no answer within the time limit, or none at all
│                                     (a BusUnavailableError: relays wait and go on)
├── KafkaChannelRefusedError          a topic that is not there, or may not be used
│                                     (a ChannelUnavailableError: other channels go on)
├── KafkaEventTooLargeError           an event that is larger than Kafka takes
├── KafkaTopicMismatchError           a topic that is not what was declared
└── KafkaPoisonError                  an event that no process lived to handle
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from aiokafka import errors

from varco_events import BusUnavailableError, ChannelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_REASON = 300
_REFUSED = (
    errors.TopicAuthorizationFailedError,
    errors.UnknownTopicOrPartitionError,
    errors.InvalidTopicError,
    errors.PolicyViolationError,
    errors.InvalidReplicationFactorError,
    errors.InvalidPartitionsError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


class KafkaBackendError(Exception):
    """The base of every error of varco-kafka."""

    code: ClassVar[str] = "kafka.error"
    http_status: ClassVar[int] = 500


class KafkaConfigError(KafkaBackendError, ValueError):
    """A setting that makes no sense."""

    code = "kafka.config"

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(name, value, remedy)
        self.name = name
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}: {self.remedy}"


class KafkaUnavailableError(KafkaBackendError, BusUnavailableError):
    """Kafka gave no answer; whether it did what it was told is not known."""

    code = "kafka.unavailable"
    http_status = 503

    def __init__(self, servers: str, what: str, reason: str) -> None:
        super().__init__(servers, what, reason)
        self.servers = servers
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"Kafka at {self.servers} did not {self.what}: {self.reason}"


class KafkaChannelRefusedError(KafkaBackendError, ChannelUnavailableError):
    """The topic of a channel is not there, or may not be used; nothing was written."""

    code = "kafka.channel_refused"
    http_status = 503

    def __init__(self, channel: str, topic: str, reason: str) -> None:
        super().__init__(channel, f"topic {topic!r}: {reason}")
        self.topic = topic


class KafkaEventTooLargeError(KafkaBackendError):
    """An event is larger than Kafka takes; its key alone waits for what becomes of it."""

    code = "kafka.event_too_large"
    http_status = 413

    def __init__(self, event_type: str, channel: str, reason: str) -> None:
        super().__init__(event_type, channel, reason)
        self.event_type = event_type
        self.channel = channel
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.event_type} is too large for channel {self.channel!r}: {self.reason}; publish "
            f"a reference to the data, or raise max_event_bytes and max.message.bytes of the topic"
        )


class KafkaTopicMismatchError(KafkaBackendError):
    """A topic is there and is not what was declared; nothing was changed."""

    code = "kafka.topic_mismatch"
    http_status = 409

    def __init__(self, channel: str, topic: str, differences: Sequence[str]) -> None:
        super().__init__(channel, topic, differences)
        self.channel = channel
        self.topic = topic
        self.differences: tuple[str, ...] = tuple(differences)

    def __str__(self) -> str:
        return (
            f"topic {self.topic!r} of channel {self.channel!r} is not what was declared: "
            f"{'; '.join(self.differences)}. Declare what is there, or change the topic with "
            f"Kafka's own tools: other partitions change where keys go"
        )


class KafkaPoisonError(KafkaBackendError):
    """All attempts at an event were begun, and none came to an end: processes die of it."""

    code = "kafka.poison"

    def __init__(self, attempts: int) -> None:
        super().__init__(attempts)
        self.attempts = attempts

    def __str__(self) -> str:
        return (
            f"{self.attempts} attempts were begun and the process ended in the last of them: "
            f"what handles this event kills it, or takes longer than it lives"
        )


def is_refusal(error: BaseException) -> bool:
    """Whether an error of aiokafka is a matter of one topic, which others need not wait for."""
    return isinstance(error, _REFUSED)


def is_too_large(error: BaseException) -> bool:
    """Whether an error of aiokafka is a matter of one event."""
    return isinstance(error, _TOO_LARGE)


def reason_of(error: BaseException) -> str:
    """What an error of aiokafka says, in short."""
    name = type(error).__name__
    if isinstance(error, TimeoutError | errors.KafkaTimeoutError):
        return "it took too long"
    said = str(error).removeprefix(f"{name}: ")
    return f"{name}: {said}"[:_LONGEST_REASON] if said else name
