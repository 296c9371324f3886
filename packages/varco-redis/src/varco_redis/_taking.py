"""Taking events of the partitions that this process has."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from varco_events import back_off, describe
from varco_redis._bus_scripts import CLAIM, HELD, TAKE
from varco_redis._waiting import wait_for, wait_for_streams

if TYPE_CHECKING:
    from varco_redis._link import Call, Own
    from varco_redis._membership import Membership
    from varco_redis._partition import Partition

logger = logging.getLogger("varco_redis.bus")

_BLOCK = 1.0
_SOON = 0.05  # how often it is asked what others still hold
# How many may begin as soon as they are taken; Lua has no room for more arguments.
_MOST_BEGUN = 1000


class Taker:
    """Takes what is new in the partitions, and what was taken and is in nobody's hand."""

    def __init__(self, mine: Membership) -> None:
        self._mine = mine

    async def run(self) -> None:
        """Take until it is cancelled."""
        attempt = 0
        async with self._mine.link.own() as own:
            while True:
                try:
                    await self._round(own)
                    attempt = 0
                except Exception as error:  # noqa: BLE001 # whatever it is, taking goes on
                    logger.warning("taking events failed, it goes on: %s", describe(error))
                    for mine in self._mine.partitions.values():
                        for partition in mine.values():
                            partition.unclaimed = True  # an answer may have been lost
                    if "NOGROUP" in str(error):
                        self._mine.coordinate_now.set()
                    await asyncio.sleep(back_off(attempt))
                    attempt += 1

    async def _round(self, own: Own) -> None:
        """Take what there is from partitions that have space; wait when there is nothing."""
        self._mine.changed.clear()
        if self._mine.given_back:  # before their attempts are asked for
            await self._mine.give_back()
        await self._look_at_holds()
        await self._claim_all()
        ready = {
            channel: chosen
            for channel, mine in self._mine.partitions.items()
            if (chosen := {n: p for n, p in mine.items() if _takes(p)})
        }
        found = await self._take_new(ready) if ready else 0
        if found:
            await asyncio.sleep(0)
            return
        alive = [
            one for mine in self._mine.partitions.values() for one in mine.values() if one.alive
        ]
        soon = _BLOCK
        if any(one.held for one in alive):
            soon = _SOON
        if any(one.space <= 0 for one in alive):
            soon = 0.02
        if not ready or self._mine.settings.is_cluster:
            await wait_for(self._mine.changed, 0.02 if ready else min(soon, _BLOCK / 4))
        else:
            await self._wait_for_events(own, ready, soon)

    async def _take_new(self, ready: dict[str, dict[int, Partition]]) -> int:
        room = min(self._mine.workers.spare, _MOST_BEGUN) // sum(map(len, ready.values()))
        calls: list[Call] = [
            (
                TAKE,
                (self._mine.names.owners(channel), self._mine.names.base(channel)),
                (
                    self._mine.settings.group,
                    self._mine.consumer,
                    self._mine.process,
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
        with self._mine.workers.reserved(room * sum(map(len, ready.values()))):
            answers = await self._mine.link.run_each(calls)
        for (channel, chosen), taken in zip(ready.items(), answers, strict=True):
            if self._mine.is_refused(channel, taken):
                continue
            for partition, answer in zip(chosen.values(), taken, strict=True):
                if answer is None:
                    self._mine.lost(partition)
                    continue
                entries, begun = answer
                if entries:
                    found += len(entries)
                    if not partition.unclaimed:  # else they come with what is claimed, in order
                        partition.accept(entries, begun=frozenset(begun))
        return found

    async def _look_at_holds(self) -> None:
        """See whether what others held is done with: then what waited for it is claimed."""
        for channel, mine in list(self._mine.partitions.items()):
            for number, one in list(mine.items()):
                if one.held:
                    call = HELD, (self._mine.names.owners(channel),), (self._mine.process, number)
                    (answer,) = await self._mine.link.run_each([call])
                    if self._mine.is_refused(channel, answer):
                        continue
                    held = self._held(one, answer)
                    if held != one.held:
                        one.held, one.unclaimed = held, True

    def _held(self, partition: Partition, answer: list[bytes]) -> dict[str, bytes]:
        """What others hold of it, and what this process still does from an earlier life of it."""
        held = {name.decode(): key for name, key in zip(answer[::2], answer[1::2], strict=True)}
        for received in self._mine.workers.running:
            if received.stream == partition.stream and received not in partition.running:
                held[str(received.number)] = received.key
        return held

    async def _claim_all(self) -> None:
        """Take again what was taken and is not in hand, here or by a process that died."""
        now = time.monotonic()
        for channel, mine in list(self._mine.partitions.items()):
            for number, one in list(mine.items()):
                if one.unclaimed and one.alive and not one.giving_back and one.refused_until < now:
                    await self._claim(channel, number, one)

    async def _claim(self, channel: str, number: int, partition: Partition) -> None:
        partition.unclaimed = False
        start = "0-0"
        while True:
            (answer,) = await self._mine.link.run_each(
                [
                    (
                        CLAIM,
                        (self._mine.names.owners(channel), partition.stream),
                        (
                            self._mine.settings.group,
                            self._mine.consumer,
                            self._mine.process,
                            number,
                            partition.fence,
                            start,
                            self._mine.settings.prefetch,
                        ),
                    )
                ]
            )
            if self._mine.is_refused(channel, answer):
                return
            if answer is None:
                self._mine.lost(partition)
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
        limit = seconds + self._mine.settings.timeout
        await wait_for_streams(own, places, self._mine.changed, seconds, limit=limit)


def _takes(partition: Partition) -> bool:
    return (
        partition.alive
        and not partition.giving_back
        and not partition.unclaimed
        and partition.space > 0
    )
