"""The events of one part of a channel that a process has in hand, in order per key."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from varco_events._context import handling
from varco_events._diagnostics import describe
from varco_events._dispatch import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_events._in_hand import InHand
    from varco_events._outcome import HandlerOutcome
    from varco_events._workers import AnyUpstream, Workers

_LEAST_REST = 0.1
# How many times as many as may be taken at once are kept here while they wait behind their keys.
_IN_MEMORY = 4


class Lanes:
    """What is in hand of one stream or partition: one key after the other, keys side by side.

    A backend derives from it: it `admit`s what it takes, and says in `alive` whether it may still
    be begun. A key whose event fails waits with it, and no other. State is protected by never
    awaiting between looking and changing: one event loop owns it.
    """

    def __init__(self, upstream: AnyUpstream, workers: Workers) -> None:
        self.upstream = upstream
        self.running: dict[InHand, None] = {}
        """What handlers are at work on, or is being counted."""
        self.unclaimed: bool = False
        """Whether something was left here that is to be taken again."""
        self._workers = workers
        self.in_hand: dict[str | int, InHand] = {}
        """What was taken and not finished, by its number."""
        self._lanes: dict[bytes, deque[InHand]] = {}
        self._waiting = 0

    @property
    def alive(self) -> bool:
        """Whether its events may be begun, as far as this process knows."""
        return True

    @property
    def may_begin(self) -> bool:
        """Whether what is counted already may begin; else it is dropped with what waits behind."""
        return True

    @property
    def trusted(self) -> bool:
        """Whether what is in hand may be dead-lettered, which others would do likewise."""
        return self.alive

    @property
    def space(self) -> int:
        """How many more events may be taken; what waits behind its own key is no hindrance."""
        return self._workers.settings.prefetch - len(self.in_hand) + self._waiting

    def has(self, number: str | int) -> bool:
        """Whether the event of this number is in hand."""
        return number in self.in_hand

    def admit(self, received: InHand) -> None:
        """Take it in hand, and begin with it as soon as its key is free."""
        self.in_hand[received.number] = received
        if received.key:
            lane = self._lanes.get(received.key)
            if lane is not None:
                lane.append(received)
                self._waiting += 1
                if self._waiting > _IN_MEMORY * self._workers.settings.prefetch:
                    received.forget()
                return
            self._lanes[received.key] = deque([received])
        self._begin(received)

    def admit_all(self, received: Iterable[InHand]) -> None:
        """Take all in hand, and begin with them then."""
        with self._workers.together():
            for one in received:
                self.admit(one)

    def _begin(self, received: InHand) -> None:
        """Begin with it, unless those who did so before died or failed too often."""
        if received.counted and not received.claimed:
            self._workers.begin(self, received)  # which looks whether it may, when it does
        elif not self.may_begin:
            self.drop(received)
        elif (
            received.claimed
            and received.attempts >= self._workers.settings.max_attempts
            and not received.counted
        ):
            self._workers.spawn(self._give_up(received))
        else:
            self._workers.begin(self, received)

    def next_to(self, received: InHand, most: int) -> list[InHand]:
        """What waits behind it and may begin at once when it is done, `most` at most."""
        lane = self._lanes.get(received.key, ())
        return [
            one for one in itertools.islice(lane, 1, 1 + most) if not (one.counted or one.claimed)
        ]

    def drop(self, received: InHand) -> None:
        """Leave it, and what waits behind it, to whoever has these lanes."""
        self.unclaimed = True
        dropped = self._lanes.pop(received.key, None) or (received,)
        self._waiting -= len(dropped) - 1
        for one in dropped:
            self.in_hand.pop(one.number, None)
            self.upstream.dropped(self, one)

    def _finish(self, received: InHand) -> None:
        self.upstream.finished(self, received)
        self.in_hand.pop(received.number, None)
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

    async def handle(self, received: InHand) -> None:
        """Bring it to the handlers, and do what follows from that."""
        try:
            if not received.read().event_type:
                received.attempts += 1
                await self._dead_letter(received, received.unreadable())
                return
            outcomes = await self.outcomes(received)
            received.claimed = False  # it was lived through
            if outcomes is not None:
                for one in outcomes:
                    if one.error is not None:
                        break
                else:  # as nearly always: nothing is made for it
                    self._finish(received)
                    return
                delivery = Delivery(received.read(), outcomes)
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

    async def outcomes(self, received: InHand) -> tuple[HandlerOutcome, ...] | None:
        """Call the handlers; what each made of it.

        A backend may say what goes on around that.

        Returns:
            None when it is to be tried again, if it is still ours, and no attempt is counted: one
            of them was cancelled, by itself.
        """
        workers, around = self._workers, handling.get()
        workers.start(received)
        self.running[received] = None
        try:
            return await workers.dispatcher.outcomes(received.read(), around, received.handlers)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the bus stops, or the partition is lost
                raise
            self._workers.logger.warning(
                "%s was cancelled by its handler and is tried again", received.place
            )
            return None
        finally:
            handling.set(around)
            del self.running[received]
            workers.end(received)

    async def _failed(self, received: InHand, delivery: Delivery) -> None:
        received.counted = False
        received.attempts += 1
        received.first_failed_at = received.first_failed_at or datetime.now(UTC)
        if received.attempts < self._workers.settings.max_attempts:
            self._workers.logger.warning(
                "attempt %d of %s failed: %s",
                received.attempts,
                received.place,
                _reason(delivery),
            )
            await self._again(received, received.attempts)
        else:
            await self._dead_letter(received, delivery)

    async def _again(self, received: InHand, times: int) -> None:
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

    async def _give_up(self, received: InHand) -> None:
        try:
            await self._dead_letter(received, received.undelivered())
        except BaseException:
            self.drop(received)
            raise

    async def _dead_letter(self, received: InHand, delivery: Delivery) -> None:
        while not self._workers.stopping.is_set() and self.trusted:
            try:
                await self.upstream.dead_letter(received, delivery)
            except Exception as problem:  # noqa: BLE001  # whatever a queue raises
                self._workers.logger.warning(
                    "%s could not be dead-lettered: %s", received.place, describe(problem)
                )
                await self._rest(max(self._workers.settings.retry_delay, _LEAST_REST))
                continue
            self._workers.logger.error(
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
        await self._workers.rest(random.uniform(seconds / 2, seconds))  # noqa: S311  # not for secrets


def _reason(delivery: Delivery) -> str:
    return "; ".join(describe(one.error) for one in delivery.failed if one.error is not None)
