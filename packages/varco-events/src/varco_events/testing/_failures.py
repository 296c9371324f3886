"""What a store of failures must do, whatever it is that holds them."""

# ruff: noqa: PLR2004, S101  # these are tests: they assert, and the numbers are what they expect

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import pytest
from hypothesis import given, settings

from varco_events._envelope import EventEnvelope
from varco_events._errors import (
    FailureLimitError,
    FailureNotEditableError,
    FailureTokenError,
    NoSuchFailureError,
)
from varco_events._event_serializer import JsonEventSerializer
from varco_events._failure_store import MAX_AT_ONCE, time_edges
from varco_events._failures import FailureFilter, FailureOutcome
from varco_events.testing._events import ContractEvent
from varco_events.testing._failure_bench import FailureBench, numbers
from varco_events.testing._failure_steps import EXAMPLES, Model, Step, steps
from varco_events.testing._loops import play

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from varco_events._failures import ActionResult, Failure


def _of(failures: Iterable[Failure]) -> list[int]:
    return numbers(failure.envelope for failure in failures)


class FailureStoreContract(ABC):
    """What every store of failures does: it shows them, and acts on each once.

    Implement `open_bench`; the suites of outboxes, inboxes and queues do it for you.

    Attributes:
        share: How many orders of actions are drawn, as a part of Hypothesis' `max_examples`.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio
    share: float = 1.0

    @abstractmethod
    def open_bench(self) -> AbstractAsyncContextManager[FailureBench]:
        """An empty store with all that is around it."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the store."""
        await anyio.sleep(seconds)

    def now(self) -> datetime:
        """The time of the store."""
        return datetime.now(UTC)

    def test_any_order_of_actions(self, anyio_backend: Any) -> None:
        """What is there, what each action says, and what is tried again, are as in a model."""
        profile = settings()

        @settings(profile, max_examples=max(1, round(profile.max_examples * self.share)))
        @given(steps())
        def holds(drawn: list[Step]) -> None:
            play(anyio_backend, self._play, drawn)

        for drawn in EXAMPLES:
            play(anyio_backend, self._play, drawn)
        holds()

    async def _play(self, drawn: list[Step]) -> None:
        async with self.open_bench() as bench:
            await Model(bench).play(drawn)

    async def test_a_failure_comes_whole(self) -> None:
        async with self.open_bench() as bench:
            envelope = EventEnvelope.of(
                ContractEvent(number=1, correlation_id="c-1"),
                channel="contract",
                key="k",
                headers={"traceparent": "00-1-2-03", "umlaut": "\u00e4\u2603"},
            )
            entry_id = await bench.put(envelope, "ValueError: no: not this: time")
            one = await bench.store.get(entry_id)
            assert one.envelope == envelope
            assert (one.error_type, one.error_message) == ("ValueError", "no: not this: time")
            assert (one.correlation_id, one.trace_parent) == ("c-1", "00-1-2-03")
            assert one.channel == "contract"
            assert one.attempts >= 1
            assert not one.in_hand
            assert abs(one.failed_at - self.now()) < timedelta(seconds=60)
            (listed,) = (await bench.store.page()).items
            assert listed == one
            with pytest.raises(NoSuchFailureError):
                await bench.store.get(uuid4())

    async def test_pages_miss_and_repeat_nothing_while_others_come_and_go(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number) for number in range(7)]
            first = await bench.store.page(limit=3)
            assert _of(first.items) == [6, 5, 4]
            await bench.fail(7)
            await bench.store.discard([ids[5], ids[2]])
            second = await bench.store.page(cursor=first.next, limit=3)
            assert _of(second.items) == [3, 1, 0]
            assert second.next is None
            oldest = await bench.store.page(limit=4, newest_first=False)
            assert _of(oldest.items) == [0, 1, 3, 4]
            rest = await bench.store.page(cursor=oldest.next, limit=4, newest_first=False)
            assert _of(rest.items) == [6, 7]

    async def test_filters_choose(self) -> None:
        async with self.open_bench() as bench:
            await bench.fail(1, channel="orders", key="a")
            await self.advance(0.02)
            await bench.fail(2, error="KeyError: 'x'", detail=True)
            await self.advance(0.02)
            await bench.fail(3, key="b")
            store = bench.store
            times = {
                number: one.failed_at for one in (await store.page()).items for number in _of([one])
            }

            async def chosen(wanted: FailureFilter) -> list[int]:
                found = _of((await store.page(wanted, newest_first=False)).items)
                assert await store.count(wanted) == len(found)
                return found

            assert await chosen(FailureFilter(channel="orders")) == [1]
            assert await chosen(FailureFilter(channel="Orders")) == []
            assert await chosen(FailureFilter(event_type="varco.contract.detail")) == [2]
            assert await chosen(FailureFilter(error_type="ValueError")) == [1, 3]
            assert await chosen(FailureFilter(key="b")) == [3]
            assert await chosen(FailureFilter(since=times[2])) == [2, 3]
            assert await chosen(FailureFilter(until=times[2])) == [1]
            assert await chosen(FailureFilter(since=times[2], until=times[3])) == [2]
            assert await chosen(FailureFilter(consumer_group="none such")) == []
            assert await chosen(FailureFilter(error_type="ValueError", key="a")) == [1]
            (one, *_) = (await store.page()).items
            assert len(await chosen(FailureFilter(handler=one.handler))) == 3

    async def test_groups_count_by_error_and_handler_and_over_time(self) -> None:
        async with self.open_bench() as bench:
            await bench.fail(1)
            await bench.fail(2, error="KeyError: 'x'")
            await self.advance(0.05)
            await bench.fail(3)
            store = bench.store
            large, small = await store.groups()
            assert [(one.error_type, one.count) for one in (large, small)] == [
                ("ValueError", 2),
                ("KeyError", 1),
            ]
            assert small.first_at == small.last_at
            assert large.last_at - large.first_at >= timedelta(seconds=0.04)
            assert _of((await store.page(large.within())).items) == [3, 1]
            assert [one.error_type for one in await store.groups(limit=1)] == ["ValueError"]
            middle = large.last_at - timedelta(seconds=0.02)
            edges = [large.first_at - timedelta(seconds=1), middle, large.last_at]
            charted = await store.groups(large.within(), edges=edges)
            assert [one.counts for one in charted] == [(1, 0)]
            edges = time_edges(large.first_at, large.last_at + timedelta(seconds=1), 50)
            (fine,) = await store.groups(large.within(), edges=edges)
            assert (len(fine.counts), sum(fine.counts), fine.counts[0]) == (50, 2, 1)

    async def test_what_is_retried_is_tried_once_and_gone(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number) for number in range(3)]
            result = await bench.store.retry([ids[1], uuid4()])
            assert list(result.outcomes.values()) == [FailureOutcome.DONE, FailureOutcome.GONE]
            assert (result.done, result.seen, result.continuation) == (1, 2, None)
            assert numbers(await bench.sent()) == [1]
            again = await bench.store.retry([ids[1]])
            assert again.count(FailureOutcome.GONE) == 1
            assert await bench.sent() == []
            assert _of((await bench.store.page(newest_first=False)).items) == [0, 2]

    async def test_a_selection_is_retried_in_order_per_key(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number, key=str(number % 2)) for number in range(6)]
            result = await bench.store.retry([ids[5], ids[0], ids[3], ids[4], ids[0]])
            assert result.done == 4
            sent = numbers(await bench.sent())
            assert [one for one in sent if one % 2] == [3, 5]
            assert [one for one in sent if not one % 2] == [0, 4]

    async def test_retrying_all_leaves_alone_what_comes_later(self) -> None:
        async with self.open_bench() as bench:
            for number in range(5):
                await bench.fail(number, key="k")
            await bench.fail(100, channel="elsewhere")
            wanted = FailureFilter(channel="contract")
            step = await bench.store.retry_all(wanted, limit=2)
            assert (step.done, step.seen, step.total) == (2, 2, 5)
            await bench.fail(5, key="k")
            sent = await bench.sent()
            steps = [step]
            while step.continuation is not None:
                step = await bench.store.retry_all(wanted, limit=2, continuation=step.continuation)
                steps.append(step)
                sent += await bench.sent()
            assert len(steps) <= 4
            assert (step.seen, step.total) == (5, 5)
            assert numbers(sent) == [0, 1, 2, 3, 4]
            assert sorted(_of((await bench.store.page()).items)) == [5, 100]

    async def test_what_is_discarded_never_comes_again(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number) for number in range(5)]
            result = await bench.store.discard([ids[0], uuid4()])
            assert list(result.outcomes.values()) == [FailureOutcome.DONE, FailureOutcome.GONE]
            assert (await bench.store.retry([ids[0]])).count(FailureOutcome.GONE) == 1
            step = await bench.store.discard_all(limit=3)
            assert (step.done, step.total) == (3, 4)
            await bench.fail(9)
            while step.continuation is not None:
                step = await bench.store.discard_all(limit=3, continuation=step.continuation)
            assert _of((await bench.store.page()).items) == [9]
            assert await bench.sent() == []

    async def test_of_many_who_act_on_one_failure_one_wins(self) -> None:
        async with self.open_bench() as bench:
            ids = [await bench.fail(number, key=str(number % 3)) for number in range(12)]
            results: list[tuple[str, ActionResult]] = []

            async def act(name: str) -> None:
                store = bench.store
                act = store.retry if name == "retry" else store.discard
                results.append((name, await act(ids)))

            async with anyio.create_task_group() as group:
                for name in ("retry", "discard", "retry", "discard"):
                    group.start_soon(act, name)
            done = Counter(
                (entry_id, name)
                for name, result in results
                for entry_id, outcome in result.outcomes.items()
                if outcome is FailureOutcome.DONE
            )
            assert sorted(done.values()) == [1] * 12
            assert {entry_id for entry_id, _ in done} == set(ids)
            sent = sorted(numbers(await bench.sent()))
            assert sent == sorted(ids.index(one) for one, name in done if name == "retry")
            assert (await bench.store.page()).items == ()

    async def test_a_cancelled_action_loses_nothing(self) -> None:
        async with self.open_bench() as bench:
            for number in range(30):
                await bench.fail(number)
            for patience in (0.0, 0.001, 0.004):
                with anyio.move_on_after(patience):
                    await bench.store.retry_all(limit=10)
            waiting = _of((await bench.store.page()).items)
            assert {*waiting, *numbers(await bench.sent())} == set(range(30))

    async def test_a_token_goes_on_only_with_what_it_is_of(self) -> None:
        async with self.open_bench() as bench:
            for number in range(3):
                await bench.fail(number)
            store = bench.store
            cursor = (await store.page(limit=1)).next
            going_on = (await store.discard_all(limit=1)).continuation
            assert cursor is not None
            assert going_on is not None
            for token in ("", "x", "bm90aGluZw==", going_on):
                with pytest.raises(FailureTokenError):
                    await store.page(cursor=token)
            with pytest.raises(FailureTokenError):
                await store.page(FailureFilter(channel="x"), cursor=cursor)
            with pytest.raises(FailureTokenError):
                await store.page(cursor=cursor, newest_first=False)
            with pytest.raises(FailureTokenError):
                await store.retry_all(continuation=going_on)
            with pytest.raises(FailureTokenError):
                await store.discard_all(FailureFilter(key="x"), continuation=going_on)
            with pytest.raises(FailureTokenError):
                await store.find(after="nowhere")

    async def test_one_call_is_bounded(self) -> None:
        async with self.open_bench() as bench:
            many = [uuid4() for _ in range(MAX_AT_ONCE + 1)]
            for act in (bench.store.retry, bench.store.discard):
                assert (await act(many[1:])).count(FailureOutcome.GONE) == MAX_AT_ONCE
                assert (await act([])).outcomes == {}
                with pytest.raises(FailureLimitError):
                    await act(many)
            for limit in (0, MAX_AT_ONCE + 1):
                with pytest.raises(FailureLimitError):
                    await bench.store.page(limit=limit)
                with pytest.raises(FailureLimitError):
                    await bench.store.retry_all(limit=limit)

    async def test_figures_tell_how_much_and_since_when(self) -> None:
        async with self.open_bench() as bench:
            empty = await bench.store.figures()
            assert (empty.failed, empty.failed_age, dict(empty.channels)) == (0, 0.0, {})
            await bench.fail(1)
            await bench.fail(2, channel="orders")
            await self.advance(0.05)
            await bench.fail(3)
            found = await bench.store.figures()
            assert {name: one.failed for name, one in found.channels.items()} == {
                "contract": 2,
                "orders": 1,
            }
            assert found.failed == 3
            assert 0.02 <= found.failed_age < 60

    async def test_an_edited_copy_stands_beside_the_original(self) -> None:
        async with self.open_bench() as bench:
            entry_id = await bench.fail(1, key="k")
            original = await bench.store.get(entry_id)
            payload = JsonEventSerializer().serialize(ContractEvent(number=2))
            try:
                copy = await bench.store.edit(entry_id, payload=payload, headers={"why": "typo"})
            except FailureNotEditableError:
                assert await bench.store.get(entry_id) == original
                pytest.skip("this store takes no copies")
            assert copy.edit_of == str(entry_id)
            assert copy.envelope.headers["why"] == "typo"
            assert copy.envelope.event_id == original.envelope.event_id
            assert (copy.handler, copy.attempts) == (original.handler, 0)
            assert (await bench.store.retry([copy.entry_id])).done == 1
            assert [one.payload for one in await bench.sent()] == [payload]
            assert await bench.store.get(entry_id) == original
            with pytest.raises(ValueError, match="varco-"):
                await bench.store.edit(entry_id, headers={"varco-handler": "x"})
