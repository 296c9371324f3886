"""A process as a member of a consumer group: signs of life, partitions, taking, acknowledging."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from varco_events import back_off, describe
from varco_redis._acks import Acks
from varco_redis._bus_scripts import (
    CLAIM,
    COORDINATE,
    COUNT,
    HELD,
    LEAVE,
    NAME,
    TAKE,
    TRIM,
    UNNAME,
)
from varco_redis._errors import RedisUnavailableError
from varco_redis._partition import Partition
from varco_redis._settings import host_name
from varco_redis._waiting import wait_for, wait_for_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from varco_events import AbstractDeadLetterQueue, Delivery, Workers
    from varco_redis._bus_settings import Names, RedisEventBusSettings
    from varco_redis._link import Call, Link, Own
    from varco_redis._partition import Ready
    from varco_redis._received import Received

logger = logging.getLogger("varco_redis.bus")

_BEATS = 4  # signs of life in one lease
_MARGIN = 0.8  # the part of the lease for which a process trusts that it owns a partition
_BLOCK = 1.0
_SOON = 0.05  # how often it is asked what others still hold
_TRIM_EVERY = 5.0
_REFUSED = 1.0  # seconds before a channel is asked again that Redis refuses
# How many may begin as soon as they are taken; Lua has no room for more arguments.
_MOST_BEGUN = 1000


class GroupMember:
    """Takes events of the partitions that it owns. One event loop owns it.

    Its partitions are a matter of agreement: a process that is frozen loses them, and taking and
    beginning are checked against the owner in Redis, so that what thaws begins nothing any more.
    A partition that others should have goes at once; what runs goes on and keeps its key.
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
        # Partitions that were let go while handlers were at work on their events.
        self._leaving: list[Partition] = []
        self._given_back: list[Ready] = []
        self._acks = Acks(link, settings.group)
        self._changed = asyncio.Event()
        self._coordinate_now = asyncio.Event()
        self._trimmed = time.monotonic()
        self._refused: dict[str, str] = {}
        self._over: asyncio.TimerHandle | None = None
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
        """Acknowledge what is done, give back what was cut off, and let the partitions go."""
        await _end(self._tasks)
        if self._over is not None:
            self._over.cancel()
        try:
            await self._acks.flush()
            await self.uncount(self._given_back)
            leaving = [
                (LEAVE, self._names.of_group(channel), (self._process, 0))
                for channel in {*self._partitions, *(one.channel for one in self._leaving)}
            ]
            await self._link.run_each(leaving)
            if not self._settings.consumer:
                await self._link.run(
                    UNNAME, (self._names.consumers,), self._consumer, self._process
                )
        except (RedisUnavailableError, ResponseError) as error:
            logger.warning("others take over after %s s: %s", self._settings.lease, error)

    # What partitions report.

    async def count(self, begun: Sequence[Ready]) -> list[Ready]:
        """Count their next attempt; those of them that are still ours."""
        counted: list[Ready] = []
        if self._settings.max_attempts == 1 or any(received.claimed for _, received in begun):
            await self._acks.flush()  # should it be deadly, what is done is not to look undone
        by_channel = _by_channel(begun)
        answers = await self._link.run_each(
            [self._count(channel, some, attempts=1) for channel, some in by_channel.items()]
        )
        for (channel, some), answer in zip(by_channel.items(), answers, strict=True):
            if self._is_refused(channel, answer):
                continue
            for (partition, received), flat in zip(some, answer, strict=True):
                if flat is None:
                    self._lost(partition)
                    continue
                if received.fields is None:
                    received.fields = dict(zip(flat[::2], flat[1::2], strict=True))
                counted.append((partition, received))
        return counted

    async def uncount(self, given_back: Sequence[Ready]) -> None:
        """Give the attempt back that was counted, as far as that can be done."""
        with contextlib.suppress(RedisUnavailableError):
            await self._link.run_each(
                [
                    self._count(channel, some, attempts=0)
                    for channel, some in _by_channel(given_back).items()
                ]
            )

    def _count(self, channel: str, some: Sequence[Ready], *, attempts: int) -> Call:
        words: list[Any] = [self._settings.group, self._consumer, self._process]
        for partition, received in some:
            words += (
                partition.number,
                partition.fence,
                received.number,
                1 + received.attempts + attempts,
                int(received.fields is None),
            )
        return COUNT, (self._names.owners(channel), self._names.base(channel)), words

    def finished(self, partition: Partition, received: Received) -> None:
        """Acknowledge it soon."""
        self._acks.add(partition.stream, str(received.number))
        self._ended(partition, received)

    def dropped(self, partition: Partition, received: Received) -> None:
        """Whoever has the partition goes on with it."""
        if received.counted and self._workers.stopping.is_set():
            self._given_back.append((partition, received))
        self._ended(partition, received)

    def _ended(self, partition: Partition, received: Received) -> None:
        if partition.released:
            hold = f"h{partition.number}:{received.number}"
            self._acks.let_go(self._names.owners(partition.channel), hold)
            self._changed.set()

    async def dead_letter(self, received: Received, delivery: Delivery) -> None:
        """Push it for each handler that failed; pushed twice, it is kept once."""
        for entry in received.dead_letters(delivery.failed, self._settings.group):
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
                logger.warning("no sign of life was given: %s", describe(error))
                pause, attempt = min(pause, back_off(attempt)), attempt + 1
            jittered = random.uniform(0.8 * pause, pause)  # noqa: S311 # not for secrets
            await wait_for(self._coordinate_now, jittered)

    def _cut_off(self) -> None:
        """Others may have by now what was not renewed in time."""
        now = time.monotonic()
        for partition in self._all():
            if partition.until <= now and partition.running:
                logger.warning("handlers of %r are cut off: the lease is over", partition.stream)
                partition.cut_off()

    def _all(self) -> Iterable[Partition]:
        for mine in self._partitions.values():
            yield from mine.values()
        yield from self._leaving

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
        self._leaving = [one for one in self._leaving if one.running]
        answers = await self._link.run_each(
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
                        *self._holds(channel),
                    ),
                )
                for channel in wanted
            ]
        )
        until = said + self._settings.lease * _MARGIN
        if self._over is not None:
            self._over.cancel()
        self._over = asyncio.get_running_loop().call_later(until - time.monotonic(), self._cut_off)
        for channel, fences in zip(wanted, answers, strict=True):
            if not self._is_refused(channel, fences):
                self._settle(channel, fences, until)
        if time.monotonic() - self._trimmed > _TRIM_EVERY:
            self._trimmed = time.monotonic()
            await self._trim()

    def _is_refused(self, channel: str, answer: Any) -> bool:
        """Whether Redis refuses what is asked of a channel, which is a matter of that alone."""
        if not isinstance(answer, Exception):
            self._refused.pop(channel, None)
            return False
        reason = describe(answer)
        if self._refused.get(channel) != reason:
            self._refused[channel] = reason
            logger.warning("nothing is taken from channel %r: %s", channel, reason)
        if "NOGROUP" in reason:
            self._coordinate_now.set()
        for partition in self._partitions.get(channel, {}).values():
            partition.unclaimed = True
            partition.refused_until = time.monotonic() + _REFUSED
        return True

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
            known = await self._link.call("SMEMBERS", self._names.channels)
            channels = {one.decode(errors="replace") for one in known} | channels
        streams = {one for one in channels if one != "*" and not self._settings.is_broadcast(one)}
        return sorted(streams)

    def _let_go(self, channel: str) -> list[int]:
        """Those that others should have."""
        mine = self._partitions.get(channel, {})
        gone = [number for number, one in mine.items() if one.giving_back]
        for number in gone:
            self._release(mine.pop(number))
        return gone

    def _release(self, partition: Partition) -> None:
        partition.released = True
        if partition.running:
            self._leaving.append(partition)

    def _settle(self, channel: str, fences: list[int], until: float) -> None:
        mine = self._partitions.setdefault(channel, {})
        for one in self._leaving:
            if one.channel == channel:
                one.until = until
        for number, fence in enumerate(fences):
            partition = mine.get(number)
            if partition is not None and partition.fence != abs(fence):
                logger.warning("partition %d of %r went to another process", number, channel)
                self._lost(mine.pop(number))
                partition = None
            if fence == 0:
                continue
            if partition is None:
                stream = f"{self._names.base(channel)}{number}"
                partition = Partition(channel, number, stream, self, self._workers, abs(fence))
                mine[number] = partition
                self._changed.set()
            partition.until = until
            partition.giving_back = fence < 0
            if partition.giving_back:
                self._coordinate_now.set()

    def _lost(self, partition: Partition) -> None:
        """Another has it: what runs is not to be done twice at once."""
        partition.until = 0.0
        partition.cut_off()
        self._changed.set()
        self._coordinate_now.set()

    async def _forget(self, channel: str) -> None:
        for partition in self._partitions.pop(channel).values():
            self._release(partition)
        life = math.ceil(self._settings.lease * 1000)
        args = (self._process, life, *self._holds(channel))
        await self._link.run_each([(LEAVE, self._names.of_group(channel), args)])
        self._changed.set()

    async def _trim(self) -> None:
        calls = [
            (TRIM, (self._names.config(channel), one.stream), (self._settings.max_length,))
            for channel, mine in self._partitions.items()
            for one in mine.values()
        ]
        await self._link.run_each(calls)

    # Taking.

    async def _take(self) -> None:
        attempt = 0
        async with self._link.own() as own:
            while True:
                try:
                    await self._round(own)
                    attempt = 0
                except Exception as error:  # noqa: BLE001 # whatever it is, taking goes on
                    logger.warning("taking events failed, it goes on: %s", describe(error))
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
        await self._look_at_holds()
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
        alive = [one for mine in self._partitions.values() for one in mine.values() if one.alive]
        soon = _BLOCK
        if any(one.held for one in alive):
            soon = _SOON
        if any(one.space <= 0 for one in alive):
            soon = 0.02
        if not ready or self._settings.is_cluster:
            await wait_for(self._changed, 0.02 if ready else min(soon, _BLOCK / 4))
        else:
            await self._wait_for_events(own, ready, soon)

    async def _take_new(self, ready: dict[str, dict[int, Partition]]) -> int:
        room = min(self._workers.spare, _MOST_BEGUN) // sum(map(len, ready.values()))
        calls: list[Call] = [
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
                        for value in (
                            number,
                            one.fence,
                            one.space,
                            room if one.begins_at_once else 0,
                        )
                    ),
                ),
            )
            for channel, chosen in ready.items()
        ]
        found = 0
        with self._workers.reserved(room * sum(map(len, ready.values()))):
            answers = await self._link.run_each(calls)
        for (channel, chosen), taken in zip(ready.items(), answers, strict=True):
            if self._is_refused(channel, taken):
                continue
            for partition, answer in zip(chosen.values(), taken, strict=True):
                if answer is None:
                    self._lost(partition)
                    continue
                entries, begun = answer
                if entries:
                    found += len(entries)
                    if not partition.unclaimed:  # else they come with what is claimed, in order
                        partition.accept(entries, begun=frozenset(begun))
        return found

    async def _look_at_holds(self) -> None:
        """See whether what others held is done with: then what waited for it is claimed."""
        for channel, mine in list(self._partitions.items()):
            for number, one in list(mine.items()):
                if one.held:
                    call = HELD, (self._names.owners(channel),), (self._process, number)
                    (answer,) = await self._link.run_each([call])
                    if self._is_refused(channel, answer):
                        continue
                    held = self._held(one, answer)
                    if held != one.held:
                        one.held, one.unclaimed = held, True

    def _held(self, partition: Partition, answer: list[bytes]) -> dict[str, bytes]:
        """What others hold of it, and what this process still does from an earlier life of it."""
        held = {name.decode(): key for name, key in zip(answer[::2], answer[1::2], strict=True)}
        for received in self._workers.running:
            if received.stream == partition.stream and received not in partition.running:
                held[str(received.number)] = received.key
        return held

    async def _claim_all(self) -> None:
        """Take again what was taken and is not in hand, here or by a process that died."""
        now = time.monotonic()
        for channel, mine in list(self._partitions.items()):
            for number, one in list(mine.items()):
                if one.unclaimed and one.alive and not one.giving_back and one.refused_until < now:
                    await self._claim(channel, number, one)

    async def _claim(self, channel: str, number: int, partition: Partition) -> None:
        partition.unclaimed = False
        start = "0-0"
        while True:
            (answer,) = await self._link.run_each(
                [
                    (
                        CLAIM,
                        (self._names.owners(channel), partition.stream),
                        (
                            self._settings.group,
                            self._consumer,
                            self._process,
                            number,
                            partition.fence,
                            start,
                            self._settings.prefetch,
                        ),
                    )
                ]
            )
            if self._is_refused(channel, answer):
                return
            if answer is None:
                self._lost(partition)
                return
            if partition.unclaimed:
                return  # some came back meanwhile, which no later ones may overtake
            cursor, entries, times, last, held = answer
            if start == "0-0":
                partition.held = self._held(partition, held)
            partition.accept(entries, times=times)
            start = cursor.decode()
            if start == "0-0":
                partition.position = last.decode()
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
