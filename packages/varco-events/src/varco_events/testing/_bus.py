"""What an event bus must do."""

# ruff: noqa: PLR2004, S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import anyio
import pytest

from varco_events._errors import BusStoppedError
from varco_events._event import Event, RawEvent
from varco_events.testing._events import ContractDetailEvent, ContractEvent, eventually

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from varco_events._bus import AbstractEventBus


class BusContract(ABC):
    """What every bus does: events come whole, and once to each who subscribed.

    Implement `open_bus`; unset `in_process` for a transport that hands events to others.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    in_process = True

    @abstractmethod
    def open_bus(self) -> AbstractAsyncContextManager[AbstractEventBus]:
        """A bus that takes events."""

    async def test_every_subscriber_gets_every_event_once_and_unchanged(self) -> None:
        async with self.open_bus() as bus:
            first, second = list[Event](), list[Event]()
            bus.subscribe(ContractEvent, first.append)
            bus.subscribe(ContractEvent, second.append)
            events = [ContractEvent(number=number, name="a") for number in range(20)]
            await bus.publish_many([(event, "contract") for event in events])
            await eventually(lambda: len(first) == len(second) == 20)
            # As JSON: the same instant has another repr when it came over a line.
            sent, *got = (
                sorted(event.model_dump_json() for event in some)
                for some in (events, first, second)
            )
            assert got == [sent, sent]

    async def test_channels_are_apart(self) -> None:
        async with self.open_bus() as bus:
            orders, everything = list[Event](), list[Event]()
            bus.subscribe(ContractEvent, orders.append, channel="orders")
            bus.subscribe(ContractEvent, everything.append)
            await bus.publish(ContractEvent(number=1), channel="payments")
            await bus.publish(ContractEvent(number=2), channel="orders")
            await eventually(lambda: len(everything) == 2 and len(orders) == 1)
            assert [event.model_dump()["number"] for event in orders] == [2]

    async def test_listeners_choose_by_class_base_class_and_name(self) -> None:
        async with self.open_bus() as bus:
            got: dict[str, list[Event]] = {"class": [], "base": [], "name": [], "any": []}
            bus.subscribe(ContractDetailEvent, got["class"].append)
            bus.subscribe(ContractEvent, got["base"].append)
            bus.subscribe("varco.contract.detail", got["name"].append)
            bus.subscribe(Event, got["any"].append)
            await bus.publish(ContractDetailEvent(number=1))
            await bus.publish(ContractEvent(number=2))
            await eventually(lambda: [len(got[k]) for k in got] == [1, 2, 1, 2])

    async def test_a_filter_lets_through_what_it_is_true_of(self) -> None:
        async with self.open_bus() as bus:
            odd, everything = list[int](), list[int]()
            bus.subscribe(
                ContractEvent,
                lambda event: odd.append(event.number),
                filter=lambda event: event.number % 2 == 1,
            )
            bus.subscribe(ContractEvent, lambda event: everything.append(event.number))
            for number in range(6):
                await bus.publish(ContractEvent(number=number))
            await eventually(lambda: len(everything) == 6 and len(odd) == 3)
            assert sorted(odd) == [1, 3, 5]

    async def test_a_cancelled_subscription_gets_nothing(self) -> None:
        async with self.open_bus() as bus:
            stopped, got = list[Event](), list[Event]()
            subscription = bus.subscribe(ContractEvent, stopped.append)
            bus.subscribe(ContractEvent, got.append)
            subscription.cancel()
            assert subscription.is_cancelled
            await bus.publish(ContractEvent(number=1))
            await eventually(lambda: len(got) == 1)
            assert stopped == []

    async def test_an_event_of_an_unknown_type_reaches_who_asked_for_it_by_name(self) -> None:
        async with self.open_bus() as bus:
            got: list[Event] = []
            bus.subscribe("from.elsewhere", got.append)
            payload = b'{"type":"from.elsewhere","version":7,"data":{"a":1}}'
            raw = RawEvent(raw_type="from.elsewhere", raw_version=7, payload=payload)
            await bus.publish(raw)
            await eventually(lambda: len(got) == 1)
            (event,) = got
            assert isinstance(event, RawEvent)
            assert (event.raw_type, event.raw_version, event.payload) == (
                "from.elsewhere",
                7,
                payload,
            )

    async def test_a_handler_that_fails_hinders_no_other(self) -> None:
        async with self.open_bus() as bus:
            got: list[Event] = []

            async def broken(event: ContractEvent) -> None:
                raise ValueError(f"cannot handle {event.number}")

            bus.subscribe(ContractEvent, broken, priority=1)
            bus.subscribe(ContractEvent, got.append)
            event = ContractEvent(number=1)
            if self.in_process:
                with pytest.raises(ValueError, match="cannot handle 1"):
                    await bus.deliver(event)
            else:
                await bus.deliver(event)
            await eventually(lambda: len(got) == 1)

    async def test_stopping_waits_for_what_is_in_flight(self) -> None:
        async with self.open_bus() as bus:
            began, go_on, done = anyio.Event(), anyio.Event(), list[Event]()

            async def slow(event: ContractEvent) -> None:
                began.set()
                await go_on.wait()
                done.append(event)

            async def publish() -> None:
                await bus.publish(ContractEvent(number=1))

            bus.subscribe(ContractEvent, slow)
            async with anyio.create_task_group() as group:
                group.start_soon(publish)
                await began.wait()
                group.start_soon(bus.stop)
                await anyio.wait_all_tasks_blocked()
                go_on.set()
            assert len(done) == 1
            with pytest.raises(BusStoppedError):
                await bus.publish(ContractEvent(number=2))
