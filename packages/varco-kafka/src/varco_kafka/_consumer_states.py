"""Who handles the events of a bus on Kafka, and how far its group is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code

from varco_events import ConsumerState
from varco_kafka._lag import lag_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from varco_kafka._link import Link


_NO_SUCH_GROUP = 69


async def consumer_states(
    link: Link, group: str, channels: Mapping[str, str], limit: int
) -> list[ConsumerState]:
    """What a group has to do in each partition of the topics of channels.

    Raises:
        KafkaUnavailableError: Kafka does not answer.
    """
    if not channels:
        return []
    by_topic = {topic: channel for channel, topic in channels.items()}
    found: Any = await link.ask(
        "describe topics", lambda admin: admin.describe_topics(sorted(by_topic))
    )
    parts = sorted(
        TopicPartition(topic["topic"], one["partition"])
        for topic in found
        for one in topic["partitions"]
    )[:limit]
    if not parts:
        return []
    members = await _members(link, group)
    lags = await lag_of(link, group, parts)
    return [
        ConsumerState(
            group=group,
            channel=by_topic[part.topic],
            partition=part.partition,
            consumer=members.get(part),
            lag=lags[part],
        )
        for part in parts
    ]


async def _members(link: Link, group: str) -> dict[TopicPartition, str]:
    """Which member of a group has which partition."""
    answers = await link.ask(
        "describe a group", lambda admin: admin.describe_consumer_groups([group])
    )
    found: dict[TopicPartition, str] = {}
    for answer in answers:
        for code, _, _, _, _, members, *_ in answer.groups:
            if code not in {0, _NO_SUCH_GROUP}:
                raise link.unavailable("describe a group", for_code(code)())
            for member in members:
                name, client, host, _, assignment = member[:5]
                if assignment:  # else it is being dealt out
                    shown = f"{name} ({client}{host})" if host else name
                    for part in ConsumerProtocolMemberAssignment.decode(assignment).partitions():
                        found[part] = shown
    return found
