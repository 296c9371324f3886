"""Which events are begun when: as many as there is room for, each counted in Redis before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from varco_events import describe
from varco_redis._link import back_off

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Sequence

    from varco_events import Delivery, Dispatcher, Event, EventSerializer
    from varco_redis._bus_settings import RedisEventBusSettings
    from varco_redis._partition import Partition
    from varco_redis._received import Received

logger = logging.getLogger("varco_redis.bus")

# For how long others do not begin, at most, before and while an event has its last attempt that
# may be what processes die of.
_ALONE = 1.0
# How many of one key are counted at once, though they begin one after the other.
_AHEAD = 16

type Ready = tuple[Partition, Received]


class Upstream(Protocol):
    """Where the events come from, which is told what became of them."""

    async def count(self, begun: Sequence[Ready]) -> list[Ready]:
        """Count their next attempt; those of them that are still ours."""
        ...

    async def uncount(self, given_back: Sequence[Ready]) -> None:
        """Give the attempt back that was counted."""
        ...

    def finished(self, partition: Partition, received: Received) -> None:
        """It was handled, or dead-lettered."""
        ...

    def dropped(self, partition: Partition, received: Received) -> None:
        """It was begun and is left to whoever has the partition."""
        ...

    async def dead_letter(self, received: Received, delivery: Delivery) -> None:
        """Keep it aside; raises when that could not be done."""
        ...


class Workers:
    """The tasks that handle events, and how many handlers run at once.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self, dispatcher: Dispatcher, settings: RedisEventBusSettings, serializer: EventSerializer
    ) -> None:
        self.dispatcher = dispatcher
        self._serializer = serializer
        self.settings = settings
        self.room = settings.concurrency
        self.tasks: set[asyncio.Task[None]] = set()
        self.running: dict[Received, asyncio.Task[Any]] = {}
        self.stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ready: dict[Upstream, deque[Ready]] = {}
        self._counting: set[Upstream] = set()
        self._alone = asyncio.Lock()
        self._held_back = False
        self._quiet = asyncio.Event()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until its first wait at once, the rest in a task."""
        task = asyncio.Task(work, loop=self._loop, eager_start=True)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif not task.cancelled() and (error := task.exception()) is not None:
            logger.error("handling an event broke", exc_info=error)

    def begin(self, partition: Partition, received: Received) -> None:
        """Begin as soon as there is room and the attempt is counted."""
        most = self.settings.max_attempts
        if received.claimed and 1 < most <= received.attempts + 1:
            self.spawn(self._begin_alone(partition, received))
        elif received.counted and self.room > 0 and not self._held_back:
            self.spawn(partition.handle(received))
        else:
            ready = self._ready.setdefault(partition.upstream, deque())
            ready.append((partition, received))
            self._go_on()

    async def drain(self, seconds: float | None) -> list[Event]:
        """Wait for the handlers that run; what was cut off after so many seconds."""
        self.stopping.set()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=seconds)
        cut = [one.event(self._serializer) for one in self.running]
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks))
        for ready in self._ready.values():
            for partition, received in ready:
                partition.drop(received)
        self._ready.clear()
        return cut

    @contextlib.contextmanager
    def reserved(self, room: int) -> Generator[None]:
        """Keep room for what is being taken and begins at once."""
        self.room -= room
        try:
            yield
        finally:
            self.room += room
            self._go_on()

    @property
    def spare(self) -> int:
        """How many may begin as soon as they are taken."""
        return 0 if self._ready or self.settings.max_attempts == 1 else self.room

    def start(self, received: Received) -> None:
        """A handler is called in the current task."""
        self.room -= 1
        self.running[received] = asyncio.current_task(self._loop)  # type: ignore[assignment] # there is one

    def end(self, received: Received) -> None:
        """It has returned."""
        self.room += 1
        del self.running[received]
        self._tell_if_quiet()
        if self._ready:
            self._go_on()

    @property
    def _is_quiet(self) -> bool:
        """Whether nothing runs, nor is being counted, after which it would begin."""
        return not self.running and not self._counting

    def _tell_if_quiet(self) -> None:
        if self._is_quiet:
            self._quiet.set()

    def _go_on(self) -> None:
        if self.room <= 0 or self._held_back or self.stopping.is_set():
            return
        for upstream in self._ready.keys() - self._counting:
            self._counting.add(upstream)
            task = self._loop.create_task(self._begin_ready(upstream))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _begin_ready(self, upstream: Upstream) -> None:
        """Begin what waits; those that come together are counted together."""
        ready, attempt = self._ready[upstream], 0
        try:
            while ready and self.room > 0 and not self._held_back and not self.stopping.is_set():
                chosen = [ready.popleft()]
                while ready and len(chosen) < self.room and not self._by_itself(chosen[0][1]):
                    chosen.append(ready.popleft())
                try:
                    mine = await self._counted(upstream, chosen)
                    attempt = 0
                except Exception as error:  # noqa: BLE001 # whatever it is, they begin later
                    logger.warning("events begin later: %s", describe(error))
                    ready.extendleft(reversed(chosen))
                    await self.rest(back_off(attempt))
                    attempt += 1
                    continue
                for partition, received in mine:
                    self.spawn(partition.handle(received))
        finally:
            self._counting.discard(upstream)
            self._tell_if_quiet()
            if not ready:
                self._ready.pop(upstream, None)
        if ready:
            self._go_on()

    def _by_itself(self, received: Received) -> bool:
        """Whether it is begun before another is counted, which may never begin if this is deadly.

        That takes a round trip each; else an event may have one attempt that was none.
        """
        return received.claimed or self.settings.max_attempts == 1

    async def _counted(self, upstream: Upstream, chosen: list[Ready]) -> list[Ready]:
        """Those that may begin; what is not ours any more is dropped."""
        alive: list[Ready] = []
        for one in chosen:
            if one[0].alive:
                alive.append(one)
            else:
                one[0].drop(one[1])
        fresh = [one for one in alive if not one[1].counted]
        for partition, received in tuple(fresh):
            if not self._by_itself(received):
                fresh += [(partition, one) for one in partition.next_to(received, _AHEAD)]
        if not fresh:
            return alive
        # They hold their room, and count as running, from here on.
        self.room -= len(alive)
        for partition, received in alive:
            partition.running[received] = None
        try:
            counted = await upstream.count(fresh)
        finally:
            self.room += len(alive)
            for partition, received in alive:
                del partition.running[received]
        for _, received in counted:
            received.counted = True
        lost = [one for one in alive if not one[1].counted]
        for partition, received in lost:
            partition.drop(received)
        return [one for one in alive if one[1].counted]

    async def _begin_alone(self, partition: Partition, received: Received) -> None:
        """Begin when nothing else runs, and let nothing else begin, for a moment at least.

        Else what ran beside it when the process dies would be held to be as deadly.
        """
        async with self._alone:
            self._held_back = True
            release = self._loop.call_later(2 * _ALONE, self._release)
            try:
                if not self._is_quiet:
                    self._quiet.clear()
                    await self.rest(_ALONE, self._quiet)
                attempt = 0
                while not self.stopping.is_set():
                    try:
                        mine = await self._counted(partition.upstream, [(partition, received)])
                    except Exception as error:  # noqa: BLE001 # whatever it is, it begins later
                        logger.warning("an event begins later: %s", describe(error))
                        await self.rest(back_off(attempt))
                        attempt += 1
                        continue
                    if mine:
                        await partition.handle(received)
                    return
                partition.drop(received)
            finally:
                release.cancel()
                self._release()

    def _release(self) -> None:
        self._held_back = False
        self._go_on()

    async def rest(self, seconds: float, event: asyncio.Event | None = None) -> None:
        """Wait so long, or until the event, by default that the bus stops."""
        try:
            async with asyncio.timeout(seconds):
                await (event or self.stopping).wait()
        except TimeoutError:
            pass
