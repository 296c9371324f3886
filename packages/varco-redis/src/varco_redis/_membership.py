"""What the parts of a member of a consumer group share."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from varco_events import describe
from varco_redis._bus_scripts import UNCOUNT
from varco_redis._partition import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_events import Workers
    from varco_redis._bus_settings import Names, RedisEventBusSettings
    from varco_redis._link import Link
    from varco_redis._received import Received

logger = logging.getLogger("varco_redis.bus")

_REFUSED = 1.0  # seconds before a channel is asked again that Redis refuses
_SPARED = 3  # how often one process spares an event whose handlers it cut off
_MOST_SPARED = 10_000


@dataclass(slots=True, eq=False)
class Membership:
    """Who this process is in its group, and the partitions that it has. One event loop owns it."""

    link: Link
    names: Names
    settings: RedisEventBusSettings
    workers: Workers
    process: str = field(default_factory=lambda: os.urandom(8).hex())
    consumer: str = ""
    partitions: dict[str, dict[int, Partition]] = field(
        default_factory=dict[str, dict[int, Partition]]
    )
    """By channel and number."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """There may be something to take."""
    coordinate_now: asyncio.Event = field(default_factory=asyncio.Event)
    """Others are to be told, or asked, before it is time."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Why Redis refuses channels."""
    given_back: list[Received] = field(default_factory=list["Received"])
    """What was dropped, and whose counted attempt was none."""
    spared: dict[str, int] = field(default_factory=dict[str, int])
    """How often places were dropped here and their attempts given back."""

    def __post_init__(self) -> None:
        self.consumer = self.settings.consumer or ""

    def is_refused(self, channel: str, answer: Any) -> bool:
        """Whether Redis refuses what is asked of a channel, which is a matter of that alone."""
        if not isinstance(answer, Exception):
            self.refused.pop(channel, None)
            return False
        reason = describe(answer)
        if self.refused.get(channel) != reason:
            self.refused[channel] = reason
            logger.warning("nothing is taken from channel %r: %s", channel, reason)
        if "NOGROUP" in reason:
            self.coordinate_now.set()
        for partition in self.partitions.get(channel, {}).values():
            partition.unclaimed = True
            partition.refused_until = time.monotonic() + _REFUSED
        return True

    def spare(self, received: Received) -> None:
        """Give back its attempt, which was cut off: this process did not die of it.

        But not for ever: what keeps the loop busy for longer than the lease is cut off each time.
        """
        if not self.workers.stopping.is_set():
            times = self.spared.pop(received.place, 0)
            if times >= _SPARED:
                return
            self.spared[received.place] = times + 1
            if len(self.spared) > _MOST_SPARED:
                del self.spared[next(iter(self.spared))]
        self.given_back.append(received)
        self.changed.set()

    async def give_back(self) -> None:
        """Tell Redis of attempts that were cut off; on an error it is told later."""
        some, self.given_back = self.given_back, []
        try:
            await self.uncount(some)
        except BaseException:
            self.given_back += some
            raise

    async def uncount(self, some: Iterable[Received]) -> None:
        """Take back the attempt that was counted of each."""
        by_stream: dict[str, list[Any]] = {}
        for one in some:
            words = by_stream.setdefault(one.stream, [self.settings.group])
            words += (one.number, one.deliveries)
        await self.link.run_each(
            [(UNCOUNT, (stream,), words) for stream, words in by_stream.items()]
        )

    def lost(self, partition: Partition) -> None:
        """Another has it: what runs is not to be done twice at once."""
        partition.until = 0.0
        partition.cut_off()
        self.changed.set()
        self.coordinate_now.set()
