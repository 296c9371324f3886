"""The failures of outboxes, inboxes and dead letter queues: what each has besides."""

# ruff: noqa: PLR2004, S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from varco_events._bus import AbstractEventBus
from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
from varco_events._entry_failures import parts_of_error
from varco_events._errors import BusUnavailableError, EventsConfigError
from varco_events._failures import FailureFilter, FailureOutcome
from varco_events._inbox import InboxEntry, InboxRepository
from varco_events._outbox import OutboxEntry, OutboxRepository
from varco_events._sending import HoldingBack
from varco_events.testing._events import ContractEvent
from varco_events.testing._failure_bench import FailureBench, numbers
from varco_events.testing._failures import FailureStoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from uuid import UUID

    from varco_events._bus import Report
    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event


class _OutboxBench(FailureBench):
    def __init__(self, outbox: OutboxRepository) -> None:
        self.outbox = outbox
        self.outbox_store = self.store = outbox.failures()
        self.held: list[OutboxEntry] = []

    async def put(self, envelope: EventEnvelope, error: str) -> UUID:
        entry = OutboxEntry.of(envelope)
        await self.outbox.save(entry)
        for claimed in await self.outbox.claim(limit=1000):
            if claimed.entry_id == entry.entry_id:
                await self.outbox.park(replace(claimed, attempts=3, last_error=error))
            else:
                await self.outbox.release([claimed])
        return entry.entry_id

    async def grasp(self) -> tuple[Collection[UUID], Collection[str | None]]:
        """What was retried, and an event that came meanwhile, are on their way."""
        self.held += await self.outbox.claim(limit=2)
        return (), {entry.key for entry in self.held}

    async def let_go(self) -> None:
        await self.outbox.release(self.held)
        self.held = []

    async def sent(self) -> list[EventEnvelope]:
        sent: list[EventEnvelope] = []
        while claimed := await self.outbox.claim(limit=1000):
            sent += [entry.envelope for entry in claimed]
            await self.outbox.delete_many([entry.entry_id for entry in claimed])
        return sent


class OutboxFailuresContract(FailureStoreContract):
    """What the failures of every outbox do.

    Implement `open_outbox`, and `advance` and `now` when it has a clock of its own.
    """

    @abstractmethod
    def open_outbox(self) -> AbstractAsyncContextManager[OutboxRepository]:
        """An empty repository, whose `save` commits before it returns."""

    @asynccontextmanager
    async def open_bench(self) -> AsyncGenerator[_OutboxBench]:
        """A bench around an outbox."""
        async with self.open_outbox() as outbox:
            yield _OutboxBench(outbox)

    async def test_a_retried_entry_goes_before_those_of_its_key_that_wait(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number, key="k") for number in range(3)]
            waiting = OutboxEntry.from_event(ContractEvent(number=9), key="k")
            await bench.outbox.save(waiting)
            await bench.store.retry([ids[1]])
            await bench.store.retry([ids[2], ids[0]])
            assert numbers(await bench.sent()) == [0, 1, 2, 9]

    async def test_an_entry_that_failed_again_is_not_of_before(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number, key="k") for number in range(3)]
            step = await bench.store.retry_all(limit=2)
            (first, second) = await bench.outbox.claim(limit=10)
            await bench.outbox.park(replace(first, attempts=1, last_error="KeyError: again"))
            await bench.outbox.delete(second.entry_id)
            step = await bench.store.retry_all(limit=2, continuation=step.continuation)
            assert list(step.outcomes) == [ids[2]]
            assert step.continuation is None
            (back,) = (await bench.store.page()).items
            assert (back.entry_id, back.error_type) == (ids[0], "KeyError")
            assert numbers(await bench.sent()) == [2]

    async def test_what_waits_is_counted_apart(self) -> None:
        async with self.open_bench() as bench:
            await bench.fail(1)
            await bench.outbox.save(
                OutboxEntry.from_event(ContractEvent(number=7), channel="orders")
            )
            figures = await bench.store.figures()
            assert (figures.waiting, figures.failed) == (1, 1)
            assert figures.channels["orders"].waiting == 1
            assert figures.channels["orders"].oldest_waiting_at is not None

    async def test_a_held_back_key_is_shown_and_released(self) -> None:
        async with self.open_bench() as bench:
            outbox, store = bench.outbox, bench.outbox_store
            entries = [
                OutboxEntry.from_event(ContractEvent(number=number), key="k") for number in range(3)
            ]
            await outbox.save_many(
                [*entries, OutboxEntry.from_event(ContractEvent(number=7), key="free")]
            )
            assert await store.held_keys() == []
            claimed = await outbox.claim(limit=10)
            later = self.now() + timedelta(hours=1)
            failed = replace(claimed[0], attempts=2, available_at=later, last_error="E: no")
            await outbox.release([failed, *claimed[1:]])
            (held,) = await store.held_keys()
            assert (held.key, held.entry_id, held.waiting) == ("k", entries[0].entry_id, 3)
            assert (held.attempts, held.error) == (2, "E: no")
            assert held.until > self.now()
            assert await store.release_keys(["other"]) == 0
            assert await store.release_keys(["k"]) == 1
            assert await store.held_keys() == []
            claimed = await outbox.claim(limit=10)
            assert [one.entry_id for one in claimed if one.key == "k"] == [
                one.entry_id for one in entries
            ]


class _Recorder(AbstractEventBus):
    """Takes what it is sent, unless it is told not to."""

    def __init__(self) -> None:
        self.got: list[EventEnvelope] = []
        self.failing: set[int] = set()
        self.out_after: int | None = None

    async def publish(self, event: Event, *, channel: str = "default") -> None:
        raise NotImplementedError

    def subscribe(self, event_type: Any, handler: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def send(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        held = HoldingBack()
        for envelope in envelopes:
            await anyio.lowlevel.checkpoint()
            error = held.of(envelope)
            if error is None and self.out_after is not None and len(self.got) >= self.out_after:
                error = BusUnavailableError("out")
            if error is None and numbers([envelope])[0] in self.failing:
                error = ValueError("still broken")
            if error is None:
                self.got.append(envelope)
            else:
                held.add(envelope, error)
            report(envelope, error)


class _QueueBench(FailureBench):
    def __init__(self, queue: AbstractDeadLetterQueue, now: Callable[[], datetime]) -> None:
        self.queue = queue
        self.now = now
        self.bus = _Recorder()
        self.store = queue.failures(self.bus)
        self.held: set[UUID] = set()

    async def put(self, envelope: EventEnvelope, error: str, *, handler: str = "shop.mail") -> UUID:
        error_type, message = parts_of_error(error)
        letter = DeadLetterEntry(
            envelope=envelope,
            handler_name=handler,
            error_type=error_type,
            error_message=message,
            attempts=3,
            first_failed_at=self.now(),
            last_failed_at=self.now(),
            group="mailers",
            origin="bus",
        )
        await self.queue.push(letter)
        return letter.entry_id

    async def grasp(self) -> tuple[Collection[UUID], Collection[str | None]]:
        """A redrive has leased some."""
        popped = await self.queue.pop_batch(limit=2, lease=600.0)
        self.held |= {letter.entry_id for letter in popped}
        return self.held, ()

    async def let_go(self) -> None:
        for entry_id in self.held:
            await self.queue.nack(entry_id)
        self.held = set()

    async def sent(self) -> list[EventEnvelope]:
        sent, self.bus.got = self.bus.got, []
        return sent


class DeadLetterFailuresContract(FailureStoreContract):
    """What the failures of every dead letter queue do.

    Implement `open_queue`, and `advance` and `now` when it has a clock of its own.
    """

    @abstractmethod
    def open_queue(self) -> AbstractAsyncContextManager[AbstractDeadLetterQueue]:
        """An empty queue."""

    @asynccontextmanager
    async def open_bench(self) -> AsyncGenerator[_QueueBench]:
        """A bench around a queue."""
        async with self.open_queue() as queue:
            yield _QueueBench(queue, self.now)

    async def test_a_retry_is_addressed_and_known_when_it_comes_back(self) -> None:
        async with self.open_bench() as bench:
            entry_id = await bench.fail(1)
            await bench.store.retry([entry_id])
            (sent,) = await bench.sent()
            assert sent.handler == "shop.mail"
            back = await bench.store.get(await bench.put(sent, "ValueError: again"))
            assert back.retry_of == str(entry_id)
            assert (back.handler, back.consumer_group) == ("shop.mail", "mailers")

    async def test_handlers_and_groups_are_told_apart(self) -> None:
        async with self.open_bench() as bench:
            mail = await bench.fail(1)
            one = await bench.store.get(mail)
            await bench.put(one.envelope, "ValueError: no", handler="shop.stock")
            groups = await bench.store.groups()
            assert [(each.handler, each.count) for each in groups] == [
                ("shop.mail", 1),
                ("shop.stock", 1),
            ]
            wanted = FailureFilter(handler="shop.mail", consumer_group="mailers")
            assert [each.entry_id for each in (await bench.store.page(wanted)).items] == [mail]

    async def test_what_somebody_has_in_hand_is_left_to_them(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number) for number in range(2)]
            await bench.queue.pop_batch(limit=1)
            assert (await bench.store.get(ids[0])).in_hand
            for act in (bench.store.retry, bench.store.discard):
                assert (await act(ids[:1])).outcomes == {ids[0]: FailureOutcome.IN_HAND}
            step = await bench.store.retry_all()
            assert step.outcomes == {ids[0]: FailureOutcome.IN_HAND, ids[1]: FailureOutcome.DONE}
            await bench.queue.nack(ids[0])
            assert (await bench.store.retry(ids)).done == 1
            assert numbers(await bench.sent()) == [1, 0]

    async def test_what_fails_again_holds_back_its_key_alone(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(n, key="a" if n < 4 else "b") for n in (1, 2, 3, 4)]
            bench.bus.failing = {2}
            step = await bench.store.retry_all(limit=2)
            assert list(step.outcomes.values()) == [FailureOutcome.DONE, FailureOutcome.FAILED]
            assert step.errors == {ids[1]: "ValueError: still broken"}
            step = await bench.store.retry_all(limit=2, continuation=step.continuation)
            assert list(step.outcomes.values()) == [FailureOutcome.HELD_BACK, FailureOutcome.DONE]
            bench.bus.failing = set()
            assert (await bench.store.retry_all()).done == 2
            assert numbers(await bench.sent()) == [1, 4, 2, 3]

    async def test_an_outage_leaves_everything_as_it_was(self) -> None:
        async with self.open_bench() as bench:
            for number in range(4):
                await bench.fail(number)
            bench.bus.out_after = 1
            with pytest.raises(BusUnavailableError):
                await bench.store.retry_all()
            bench.bus.out_after = None
            assert (await bench.store.retry_all()).done == 3
            assert numbers(await bench.sent()) == [0, 1, 2, 3]

    async def test_retries_beside_a_redrive_send_each_once(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number) for number in range(20)]

            async def redrive() -> None:
                await bench.queue.redrive(bench.bus)

            async def retry() -> None:
                await bench.store.retry(ids)

            async with anyio.create_task_group() as group:
                for work in (redrive, retry, redrive, retry):
                    group.start_soon(work)
            assert sorted(numbers(await bench.sent())) == list(range(20))
            assert await bench.queue.count() == 0

    async def test_without_a_bus_there_are_no_retries(self) -> None:
        async with self.open_bench() as bench:
            entry_id = await bench.fail(1)
            store = bench.queue.failures()
            with pytest.raises(EventsConfigError, match="bus"):
                await store.retry([entry_id])
            assert (await store.discard([entry_id])).done == 1


class _InboxBench(FailureBench):
    def __init__(self, inbox: InboxRepository) -> None:
        self.inbox = inbox
        self.store = inbox.failures()
        self.held: list[InboxEntry] = []

    async def put(self, envelope: EventEnvelope, error: str) -> UUID:
        entry = InboxEntry.of(envelope)
        await self.inbox.save(entry)
        for claimed in await self.inbox.claim(limit=1000):
            if claimed.entry_id == entry.entry_id:
                await self.inbox.release(replace(claimed, last_error=error), delay=3600)
            else:
                await self.inbox.release(replace(claimed, attempts=claimed.attempts - 1))
        return entry.entry_id

    async def grasp(self) -> tuple[Collection[UUID], Collection[str | None]]:
        """What was retried is being tried."""
        self.held += await self.inbox.claim(limit=2)
        return (), ()

    async def let_go(self) -> None:
        for entry in self.held:
            await self.inbox.release(replace(entry, attempts=entry.attempts - 1))
        self.held = []

    async def sent(self) -> list[EventEnvelope]:
        claimed = await self.inbox.claim(limit=1000)
        for entry in claimed:
            await self.inbox.mark_processed(entry.entry_id)
        return [entry.envelope for entry in claimed]


class InboxFailuresContract(FailureStoreContract):
    """What the failures of every inbox do.

    Implement `open_inbox`, and `advance` and `now` when it has a clock of its own.
    """

    @abstractmethod
    def open_inbox(self) -> AbstractAsyncContextManager[InboxRepository]:
        """An empty repository."""

    @asynccontextmanager
    async def open_bench(self) -> AsyncGenerator[_InboxBench]:
        """A bench around an inbox."""
        async with self.open_inbox() as inbox:
            yield _InboxBench(inbox)

    async def test_what_a_poller_has_in_hand_is_left_to_it(self) -> None:
        async with self.open_bench() as bench:
            entry_id = await bench.fail(1)
            await bench.store.retry([entry_id])
            (claimed,) = await bench.inbox.claim()
            assert claimed.attempts == 1
            await bench.inbox.release(replace(claimed, last_error="E: no"))
            (claimed,) = await bench.inbox.claim()
            assert (await bench.store.get(entry_id)).in_hand
            for act in (bench.store.retry, bench.store.discard):
                assert (await act([entry_id])).outcomes == {entry_id: FailureOutcome.IN_HAND}

    async def test_what_is_discarded_counts_as_handled(self) -> None:
        async with self.open_bench() as bench:
            entry_id = await bench.fail(1)
            await bench.store.discard([entry_id])
            assert await bench.inbox.is_processed(entry_id)

    async def test_what_was_not_tried_yet_only_waits(self) -> None:
        async with self.open_bench() as bench:
            await bench.fail(1)
            await bench.inbox.save(InboxEntry.from_event(ContractEvent(number=2)))
            figures = await bench.store.figures()
            assert (figures.waiting, figures.failed) == (1, 1)
