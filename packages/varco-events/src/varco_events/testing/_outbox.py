"""What an outbox repository must do."""

# ruff: noqa: PLR2004, S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest

from varco_events._envelope import EventEnvelope
from varco_events._memory_bus import InMemoryEventBus
from varco_events._outbox import OutboxEntry, OutboxRepository
from varco_events._relay import OutboxRelay
from varco_events.testing._events import ContractEvent, eventually
from varco_events.testing._outbox_line import Line
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def _entry(number: int, key: str | None = None) -> OutboxEntry:
    return OutboxEntry.from_event(ContractEvent(number=number), channel="contract", key=key)


def _ids(entries: list[OutboxEntry]) -> list[object]:
    return [entry.entry_id for entry in entries]


class OutboxContract(ABC):
    """What every outbox does: nothing is lost, and a key keeps its order.

    Implement `open_outbox`, and `advance` when the repository has a clock of its own.

    Set `counts_attempts` for a repository that keeps whole envelopes, counts the attempts of its
    claims and renews leases, as relays of several processes need it. `lines` is how often an outbox
    is used at random.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    counts_attempts = False
    lines = 12

    @abstractmethod
    def open_outbox(self) -> AbstractAsyncContextManager[OutboxRepository]:
        """An empty repository, whose `save` commits before it returns."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the repository."""
        await anyio.sleep(seconds)

    def now(self) -> datetime:
        """The time of the repository."""
        return datetime.now(UTC)

    async def test_entries_come_back_as_they_were_saved_and_in_order(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(number, key=str(number % 2)) for number in range(5)]
            await outbox.save(entries[0])
            await outbox.save_many(entries[1:])
            pending = await outbox.get_pending(limit=100)
            assert [replace(one, leased_until=None) for one in pending] == entries
            assert _ids(await outbox.get_pending(limit=2)) == _ids(entries[:2])

    async def test_deleted_entries_are_gone(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(number) for number in range(4)]
            await outbox.save_many(entries)
            await outbox.delete(entries[1].entry_id)
            await outbox.delete_many([entries[0].entry_id, entries[3].entry_id, uuid4()])
            await outbox.delete(uuid4())
            assert _ids(await outbox.get_pending()) == _ids([entries[2]])

    async def test_a_claimed_entry_belongs_to_one_relay(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(number) for number in range(5)]
            await outbox.save_many(entries)
            first = await outbox.claim(limit=3, lease=60)
            second = await outbox.claim(limit=3, lease=60)
            assert _ids(first) == _ids(entries[:3])
            assert _ids(second) == _ids(entries[3:])
            assert await outbox.claim(limit=3, lease=60) == []

    async def test_a_lease_ends_by_itself(self) -> None:
        async with self.open_outbox() as outbox:
            await outbox.save(_entry(1, key="a"))
            claimed = await outbox.claim(limit=1, lease=0.05)
            assert len(claimed) == 1
            await self.advance(0.1)
            assert _ids(await outbox.claim(limit=1, lease=60)) == _ids(claimed)

    async def test_a_released_entry_keeps_what_happened_to_it(self) -> None:
        async with self.open_outbox() as outbox:
            await outbox.save(_entry(1))
            (claimed,) = await outbox.claim(limit=1, lease=60)
            await outbox.release([replace(claimed, attempts=7, last_error="ValueError: no")])
            (again,) = await outbox.claim(limit=1, lease=60)
            assert (again.attempts - again.is_counted, again.last_error) == (7, "ValueError: no")

    async def test_a_postponed_entry_waits_and_holds_back_its_key_alone(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(1, "a"), _entry(2, "a"), _entry(3, "b"), _entry(4), _entry(5)]
            await outbox.save_many(entries)
            claimed = await outbox.claim(limit=10, lease=60)
            later = self.now() + timedelta(seconds=1)
            postponed = [replace(claimed[0], available_at=later)]
            await outbox.release(
                [*postponed, *claimed[1:3], replace(claimed[3], available_at=later)]
            )
            assert _ids(await outbox.claim(limit=10, lease=60)) == _ids([entries[2]])
            await self.advance(1.1)
            waiting = await outbox.claim(limit=10, lease=60)
            assert _ids(waiting) == _ids([entries[0], entries[1], entries[3]])

    async def test_claims_keep_the_order_of_keys_and_everything_has_its_turn(self) -> None:
        async with self.open_outbox() as outbox:
            for seed in range(self.lines):
                await Line(outbox, seed, self.now).play(25)

    async def test_a_key_is_never_claimed_past_an_entry_in_hand(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(1, "a"), _entry(2, "a"), _entry(3, "b"), _entry(4, "a")]
            await outbox.save_many(entries)
            first = await outbox.claim(limit=1, lease=60)
            second = await outbox.claim(limit=10, lease=60)
            assert _ids(first) == _ids([entries[0]])
            assert _ids(second) == _ids([entries[2]])
            await outbox.delete(entries[0].entry_id)
            assert _ids(await outbox.claim(limit=10, lease=60)) == _ids([entries[1], entries[3]])

    async def test_an_entry_whose_lease_ran_out_comes_alone_and_counted(self) -> None:
        if not self.counts_attempts:
            pytest.skip("this outbox does not count attempts when it claims")
        async with self.open_outbox() as outbox:
            entries = [_entry(1, "a"), _entry(2, "a"), _entry(3, "b"), _entry(4)]
            await outbox.save_many(entries[:3])
            assert [one.attempts for one in await outbox.claim(limit=10, lease=0.05)] == [0] * 3
            await self.advance(0.1)
            await outbox.save(entries[3])
            for expected in entries[:3]:  # any of them may have killed the process that had them
                (claimed,) = await outbox.claim(limit=10, lease=60)
                assert claimed.entry_id == expected.entry_id
                assert (claimed.attempts, claimed.was_interrupted) == (1, True)
                await outbox.delete(claimed.entry_id)
            (fresh,) = await outbox.claim(limit=10, lease=0.05)
            assert (fresh.attempts, fresh.was_interrupted) == (1, False)
            await self.advance(0.1)
            (again,) = await outbox.claim(limit=10, lease=60)
            assert (again.attempts, again.was_interrupted) == (2, True)
            await outbox.release([replace(again, attempts=1)])
            (given_back,) = await outbox.claim(limit=10, lease=60)
            assert (given_back.attempts, given_back.was_interrupted) == (2, False)

    async def test_a_lease_is_renewed(self) -> None:
        if not self.counts_attempts:
            pytest.skip("this outbox does not renew leases")
        async with self.open_outbox() as outbox:
            await outbox.save(_entry(1))
            claimed = await outbox.claim(limit=1, lease=0.1)
            await outbox.renew(claimed, lease=60)
            await self.advance(0.2)
            assert await outbox.claim(limit=1, lease=60) == []
            await outbox.delete(claimed[0].entry_id)
            await outbox.renew(claimed, lease=60)
            assert await outbox.get_pending() == []

    async def test_who_lost_a_claim_changes_nothing(self) -> None:
        if not self.counts_attempts:
            pytest.skip("this outbox does not tell claims apart")
        async with self.open_outbox() as outbox:
            await outbox.save_many([_entry(1, "a"), _entry(2, "a")])
            (frozen,) = await outbox.claim(limit=1, lease=0.05)
            await self.advance(0.1)
            (mine,) = await outbox.claim(limit=1, lease=60)
            assert mine.entry_id == frozen.entry_id
            await outbox.release([replace(frozen, last_error="too late")])
            await outbox.renew([frozen], lease=0.01)
            await outbox.park(replace(frozen, last_error="too late"))
            await outbox.acknowledge([frozen])
            await self.advance(0.1)
            assert await outbox.claim(limit=10, lease=60) == []
            await outbox.release([replace(mine, last_error="in time")])
            (again,) = await outbox.claim(limit=1, lease=60)
            assert (again.entry_id, again.last_error) == (frozen.entry_id, "in time")
            await outbox.acknowledge([mine])
            await outbox.acknowledge([again])
            assert len(await outbox.get_pending()) == 1

    async def test_the_envelope_comes_back_whole(self) -> None:
        if not self.counts_attempts:
            pytest.skip("this outbox keeps no headers")
        async with self.open_outbox() as outbox:
            envelope = EventEnvelope.of(
                ContractEvent(number=1),
                channel="contract",
                key="of the caller",
                headers={"traceparent": "00-1-2-03", "umlaut": "\u00e4\u2603"},
            )
            raw = EventEnvelope.around(b"\xff\x00", event_type="from.elsewhere", channel="c")
            await outbox.save_many([OutboxEntry.of(envelope), OutboxEntry.of(raw)])
            claimed = await outbox.claim(limit=10, lease=60)
            assert [entry.envelope for entry in claimed] == [envelope, raw]

    async def test_a_parked_entry_is_out_of_the_way(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(1, "a"), _entry(2, "a")]
            await outbox.save_many(entries)
            (poison,) = await outbox.claim(limit=1, lease=60)
            await outbox.park(replace(poison, attempts=3, last_error="no"))
            assert _ids(await outbox.claim(limit=10, lease=0.05)) == _ids(entries[1:])
            await self.advance(0.1)
            assert _ids(await outbox.claim(limit=10, lease=60)) == _ids(entries[1:])

    async def test_concurrent_claims_share_nothing_and_split_no_key(self) -> None:
        async with self.open_outbox() as outbox:
            entries = [_entry(number, key=str(number % 7)) for number in range(70)]
            await outbox.save_many(entries)
            claims: list[list[OutboxEntry]] = []

            async def claim() -> None:
                claims.append(await outbox.claim(limit=20, lease=60))

            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(claim)
            claimed = [entry.entry_id for batch in claims for entry in batch]
            assert len(claimed) == len(set(claimed))
            keys = [{entry.key for entry in batch} for batch in claims if batch]
            assert sum(map(len, keys)) == len(set[str | None]().union(*keys))
            for key in set[str | None]().union(*keys):
                saved = [entry.entry_id for entry in entries if entry.key == key]
                got = [e.entry_id for batch in claims for e in batch if e.key == key]
                assert got == saved[: len(got)]

    async def test_a_notification_wakes_a_waiting_relay(self) -> None:
        async with self.open_outbox() as outbox:
            await outbox.wait_for_work(0.001)
            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    group.start_soon(outbox.wait_for_work, 3600.0)
                    await anyio.wait_all_tasks_blocked()
                    outbox.notify()
                outbox.notify()
                await outbox.wait_for_work(3600.0)

    async def test_two_relays_deliver_everything_once_and_in_order_per_key(self) -> None:
        async with self.open_outbox() as outbox:
            bus, got, failed = InMemoryEventBus(), list[tuple[str, int]](), set[int]()

            async def handle(event: ContractEvent) -> None:
                await anyio.lowlevel.checkpoint()
                if event.number % 10 == 3 and event.number not in failed:
                    failed.add(event.number)
                    raise ValueError(f"{event.number} fails once")
                got.append((event.name, event.number))

            bus.subscribe(ContractEvent, handle)
            events = [ContractEvent(number=n, name=f"key {n % 5}") for n in range(40)]
            await outbox.save_many([OutboxEntry.from_event(event) for event in events])
            policy = _no_delay()
            async with (
                OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.01, retry_policy=policy),
                OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.01, retry_policy=policy),
            ):
                await eventually(lambda: len(got) >= len(events))
            assert sorted(number for _, number in got) == list(range(40))
            for key in range(5):
                numbers = [number for name, number in got if name == f"key {key}"]
                assert numbers == sorted(numbers)
            assert await outbox.get_pending() == []


def _no_delay() -> RetryPolicy:
    return RetryPolicy(max_attempts=10, base_delay=0, max_delay=0)
