"""How far a group is behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import TopicPartition

    from varco_kafka._link import Link


async def lag_of(
    link: Link, group: str, parts: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """How many records each partition has from the first on that the group has not handled.

    Raises:
        KafkaUnavailableError: Kafka does not answer.
    """
    committed = await link.ask(
        "say where a group is",
        lambda admin: admin.list_consumer_group_offsets(group, partitions=list(parts)),
    )
    consumer = AIOKafkaConsumer(**link.client_options())
    try:
        async with asyncio.timeout(link.settings.timeout):
            await consumer.start()
            first = await consumer.beginning_offsets(list(parts))
            last = await consumer.end_offsets(list(parts))
    except (KafkaError, OSError, TimeoutError) as error:
        raise link.unavailable("say how long a topic is", error) from error
    finally:
        await consumer.stop()
    return {one: max(0, last[one] - max(first[one], committed[one].offset)) for one in parts}
