"""What a bus tells of those who handle its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CONSUMERS: Final = 1_000
"""How many rows `ConsumerStates.consumers` returns at most unless it is told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerState:
    """What a group has to do in one partition of a channel, and who does it.

    Attributes:
        group: The group; empty on a bus of one process.
        channel: The channel; `CHANNEL_ALL` where the bus does not tell its channels apart.
        partition: Its number; None on a bus without partitions.
        consumer: What its server calls the process that has the partition; None when nobody does.
        lag: How many events the group has not handled, with those in hand.
        in_hand: How many of them consumers have taken and not finished; None where nobody knows.
        oldest_in_hand: Seconds since the oldest event in hand was taken, or tried again last; None
            when there is none, and where nobody knows.
    """

    group: str
    channel: str
    partition: int | None = None
    consumer: str | None = None
    lag: int
    in_hand: int | None = None
    oldest_in_hand: float | None = None


@runtime_checkable
class ConsumerStates(Protocol):
    """What tells who handles the events of a bus: the bus of one process, or a channel manager."""

    async def consumers(self, *, limit: int = MOST_CONSUMERS) -> Sequence[ConsumerState]:
        """What each group has to do in each partition, by channel, group and partition.

        It asks once, within the time limit of its connection, and changes nothing.

        Args:
            limit: How many rows at most.
        """
        ...
