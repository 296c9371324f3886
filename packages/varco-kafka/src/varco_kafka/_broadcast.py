"""Events that go to every process that listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from varco_events import back_off, describe
from varco_kafka._partition import Partition
from varco_kafka._progress import Progress
from varco_kafka._upstream import Taking

if TYPE_CHECKING:
    from varco_kafka._received import Received
    from varco_kafka._upstream import Source

logger = logging.getLogger("varco_kafka.bus")

_POLL = 0.25
_SOON = 0.02
_DISCOVER = 5.0


class BroadcastListener(Taking):
    """Reads the broadcast channels from when it began to, without a group.

    Nothing is committed; what fails is tried again and dead-lettered like everything else. One
    event loop owns it.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: dict[TopicPartition, Partition] = {}
        self._began = False
        self.ready = asyncio.Event()
        """Whether what is published from now on comes here, as far as is known."""

    async def run(self) -> None:
        """Listen until it is cancelled."""
        attempt = 0
        try:
            while True:
                try:
                    await self._round()
                    attempt = 0
                except Exception as error:  # noqa: BLE001  # whatever it is, listening goes on
                    logger.warning("listening failed, it goes on: %s", describe(error))
                    await asyncio.sleep(back_off(attempt))
                    attempt += 1
                    self._poked.set()
        finally:
            await self._close()

    async def _round(self) -> None:
        await self._note()
        self.ready.set()
        consumer = self._consumer
        if consumer is None or not self._partitions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DISCOVER):
                    await self._poked.wait()
            return
        full = False
        for part, one in self._partitions.items():
            if one.space > 0:
                consumer.resume(part)
            else:
                consumer.pause(part)
                full = True
        found = await consumer.getmany(timeout_ms=int((_SOON if full else _POLL) * 1000))
        for part, records in found.items():
            self._partitions[part].accept(records)
        await asyncio.sleep(0)

    async def _note(self) -> None:
        """Read channels that are new: those that were there from their ends, others whole."""
        loop = asyncio.get_running_loop()
        if self._began and not self._poked.is_set():
            return
        self._poked.clear()
        wanted = self._channels()
        named = {one for one in wanted if one != "*" and self._settings.is_broadcast(one)}
        there = await self._topics.channels() if named or "*" in wanted else {}
        if "*" in wanted:
            named |= {one for one in there if self._settings.is_broadcast(one)}
            loop.call_later(_DISCOVER, self._poked.set)
        refused = await self._topics.ensure(named)
        for channel, error in refused.items():
            logger.warning("channel %r is not listened to: %s", channel, describe(error))
        topics = {self._settings.topic_of(one): one for one in named - refused.keys()}
        known = {one.part.topic for one in self._partitions.values()}
        if new := topics.keys() - known:
            old = set(there.values()) if not self._began else set[str]()
            await self._add({topic: topics[topic] for topic in new}, old)
        self._began = True

    async def _add(self, topics: dict[str, str], old: set[str]) -> None:
        if self._consumer is None:
            options = self._link.client_options()
            consumer = AIOKafkaConsumer(**options, isolation_level="read_committed")
            self._consumer = consumer
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await consumer.start()
            except BaseException:
                await self._close()
                raise
        consumer = self._consumer
        described = await self._link.ask(
            "describe topics", lambda admin: admin.describe_topics(list(topics))
        )
        parts = [
            TopicPartition(one["topic"], each["partition"])
            for one in described
            for each in one["partitions"]
        ]
        async with asyncio.timeout(self._settings.timeout):
            ends = await consumer.end_offsets(parts)
            places = {part: await consumer.position(part) for part in self._partitions}
        for part in parts:
            one = Partition(part, topics[part.topic], self, self.workers)
            places[part] = ends[part] if part.topic in old else 0
            one.progress, one.until = Progress(places[part]), math.inf
            self._partitions[part] = one
        consumer.assign(list(self._partitions))
        for part, place in places.items():
            consumer.seek(part, place)

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._partitions.clear()
        if consumer is not None:
            with contextlib.suppress(Exception):
                await consumer.stop()

    # What partitions report.

    def finished(self, partition: Partition, received: Received) -> None:
        """It need not be known any more."""
        if partition.progress is not None:
            partition.progress.done(int(received.number))
