"""What an inbox repository must do."""

# ruff: noqa: S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import pytest

from varco_events._inbox import InboxEntry, InboxRepository
from varco_events.testing._events import ContractEvent

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def _entry(number: int) -> InboxEntry:
    return InboxEntry.from_event(ContractEvent(number=number), channel="contract")


class InboxContract(ABC):
    """What every inbox does; implement `open_inbox`."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @abstractmethod
    def open_inbox(self) -> AbstractAsyncContextManager[InboxRepository]:
        """An empty repository."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the repository."""
        await anyio.sleep(seconds)

    async def test_who_lost_a_claim_releases_nothing(self) -> None:
        async with self.open_inbox() as inbox:
            await inbox.save(_entry(1))
            (frozen,) = await inbox.claim(lease=0.05)
            await self.advance(0.1)
            (mine,) = await inbox.claim(lease=60)
            await inbox.release(replace(frozen, last_error="too late"))
            assert await inbox.claim(lease=60) == []
            await inbox.release(replace(mine, last_error="in time"))
            (again,) = await inbox.claim(lease=60)
            assert (again.attempts, again.last_error) == (3, "in time")

    async def test_saved_entries_wait_in_order_until_they_are_processed(self) -> None:
        async with self.open_inbox() as inbox:
            entries = [_entry(number) for number in range(3)]
            for entry in entries:
                await inbox.save(entry)
            assert await inbox.get_unprocessed() == entries
            assert await inbox.get_unprocessed(limit=1) == entries[:1]
            await inbox.mark_processed(entries[1].entry_id)
            await inbox.mark_processed(uuid4())
            assert await inbox.get_unprocessed() == [entries[0], entries[2]]

    async def test_saving_again_changes_nothing(self) -> None:
        async with self.open_inbox() as inbox:
            entry = _entry(1)
            await inbox.save(entry)
            await inbox.save(entry)
            assert len(await inbox.get_unprocessed()) == 1
            await inbox.mark_processed(entry.entry_id)
            await inbox.save(entry)
            assert await inbox.get_unprocessed() == []

    async def test_an_entry_is_handled_until_that_succeeds_and_never_again(self) -> None:
        async with self.open_inbox() as inbox:
            entry = _entry(1)
            with pytest.raises(ValueError, match="the handler failed"):  # noqa: PT012  # the block is it
                async with inbox.handling(entry) as is_new:
                    assert is_new
                    raise ValueError("the handler failed")
            assert not await inbox.is_processed(entry.entry_id)
            async with inbox.handling(entry) as is_new:
                assert is_new
            async with inbox.handling(entry) as is_new:
                assert not is_new
            assert await inbox.is_processed(entry.entry_id)
            assert await inbox.get_unprocessed() == []

    async def test_a_discarded_entry_waits_no_more_and_can_come_again(self) -> None:
        async with self.open_inbox() as inbox:
            if type(inbox).discard is InboxRepository.discard:
                pytest.skip("this inbox does not implement discard")
            entry = _entry(1)
            await inbox.save(entry)
            await inbox.discard(entry.entry_id)
            await inbox.discard(uuid4())
            assert await inbox.get_unprocessed() == []
            async with inbox.handling(entry) as is_new:
                assert is_new
