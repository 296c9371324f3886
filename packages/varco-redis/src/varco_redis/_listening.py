"""Events that go to everybody: broadcast channels of Streams, and pub/sub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from varco_redis._errors import RedisUnavailableError, described
from varco_redis._handlers import Received
from varco_redis._link import back_off
from varco_redis._partition import Partition, Workers
from varco_redis._waiting import listen, streams_of, wait_for, wait_for_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events import AbstractDeadLetterQueue
    from varco_redis._bus_settings import Names, RedisEventBusSettings
    from varco_redis._link import Link, Own

logger = logging.getLogger("varco_redis.bus")

_BLOCK = 1.0
# How far back a new listener begins: clocks and round trips, and an event twice does no harm.
_BACK_MS = 1000


class BroadcastListener:
    """Reads the broadcast channels from when it began to, without a group.

    Nothing is acknowledged; what fails is tried again and dead-lettered like everything else.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        settings: RedisEventBusSettings,
        workers: Workers,
        dead_letters: AbstractDeadLetterQueue,
        channels: Callable[[], set[str]],
    ) -> None:
        self._link = link
        self._names = names
        self._settings = settings
        self._workers = workers
        self._dead_letters = dead_letters
        self._channels = channels
        self._partitions: dict[str, Partition] = {}
        self._changed = asyncio.Event()
        self._offset = 0.0

    def poke(self) -> None:
        """The channels have changed."""
        self._note()
        self._changed.set()

    async def run(self) -> None:
        """Listen until it is cancelled."""
        attempt = 0
        async with self._link.own() as own:
            while True:
                try:
                    await self._round(own)
                    attempt = 0
                except Exception as error:  # noqa: BLE001 # whatever it is, listening goes on
                    logger.warning("listening failed, it goes on: %s", described(error))
                    await asyncio.sleep(back_off(attempt))
                    attempt += 1

    async def synchronize(self) -> None:
        """Learn Redis's clock: positions in streams are times."""
        seconds, _ = await self._link.call("TIME")
        self._offset = int(seconds) * 1000.0 - time.monotonic() * 1000.0
        self._note()

    def _note(self) -> None:
        """Begin with channels that are new at what is written from now on."""
        if not self._offset:
            return
        wanted = {
            one for one in self._channels() if one != "*" and self._settings.is_broadcast(one)
        }
        for channel in wanted - self._partitions.keys():
            self._add(channel)
        for channel in self._partitions.keys() - wanted:
            if "*" not in self._channels():
                del self._partitions[channel]

    def _add(self, channel: str) -> None:
        stream = f"{self._names.base(channel)}0"
        partition = Partition(channel, stream, self, self._workers)
        partition.until, partition.unclaimed = math.inf, False
        now = time.monotonic() * 1000.0 + self._offset - _BACK_MS
        partition.position = f"{now:.0f}-0"
        self._partitions[channel] = partition

    async def _round(self, own: Own) -> None:
        self._changed.clear()
        if not self._offset:
            await self.synchronize()
        if "*" in self._channels():
            known = await self._link.call("SMEMBERS", self._names.channels)
            for name in {one.decode(errors="replace") for one in known} - self._partitions.keys():
                if self._settings.is_broadcast(name):
                    self._add(name)
        ready = {one.stream: one for one in self._partitions.values() if one.space > 0}
        if not ready:
            await wait_for(self._changed, _BLOCK / 4)
        elif self._settings.is_cluster:
            # Streams of several servers: each is asked by itself.
            for name, one in ready.items():
                answer = await self._link.call("XREAD", "COUNT", 100, "STREAMS", name, one.position)
                self._accept(answer, ready)
            await asyncio.sleep(_BLOCK / 20)
        else:
            answer = await wait_for_streams(
                own,
                {name: one.position for name, one in ready.items()},
                self._changed,
                _BLOCK,
                limit=_BLOCK + self._settings.timeout,
                count=100,
            )
            self._accept(answer, ready)

    def _accept(self, answer: Any, ready: dict[str, Partition]) -> None:
        for name, entries in streams_of(answer):
            partition = ready[name]
            partition.position = entries[-1][0].decode()
            partition.accept(entries)

    # What partitions report.

    def finished(self, partition: Partition, number: str) -> None:
        """Nobody wants to know."""

    async def failed(self, partition: Partition, number: str, attempts: int) -> None:
        """Likewise."""

    async def dead_letter(self, received: Received, failures: dict[str, Exception]) -> None:
        """Push it for each handler that failed."""
        now = datetime.now(UTC)
        for entry in self._workers.handlers.dead_letters(received, failures, now):
            await self._dead_letters.push(entry)


class PubSubListener:
    """Hands on what is published while it listens; a handler that fails is logged, and that is all.

    Handlers of several events run side by side, in no order. When there are too many it stops
    reading: Redis keeps a little, then breaks the connection, and the events are missed.
    """

    def __init__(self, link: Link, names: Names, workers: Workers) -> None:
        self._link = link
        self._subject = names.subject
        self._workers = workers
        self._number = 0
        self.ready = asyncio.Event()

    def poke(self) -> None:
        """Nothing: everything is listened to."""

    async def run(self) -> None:
        """Listen until it is cancelled."""
        attempt = 0
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 # whatever it is, listening goes on
                attempt = 0 if self.ready.is_set() else attempt + 1
                self.ready.clear()
                logger.warning(
                    "listening failed, events are missed until it goes on: %s", described(error)
                )
                await asyncio.sleep(back_off(attempt))

    async def _listen(self) -> None:
        # One pattern for all, so that nobody gets an event twice.
        if self._link.settings.is_cluster:
            raise RedisUnavailableError(
                str(self._link.address), "PSUBSCRIBE", "pub/sub mode is not there on a cluster"
            )
        async with asyncio.timeout(self._link.settings.timeout):
            connection = await self._link.connect()
        try:
            connection._parser.set_pubsub_push_handler(self._heard)  # noqa: SLF001 # there is no other way
            pattern = "".join("\\" + c if c in "*?[]^-\\" else c for c in self._subject) + "*"
            await connection.send_command("PSUBSCRIBE", pattern, check_health=False)
            await listen(self._link, connection, self._link.settings.timeout, self._have_room)
        finally:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)

    async def _have_room(self) -> None:
        tasks = self._workers.tasks
        while len(tasks) >= self._workers.settings.prefetch:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _heard(self, message: list[Any]) -> Any:
        kind = message[0]
        if kind == b"psubscribe":
            self.ready.set()
        if kind != b"pmessage":
            return message
        channel = message[2].decode(errors="replace").removeprefix(self._subject)
        self._number += 1
        received = Received(f"{channel} {self._number}", channel, message[3])
        self._workers.spawn(self._handle(received))
        return message

    async def _handle(self, received: Received) -> None:
        async with self._workers.room:
            self._workers.running[received] = None
            try:
                failures = await self._workers.handlers.handle(received)
            finally:
                del self._workers.running[received]
        for name, error in failures.items():
            logger.error(
                "%s failed: %s", name or "reading an event", described(error), exc_info=error
            )
