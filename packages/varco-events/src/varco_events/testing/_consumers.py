"""What must be told of those who handle the events of a bus."""

# ruff: noqa: S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import anyio
import pytest

from varco_events._consumer_state import ConsumerState, ConsumerStates
from varco_events._subscription import CHANNEL_ALL
from varco_events.testing._events import ContractEvent, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from varco_events._bus import AbstractEventBus

_CHANNEL = "contract"


class ConsumerStatesContract(ABC):
    """What tells who handles the events of a bus says what is so.

    Implement `open_bus`; unset `counts_in_hand` where nobody knows what consumers have.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    counts_in_hand = True

    @abstractmethod
    def open_bus(
        self,
    ) -> AbstractAsyncContextManager[tuple[AbstractEventBus, ConsumerStates]]:
        """A bus that takes events, and what tells who handles them."""

    async def test_what_is_in_hand_is_told_until_it_is_handled(self) -> None:
        async with self.open_bus() as (bus, states):
            assert isinstance(states, ConsumerStates)
            busy: list[ConsumerState] = []
            began, go_on, done = anyio.Event(), anyio.Event(), list[ContractEvent]()

            async def slow(event: ContractEvent) -> None:
                began.set()
                await go_on.wait()
                done.append(event)

            async def publish() -> None:
                await bus.publish(ContractEvent(number=1, name="a"), channel=_CHANNEL)

            bus.subscribe(ContractEvent, slow, channel=_CHANNEL)
            async with anyio.create_task_group() as group:
                group.start_soon(publish)
                with anyio.fail_after(30):
                    await began.wait()
                busy = await _told(states, lambda rows: _lag(rows) == 1)
                go_on.set()
            await eventually(lambda: len(done) == 1)
            idle = await _told(states, lambda rows: _lag(rows) == 0)
        assert {one.channel for one in busy} <= {_CHANNEL, CHANNEL_ALL}
        (working,) = [one for one in busy if one.lag]
        if working.partition is not None:
            assert working.consumer
            assert working.group
        if self.counts_in_hand:
            assert working.in_hand == 1
            assert sum(one.in_hand or 0 for one in idle) == 0
        assert all(one.oldest_in_hand is None or one.oldest_in_hand >= 0 for one in busy)
        assert all(one.oldest_in_hand is None for one in idle)

    async def test_no_more_rows_are_told_than_were_asked_for(self) -> None:
        async with self.open_bus() as (bus, states):
            got = list[ContractEvent]()
            bus.subscribe(ContractEvent, got.append, channel=_CHANNEL)
            await bus.publish(ContractEvent(number=1), channel=_CHANNEL)
            await eventually(lambda: len(got) == 1)
            everything = await _told(states, lambda rows: _lag(rows) == 0)
            assert len(await states.consumers(limit=1)) == min(len(everything), 1)

    async def test_of_a_bus_without_events_nothing_is_told_to_wait(self) -> None:
        async with self.open_bus() as (_, states):
            assert _lag(await states.consumers()) == 0


def _lag(rows: Sequence[ConsumerState]) -> int:
    return sum(one.lag for one in rows)


async def _told(
    states: ConsumerStates, wanted: Callable[[list[ConsumerState]], bool]
) -> list[ConsumerState]:
    """The rows, as soon as they are what is wanted: what is done is written down soon after."""
    with anyio.fail_after(30):
        while True:
            rows = list(await states.consumers())
            if wanted(rows):
                return rows
            await anyio.sleep(0.02)
