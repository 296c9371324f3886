"""The contracts of buses and of dead letter queues, on the real server."""

import secrets
from contextlib import asynccontextmanager

import pytest

from varco_events.testing import (
    BusContract,
    ConsumerStatesContract,
    DeadLetterFailuresContract,
    DeadLetterQueueContract,
)
from varco_redis import (
    RedisChannelManager,
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisEventBus,
    RedisEventBusSettings,
)


class TestStreams(BusContract):
    in_process = False
    mode = "streams"

    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.settings = RedisEventBusSettings(
            url=url, key_prefix=prefix, mode=self.mode, retry_delay=0.01
        )

    @asynccontextmanager
    async def open_bus(self):
        async with RedisEventBus(self.settings) as bus:
            yield bus


class TestPubSub(TestStreams):
    mode = "pubsub"


class TestConsumers(ConsumerStatesContract):
    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.settings = RedisEventBusSettings(url=url, key_prefix=prefix, partitions=2)

    @asynccontextmanager
    async def open_bus(self):
        async with RedisEventBus(self.settings) as bus, RedisChannelManager(self.settings) as some:
            yield bus, some


class Letters:
    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.url, self.prefix = url, prefix

    @asynccontextmanager
    async def open_queue(self, max_size=1000):
        settings = RedisDeadLetterQueueSettings(
            url=self.url, key_prefix=self.prefix, name=secrets.token_hex(8), max_size=max_size
        )
        async with RedisDeadLetterQueue(settings) as queue:
            yield queue


class TestDeadLetters(Letters, DeadLetterQueueContract):
    pass


class TestFailures(Letters, DeadLetterFailuresContract):
    pass
