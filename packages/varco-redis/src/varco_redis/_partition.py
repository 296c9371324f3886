"""The events of one stream that this process has in hand, in order per key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from varco_events import Lanes
from varco_redis._received import Received

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from varco_events import Upstream, Workers

type Ready = tuple[Partition, Received]

_START = "0-0"


class Partition(Lanes):
    """One stream of which this process may take events until `until`.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self,
        channel: str,
        number: int,
        stream: str,
        upstream: Upstream[Partition, Received],
        workers: Workers,
        fence: int = 0,
    ) -> None:
        super().__init__(upstream, workers)
        self.channel = channel
        self.number = number
        self.stream = stream
        self.fence = fence
        self.until = 0.0
        self.position = _START
        """The last event that was taken; `_START` until it is known what was taken before us."""
        self.unclaimed = True
        """Whether there may be events that were taken and are not in hand: they come first."""
        self.giving_back = False
        self.released = False
        """Whether it was let go, with what runs: that goes on, and nothing more is begun."""
        self.held: Mapping[str, bytes] = {}
        """What runs elsewhere since before the partition was ours, and its keys: they wait."""
        self.refused_until = 0.0
        """When Redis may be asked for it again, after it refused that."""

    @property
    def alive(self) -> bool:
        """Whether its events may be begun, as far as this process knows."""
        return not self.released and time.monotonic() < self.until

    @property
    def trusted(self) -> bool:
        """Whether nobody else has it, though it may be let go."""
        return time.monotonic() < self.until

    @property
    def begins_at_once(self) -> bool:
        """Whether nothing that is taken can have to wait for something else of its key."""
        return not (self._lanes or self.held)

    def accept(
        self,
        entries: Sequence[Any],
        *,
        begun: Collection[bytes] = (),
        times: Iterable[int] | None = None,
    ) -> None:
        """Begin with events that were taken from Redis, unless they are in hand already.

        Args:
            entries: Their numbers and fields.
            begun: The numbers of those whose attempt is counted.
            times: How often each was delivered, when they were taken before.
        """
        counts = None if times is None else iter(times)
        held_keys = frozenset(filter(None, self.held.values()))
        for number, flat in entries:
            count = None if counts is None else next(counts)
            name = number.decode()
            if self.has(name) or name in self.held:
                continue
            fields = dict(zip(flat[::2], flat[1::2], strict=False))
            received = Received(
                stream=self.stream,
                number=name,
                channel=self.channel,
                fields=fields,
                key=fields.get(b"k", b""),
            )
            if count is None:
                received.counted = number in begun
            elif self.position == _START or _parsed(name) <= _parsed(self.position):
                received.claimed, received.attempts = True, count - 1
            else:  # we took it ourselves, but the answer was lost, or came at a bad moment
                received.counted = count > 1
            if received.key not in held_keys:
                self.admit(received)
        if counts is None and entries:
            self.position = entries[-1][0].decode()


def _parsed(number: str) -> tuple[int, int]:
    milliseconds, _, rest = number.partition("-")
    return int(milliseconds), int(rest)
