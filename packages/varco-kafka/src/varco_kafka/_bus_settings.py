"""The settings of a `KafkaEventBus`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from varco_kafka._errors import KafkaChannelRefusedError, KafkaConfigError
from varco_kafka._settings import KafkaSettings

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_CHANNEL = "{channel}"
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KafkaEventBusSettings(KafkaSettings):
    """Where the bus is and its habits.

    Attributes:
        topic: The topic of a channel; "{channel}" stands for its name.
        group: Of the processes with one group each event goes to one; each group gets all events.
        member: The static name of this process in its group, so that a restart within `lease`
            moves no partitions; None for a member like any other.
        broadcast: Patterns of channels whose events go to every process that listens, from when
            it began to. Invalidations of caches are meant for all.
        create_topics: Whether topics are made that are not there; else publishing to them fails
            with `KafkaChannelRefusedError`.
        partitions: Of topics that the bus makes; at most so many processes of a group work on a
            channel at once.
        replication: On how many servers their partitions are; -1 for 3, or all when there are less.
        compression: "none", "gzip", "snappy", "lz4" or "zstd"; all but the first two need what
            aiokafka's extras install.
        max_event_bytes: The largest event; not above `max.message.bytes` of the topics.
        start_at: Where a group begins that is new to a topic: "earliest" or "latest".
        prefetch: How many events of a partition are in hand before no more are taken.
        concurrency: How many handlers run at once in a process.
        lease: Seconds without a sign of life after which others take over from a process.
        hand_over: Seconds for which handlers may finish when partitions are dealt out anew; then
            they are cut off, and their events come again.
        exactly_once: Whether what a handler publishes on this bus becomes visible together with its
            event being done, or not at all: one transaction of Kafka for each event, and one event
            of a partition at a time. For handlers whose effect is what they publish; where it is
            in a database, use the inbox.
        max_attempts: How often a handler is tried before the event is dead-lettered.
        retry_delay: Seconds before the second attempt; doubled for each further one.
        max_retry_delay: The most.
        cloudevents_source: The source of CloudEvents, as "/orders": records are written so that
            they are CloudEvents in binary mode besides. Those of others are read in any case.
    """

    topic: str = "varco.events.{channel}"
    group: str = "default"
    member: str | None = None
    broadcast: tuple[str, ...] = ("*cache.invalidations",)
    create_topics: bool = True
    partitions: int = 4
    replication: int = -1
    compression: str = "none"
    max_event_bytes: int = 1_000_000
    start_at: str = "earliest"
    prefetch: int = 256
    concurrency: int = 64
    lease: float = 10.0
    hand_over: float = 30.0
    exactly_once: bool = False
    max_attempts: int = 5
    retry_delay: float = 0.2
    max_retry_delay: float = 30.0
    cloudevents_source: str | None = None

    def __post_init__(self) -> None:
        KafkaSettings.__post_init__(self)
        self.check_above_zero(
            "partitions",
            "max_event_bytes",
            "prefetch",
            "concurrency",
            "lease",
            "hand_over",
            "max_attempts",
        )
        if self.replication < 1 and self.replication != -1:
            raise KafkaConfigError("replication", self.replication, "1 or more, or -1")
        for name in ("retry_delay", "max_retry_delay"):
            if getattr(self, name) < 0:
                raise KafkaConfigError(name, getattr(self, name), "0 or more")
        if self.exactly_once and not self.idempotent:
            raise KafkaConfigError("idempotent", self.idempotent, "true with exactly_once")
        if not self.group:
            raise KafkaConfigError("group", self.group, "give it a name")
        if self.cloudevents_source is not None and not self.cloudevents_source:
            raise KafkaConfigError(
                "cloudevents_source", self.cloudevents_source, "a URI reference, as '/orders'"
            )
        if self.start_at not in {"earliest", "latest"}:
            raise KafkaConfigError("start_at", self.start_at, "one of earliest, latest")
        if self.compression not in _COMPRESSIONS:
            raise KafkaConfigError(
                "compression", self.compression, f"one of {', '.join(_COMPRESSIONS)}"
            )
        if self.topic.count(_CHANNEL) != 1 or not _NAME.fullmatch(
            self.topic.replace(_CHANNEL, "x")
        ):
            raise KafkaConfigError(
                "topic", self.topic, "letters, digits, . _ and - with {channel} in it once"
            )

    def is_broadcast(self, channel: str) -> bool:
        """Whether every process gets the events of `channel`."""
        return any(fnmatchcase(channel, pattern) for pattern in self.broadcast)

    def topic_of(self, channel: str) -> str:
        """The topic of a channel.

        Raises:
            KafkaChannelRefusedError: Kafka has no topics of that name.
        """
        topic = self.topic.replace(_CHANNEL, channel)
        if not _NAME.fullmatch(topic):
            raise KafkaChannelRefusedError(
                channel,
                topic,
                "name the channel with at most 249 letters, digits, . _ and -",
            )
        return topic

    def channel_of(self, topic: str) -> str | None:
        """The channel of a topic; None for a topic of somebody else."""
        before, _, after = self.topic.partition(_CHANNEL)
        if len(topic) <= len(before) + len(after):
            return None
        if not (topic.startswith(before) and topic.endswith(after)):
            return None
        return topic[len(before) : len(topic) - len(after)]
