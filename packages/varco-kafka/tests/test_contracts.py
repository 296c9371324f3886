"""The contracts of buses, of dead letter queues and of operating them."""

from contextlib import asynccontextmanager

import pytest

from varco_events.testing import (
    BusContract,
    ConsumerStatesContract,
    DeadLetterFailuresContract,
    DeadLetterQueueContract,
)
from varco_kafka import (
    KafkaChannelManager,
    KafkaDeadLetterQueue,
    KafkaDeadLetterQueueSettings,
    KafkaEventBus,
    KafkaEventBusSettings,
)


class TestBus(BusContract):
    in_process = False

    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.settings = KafkaEventBusSettings(
            url=url, topic=f"{prefix}{{channel}}", group=prefix, partitions=2, retry_delay=0.01
        )

    @asynccontextmanager
    async def open_bus(self):
        async with KafkaEventBus(self.settings) as bus:
            yield bus


class TestConsumers(ConsumerStatesContract):
    counts_in_hand = False

    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.settings = KafkaEventBusSettings(
            url=url, topic=f"{prefix}{{channel}}", group=prefix, partitions=2
        )

    @asynccontextmanager
    async def open_bus(self):
        async with KafkaEventBus(self.settings) as bus, KafkaChannelManager(self.settings) as some:
            yield bus, some


class _Queues:
    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.url, self.prefix = url, prefix

    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        settings = KafkaDeadLetterQueueSettings(
            url=self.url, topic=f"{self.prefix}letters", max_size=max_size
        )
        async with KafkaDeadLetterQueue(settings) as queue:
            yield queue


class TestDeadLetters(_Queues, DeadLetterQueueContract):
    pass


class TestOperating(_Queues, DeadLetterFailuresContract):
    share = 0.05  # a queue, which is a topic, for each of the drawn orders

    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        self.prefix = f"{self.prefix}-"  # what one left is not there for the next
        async with super().open_queue(max_size) as queue:
            yield queue
