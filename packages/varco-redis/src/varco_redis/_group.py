"""A process as a member of a consumer group: signs of life, partitions, taking, acknowledging."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from varco_redis._acks import Acks
from varco_redis._bus_scripts import CLAIM, COORDINATE, LEAVE, NAME, TAKE, TRIM, UNNAME
from varco_redis._errors import RedisUnavailableError, described
from varco_redis._link import back_off
from varco_redis._partition import Partition, Workers
from varco_redis._settings import host_name
from varco_redis._waiting import wait_for, wait_for_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events import AbstractDeadLetterQueue
    from varco_redis._bus_settings import Names, RedisEventBusSettings
    from varco_redis._handlers import Received
    from varco_redis._link import Link, Own

logger = logging.getLogger("varco_redis.bus")

_BEATS = 4  # signs of life in one idle limit
_MARGIN = 0.8  # the part of the idle limit for which a process trusts that it owns a partition
_BLOCK = 1.0
_TRIM_EVERY = 5.0


class GroupMember:
    """Takes events of the partitions that it owns. One event loop owns it.

    Its partitions are a matter of agreement: a process that is frozen loses them, and taking is
    checked against the owner in Redis, so that what thaws takes nothing any more.
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
        self._process = os.urandom(8).hex()
        self._consumer = settings.consumer or ""
        self._partitions: dict[str, dict[int, Partition]] = {}
        self._released: dict[str, set[int]] = {}
        self._acks = Acks(link, settings.group)
        self._changed = asyncio.Event()
        self._coordinate_now = asyncio.Event()
        self._trimmed = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def consumer(self) -> str:
        """What `XINFO CONSUMERS` calls this process."""
        return self._consumer

    def start(self) -> None:
        """Begin to take events."""
        self._tasks = [
            asyncio.create_task(work(), name=f"varco-redis {work.__qualname__}")
            for work in (self._live, self._take, self._acks.run)
        ]

    def poke(self) -> None:
        """The channels have changed."""
        self._coordinate_now.set()

    async def stop_taking(self) -> None:
        """Take no more; what is in hand goes on."""
        await _end(self._tasks[1:2])

    async def stop(self) -> None:
        """Acknowledge what is done and let the partitions go."""
        await _end(self._tasks)
        try:
            await self._acks.flush()
            await self._link.run_many(
                [
                    (LEAVE, self._names.of_group(channel), (self._process,))
                    for channel in self._partitions
                ]
            )
            if not self._settings.consumer:
                await self._link.run(
                    UNNAME, (self._names.consumers,), self._consumer, self._process
                )
        except (RedisUnavailableError, ResponseError) as error:
            logger.warning("others take over after %s s: %s", self._settings.lease, error)

    # What partitions report.

    def finished(self, partition: Partition, number: str) -> None:
        """Acknowledge it soon."""
        self._acks.add(partition.stream, number)

    async def failed(self, partition: Partition, number: str, attempts: int) -> None:
        """Let Redis know how often it was tried, should this process die."""
        with contextlib.suppress(RedisUnavailableError, ResponseError):
            if partition.alive:
                await self._link.call(
                    "XCLAIM",
                    partition.stream,
                    self._settings.group,
                    self._consumer,
                    0,
                    number,
                    "RETRYCOUNT",
                    attempts,
                    "JUSTID",
                )

    async def dead_letter(self, received: Received, failures: dict[str, Exception]) -> None:
        """Push it for each handler that failed; pushed twice, it is kept once."""
        now = datetime.now(UTC)
        for entry in self._workers.handlers.dead_letters(received, failures, now):
            await self._dead_letters.push(entry)

    # Signs of life, and which partitions are ours.

    async def _live(self) -> None:
        attempt = 0
        while True:
            self._coordinate_now.clear()
            pause = self._settings.lease / _BEATS
            try:
                await self._coordinate()
                attempt = 0
            except Exception as error:  # noqa: BLE001 # whatever it is, the process lives on
                logger.warning("no sign of life was given: %s", described(error))
                pause, attempt = min(pause, back_off(attempt)), attempt + 1
            jittered = random.uniform(0.8 * pause, pause)  # noqa: S311 # not for secrets
            await wait_for(self._coordinate_now, jittered)

    async def _coordinate(self) -> None:
        life = math.ceil(self._settings.lease * 1000)
        if not self._settings.consumer:
            name: bytes = await self._link.run(
                NAME, (self._names.consumers,), host_name(), self._process, life
            )
            self._consumer = name.decode()
        wanted = await self._wanted()
        for channel in [one for one in self._partitions if one not in wanted]:
            await self._forget(channel)
        said = time.monotonic()
        released = {channel: self._let_go(channel) for channel in wanted}
        answers = await self._link.run_many(
            [
                (
                    COORDINATE,
                    (
                        self._names.config(channel),
                        self._names.base(channel),
                        *self._names.of_group(channel),
                    ),
                    (
                        self._settings.partitions,
                        self._settings.group,
                        self._process,
                        life,
                        "".join(f",{one}," for one in released[channel]),
                    ),
                )
                for channel in wanted
            ]
        )
        until = said + self._settings.lease * _MARGIN
        for channel, fences in zip(wanted, answers, strict=True):
            self._settle(channel, fences, until)
        if time.monotonic() - self._trimmed > _TRIM_EVERY:
            self._trimmed = time.monotonic()
            await self._trim()

    async def _wanted(self) -> list[str]:
        """The channels to take events of."""
        channels = self._channels()
        if "*" in channels:
            known = await self._link.call("SMEMBERS", self._names.channels)
            channels = {one.decode(errors="replace") for one in known} | channels
        streams = {one for one in channels if one != "*" and not self._settings.is_broadcast(one)}
        return sorted(streams)

    def _let_go(self, channel: str) -> list[int]:
        """Those that others should have and that nothing is done on here."""
        mine = self._partitions.get(channel, {})
        gone = [number for number, one in mine.items() if one.giving_back and one.idle]
        for number in gone:
            mine.pop(number).until = 0.0
        return gone

    def _settle(self, channel: str, fences: list[int], until: float) -> None:
        mine = self._partitions.setdefault(channel, {})
        for number, fence in enumerate(fences):
            held = mine.get(number)
            if fence == 0:
                if held is not None:
                    logger.warning("partition %d of %r went to another process", number, channel)
                    del mine[number]
                    held.until = 0.0
                    self._changed.set()
                continue
            if held is None or held.fence != abs(fence):
                if held is not None:
                    held.until = 0.0
                stream = f"{self._names.base(channel)}{number}"
                held = mine[number] = Partition(channel, stream, self, self._workers, abs(fence))
                self._changed.set()
            held.until = until
            held.giving_back = fence < 0
            if held.giving_back and held.idle:
                self._coordinate_now.set()

    async def _forget(self, channel: str) -> None:
        for partition in self._partitions.pop(channel).values():
            partition.until = 0.0
        await self._link.run(LEAVE, self._names.of_group(channel), self._process)
        self._changed.set()

    async def _trim(self) -> None:
        calls = [
            (TRIM, (self._names.config(channel), one.stream), (self._settings.max_length,))
            for channel, mine in self._partitions.items()
            for one in mine.values()
        ]
        await self._link.run_many(calls)

    # Taking.

    async def _take(self) -> None:
        attempt = 0
        async with self._link.own() as own:
            while True:
                try:
                    await self._round(own)
                    attempt = 0
                except Exception as error:  # noqa: BLE001 # whatever it is, taking goes on
                    logger.warning("taking events failed, it goes on: %s", described(error))
                    for mine in self._partitions.values():
                        for partition in mine.values():
                            partition.unclaimed = True  # an answer may have been lost
                    if "NOGROUP" in str(error):
                        self._coordinate_now.set()
                    await asyncio.sleep(back_off(attempt))
                    attempt += 1

    async def _round(self, own: Own) -> None:
        """Take what there is from partitions that have space; wait when there is nothing."""
        self._changed.clear()
        await self._claim_all()
        ready = {
            channel: chosen
            for channel, mine in self._partitions.items()
            if (chosen := {n: p for n, p in mine.items() if _takes(p)})
        }
        found = await self._take_new(ready) if ready else 0
        if found:
            await asyncio.sleep(0)
            return
        full = any(
            one.alive and one.space <= 0
            for mine in self._partitions.values()
            for one in mine.values()
        )
        if not ready or self._settings.is_cluster:
            await wait_for(self._changed, 0.02 if ready or full else _BLOCK / 4)
        else:
            await self._wait_for_events(own, ready, 0.02 if full else _BLOCK)

    async def _take_new(self, ready: dict[str, dict[int, Partition]]) -> int:
        calls = [
            (
                TAKE,
                (self._names.owners(channel), self._names.base(channel)),
                (
                    self._settings.group,
                    self._consumer,
                    self._process,
                    *(
                        value
                        for number, one in chosen.items()
                        for value in (number, one.fence, one.space)
                    ),
                ),
            )
            for channel, chosen in ready.items()
        ]
        if len(calls) == 1:
            ((script, keys, args),) = calls
            answers: list[Any] = [await self._link.run(script, keys, *args)]
        else:
            answers = await self._link.run_many(calls)
        found = 0
        for chosen, taken in zip(ready.values(), answers, strict=True):
            for partition, entries in zip(chosen.values(), taken, strict=True):
                if entries is None:
                    partition.until = 0.0  # another has it
                    self._coordinate_now.set()
                elif entries:
                    found += len(entries)
                    partition.position = entries[-1][0].decode()
                    if not partition.unclaimed:  # else they come with what is claimed, in order
                        partition.accept(entries)
        return found

    async def _claim_all(self) -> None:
        """Take again what was taken and is not in hand, here or by a process that died."""
        for channel, mine in list(self._partitions.items()):
            for number, one in list(mine.items()):
                if one.unclaimed and one.alive and not one.giving_back and self._free_of(one):
                    await self._claim(channel, number, one)

    def _free_of(self, partition: Partition) -> bool:
        """Whether no handler is still at work for an earlier life of this partition."""
        return not any(
            received.place.startswith(f"{partition.stream} ") and not partition.has(received)
            for received in self._workers.running
        )

    async def _claim(self, channel: str, number: int, partition: Partition) -> None:
        partition.unclaimed = False
        start = "0-0"
        while True:
            answer = await self._link.run(
                CLAIM,
                (self._names.owners(channel), partition.stream),
                self._settings.group,
                self._consumer,
                self._process,
                number,
                partition.fence,
                start,
                self._settings.prefetch,
            )
            if answer is None:
                partition.until = 0.0
                self._coordinate_now.set()
                return
            if partition.unclaimed:
                return  # some came back meanwhile, which no later ones may overtake
            cursor, entries, times, last = answer
            partition.accept(entries, times)
            partition.position = last.decode()
            start = cursor.decode()
            if start == "0-0":
                return

    async def _wait_for_events(
        self, own: Own, ready: dict[str, dict[int, Partition]], seconds: float
    ) -> None:
        """Until there is something new in one of the streams, or the partitions change."""
        places = {one.stream: one.position for chosen in ready.values() for one in chosen.values()}
        limit = seconds + self._settings.timeout
        await wait_for_streams(own, places, self._changed, seconds, limit=limit)


def _takes(partition: Partition) -> bool:
    return (
        partition.alive
        and not partition.giving_back
        and not partition.unclaimed
        and partition.space > 0
    )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
