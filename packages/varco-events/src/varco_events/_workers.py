"""Which events are begun when: as many as there is room for, each counted in the broker before."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from varco_events._backing_off import back_off
from varco_events._diagnostics import describe

if TYPE_CHECKING:
    import logging
    from collections.abc import Coroutine, Generator, Sequence

    from varco_events._dispatch import Delivery, Dispatcher
    from varco_events._event import Event
    from varco_events._event_serializer import EventSerializer
    from varco_events._in_hand import InHand
    from varco_events._lanes import Lanes

# For how long others do not begin, at most, before and while an event has its last attempt that
# may be what processes die of.
_ALONE = 1.0
# How many of one key are counted at once, though they begin one after the other.
_AHEAD = 16
# Seconds for which handlers that never wait have the event loop, before others have their turn.
_TURN = 0.01
_LOOK = 16  # how many begin between two looks at the clock

type Ready = tuple[Lanes, InHand]
type AnyUpstream = Upstream[Any, Any]


class HandlingSettings(Protocol):
    """What the settings of a bus say about handling."""

    @property
    def prefetch(self) -> int:
        """How many events of a part of a channel are in hand before no more are taken."""
        ...

    @property
    def concurrency(self) -> int:
        """How many handlers run at once in a process."""
        ...

    @property
    def max_attempts(self) -> int:
        """How often a handler is tried before the event is dead-lettered."""
        ...

    @property
    def retry_delay(self) -> float:
        """Seconds before the second attempt; doubled for each further one."""
        ...

    @property
    def max_retry_delay(self) -> float:
        """The most."""
        ...


class Upstream[L, E](Protocol):
    """Where the events come from, which is told what became of them.

    Of lanes `L`, which hold events `E`.
    """

    async def count(self, begun: Sequence[tuple[L, E]], /) -> list[tuple[L, E]]:
        """Count their next attempt; those of them that are still ours."""
        ...

    async def uncount(self, given_back: Sequence[tuple[L, E]], /) -> None:
        """Give the attempt back that was counted."""
        ...

    def finished(self, lanes: L, received: E, /) -> None:
        """It was handled, or dead-lettered."""
        ...

    async def settle(self) -> None:
        """Tell the broker of all that is finished; called before something else may be deadly."""
        ...

    def dropped(self, lanes: L, received: E, /) -> None:
        """It was begun and is left to whoever has the lanes."""
        ...

    async def dead_letter(self, received: E, delivery: Delivery, /) -> None:
        """Keep it aside; raises when that could not be done."""
        ...


class Workers:
    """The tasks that handle events, and how many handlers run at once.

    State is protected by never awaiting between looking and changing: one event loop owns it.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: HandlingSettings,
        serializer: EventSerializer,
        logger: logging.Logger,
    ) -> None:
        self.dispatcher = dispatcher
        self.logger = logger
        self._serializer = serializer
        self.settings = settings
        self.room: int = settings.concurrency
        self.tasks: set[asyncio.Task[None]] = set()
        self.running: dict[InHand, asyncio.Task[Any]] = {}
        self.stopping: asyncio.Event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._due: deque[Ready] = deque()
        self._is_beginning = False
        self._ready: dict[AnyUpstream, deque[Ready]] = {}
        self._counting: set[AnyUpstream] = set()
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
            self.logger.error("handling an event broke", exc_info=error)

    def begin(self, lanes: Lanes, received: InHand) -> None:
        """Begin as soon as there is room and the attempt is counted."""
        if received.claimed and 1 < self.settings.max_attempts <= received.attempts + 1:
            self.spawn(self._begin_alone(lanes, received))
        elif received.counted:
            self._due.append((lanes, received))
            if not self._is_beginning:
                self._begin_due()
        else:
            self._wait_for_room(lanes, received)

    def _begin_due(self) -> None:
        """Begin what is counted: one after the other as long as handlers do not wait.

        What such a one makes due is begun here as well, and not within it: keys may be long.
        """
        due, self._is_beginning = self._due, True
        begun, until = 0, self._loop.time() + _TURN
        try:
            while due:
                lanes, received = due.popleft()
                if self.room <= 0 or self._held_back or self.stopping.is_set():
                    self._wait_for_room(lanes, received)
                elif not lanes.may_begin:
                    lanes.drop(received)
                else:
                    self.spawn(lanes.handle(received))
                    begun += 1
                    if begun % _LOOK == 0 and due and self._loop.time() > until:
                        self._loop.call_soon(self._begin_due)
                        return
        finally:
            self._is_beginning = bool(due)

    @contextlib.contextmanager
    def together(self) -> Generator[None]:
        """What becomes due meanwhile begins at the end."""
        is_first, self._is_beginning = not self._is_beginning, True
        try:
            yield
        finally:
            if is_first:
                self._begin_due()

    def _wait_for_room(self, lanes: Lanes, received: InHand) -> None:
        self._ready.setdefault(lanes.upstream, deque()).append((lanes, received))
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
        for ready in (self._due, *self._ready.values()):
            for lanes, received in ready:
                lanes.drop(received)
        self._due.clear()
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
        return 0 if self._ready or self._held_back or self.settings.max_attempts == 1 else self.room

    def start(self, received: InHand) -> None:
        """A handler is called in the current task."""
        self.room -= 1
        self.running[received] = asyncio.current_task(self._loop)  # type: ignore[assignment] # there is one

    def end(self, received: InHand) -> None:
        """It has returned."""
        self.room += 1
        del self.running[received]
        if self._held_back:
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
        for upstream in self._ready:
            if upstream in self._counting:
                continue
            self._counting.add(upstream)
            task = self._loop.create_task(self._begin_ready(upstream))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _begin_ready(self, upstream: AnyUpstream) -> None:
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
                    self.logger.warning("events begin later: %s", describe(error))
                    ready.extendleft(reversed(chosen))
                    await self.rest(back_off(attempt))
                    attempt += 1
                    continue
                for lanes, received in mine:
                    self.spawn(lanes.handle(received))
        finally:
            self._counting.discard(upstream)
            self._tell_if_quiet()
            if not ready:
                self._ready.pop(upstream, None)
        if ready:
            self._go_on()

    def _by_itself(self, received: InHand) -> bool:
        """Whether it is begun before another is counted, which may never begin if this is deadly.

        That takes a round trip each; else an event may have one attempt that was none.
        """
        return received.claimed or self.settings.max_attempts == 1

    async def _counted(self, upstream: AnyUpstream, chosen: list[Ready]) -> list[Ready]:
        """Those that may begin; what is not ours any more is dropped."""
        alive: list[Ready] = []
        for one in chosen:
            if one[0].alive:
                alive.append(one)
            else:
                one[0].drop(one[1])
        fresh = [one for one in alive if not one[1].counted]
        for lanes, received in tuple(fresh):
            if not self._by_itself(received):
                fresh += [(lanes, one) for one in lanes.next_to(received, _AHEAD)]
        if not fresh:
            return alive
        # They hold their room, and count as running, from here on.
        self.room -= len(alive)
        for lanes, received in alive:
            lanes.running[received] = None
        try:
            counted = await upstream.count(fresh)
        finally:
            self.room += len(alive)
            for lanes, received in alive:
                del lanes.running[received]
        for _, received in counted:
            received.counted = True
        lost = [one for one in alive if not one[1].counted]
        for lanes, received in lost:
            lanes.drop(received)
        return [one for one in alive if one[1].counted]

    async def _begin_alone(self, lanes: Lanes, received: InHand) -> None:
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
                        mine = await self._counted(lanes.upstream, [(lanes, received)])
                    except Exception as error:  # noqa: BLE001 # whatever it is, it begins later
                        self.logger.warning("an event begins later: %s", describe(error))
                        await self.rest(back_off(attempt))
                        attempt += 1
                        continue
                    if mine:
                        await lanes.handle(received)
                        await self._settle(lanes.upstream)
                    return
                lanes.drop(received)
            finally:
                release.cancel()
                self._release()

    async def _settle(self, upstream: AnyUpstream) -> None:
        """Else what was lived through would look deadly, should the next one be so at once."""
        try:
            await upstream.settle()
        except Exception as error:  # noqa: BLE001 # whatever it is, it is told later
            self.logger.warning("what is done is told later: %s", describe(error))

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
