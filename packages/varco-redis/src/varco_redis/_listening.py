"""Events that go to everybody: broadcast channels of Streams, and pub/sub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from varco_events import NoSuchHandlerError, TransportUpstream, back_off, describe
from varco_redis._errors import RedisUnavailableError
from varco_redis._partition import Partition
from varco_redis._received import Received, unpacked
from varco_redis._waiting import listen, streams_of, wait_for, wait_for_streams

if TYPE_CHECKING:
    from varco_redis._link import Own
    from varco_redis._upstream import Source

logger = logging.getLogger("varco_redis.bus")

_BLOCK = 1.0
# How far back a new listener begins: clocks and round trips, and an event twice does no harm.
_BACK_MS = 1000


class BroadcastListener(TransportUpstream[Partition, Received]):
    """Reads the broadcast channels from when it began to, without a group.

    Nothing is acknowledged; what fails is tried again and dead-lettered like everything else.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.workers, source.dead_letters, source.settings.group)
        self._link = source.link
        self._names = source.names
        self._settings = source.settings
        self._channels = source.channels
        self._partitions: dict[str, Partition] = {}
        self._changed = asyncio.Event()
        self._offset = 0.0
        self.ready = asyncio.Event()
        """Whether it listens, or Redis is not there yet."""

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
                    logger.warning("listening failed, it goes on: %s", describe(error))
                    self.ready.set()
                    await asyncio.sleep(back_off(attempt))
                    attempt += 1

    async def _synchronize(self) -> None:
        """Learn Redis's clock: positions in streams are times."""
        seconds, _ = await self._link.call("TIME")
        self._offset = int(seconds) * 1000.0 - time.monotonic() * 1000.0
        self._note()
        self.ready.set()

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
        partition = Partition(channel, 0, stream, self, self.workers)
        partition.until, partition.unclaimed = math.inf, False
        now = time.monotonic() * 1000.0 + self._offset - _BACK_MS
        partition.position = f"{now:.0f}-0"
        self._partitions[channel] = partition

    async def _round(self, own: Own) -> None:
        self._changed.clear()
        if not self._offset:
            await self._synchronize()
        if "*" in self._channels():
            known = await self._link.call("SMEMBERS", self._names.channels)
            for name in {one.decode(errors="replace") for one in known} - self._partitions.keys():
                if self._settings.is_broadcast(name):
                    self._add(name)
        now = time.monotonic()
        ready = {
            one.stream: one
            for one in self._partitions.values()
            if one.space > 0 and one.refused_until < now
        }
        if not ready:
            await wait_for(self._changed, _BLOCK / 4)
        elif self._settings.is_cluster:
            # Streams of several servers: each is asked by itself.
            await self._ask_each(ready)
            await asyncio.sleep(_BLOCK / 20)
        else:
            try:
                answer = await wait_for_streams(
                    own,
                    {name: one.position for name, one in ready.items()},
                    self._changed,
                    _BLOCK,
                    limit=_BLOCK + self._settings.timeout,
                    count=100,
                )
            except (ResponseError, RedisUnavailableError):
                if not await self._ask_each(ready):
                    raise  # it was none of the streams
            else:
                self._accept(answer, ready)

    async def _ask_each(self, ready: dict[str, Partition]) -> bool:
        """Read each stream by itself; whether Redis refused one: that is left alone for a while."""
        refused = False
        commands = [
            ("XREAD", "COUNT", 100, "STREAMS", name, one.position) for name, one in ready.items()
        ]
        answers = await self._link.pipeline(commands)
        for (name, one), answer in zip(ready.items(), answers, strict=True):
            if isinstance(answer, Exception):
                logger.warning("nothing is read from %r: %s", name, describe(answer))
                one.refused_until, refused = time.monotonic() + _BLOCK, True
            else:
                self._accept(answer, ready)
        return refused

    def _accept(self, answer: Any, ready: dict[str, Partition]) -> None:
        for name, entries in streams_of(answer):
            ready[name].accept(entries)


class PubSubListener:
    """Hands on what is published while it listens; a handler is tried once, then dead-lettered.

    Handlers of several events run side by side, in no order. When there are too many it stops
    reading: Redis keeps a little, then breaks the connection, and the events are missed.
    """

    def __init__(self, source: Source) -> None:
        self._link = source.link
        self._subject = source.names.subject
        self._group = source.settings.group
        self._workers = source.workers
        self._dead_letters = source.dead_letters
        self._number = 0
        self._room = asyncio.Semaphore(source.settings.concurrency)
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
                    "listening failed, events are missed until it goes on: %s", describe(error)
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
        received = Received(stream=self._subject, number=str(self._number), channel=channel)
        received.envelope = unpacked(message[3], channel)
        self._workers.spawn(self._handle(received))
        return message

    async def _handle(self, received: Received) -> None:
        async with self._room:
            self._workers.start(received)
            try:
                delivery = await self._workers.dispatcher.dispatch(received.read())
            finally:
                self._workers.end(received)
        # Every process hears what is sent to a handler again; most have no such handler.
        failed = [one for one in delivery.failed if not isinstance(one.error, NoSuchHandlerError)]
        for one in failed:
            logger.error("%s failed", one.handler, exc_info=one.error)
        received.attempts = 1
        for entry in received.dead_letters(failed, self._group):
            try:
                await self._dead_letters.push(entry)
            except Exception as error:  # noqa: BLE001 # of any queue
                logger.error("what %s failed on is lost: %s", entry.handler_name, describe(error))  # noqa: TRY400 # likewise
