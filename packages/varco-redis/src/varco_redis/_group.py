"""A process as a member of a consumer group: signs of life, partitions, acknowledging."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from varco_events import TransportUpstream, back_off, describe
from varco_redis._acks import Acks
from varco_redis._bus_scripts import (
    COORDINATE,
    COUNT,
    LEAVE,
    NAME,
    TRIM,
    UNNAME,
)
from varco_redis._errors import RedisUnavailableError
from varco_redis._membership import Membership
from varco_redis._partition import Partition
from varco_redis._received import Received
from varco_redis._settings import host_name
from varco_redis._taking import Taker
from varco_redis._waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_redis._link import Call
    from varco_redis._partition import Ready
    from varco_redis._upstream import Source

logger = logging.getLogger("varco_redis.bus")

_BEATS = 4  # signs of life in one lease
_MARGIN = 0.8  # the part of the lease for which a process trusts that it owns a partition
_TRIM_EVERY = 5.0


class GroupMember(TransportUpstream[Partition, Received]):
    """Takes events of the partitions that it owns. One event loop owns it.

    Its partitions are a matter of agreement: a process that is frozen loses them, and taking and
    beginning are checked against the owner in Redis, so that what thaws begins nothing any more.
    A partition that others should have goes at once; what runs goes on and keeps its key.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.workers, source.dead_letters, source.settings.group)
        self._mine = Membership(source.link, source.names, source.settings, source.workers)
        self._taker = Taker(self._mine)
        self._channels = source.channels
        # Partitions that were let go while handlers were at work on their events.
        self._leaving: list[Partition] = []
        self._acks = Acks(source.link, source.settings.group)
        self._trimmed = time.monotonic()
        self._over: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def consumer(self) -> str:
        """What `XINFO CONSUMERS` calls this process."""
        return self._mine.consumer

    def start(self) -> None:
        """Begin to take events."""
        self._tasks = [
            asyncio.create_task(work(), name=f"varco-redis {work.__qualname__}")
            for work in (self._live, self._taker.run, self._acks.run)
        ]

    def poke(self) -> None:
        """The channels have changed."""
        self._mine.coordinate_now.set()

    async def stop_taking(self) -> None:
        """Take no more; what is in hand goes on."""
        await _end(self._tasks[1:2])

    async def stop(self) -> None:
        """Acknowledge what is done, give back what was cut off, and let the partitions go."""
        await _end(self._tasks)
        if self._over is not None:
            self._over.cancel()
        try:
            await self._acks.flush()
            await self._mine.give_back()
            leaving = [
                (LEAVE, self._mine.names.of_group(channel), (self._mine.process, 0))
                for channel in {*self._mine.partitions, *(one.channel for one in self._leaving)}
            ]
            await self._mine.link.run_each(leaving)
            if not self._mine.settings.consumer:
                await self._mine.link.run(
                    UNNAME, (self._mine.names.consumers,), self._mine.consumer, self._mine.process
                )
        except (RedisUnavailableError, ResponseError) as error:
            logger.warning("others take over after %s s: %s", self._mine.settings.lease, error)

    # What partitions report.

    async def count(self, begun: Sequence[Ready]) -> list[Ready]:
        """Count their next attempt; those of them that are still ours."""
        counted: list[Ready] = []
        if self._mine.settings.max_attempts == 1 or any(received.claimed for _, received in begun):
            await self._acks.flush()  # should it be deadly, what is done is not to look undone
        by_channel = _by_channel(begun)
        answers = await self._mine.link.run_each(
            [self._count(channel, some) for channel, some in by_channel.items()]
        )
        for (channel, some), answer in zip(by_channel.items(), answers, strict=True):
            if self._mine.is_refused(channel, answer):
                continue
            for (partition, received), flat in zip(some, answer, strict=True):
                if flat is None:
                    self._mine.lost(partition)
                    continue
                if received.fields is None:
                    received.fields = dict(zip(flat[::2], flat[1::2], strict=True))
                counted.append((partition, received))
        return counted

    async def uncount(self, given_back: Sequence[Ready]) -> None:
        """Give the attempt back that was counted, as far as that can be done."""
        with contextlib.suppress(RedisUnavailableError):
            await self._mine.uncount(received for _, received in given_back)

    def _count(self, channel: str, some: Sequence[Ready]) -> Call:
        words: list[Any] = [self._mine.settings.group, self._mine.consumer, self._mine.process]
        for partition, received in some:
            words += (
                partition.number,
                partition.fence,
                received.number,
                received.deliveries,
                int(received.fields is None),
            )
        return COUNT, (self._mine.names.owners(channel), self._mine.names.base(channel)), words

    def finished(self, partition: Partition, received: Received) -> None:
        """Acknowledge it soon."""
        self._acks.add(partition.stream, str(received.number))
        self._ended(partition, received)

    async def settle(self) -> None:
        """Acknowledge what is done."""
        await self._acks.flush()

    def dropped(self, partition: Partition, received: Received) -> None:
        """Whoever has the partition goes on with it."""
        if received.counted:
            self._mine.spare(received)
        self._ended(partition, received)

    def _ended(self, partition: Partition, received: Received) -> None:
        if partition.released:
            hold = f"h{partition.number}:{received.number}"
            self._acks.let_go(self._mine.names.owners(partition.channel), hold)
            self._mine.changed.set()

    # Signs of life, and which partitions are ours.

    async def _live(self) -> None:
        attempt = 0
        while True:
            self._mine.coordinate_now.clear()
            pause = self._mine.settings.lease / _BEATS
            try:
                await self._coordinate()
                attempt = 0
            except Exception as error:  # noqa: BLE001 # whatever it is, the process lives on
                logger.warning("no sign of life was given: %s", describe(error))
                pause, attempt = min(pause, back_off(attempt)), attempt + 1
            jittered = random.uniform(0.8 * pause, pause)  # noqa: S311 # not for secrets
            await wait_for(self._mine.coordinate_now, jittered)

    def _cut_off(self) -> None:
        """Others may have by now what was not renewed in time."""
        now = time.monotonic()
        for partition in self._all():
            if partition.until <= now and partition.running:
                logger.warning("handlers of %r are cut off: the lease is over", partition.stream)
                partition.cut_off()

    def _all(self) -> Iterable[Partition]:
        for mine in self._mine.partitions.values():
            yield from mine.values()
        yield from self._leaving

    async def _coordinate(self) -> None:
        life = math.ceil(self._mine.settings.lease * 1000)
        if not self._mine.settings.consumer:
            name: bytes = await self._mine.link.run(
                NAME, (self._mine.names.consumers,), host_name(), self._mine.process, life
            )
            self._mine.consumer = name.decode()
        wanted = await self._wanted()
        for channel in [one for one in self._mine.partitions if one not in wanted]:
            await self._forget(channel)
        said = time.monotonic()
        released = {channel: self._let_go(channel) for channel in wanted}
        self._leaving = [one for one in self._leaving if one.running]
        answers = await self._mine.link.run_each(
            [
                (
                    COORDINATE,
                    (
                        self._mine.names.config(channel),
                        self._mine.names.base(channel),
                        *self._mine.names.of_group(channel),
                    ),
                    (
                        self._mine.settings.partitions,
                        self._mine.settings.group,
                        self._mine.process,
                        life,
                        "".join(f",{one}," for one in released[channel]),
                        *self._holds(channel),
                    ),
                )
                for channel in wanted
            ]
        )
        until = said + self._mine.settings.lease * _MARGIN
        if self._over is not None:
            self._over.cancel()
        self._over = asyncio.get_running_loop().call_later(until - time.monotonic(), self._cut_off)
        for channel, fences in zip(wanted, answers, strict=True):
            if not self._mine.is_refused(channel, fences):
                self._settle(channel, fences, until)
        if time.monotonic() - self._trimmed > _TRIM_EVERY:
            self._trimmed = time.monotonic()
            await self._trim()

    def _holds(self, channel: str) -> list[str | bytes]:
        """What goes on here of partitions that were let go, and its keys."""
        words: list[str | bytes] = []
        for one in self._leaving:
            if one.channel == channel:
                for received in one.running:
                    words += (f"{one.number}:{received.number}", received.key)
        return words

    async def _wanted(self) -> list[str]:
        """The channels to take events of."""
        channels = self._channels()
        if "*" in channels:
            known = await self._mine.link.call("SMEMBERS", self._mine.names.channels)
            channels = {one.decode(errors="replace") for one in known} | channels
        streams = {
            one for one in channels if one != "*" and not self._mine.settings.is_broadcast(one)
        }
        return sorted(streams)

    def _let_go(self, channel: str) -> list[int]:
        """Those that others should have."""
        mine = self._mine.partitions.get(channel, {})
        gone = [number for number, one in mine.items() if one.giving_back]
        for number in gone:
            self._release(mine.pop(number))
        return gone

    def _release(self, partition: Partition) -> None:
        partition.released = True
        if partition.running:
            self._leaving.append(partition)

    def _settle(self, channel: str, fences: list[int], until: float) -> None:
        mine = self._mine.partitions.setdefault(channel, {})
        for one in self._leaving:
            if one.channel == channel:
                one.until = until
        for number, fence in enumerate(fences):
            partition = mine.get(number)
            if partition is not None and partition.fence != abs(fence):
                logger.warning("partition %d of %r went to another process", number, channel)
                self._mine.lost(mine.pop(number))
                partition = None
            if fence == 0:
                continue
            if partition is None:
                stream = f"{self._mine.names.base(channel)}{number}"
                partition = Partition(channel, number, stream, self, self._mine.workers, abs(fence))
                mine[number] = partition
                self._mine.changed.set()
            partition.until = until
            partition.giving_back = fence < 0
            if partition.giving_back:
                self._mine.coordinate_now.set()

    async def _forget(self, channel: str) -> None:
        for partition in self._mine.partitions.pop(channel).values():
            self._release(partition)
        life = math.ceil(self._mine.settings.lease * 1000)
        args = (self._mine.process, life, *self._holds(channel))
        await self._mine.link.run_each([(LEAVE, self._mine.names.of_group(channel), args)])
        self._mine.changed.set()

    async def _trim(self) -> None:
        calls = [
            (
                TRIM,
                (self._mine.names.config(channel), one.stream),
                (self._mine.settings.max_length,),
            )
            for channel, mine in self._mine.partitions.items()
            for one in mine.values()
        ]
        await self._mine.link.run_each(calls)


def _by_channel(some: Iterable[Ready]) -> dict[str, list[Ready]]:
    found: dict[str, list[Ready]] = {}
    for one in some:
        found.setdefault(one[0].channel, []).append(one)
    return found


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
