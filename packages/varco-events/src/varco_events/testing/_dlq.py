"""What a dead letter queue must do."""

# ruff: noqa: PLR2004, S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import pytest

from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._errors import DeadLetterQueueFullError, EventsConfigError
from varco_events._event import RawEvent
from varco_events._memory_bus import InMemoryEventBus
from varco_events._outbox import utcnow
from varco_events._subscription import handler_name
from varco_events.testing._events import ContractEvent

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def _entry(number: int, handler: str = "Consumer.on_event") -> DeadLetterEntry:
    return DeadLetterEntry.from_failure(
        event=ContractEvent(number=number),
        channel="contract",
        handler_name=handler,
        last_exc=ValueError("no"),
        attempts=3,
        first_failed_at=utcnow(),
    )


class DeadLetterQueueContract(ABC):
    """What every dead letter queue does: it keeps entries until they are acknowledged.

    Implement `open_queue`; set `bounded` when it honours `max_size`.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    bounded = True

    @abstractmethod
    def open_queue(
        self, max_size: int = 1000
    ) -> AbstractAsyncContextManager[AbstractDeadLetterQueue]:
        """An empty queue."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the queue."""
        await anyio.sleep(seconds)

    async def test_entries_come_out_as_they_went_in_and_in_order(self) -> None:
        async with self.open_queue() as queue:
            entries = [_entry(number) for number in range(5)]
            for entry in entries:
                await queue.push(entry)
            assert await queue.count() == 5
            assert await queue.pop_batch(limit=3) == entries[:3]
            assert await queue.pop_batch(limit=10) == entries[3:]
            assert await queue.pop_batch() == []
            assert await queue.count() == 5

    async def test_an_entry_of_an_unknown_type_survives(self) -> None:
        async with self.open_queue() as queue:
            payload = b'{"type":"from.elsewhere","version":1,"data":{}}'
            raw = RawEvent(raw_type="from.elsewhere", payload=payload)
            await queue.push(DeadLetterEntry(event=raw, handler_name="x"))
            (entry,) = await queue.pop_batch()
            assert isinstance(entry.event, RawEvent)
            assert entry.event.payload == payload

    async def test_acknowledged_entries_are_gone(self) -> None:
        async with self.open_queue() as queue:
            entries = [_entry(number) for number in range(3)]
            for entry in entries:
                await queue.push(entry)
            await queue.pop_batch(limit=1, lease=0.05)
            await queue.ack(entries[0].entry_id)
            await queue.ack(uuid4())
            await self.advance(0.1)
            assert await queue.count() == 2
            assert await queue.pop_batch() == entries[1:]

    async def test_a_lease_ends_by_itself_at_the_old_place(self) -> None:
        async with self.open_queue() as queue:
            entries = [_entry(number) for number in range(3)]
            for entry in entries:
                await queue.push(entry)
            await queue.pop_batch(limit=2, lease=1)
            assert await queue.pop_batch(limit=1, lease=0.05) == entries[2:]
            await self.advance(1.1)
            assert await queue.pop_batch() == entries

    async def test_an_entry_that_is_handed_back_keeps_its_place(self) -> None:
        async with self.open_queue() as queue:
            entries = [_entry(number) for number in range(3)]
            for entry in entries:
                await queue.push(entry)
            await queue.pop_batch(limit=2)
            await queue.nack(entries[0].entry_id)
            await queue.nack(uuid4())
            assert await queue.pop_batch() == [entries[0], entries[2]]

    async def test_a_retry_that_lost_its_lease_hands_nothing_back(self) -> None:
        async with self.open_queue() as queue:
            try:
                store = queue.failures()
            except EventsConfigError:
                pytest.skip("this queue shows no failures")
            entry = _entry(1)
            await queue.push(entry)
            await store.hold([entry.entry_id], 0.05)
            await self.advance(0.1)
            assert await queue.pop_batch() == [entry]
            await store.settle([], [entry.entry_id])
            assert await queue.pop_batch() == []
            await queue.nack(entry.entry_id)
            held, _ = await store.hold([entry.entry_id], 60)
            assert await queue.pop_batch() == []
            await store.settle([], [one.entry_id for one in held])
            assert await queue.pop_batch() == [entry]

    async def test_who_lost_a_lease_hands_nothing_back(self) -> None:
        async with self.open_queue() as queue:
            entry = _entry(1)
            await queue.push(entry)
            (frozen,) = await queue.pop_batch(lease=0.05)
            if frozen.claim_id is None:
                pytest.skip("this queue does not tell leases apart")
            await self.advance(0.1)
            (mine,) = await queue.pop_batch()
            await queue.nack(entry.entry_id, claim_id=frozen.claim_id)
            assert await queue.pop_batch() == []
            await queue.nack(entry.entry_id, claim_id=mine.claim_id)
            (again,) = await queue.pop_batch()
            await queue.nack(entry.entry_id, claim_id=mine.claim_id)
            assert await queue.pop_batch() == []
            await queue.nack(entry.entry_id)
            assert await queue.pop_batch() == [again]

    async def test_peeking_leases_nothing(self) -> None:
        async with self.open_queue() as queue:
            entries = [_entry(number) for number in range(3)]
            for entry in entries:
                await queue.push(entry)
            assert await queue.peek(limit=2) == entries[:2]
            assert await queue.pop_batch() == entries
            assert await queue.peek() == entries

    async def test_a_repeated_push_is_kept_once(self) -> None:
        async with self.open_queue() as queue:
            entry = _entry(1)
            await queue.push(entry)
            await queue.push(entry)
            assert await queue.count() == 1

    async def test_a_full_queue_refuses_and_drops_nothing(self) -> None:
        if not self.bounded:
            pytest.skip("this queue is not bounded")
        async with self.open_queue(max_size=2) as queue:
            entries = [_entry(number) for number in range(2)]
            for entry in entries:
                await queue.push(entry)
            with pytest.raises(DeadLetterQueueFullError):
                await queue.push(_entry(3))
            assert await queue.pop_batch() == entries
            await queue.ack(entries[0].entry_id)
            await queue.push(_entry(4))

    async def test_concurrent_pops_share_nothing(self) -> None:
        async with self.open_queue() as queue:
            for number in range(30):
                await queue.push(_entry(number))
            popped: list[DeadLetterEntry] = []

            async def pop() -> None:
                popped.extend(await queue.pop_batch(limit=7))

            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(pop)
            assert len(popped) == len({entry.entry_id for entry in popped}) == 30

    async def test_redrive_keeps_the_order_and_addresses_the_handler_that_failed(self) -> None:
        async with self.open_queue() as queue:
            bus, got, others = InMemoryEventBus(), list[int](), list[int]()

            async def fixed(event: ContractEvent) -> None:
                got.append(event.number)

            bus.subscribe(ContractEvent, fixed)
            bus.subscribe(ContractEvent, lambda event: others.append(event.number))
            for number in range(25):
                await queue.push(_entry(number, handler_name(fixed)))
            assert await queue.redrive(bus, limit=5) == 5
            assert await queue.redrive(bus) == 20
            assert got == list(range(25))
            assert others == []
            assert await queue.count() == 0

    async def test_redrive_stops_at_what_fails_again_and_keeps_the_rest(self) -> None:
        async with self.open_queue() as queue:
            bus = InMemoryEventBus()

            async def broken(event: ContractEvent) -> None:
                if event.number >= 2:
                    raise ValueError("still broken")

            bus.subscribe(ContractEvent, broken)
            entries = [_entry(number, handler_name(broken)) for number in range(4)]
            for entry in entries:
                await queue.push(entry)
            with pytest.raises(ValueError, match="still broken"):
                await queue.redrive(bus)
            assert await queue.pop_batch() == entries[2:]
