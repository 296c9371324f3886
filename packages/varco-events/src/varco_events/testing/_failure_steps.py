"""What is done to one store of failures, in any order, beside what must come of it."""

# ruff: noqa: S101  # these are tests: they assert

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st

from varco_events._errors import NoSuchFailureError
from varco_events._failures import FailureFilter, FailureOutcome
from varco_events.testing._failure_bench import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_events._failures import ActionResult, Failure
    from varco_events.testing._failure_bench import FailureBench

ERRORS: Final = ("KeyError", "ValueError")
CHANNELS: Final = ("contract", "orders")
KEYS: Final = (None, "a", "a", "b")
RETRY: Final = "retry"


@dataclass(frozen=True, slots=True)
class Fail:
    """One more fails."""

    key: str | None
    error: str
    channel: str


@dataclass(frozen=True, slots=True)
class Look:
    """Pages, groups and counts of what matches, and each by itself."""

    wanted: FailureFilter
    limit: int
    newest_first: bool


@dataclass(frozen=True, slots=True)
class Act:
    """A retry, or discarding, of some that are or were there, by their numbers."""

    name: str
    chosen: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A retry, or discarding, of all that match as of now; its first step."""

    name: str
    wanted: FailureFilter
    limit: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """The next step of one that has begun."""

    which: int


@dataclass(frozen=True, slots=True)
class Grasp:
    """A relay, a poller or a redrive takes some in hand."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """What they have in hand waits again."""


type Step = Fail | Look | Act | Begin | GoOn | Grasp | LetGo

_NAMES = st.sampled_from([RETRY, "discard"])
_FILTERS = st.builds(
    FailureFilter,
    error_type=st.sampled_from([None, None, *ERRORS]),
    channel=st.sampled_from([None, None, *CHANNELS]),
    key=st.sampled_from([None, None, "a"]),
)
_FAILS = st.builds(
    Fail,
    key=st.sampled_from(KEYS),
    error=st.sampled_from(ERRORS),
    channel=st.sampled_from(CHANNELS),
)

_THREE: Final[list[Step]] = [Fail("a", ERRORS[0], CHANNELS[0])] * 3
EXAMPLES: Final[list[list[Step]]] = [
    [*_THREE, Grasp(), Begin(RETRY, FailureFilter(), 4)],
    [*_THREE, Grasp(), Begin("discard", FailureFilter(), 2), GoOn(0)],
    [*_THREE, Begin(RETRY, FailureFilter(), 1), Grasp(), *_THREE, GoOn(0), LetGo(), GoOn(0)],
    [*_THREE, Begin(RETRY, FailureFilter(), 2), Act(RETRY, (2,)), *_THREE, GoOn(0), GoOn(0)],
]
"""Orders that must not be missed."""


def steps() -> st.SearchStrategy[list[Step]]:
    """Some failures, and then anything."""
    anything = st.one_of(
        _FAILS,
        _FAILS,
        st.builds(Look, wanted=_FILTERS, limit=st.integers(1, 4), newest_first=st.booleans()),
        st.builds(
            Act, name=_NAMES, chosen=st.lists(st.integers(0, 11), min_size=1, max_size=4).map(tuple)
        ),
        st.builds(Begin, name=_NAMES, wanted=_FILTERS, limit=st.integers(1, 3)),
        st.builds(GoOn, which=st.integers(0, 2)),
        st.builds(GoOn, which=st.integers(0, 2)),
        st.just(Grasp()),
        st.just(LetGo()),
    )
    return st.tuples(
        st.lists(_FAILS, min_size=2, max_size=8), st.lists(anything, min_size=2, max_size=14)
    ).map(lambda drawn: [*drawn[0], *drawn[1]])


@dataclass(slots=True)
class _Failed:
    """What the model knows of one failure."""

    number: int
    entry_id: UUID
    key: str | None
    error: str
    channel: str
    retried_by: int | None = None

    def matches(self, wanted: FailureFilter) -> bool:
        return (
            wanted.error_type in {None, self.error}
            and wanted.channel in {None, self.channel}
            and wanted.key in {None, self.key}
        )


@dataclass(slots=True)
class _All:
    """An action on all that match, between two of its steps."""

    number: int
    begun: Begin
    left: list[_Failed]
    total: int
    seen: int = 0
    held: set[str] = field(default_factory=set[str])
    continuation: str | None = None


class Model:
    """What must be in a store, and what must come out of it."""

    def __init__(self, bench: FailureBench) -> None:
        self._bench = bench
        self._known: list[_Failed] = []
        self._there: list[_Failed] = []
        self._in_hand: set[UUID] = set()
        self._busy: set[str | None] = set()
        self._actions = 0
        self._open: list[_All] = []

    async def play(self, drawn: Sequence[Step]) -> None:
        """Do the steps, and see that in the end each retry came to its handler once, in order."""
        for step in drawn:
            match step:
                case Fail():
                    await self._fail(step)
                case Look():
                    await self._look(step)
                case Act():
                    await self._act(step)
                case Begin():
                    self._actions += 1
                    chosen = [one for one in self._there if one.matches(step.wanted)]
                    self._open.append(_All(self._actions, step, chosen, len(chosen)))
                    await self._step(self._open[-1])
                case GoOn():
                    if self._open:
                        await self._step(self._open[step.which % len(self._open)])
                case Grasp():
                    ids, keys = await self._bench.grasp()
                    self._in_hand |= {*ids}
                    self._busy |= {*keys}
                case LetGo():
                    await self._let_go()
        await self._let_go()
        await self._look(Look(FailureFilter(), 3, newest_first=False))
        self._check_sent(numbers(await self._bench.sent()))

    async def _let_go(self) -> None:
        await self._bench.let_go()
        self._in_hand.clear()
        self._busy.clear()

    async def _fail(self, step: Fail) -> None:
        key = None if step.key in self._busy else step.key
        number = len(self._known)
        entry_id = await self._bench.fail(
            number, key=key, channel=step.channel, error=f"{step.error}: no"
        )
        failed = _Failed(number, entry_id, key, step.error, step.channel)
        self._known.append(failed)
        self._there.append(failed)

    async def _look(self, step: Look) -> None:
        store = self._bench.store
        expected = [one for one in self._there if one.matches(step.wanted)]
        found: list[Failure] = []
        cursor: str | None = None
        while True:
            page = await store.page(
                step.wanted, cursor=cursor, limit=step.limit, newest_first=step.newest_first
            )
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        ordered = expected[::-1] if step.newest_first else expected
        assert [one.entry_id for one in found] == [one.entry_id for one in ordered]
        assert [one.in_hand for one in found] == [one.entry_id in self._in_hand for one in ordered]
        groups = await store.groups(step.wanted)
        counts = Counter(one.error for one in expected)
        assert {one.error_type: one.count for one in groups} == counts
        assert await store.count(step.wanted) == len(expected)
        channels = Counter(one.channel for one in self._there)
        failed = {name: one.failed for name, one in (await store.figures()).channels.items()}
        assert {name: number for name, number in failed.items() if number} == channels
        for one in self._known:
            if one in self._there:
                assert (await store.get(one.entry_id)).error_type == one.error
            else:
                with pytest.raises(NoSuchFailureError):
                    await store.get(one.entry_id)

    async def _act(self, step: Act) -> None:
        self._actions += 1
        chosen = [self._known[one] for one in step.chosen if one < len(self._known)]
        unknown = uuid4()
        ids = [*(one.entry_id for one in chosen), unknown]
        result = await self._do(step.name, ids)
        expected = {unknown: FailureOutcome.GONE}
        for one in chosen:
            expected[one.entry_id] = self._outcome_of(one)
        assert result.outcomes == expected
        self._note(step.name, self._actions, chosen)

    async def _do(self, name: str, ids: Sequence[UUID]) -> ActionResult:
        store = self._bench.store
        return await (store.retry(ids) if name == RETRY else store.discard(ids))

    async def _step(self, action: _All) -> None:
        """One step of an action: the next of those that matched when it began and are there."""
        store, begun = self._bench.store, action.begun
        act = store.retry_all if begun.name == RETRY else store.discard_all
        result = await act(begun.wanted, limit=begun.limit, continuation=action.continuation)
        there = [one for one in action.left if one in self._there]
        chosen, action.left = there[: begun.limit], there[begun.limit :]
        expected: dict[UUID, FailureOutcome] = {}
        for one in chosen:
            outcome = self._outcome_of(one)
            if begun.name == RETRY and one.key is not None:
                if one.key in action.held:
                    outcome = FailureOutcome.HELD_BACK
                elif outcome is FailureOutcome.IN_HAND:
                    action.held.add(one.key)
            expected[one.entry_id] = outcome
        assert result.outcomes == expected
        action.seen += len(chosen)
        assert (result.seen, result.total) == (action.seen, max(action.total, action.seen))
        done = [one for one in chosen if result.outcomes[one.entry_id] is FailureOutcome.DONE]
        self._note(begun.name, action.number, done)
        action.continuation = result.continuation
        assert (result.continuation is None) == (len(chosen) < begun.limit)
        if result.continuation is None:
            self._open.remove(action)

    def _outcome_of(self, failed: _Failed) -> FailureOutcome:
        if failed not in self._there:
            return FailureOutcome.GONE
        if failed.entry_id in self._in_hand:
            return FailureOutcome.IN_HAND
        return FailureOutcome.DONE

    def _note(self, name: str, action: int, chosen: Sequence[_Failed]) -> None:
        for one in chosen:
            if self._outcome_of(one) is FailureOutcome.DONE:
                self._there.remove(one)
                if name == RETRY:
                    one.retried_by = action

    def _check_sent(self, sent: Sequence[int]) -> None:
        retried = {one.number: one for one in self._known if one.retried_by is not None}
        assert sorted(sent) == sorted(retried)
        lines: dict[tuple[int | None, str], list[int]] = {}
        for number in sent:
            one = retried[number]
            if one.key is not None:
                lines.setdefault((one.retried_by, one.key), []).append(number)
        assert all(line == sorted(line) for line in lines.values())
