"""The events of one stream that this process has in hand, in order per key."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from varco_events import describe
from varco_redis._received import Received

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from varco_events import Delivery
    from varco_redis._workers import Upstream, Workers

logger = logging.getLogger("varco_redis.bus")

_LEAST_REST = 0.1
_START = "0-0"
# How many times as many as may be taken at once are kept here while they wait behind their keys.
_IN_MEMORY = 4


class Partition:
    """One stream of which this process may take events until `until`.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self,
        channel: str,
        number: int,
        stream: str,
        upstream: Upstream,
        workers: Workers,
        fence: int = 0,
    ) -> None:
        self.channel = channel
        self.number = number
        self.stream = stream
        self.upstream = upstream
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
        self.running: dict[Received, None] = {}
        self._workers = workers
        self._in_hand: set[str] = set()
        self._lanes: dict[bytes, deque[Received]] = {}
        self._waiting = 0

    @property
    def alive(self) -> bool:
        """Whether its events may be begun, as far as this process knows."""
        return not self.released and time.monotonic() < self.until

    @property
    def space(self) -> int:
        """How many more events may be taken; what waits behind its own key is no hindrance."""
        return self._workers.settings.prefetch - len(self._in_hand) + self._waiting

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
            if name in self._in_hand or name in self.held:
                continue
            fields = dict(zip(flat[::2], flat[1::2], strict=False))
            received = Received(self.stream, name, self.channel, fields, fields.get(b"k", b""))
            if count is None:
                received.counted = number in begun
            elif self.position == _START or _parsed(name) <= _parsed(self.position):
                received.claimed, received.attempts = True, count - 1
            else:  # we took it ourselves, but the answer was lost, or came at a bad moment
                received.counted = count > 1
            if received.key not in held_keys:
                self._admit(received)
        if counts is None and entries:
            self.position = entries[-1][0].decode()

    def _admit(self, received: Received) -> None:
        self._in_hand.add(received.number)
        if received.key:
            lane = self._lanes.get(received.key)
            if lane is not None:
                lane.append(received)
                self._waiting += 1
                if self._waiting > _IN_MEMORY * self._workers.settings.prefetch:
                    received.fields = None
                return
            self._lanes[received.key] = deque([received])
        self._begin(received)

    def _begin(self, received: Received) -> None:
        """Begin with it, unless those who did so before died or failed too often."""
        most = self._workers.settings.max_attempts
        if received.claimed and received.attempts >= most and not received.counted:
            self._workers.spawn(self._give_up(received))
        else:
            self._workers.begin(self, received)

    def next_to(self, received: Received, most: int) -> list[Received]:
        """What waits behind it and may begin at once when it is done, `most` at most."""
        lane = self._lanes.get(received.key, ())
        return [
            one for one in itertools.islice(lane, 1, 1 + most) if not (one.counted or one.claimed)
        ]

    def drop(self, received: Received) -> None:
        """Leave it, and what waits behind it, to whoever has the partition."""
        self.unclaimed = True
        dropped = self._lanes.pop(received.key, None) or (received,)
        self._waiting -= len(dropped) - 1
        for one in dropped:
            self._in_hand.discard(one.number)
            self.upstream.dropped(self, one)

    def _finish(self, received: Received) -> None:
        self.upstream.finished(self, received)
        self._in_hand.discard(received.number)
        lane = self._lanes.get(received.key)
        if lane is None:
            return
        lane.popleft()
        if lane:
            self._waiting -= 1
            self._begin(lane[0])
        else:
            del self._lanes[received.key]

    def cut_off(self) -> None:
        """Cancel what runs: others may handle it by now."""
        for received in self.running:
            task = self._workers.running.get(received)
            if task is not None:
                task.cancel()

    async def handle(self, received: Received) -> None:
        """Bring it to the handlers, and do what follows from that."""
        try:
            nothing = received.unreadable()
            if nothing is not None:
                received.attempts += 1
                await self._dead_letter(received, nothing)
                return
            delivery = await self._delivered(received)
            received.claimed = False  # it was lived through
            if delivery is not None and delivery.is_done:
                self._finish(received)
                return
            if delivery is not None:
                received.handlers = [one.handler for one in delivery.failed]
                if not delivery.is_rejected:
                    await self._failed(received, delivery)
                    return
            if received.key not in self._lanes:
                await self.upstream.uncount([(self, received)])
                received.counted = False
            received.rejections += 1
            await self._again(received, received.rejections)
        except BaseException:
            self.drop(received)
            raise

    async def _delivered(self, received: Received) -> Delivery | None:
        """What the handlers made of it; None when one of them was cancelled, by itself."""
        workers = self._workers
        workers.start(received)
        self.running[received] = None
        try:
            return await workers.dispatcher.dispatch(received.read(), handlers=received.handlers)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the bus stops, or the partition is lost
                raise
            logger.warning("%s was cancelled by its handler and is tried again", received.place)
            return None
        finally:
            del self.running[received]
            workers.end(received)

    async def _failed(self, received: Received, delivery: Delivery) -> None:
        received.counted = False
        received.attempts += 1
        received.first_failed_at = received.first_failed_at or datetime.now(UTC)
        if received.attempts < self._workers.settings.max_attempts:
            logger.warning(
                "attempt %d of %s failed: %s",
                received.attempts,
                received.place,
                _reason(delivery),
            )
            await self._again(received, received.attempts)
        else:
            await self._dead_letter(received, delivery)

    async def _again(self, received: Received, times: int) -> None:
        """Begin anew after a pause, if it is still ours then."""
        waiting = [one for one in self._lanes.get(received.key, ()) if one.counted]
        if waiting:  # which began too early to count them
            await self.upstream.uncount([(self, one) for one in waiting])
            for one in waiting:
                one.counted = False
        settings = self._workers.settings
        seconds = min(settings.retry_delay * 2.0 ** min(times - 1, 30), settings.max_retry_delay)
        if self.alive:
            await self._rest(seconds)
        if self.alive and not self._workers.stopping.is_set():
            self._workers.begin(self, received)
        else:
            self.drop(received)

    async def _give_up(self, received: Received) -> None:
        try:
            await self._dead_letter(received, received.undelivered())
        except BaseException:
            self.drop(received)
            raise

    async def _dead_letter(self, received: Received, delivery: Delivery) -> None:
        while not self._workers.stopping.is_set() and time.monotonic() < self.until:
            try:
                await self.upstream.dead_letter(received, delivery)
            except Exception as problem:  # noqa: BLE001 # whatever a queue raises
                logger.warning(
                    "%s could not be dead-lettered: %s", received.place, describe(problem)
                )
                await self._rest(max(self._workers.settings.retry_delay, _LEAST_REST))
                continue
            logger.error(
                "gave up %s after %d attempts: %s failed: %s",
                received.place,
                received.attempts,
                ", ".join(one.handler for one in delivery.failed if one.handler) or "reading it",
                _reason(delivery),
            )
            self._finish(received)
            return
        self.drop(received)

    async def _rest(self, seconds: float) -> None:
        """Wait with jitter, or until the bus stops."""
        await self._workers.rest(random.uniform(seconds / 2, seconds))  # noqa: S311 # not for secrets


def _parsed(number: str) -> tuple[int, int]:
    milliseconds, _, rest = number.partition("-")
    return int(milliseconds), int(rest)


def _reason(delivery: Delivery) -> str:
    return "; ".join(describe(one.error) for one in delivery.failed if one.error is not None)
