"""The conservation law: whatever fails or is killed, every event is somewhere."""

# ruff: noqa: S101  # these are tests: they assert

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings

from varco_events._memory_bus import InMemoryEventBus
from varco_events.testing._fates import Fate
from varco_events.testing._lives import Cut, How
from varco_events.testing._loops import play
from varco_events.testing._scenarios import (
    KINDS,
    Mend,
    Redrive,
    Relay,
    Scenario,
    Send,
    Sent,
    scenarios,
)
from varco_events.testing._world import World

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from varco_events._bus import AbstractEventBus, EventMiddleware
    from varco_events._dlq import AbstractDeadLetterQueue
    from varco_events.testing._lives import Life
    from varco_events.testing._world import EventStores

_MIX = (
    *(Fate.FINE, Fate.POISON, Fate.FLAKY, Fate.UNLIFTED, Fate.FINE),
    *(Fate.HOPELESS, Fate.REJECTED, Fate.WRAPPED),
)


class ConservationContract(ABC):
    """Every event that was saved ends handled, dead-lettered, parked or waiting, for each listener.

    Nothing is lost, nothing is acknowledged unseen, what is dead-lettered has its original bytes,
    and without interruption nothing is done twice: with filters, middleware and upcasters that
    fail, events that cannot be read, rejections, redrives by handler and group, restarts, dead
    letter queues that refuse, and relays, handlers, pollers and redrives that are cancelled, cut
    off from a store, or killed at any await. In the end, what failed is mended, and everything
    that can be read is handled by exactly those who should.

    Implement `open_stores`; for a transport also `open_bus`, `bring` and `in_transit`.

    Attributes:
        share: How many scenarios are drawn, as a part of Hypothesis' `max_examples`.
        stride: How many awaits lie between two at which work is cut off one after the other.
        groups: The groups of processes that each have all listeners, under the same names.
        lease: Seconds for which entries are claimed; short when `advance` really waits.
        counts_attempts: Whether the outbox counts the attempts of its claims: without that an event
            that kills its process kills for ever.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    share: float = 1.0
    stride: int = 1
    groups: tuple[str, ...] = ("",)
    lease: float = 1.0
    counts_attempts: bool = True

    @abstractmethod
    def open_stores(self) -> AbstractAsyncContextManager[EventStores]:
        """Empty stores, which outlive the processes of a scenario."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the stores, and for a transport's leases."""
        await anyio.sleep(seconds)

    def open_bus(
        self,
        group: str,  # noqa: ARG002  # for transports
        life: Life,  # noqa: ARG002
        *,
        middleware: Iterable[EventMiddleware],
        dead_letters: AbstractDeadLetterQueue,  # noqa: ARG002
    ) -> AbstractEventBus:
        """The bus of a process, which is started and stopped by the test.

        Args:
            group: That of the process.
            life: What it does outside of itself must `count` there, and end with it (`on_death`).
            middleware: Around every handler.
            dead_letters: Where a transport puts what failed.
        """
        return InMemoryEventBus(middleware=middleware)

    async def bring(self, life: Life) -> None:  # noqa: B027  # for transports
        """Let a transport do what it does by itself, until nothing moves or `life` is over."""

    async def in_transit(self, group: str) -> Collection[UUID]:  # noqa: ARG002  # for transports
        """The ids of the events that a transport has and `group` has not acknowledged."""
        return ()

    def test_every_event_is_accounted_for(self, anyio_backend: Any) -> None:
        """Over drawn scenarios."""
        profile = settings()
        most = max(1, round(profile.max_examples * self.share))

        @settings(profile, max_examples=most)
        @given(scenarios(self.groups, deadly=self.counts_attempts))
        def holds(scenario: Scenario) -> None:
            play(anyio_backend, self._run, scenario)

        holds()

    @pytest.mark.parametrize("how", list(How))
    def test_wherever_the_work_is_cut_off(self, anyio_backend: Any, how: How) -> None:
        """The same events, cut off at one await after the other."""
        hits = tuple(f"{self.groups[0]}/{kind}" for kind in KINDS)
        sent = Send(tuple(Sent(fate, hits, number % 3) for number, fate in enumerate(_MIX)))
        at, struck = 1, 1
        while struck:
            cut = Cut(how, at)
            steps = (sent, *(Relay(cut),) * 3, *(Relay(),) * 3, Mend(), *(Redrive(cut),) * 2)
            struck = play(anyio_backend, self._run, Scenario(steps=steps))
            at += self.stride
        assert at > self.stride

    async def _run(self, scenario: Scenario) -> int:
        async with self.open_stores() as stores:
            world = World(self, stores, scenario)
            try:
                await world.play()
            finally:
                await world.close()
            return world.cuts
