"""One event, what its handler publishes, and that it is done: all of it in one transaction."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, override

from aiokafka.errors import KafkaError

from varco_events import Upstream, describe
from varco_kafka._batches import write
from varco_kafka._partition import Partition
from varco_kafka._received import Received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaProducer, TopicPartition

    from varco_events import HandlerOutcome, InHand, Workers
    from varco_kafka._batches import Record, Results, Sent
    from varco_kafka._link import Link

logger = logging.getLogger("varco_kafka.bus")

# aiokafka asserts where another has taken the name over.
_FAILURES = (KafkaError, OSError, TimeoutError, AssertionError)

#: The transaction of the event that is being handled.
current: ContextVar[Transaction | None] = ContextVar("varco_kafka_transaction", default=None)


class Transaction:
    """What is published while one event is handled."""

    def __init__(self, link: Link, producer: AIOKafkaProducer) -> None:
        self._link = link
        self._producer = producer
        self.is_open = True
        self.is_broken = False
        """Whether something was not written, after which it cannot be committed."""

    def is_of(self, link: Link) -> bool:
        """Whether what is published by way of `link` belongs to it."""
        return self.is_open and self._link is link

    async def send(self, records: Sequence[Record]) -> list[BaseException | int]:
        """As `Link.send`; consumers see nothing of it before it is committed."""
        found: Results = [None] * len(records)
        sent: list[Sent] = []
        outage = None
        try:
            async with asyncio.timeout(self._link.settings.timeout):
                await write(self._producer, records, found, sent)
        except (KafkaError, OSError, TimeoutError) as error:
            outage = self._link.unavailable("take events", error)
        results = self._link.results(found, sent, outage)
        self.is_broken = self.is_broken or any(not isinstance(one, int) for one in results)
        return results


class Owner(Upstream[Partition, Received], Protocol):
    """Who has the partitions."""

    async def commit_in(
        self, producer: AIOKafkaProducer, partition: Partition, offset: int
    ) -> None:
        """Commit the transaction, and with it that the event at `offset` is done."""
        ...

    def reopen(self, partition: Partition) -> None:
        """Begin anew with what was committed."""
        ...


class TransactionalPartition(Partition):
    """A partition of which one event is handled at a time, each in a transaction.

    The producer has the partition's own name among transactions: whoever gets the partition takes
    that over, ends what another has begun with it, and Kafka refuses the other from then on. Only
    then it is asked what was committed.
    """

    def __init__(
        self,
        part: TopicPartition,
        channel: str,
        owner: Owner,
        workers: Workers,
        link: Link,
        group: str,
    ) -> None:
        super().__init__(part, channel, owner, workers)
        self._owner = owner
        self._link = link
        self._name = f"{group}.{part.topic}.{part.partition}"
        self._producer: AIOKafkaProducer | None = None
        self._one = asyncio.Lock()

    @override
    async def prepare(self) -> None:
        await self.close()
        producer = self._link.new_producer(transactional_id=self._name)
        try:
            async with asyncio.timeout(self._link.settings.timeout):
                await producer.start()
                await producer.begin_transaction()  # the first waits until the name is ours
                await producer.abort_transaction()
        except BaseException as error:
            await self._link.end(producer, error)
            raise
        self._producer = producer

    @override
    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._link.end(producer, self._link.unavailable("go on", TimeoutError()))

    @override
    async def outcomes(self, received: InHand) -> tuple[HandlerOutcome, ...] | None:
        async with self._one:
            producer = self._producer
            if producer is None or not self.may_begin:
                return None
            try:
                await producer.begin_transaction()
            except _FAILURES as error:
                await self._lose(error)
                return None
            transaction = Transaction(self._link, producer)
            token = current.set(transaction)
            try:
                outcomes = await super().outcomes(received)
            except BaseException:
                await self._abort(producer)
                raise
            finally:
                transaction.is_open = False
                current.reset(token)
            if outcomes is None or any(one.error is not None for one in outcomes):
                await self._abort(producer)
                return outcomes
            if transaction.is_broken or not self.trusted:
                await self._abort(producer)
                return None
            try:
                await self._owner.commit_in(producer, self, int(received.number))
            except _FAILURES as error:
                await self._lose(error)
                return None
            return outcomes

    async def _abort(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(self._link.settings.timeout):
                await producer.abort_transaction()
        except _FAILURES as error:
            await self._lose(error)

    async def _lose(self, error: Exception) -> None:
        """Ask anew what was committed: nobody knows whether the last transaction was."""
        logger.warning("a transaction of %s failed, it comes anew: %s", self.part, describe(error))
        self._owner.reopen(self)
        self.progress = None
        await self.close()
