"""The dead letters in Redis, as operators see them."""

from __future__ import annotations

from itertools import batched, chain, pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from varco_events import (
    ALL_FAILURES,
    ActionResult,
    ChannelFigures,
    DeadLetterFailureStore,
    Failure,
    FailureFilter,
    FailureGroup,
    FailureOutcome,
    FailureTally,
    FailureTokenError,
    NoSuchFailureError,
    StoreFigures,
    check_ids,
    outcomes_of,
)
from varco_redis._dead_letter_scripts import (
    CLOCK,
    COUNT,
    COUNT_KEY,
    DISCARD,
    FIND,
    GET,
    HOLD,
    KINDS,
    SETTLE,
)
from varco_redis._kept_letters import Kept, KeptLetters, milliseconds
from varco_redis._letters import Kind, microseconds, moment_of, written_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from varco_events import AbstractDeadLetterQueue, AbstractEventBus

# Redis does nothing else meanwhile: so many kinds and stretches are counted in one step.
_COUNTED_AT_ONCE = 2000
_BY_KIND = ("channel", "event_type", "handler", "consumer_group", "error_type")

type _Count = tuple[Kind, list[int]]


class RedisDeadLetterFailures(DeadLetterFailureStore):
    """The entries of a dead letter queue.

    A list reads what it shows, whatever else there is, and a count the ends of what it counts; with
    a key in the filter, both look at all that have this key.
    """

    def __init__(
        self,
        queue: AbstractDeadLetterQueue,
        letters: KeptLetters,
        bus: AbstractEventBus | None,
    ) -> None:
        super().__init__(bus)
        self._queue = queue
        self._letters = letters
        # By what this object has leased: nobody's lease but that one is ended.
        self._held: dict[UUID, UUID] = {}

    async def find(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        after: str | None = None,
        until: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Failure]:
        """Up to `limit` failures that match."""
        low, high = _range(wanted, until)
        behind = None if after is None else _number(after)
        await self._letters.take_over()
        kinds: Collection[str] = ()
        if any(getattr(wanted, name) is not None for name in _BY_KIND):
            kinds = await self._kinds(wanted)
            if not kinds:
                return []
        kept: list[Kept] = []
        while (left := limit - len(kept)) > 0:
            if behind is not None and newest_first:
                high = min(high, behind - 1)
            elif behind is not None:
                low = max(low, behind + 1)
            command, *ends = ("REV", high, low) if newest_first else ("", low, high)
            found = await self._letters.run(
                FIND, command, *ends, left, written_key(wanted.key), *kinds
            )
            kept += await self._letters.readable(found)
            if len(found) < 4 * left:
                break
            behind = _number(found[-2])  # less when some could not be read
        return [self._failure(one) for one in kept]

    async def get(self, entry_id: UUID) -> Failure:
        """One failure."""
        await self._letters.take_over()
        kept = await self._letters.readable(await self._letters.run(GET, str(entry_id)))
        if not kept:
            raise NoSuchFailureError(entry_id)
        return self._failure(kept[0])

    async def tally(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        edges: Sequence[datetime] = (),
        until: str | None = None,
    ) -> list[FailureTally]:
        """How many match; some hundred kinds are counted in one step."""
        ends = [-(2**53), *map(microseconds, edges), 2**53]
        found: list[FailureTally] = []
        for stretch, (begin, end) in enumerate(pairwise(ends)):
            counted = await self._counted(wanted, until=until, within=(begin, end - 1))
            found += [_tally(group, stretch) for group in _merged(counted)]
        return found

    async def grouped(
        self, wanted: FailureFilter = ALL_FAILURES, *, edges: Sequence[datetime] = ()
    ) -> list[FailureGroup]:
        """All groups, in no order."""
        return _merged(await self._counted(wanted, edges))

    async def mark(self) -> str:
        """The number of the last one: each has a larger one than those before."""
        await self._letters.take_over()
        last = await self._letters.call("GET", self._letters.last)
        return str(_number(last or b"0"))

    async def figures(self) -> StoreFigures:
        """How much failed, by channel."""
        counts: dict[str, int] = {}
        oldest: dict[str, int] = {}
        for kind, (first, _, count) in await self._counted(ALL_FAILURES):
            counts[kind.channel] = counts.get(kind.channel, 0) + count
            oldest[kind.channel] = min(oldest.get(kind.channel, first), first)
        seconds, rest = await self._letters.run(CLOCK)
        return StoreFigures(
            moment_of(int(seconds) * 1_000_000 + int(rest)),
            {
                channel: ChannelFigures(
                    failed=counts[channel], oldest_failed_at=moment_of(oldest[channel])
                )
                for channel in sorted(counts)
            },
        )

    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand, by the clock of Redis."""
        if not entry_ids:
            return [], ()
        letters = self._letters
        await letters.take_over()
        life, claim_id = milliseconds(lease), uuid4()
        ids = map(str, entry_ids)
        found, others = await letters.run_once(HOLD, life, letters.patience, claim_id.hex, *ids)
        held = [self._failure(one) for one in await letters.readable(found)]
        self._held.update((one.entry_id, claim_id) for one in held)
        return held, _ids(others)

    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""
        claims = {one: self._held.pop(one, None) for one in (*done, *given_back)}
        back = [(str(one), held.hex) for one in given_back if (held := claims[one])]
        if done or back:
            await self._letters.run(SETTLE, len(done), *map(str, done), *chain(*back))

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove entries that nobody has in hand."""
        ids = check_ids(entry_ids)
        if not ids:
            return outcomes_of(ids, {})
        await self._letters.take_over()
        done, others = await self._letters.run_once(DISCARD, self._letters.patience, *map(str, ids))
        known = dict.fromkeys(_ids(done), FailureOutcome.DONE)
        return outcomes_of(ids, known | dict.fromkeys(_ids(others), FailureOutcome.IN_HAND))

    async def add(self, failure: Failure) -> None:
        """Push an entry."""
        await self._queue.push(self.letter_of(failure))

    def _failure(self, kept: Kept) -> Failure:
        return self.failure_of(
            kept.entry,
            failed_at=moment_of(kept.number),
            in_hand=kept.in_hand,
            position=str(kept.number),
        )

    async def _kinds(self, wanted: FailureFilter) -> Mapping[str, Kind]:
        """The kinds that can match, by the names that the scripts know them by."""
        flat = await self._letters.run(KINDS)
        found = {
            name.decode(): Kind.read(what) for name, what in zip(flat[::2], flat[1::2], strict=True)
        }
        return {name: kind for name, kind in found.items() if kind.matches(wanted)}

    async def _counted(
        self,
        wanted: FailureFilter,
        edges: Sequence[datetime] = (),
        *,
        until: str | None = None,
        within: tuple[int, int] = (0, 2**53),
    ) -> list[_Count]:
        """Kinds, and of each the first and the last number and how many are in each stretch."""
        low, high = _range(wanted, until)
        await self._letters.take_over()
        kinds = await self._kinds(wanted)
        moments = [microseconds(one) for one in edges]
        args = (max(low, within[0]), min(high, within[1]), len(moments), *moments)
        answer: list[list[Any]] = []
        if wanted.key is not None:
            answer = await self._letters.run(COUNT_KEY, written_key(wanted.key), *args, *kinds)
        else:
            at_once = max(1, _COUNTED_AT_ONCE // (1 + len(edges)))
            for some in batched(kinds, at_once):
                answer += await self._letters.run(COUNT, *args, *some)
        return [
            (kind, [int(one) for one in found])
            for kind, found in zip(kinds.values(), answer, strict=True)
            if found
        ]


def _tally(group: FailureGroup, stretch: int) -> FailureTally:
    return FailureTally(
        error_type=group.error_type,
        handler=group.handler,
        consumer_group=group.consumer_group,
        stretch=stretch,
        count=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
    )


def _merged(counted: Sequence[_Count]) -> list[FailureGroup]:
    """Groups; of some there are several kinds, by channel and type."""
    found: dict[tuple[str, str, str], list[list[int]]] = {}
    for kind, numbers in counted:
        whose = kind.error_type, kind.handler, kind.consumer_group
        found.setdefault(whose, []).append(numbers)
    groups: list[FailureGroup] = []
    for (error_type, handler, group), rows in found.items():
        firsts, lasts, *stretches = zip(*rows, strict=True)
        counts = [sum(stretch) for stretch in stretches]
        groups.append(
            FailureGroup(
                error_type=error_type,
                handler=handler,
                consumer_group=group,
                count=sum(counts),
                first_at=moment_of(min(firsts)),
                last_at=moment_of(max(lasts)),
                counts=tuple(counts[1:-1]),
            )
        )
    return groups


def _range(wanted: FailureFilter, until: str | None) -> tuple[int, int]:
    """The lowest and the highest number that can match."""
    low = 0 if wanted.since is None else microseconds(wanted.since)
    high = 2**53 if wanted.until is None else microseconds(wanted.until) - 1
    return low, high if until is None else min(high, _number(until))


def _number(text: str | bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise FailureTokenError("find", f"{text!r} is no position in Redis") from error


def _ids(names: Sequence[bytes]) -> list[UUID]:
    return [UUID(name.decode()) for name in names]
