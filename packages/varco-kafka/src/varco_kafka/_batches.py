"""Records that are written together: one request and one answer for those of a partition."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from varco_kafka._errors import is_refusal, is_too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaProducer

    from varco_kafka._received import Headers

type Record = tuple[str, bytes | None, bytes | None, Headers]
type Results = list[BaseException | int | None]

# So few are left to aiokafka, which lets those of several tasks share a request.
_FEW = 4
_LEAST_TOGETHER = 16  # of those without a key


@dataclass(slots=True)
class Sent:
    """What is on its way together, by its places among the records."""

    future: asyncio.Future[Any]
    indices: Sequence[int]


@dataclass(slots=True)
class Batch:
    """The records of one partition, in order; of any when it is None."""

    topic: str
    partition: int | None
    records: list[tuple[int, Record]] = field(default_factory=list[tuple[int, "Record"]])

    async def submit(self, producer: AIOKafkaProducer, found: Results, sent: list[Sent]) -> None:
        """Put them on their way; what is refused at once is noted in `found`.

        Raises:
            KafkaError: nothing can be written now.
        """
        if self.partition is None or len(self.records) <= _FEW:
            await self._submit_each(producer, found, sent)
            return
        builder, indices = producer.create_batch(), list[int]()
        for index, (_, key, value, headers) in self.records:
            if builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
                # It is full.
                future = await producer.send_batch(builder, self.topic, partition=self.partition)
                sent.append(Sent(future, indices))
                builder, indices = producer.create_batch(), []
                builder.append(timestamp=None, key=key, value=value, headers=headers)
            indices.append(index)
        future = await producer.send_batch(builder, self.topic, partition=self.partition)
        sent.append(Sent(future, indices))

    async def _submit_each(
        self, producer: AIOKafkaProducer, found: Results, sent: list[Sent]
    ) -> None:
        for index, (topic, key, value, headers) in self.records:
            try:
                future = await producer.send(topic, value, key, self.partition, headers=headers)
            except KafkaError as error:
                if not (is_refusal(error) or is_too_large(error)):
                    raise
                found[index] = error
            else:
                sent.append(Sent(future, (index,)))


async def write(
    producer: AIOKafkaProducer, records: Sequence[Record], found: Results, sent: list[Sent]
) -> None:
    """Write records, and wait for what comes of them, which is noted in `found` and `sent`.

    Raises:
        KafkaError: nothing can be written now; what was on its way is in `sent`.
    """
    for batch in await _arranged(producer, records, found):
        await batch.submit(producer, found, sent)
    if sent:
        await asyncio.wait({one.future for one in sent})


async def _arranged(
    producer: AIOKafkaProducer, records: Sequence[Record], found: Results
) -> list[Batch]:
    """The records by partition: those of a key where all clients of Kafka put them.

    Those without one go to all partitions, some to each. A topic that is refused is noted in
    `found`.

    Raises:
        KafkaError: Kafka does not say what partitions there are.
    """
    if len(records) <= _FEW:
        return [Batch(record[0], None, [(at, record)]) for at, record in enumerate(records)]
    batches: dict[tuple[str, int], Batch] = {}
    topics: dict[str, list[int] | KafkaError] = {}
    keyless, start = 0, random.getrandbits(16)
    for index, (topic, key, *_) in enumerate(records):
        if topic not in topics:
            topics[topic] = await _partitions(producer, topic)
        parts = topics[topic]
        if isinstance(parts, KafkaError):
            found[index] = parts
            continue
        if key is None:
            some = keyless // max(_LEAST_TOGETHER, -(-len(records) // len(parts)))
            part, keyless = parts[(start + some) % len(parts)], keyless + 1
        else:
            part = parts[(_hashed(key) & 0x7FFFFFFF) % len(parts)]
        batch = batches.get((topic, part))
        if batch is None:
            batch = batches[topic, part] = Batch(topic, part)
        batch.records.append((index, records[index]))
    return list(batches.values())


async def _partitions(producer: AIOKafkaProducer, topic: str) -> list[int] | KafkaError:
    """Those of a topic, or why it is refused."""
    try:
        return sorted(await producer.partitions_for(topic))
    except KafkaError as error:
        if is_refusal(error):
            return error
        raise


@lru_cache(maxsize=4096)
def _hashed(key: bytes) -> int:
    return murmur2(key)
