"""The events of one stream that this process has in hand, in order per key."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from varco_redis._errors import described
from varco_redis._handlers import Handlers, Received

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from varco_events import Event
    from varco_redis._bus_settings import RedisEventBusSettings

logger = logging.getLogger("varco_redis.bus")

_LEAST_REST = 0.1
# An event that was begun so many times as often as handlers are tried, and never came to an end,
# kills the process that handles it.
_DEADLY = 3


class Upstream(Protocol):
    """Where the events come from, which is told what became of them."""

    def finished(self, partition: Partition, number: str) -> None:
        """It was handled, or dead-lettered."""
        ...

    async def failed(self, partition: Partition, number: str, attempts: int) -> None:
        """It failed, or was begun, once more."""
        ...

    async def dead_letter(self, received: Received, failures: dict[str, Exception]) -> None:
        """Keep it aside; raises when that could not be done."""
        ...


class Workers:
    """The tasks that handle events, and how many handlers run at once."""

    def __init__(self, handlers: Handlers, settings: RedisEventBusSettings) -> None:
        self.handlers = handlers
        self.settings = settings
        self.room = asyncio.Semaphore(settings.concurrency)
        self.tasks: set[asyncio.Task[None]] = set()
        self.running: dict[Received, None] = {}
        self.stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until its first wait at once, the rest in a task."""
        task = asyncio.Task(work, loop=self._loop, eager_start=True)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif not task.cancelled() and (error := task.exception()) is not None:
            logger.error("handling an event broke", exc_info=error)

    async def drain(self, seconds: float | None) -> list[Event]:
        """Wait for the handlers that run; what was cut off after so many seconds."""
        self.stopping.set()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=seconds)
        cut = [one.event for one in self.running if one.event is not None]
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks))
        return cut


class Partition:
    """One stream of which this process may take events until `until`.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self, channel: str, stream: str, upstream: Upstream, workers: Workers, fence: int = 0
    ) -> None:
        self.channel = channel
        self.stream = stream
        self.fence = fence
        self.until = 0.0
        self.position = "0-0"
        self.unclaimed = True
        """Whether there may be events that were taken and are not in hand: they come first."""
        self.giving_back = False
        self._upstream = upstream
        self._workers = workers
        self._in_hand: set[str] = set()
        self._lanes: dict[bytes, deque[tuple[str, Received]]] = {}
        self._running = 0

    @property
    def alive(self) -> bool:
        """Whether it is still ours as far as this process knows."""
        return time.monotonic() < self.until

    @property
    def idle(self) -> bool:
        """Whether no handler is at work on its events."""
        return not self._running

    @property
    def space(self) -> int:
        """How many more events may be taken."""
        return self._workers.settings.prefetch - len(self._in_hand)

    def has(self, received: Received) -> bool:
        """Whether it is in hand here."""
        return received.place.rpartition(" ")[2] in self._in_hand

    def accept(self, entries: Iterable[Any], times: Iterable[int] | None = None) -> None:
        """Begin with events that were taken from Redis, unless they are in hand already."""
        counts = None if times is None else iter(times)
        for number, flat in entries:
            name = number.decode()
            count = None if counts is None else next(counts)
            if name not in self._in_hand:
                self._in_hand.add(name)
                self._begin(name, self._received(name, flat, count))

    def _received(self, name: str, flat: list[bytes], count: int | None) -> Received:
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        handler = fields.get(b"h")
        return Received(
            place=f"{self.stream} {name}",
            channel=self.channel,
            payload=fields.get(b"e", b""),
            key=fields.get(b"k", b""),
            handler=None if handler is None else handler.decode(errors="replace"),
            claimed=count is not None,
            attempts=0 if count is None else count - 1,
        )

    def _begin(self, name: str, received: Received) -> None:
        key = received.key
        if not key:
            self._workers.spawn(self._alone(name, received))
            return
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append((name, received))
            return
        self._lanes[key] = deque([(name, received)])
        self._workers.spawn(self._in_order(key))

    async def _alone(self, name: str, received: Received) -> None:
        try:
            if await self._handled(name, received):
                self._upstream.finished(self, name)
        finally:
            self._in_hand.discard(name)

    async def _in_order(self, key: bytes) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                name, received = lane[0]
                if not await self._handled(name, received):
                    return
                lane.popleft()
                self._in_hand.discard(name)
                self._upstream.finished(self, name)
        finally:
            del self._lanes[key]
            for name, _ in lane:  # they stay in Redis, and will be claimed again in their order
                self._in_hand.discard(name)

    async def _handled(self, name: str, received: Received) -> bool:
        """Whether it is done with; if not, it stays in Redis for whoever has the partition."""
        cancelled = 0
        while True:
            try:
                failures = await self._attempt(name, received)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():  # the bus stops
                    self.unclaimed = True
                    raise
                logger.warning("%s was cancelled by its handler and is tried again", received.place)
                cancelled += 1
                await self._rest(self._delay(cancelled))
                continue
            except BaseException:
                self.unclaimed = True
                raise
            if failures is None:
                self.unclaimed = True
                return False
            if not failures or await self._failed(name, received, failures):
                return True

    async def _attempt(self, name: str, received: Received) -> dict[str, Exception] | None:
        """What failed, nothing when all is well; None when it may not be handled here any more."""
        workers = self._workers
        if received.claimed:
            if received.attempts >= _DEADLY * workers.settings.max_attempts:
                return {received.handler or "": RuntimeError("those who handle it die")}
            # Counted before it is begun, should this process die of it.
            await self._upstream.failed(self, name, received.attempts + 1)
        async with workers.room:
            if workers.stopping.is_set() or not self.alive:
                return None
            workers.running[received] = None
            self._running += 1
            try:
                failures = await workers.handlers.handle(received)
            finally:
                self._running -= 1
                del workers.running[received]
        if failures:
            received.attempts += 1
            received.first_failed_at = received.first_failed_at or datetime.now(UTC)
        return failures

    async def _failed(self, name: str, received: Received, failures: dict[str, Exception]) -> bool:
        """Whether it was dead-lettered; if not, the time of the next attempt has come."""
        settings = self._workers.settings
        attempts, error = received.attempts, next(iter(failures.values()))
        if received.event is not None and attempts < settings.max_attempts:
            logger.warning(
                "attempt %d of %s failed: %s", attempts, received.place, described(error)
            )
            await self._upstream.failed(self, name, attempts)
            await self._rest(self._delay(attempts))
            return False
        while self.alive and not self._workers.stopping.is_set():
            try:
                await self._upstream.dead_letter(received, failures)
            except Exception as problem:  # noqa: BLE001 # whatever a queue raises
                logger.warning(
                    "%s could not be dead-lettered: %s", received.place, described(problem)
                )
                await self._rest(max(settings.retry_delay, _LEAST_REST))
                continue
            logger.error(
                "gave up %s after %d attempts: %s failed: %s",
                received.place,
                attempts,
                ", ".join(filter(None, failures)) or "reading it",
                described(error),
            )
            return True
        return False

    def _delay(self, attempts: int) -> float:
        settings = self._workers.settings
        return min(settings.retry_delay * 2.0 ** min(attempts - 1, 30), settings.max_retry_delay)

    async def _rest(self, seconds: float) -> None:
        """Wait with jitter, or until the bus stops."""
        jittered = random.uniform(seconds / 2, seconds)  # noqa: S311 # not for secrets
        try:
            async with asyncio.timeout(jittered):
                await self._workers.stopping.wait()
        except TimeoutError:
            pass
