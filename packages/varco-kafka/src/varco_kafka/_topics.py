"""The topics of channels: which there are, and making those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from varco_events import MOST_CONSUMERS, ChannelConfig, ChannelManager, ConsumerState
from varco_kafka._bus_settings import KafkaEventBusSettings
from varco_kafka._errors import (
    KafkaChannelRefusedError,
    KafkaTopicMismatchError,
    is_refusal,
    reason_of,
)
from varco_kafka._link import Link

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXISTS = 36
_COPIES = 3
_RETENTION = "retention.ms"


class Topics:
    """The topics of one bus. One event loop owns it."""

    def __init__(self, link: Link, settings: KafkaEventBusSettings) -> None:
        self.link = link
        self._settings = settings
        self._known: set[str] = set()
        self.made = 0
        """How many topics were made here."""

    def forget(self) -> None:
        """What is there is not known any more."""
        self._known.clear()

    async def channels(self) -> dict[str, str]:
        """The topics that there are, by channel."""
        found = {
            channel: topic
            for topic in await self.link.ask("list topics", lambda admin: admin.list_topics())
            if (channel := self._settings.channel_of(topic)) is not None
        }
        self._known.update(found)
        return found

    async def ensure(self, channels: Iterable[str]) -> dict[str, Exception]:
        """Have the topics of channels, which are made if they may be; why one cannot be used.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
        """
        new = [one for one in dict.fromkeys(channels) if one not in self._known]
        if not new:
            return {}
        refused: dict[str, Exception] = {}
        topics: dict[str, str] = {}
        for channel in new:
            try:
                topics[channel] = self._settings.topic_of(channel)
            except KafkaChannelRefusedError as error:
                refused[channel] = error
        if not topics:
            return refused
        there = await self.channels()
        missing = {channel: topic for channel, topic in topics.items() if channel not in there}
        if not self._settings.create_topics:
            for channel, topic in missing.items():
                reason = "it is not there; declare it with KafkaChannelManager.declare_channel"
                refused[channel] = KafkaChannelRefusedError(channel, topic, reason)
            return refused
        for channel, topic in missing.items():
            config = ChannelConfig(self._settings.partitions, self._settings.replication)
            refusal = await self.create(topic, config)
            if refusal is None:
                self._known.add(channel)
                self.made += 1
            else:
                refused[channel] = KafkaChannelRefusedError(channel, topic, refusal)
        return refused

    async def create(self, topic: str, config: ChannelConfig) -> str | None:
        """Make a topic, unless it is there; why that is refused.

        Raises:
            KafkaUnavailableError: it could not be done now.
        """
        extra = {name: str(value) for name, value in config.extra.items()}
        if config.retention_ms is not None:
            extra[_RETENTION] = str(config.retention_ms)
        copies = config.replication_factor
        if copies == -1:
            cluster = await self.link.ask("answer", lambda admin: admin.describe_cluster())
            copies = min(_COPIES, len(cluster["brokers"]))
        new = NewTopic(topic, config.num_partitions, copies, topic_configs=extra)
        answer: Any = await self.link.ask("make a topic", lambda admin: admin.create_topics([new]))
        ((_, code, *said),) = answer.topic_errors
        if code in {0, _EXISTS}:
            return None
        error = for_code(code)()
        if is_refusal(error):
            return str(said[0]) if said and said[0] else reason_of(error)
        raise self.link.unavailable(f"make topic {topic!r}", error)

    async def described(self, topic: str) -> Any:
        """What Kafka knows of a topic, its partitions above all."""
        (found,) = await self.link.ask(
            "describe a topic", lambda admin: admin.describe_topics([topic])
        )
        return found

    async def differences(self, topic: str, config: ChannelConfig) -> list[str]:
        """In what a topic that is there is not as declared.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
        """
        parts = (await self.described(topic))["partitions"]
        copies = min(len(one["replicas"]) for one in parts)
        wanted: dict[str, object] = {"num_partitions": config.num_partitions}
        actual: dict[str, object] = {"num_partitions": len(parts), "replication_factor": copies}
        if config.replication_factor != -1:
            wanted["replication_factor"] = config.replication_factor
        wanted |= {name: str(value) for name, value in config.extra.items()}
        if config.retention_ms is not None:
            wanted[_RETENTION] = str(config.retention_ms)
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        for answer in await self.link.ask(
            "describe a topic", lambda admin: admin.describe_configs([resource])
        ):
            for one in answer.resources:
                actual |= {entry[0]: entry[1] for entry in one[4]}
        return [
            f"{name} is {actual.get(name)}, not {value}"
            for name, value in wanted.items()
            if actual.get(name) != value
        ]


class KafkaChannelManager(ChannelManager):
    """The channels of one bus.

    `num_partitions`, `replication_factor`, `retention_ms` and `extra` (configurations of a topic by
    Kafka's names) of a `ChannelConfig` are those of a topic that is made. A topic that is there is
    never changed: more partitions would move keys to others, and let events of one key overtake
    each other.

    Raises:
        KafkaUnavailableError: From any operation, when Kafka does not answer in time.
        KafkaChannelRefusedError: Likewise, when Kafka has no topic of that name, or forbids it.
    """

    def __init__(self, settings: KafkaEventBusSettings | None = None) -> None:
        self.settings: KafkaEventBusSettings = settings or KafkaEventBusSettings()
        self._link = Link(self.settings)
        self._topics = Topics(self._link, self.settings)

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  # as of a bus
        """Close the connections; they are opened again when needed."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def declare_channel(self, channel: str, config: ChannelConfig | None = None) -> None:
        """Make the topic of `channel`, or see whether the one that is there is as declared.

        Args:
            channel: Its name.
            config: What it must be; what the settings say, and whatever is there, when None.

        Raises:
            KafkaTopicMismatchError: The topic is there and is something else.
        """
        topic = self.settings.topic_of(channel)
        if channel not in await self._topics.channels():
            made = config or ChannelConfig(self.settings.partitions, self.settings.replication)
            refusal = await self._topics.create(topic, made)
            if refusal is not None:
                raise KafkaChannelRefusedError(channel, topic, refusal)
        elif config is not None:
            differences = await self._topics.differences(topic, config)
            if differences:
                raise KafkaTopicMismatchError(channel, topic, differences)

    async def delete_channel(self, channel: str) -> None:
        """Delete the topic of `channel` with all its events; an unknown one is no error."""
        topic = self.settings.topic_of(channel)
        if channel in await self._topics.channels():
            answer: Any = await self._link.ask(
                "delete a topic", lambda admin: admin.delete_topics([topic])
            )
            for _, code in answer.topic_error_codes:
                if code:
                    raise KafkaChannelRefusedError(channel, topic, reason_of(for_code(code)()))
        self._topics.forget()

    async def channel_exists(self, channel: str) -> bool:
        """Whether the topic of `channel` is there."""
        return channel in await self._topics.channels()

    async def list_channels(self) -> list[str]:
        """The channels whose topics are there, sorted."""
        return sorted(await self._topics.channels())

    async def backlog(self, channel: str, group: str | None = None) -> int:
        """How many records there are from the first that a group has not handled on.

        Args:
            channel: Its name.
            group: That of the settings when None.
        """
        from varco_kafka._lag import lag_of  # noqa: PLC0415  # a consumer, when asked for

        topic = self.settings.topic_of(channel)
        if channel not in await self._topics.channels():
            return 0
        lags = await lag_of(self._link, group or self.settings.group, await self._parts(topic))
        return sum(lags.values())

    async def consumers(self, *, limit: int = MOST_CONSUMERS) -> list[ConsumerState]:
        """What the group of the settings has to do in each partition, and who does it.

        What members have in hand Kafka does not know. Channels that are broadcast have no group.
        """
        from varco_kafka._consumer_states import consumer_states  # noqa: PLC0415  # as above

        channels = {
            channel: topic
            for channel, topic in (await self._topics.channels()).items()
            if not self.settings.is_broadcast(channel)
        }
        return await consumer_states(self._link, self.settings.group, channels, limit)

    async def _parts(self, topic: str) -> list[TopicPartition]:
        return [
            TopicPartition(topic, one["partition"])
            for one in (await self._topics.described(topic))["partitions"]
        ]
