"""What operators do with failures, on every store alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from varco_events._envelope import EDITED, REDRIVEN, checked_headers
from varco_events._errors import FailureLimitError, FailureNotEditableError
from varco_events._failure_tokens import Token, digest_of_key
from varco_events._failures import (
    ALL_FAILURES,
    ActionResult,
    Failure,
    FailureFilter,
    FailureGroup,
    FailureOutcome,
    FailurePage,
    FailureTally,
    HeldKey,
    StoreFigures,
)

if TYPE_CHECKING:
    from datetime import datetime

    from varco_events._envelope import EventEnvelope

MAX_AT_ONCE: Final = 1000
"""The most failures that one call lists or acts on."""
# An action on all that match ends when so many keys failed in it: it cures nothing.
_MAX_HELD = 1000
_AGAIN = (FailureOutcome.FAILED, FailureOutcome.HELD_BACK, FailureOutcome.IN_HAND)

type _Act = Callable[[Sequence[UUID]], Awaitable[ActionResult]]


class FailureStore(ABC):
    """The failures of one outbox, inbox or dead letter queue, for consoles, metrics and scripts.

    Get one from what holds the failures: `outbox.failures()`, `inbox.failures()`,
    `dead_letters.failures(bus)`. An implementation supplies the abstract methods; the rest is
    derived from them. Safe to use beside relays, pollers, redrives and other operators: of several
    that take one failure one wins, and the others are told.

    The order of the store is that in which failures of one key have to be retried.
    """

    @abstractmethod
    async def find(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        after: str | None = None,
        until: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Failure]:
        """Up to `limit` failures that match.

        Args:
            wanted: Which.
            after: A position; only those behind it, in the direction that is asked for.
            until: A mark; only those that were there when it was made.
            limit: How many at most.
            newest_first: Against the order of the store.

        Raises:
            FailureTokenError: `after` or `until` is none of this store.
        """

    @abstractmethod
    async def get(self, entry_id: UUID) -> Failure:
        """One failure.

        Raises:
            NoSuchFailureError: it is not there.
        """

    @abstractmethod
    async def tally(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        edges: Sequence[datetime] = (),
        until: str | None = None,
    ) -> list[FailureTally]:
        """How many match, apart by error, handler, group and stretch of time.

        Args:
            wanted: Which.
            edges: Moments in order, which divide time into one stretch more than they are.
            until: A mark; only those that were there when it was made.
        """

    @abstractmethod
    async def mark(self) -> str:
        """What tells the failures that are there now from those that come later."""

    @abstractmethod
    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Have failures tried again, in the order of the store; one call is one action.

        An entry of an outbox or an inbox is given back to its relays or pollers, with its attempts
        forgotten and at its old place. A dead letter is sent to the handler that failed, and is
        forgotten once the bus has taken it.

        Raises:
            FailureLimitError: more than `MAX_AT_ONCE`.
            BusUnavailableError: the bus takes nothing now; what it had not taken waits as before.
            EventsConfigError: dead letters, and no bus was given.
        """

    @abstractmethod
    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove failures for good; those that somebody has in hand stay.

        Raises:
            FailureLimitError: more than `MAX_AT_ONCE`.
        """

    @abstractmethod
    async def figures(self) -> StoreFigures:
        """How much waits and how much failed, by channel."""

    async def add(self, failure: Failure) -> None:
        """Put a failure aside that was none of this store: how `edit` makes its copy.

        Raises:
            FailureNotEditableError: this store takes none.
        """
        raise FailureNotEditableError(failure.entry_id, type(self).__name__)

    async def page(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        cursor: str | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> FailurePage:
        """A page of the failures that match; none is missed or repeated while others come and go.

        Args:
            wanted: Which.
            cursor: What the page before says is next.
            limit: How many at most.
            newest_first: The last that was put aside first.

        Raises:
            FailureLimitError: `limit` is not between 1 and `MAX_AT_ONCE`.
            FailureTokenError: the cursor is none, or one of another list.
        """
        check_limit(limit)
        start = Token.of(f"page {'newest' if newest_first else 'oldest'} first", wanted)
        token = start if cursor is None else start.read(cursor)
        found = await self.find(
            wanted, after=token.after, limit=limit + 1, newest_first=newest_first
        )
        items = tuple(found[:limit])
        more = len(found) > limit
        return FailurePage(
            items, replace(token, after=items[-1].position).write() if more else None
        )

    async def groups(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        limit: int = 500,
        edges: Sequence[datetime] = (),
    ) -> list[FailureGroup]:
        """The failures that match by error and handler, the largest group first.

        Args:
            wanted: Which.
            limit: How many groups at most.
            edges: Moments in order, such as `time_edges` makes; each group then has the counts
                between every two of them, for a chart.
        """
        groups = await self.grouped(wanted, edges=edges)
        groups.sort(key=lambda one: (-one.count, one.handler, one.error_type))
        return groups[:limit]

    async def grouped(
        self, wanted: FailureFilter = ALL_FAILURES, *, edges: Sequence[datetime] = ()
    ) -> list[FailureGroup]:
        """All groups, in no order.

        Override it where a store can count them faster than it tallies.
        """
        found: dict[tuple[str, str, str], list[FailureTally]] = {}
        for one in await self.tally(wanted, edges=edges):
            kind = (one.error_type, one.handler, one.consumer_group)
            found.setdefault(kind, []).append(one)
        return [_group(tallies, len(edges)) for tallies in found.values()]

    async def count(self, wanted: FailureFilter = ALL_FAILURES) -> int:
        """How many match."""
        return sum(one.count for one in await self.tally(wanted))

    async def retry_all(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        limit: int = 500,
        continuation: str | None = None,
    ) -> ActionResult:
        """Retry up to `limit` of those that match, and say how to go on with the rest.

        All that match when the first call is made are looked at once, in the order of the store;
        those that come later, or come back, are not. One that fails at once, or that somebody has
        in hand, holds back those behind it of its key and handler.

        Args:
            wanted: Which.
            limit: How many in this call.
            continuation: That of the call before, for the same filter.

        Raises:
            As `retry`.
            FailureTokenError: the continuation is none, or one of another action.
        """
        return await self._all("retry", self.retry, wanted, limit, continuation)

    async def discard_all(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        limit: int = 500,
        continuation: str | None = None,
    ) -> ActionResult:
        """Discard up to `limit` of those that match, as `retry_all` retries them, in no order.

        Raises:
            As `discard`.
            FailureTokenError: the continuation is none, or one of another action.
        """
        return await self._all("discard", self.discard, wanted, limit, continuation)

    async def edit(
        self,
        entry_id: UUID,
        *,
        payload: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Failure:
        """Put a changed copy of a failure beside it; retry the copy, and discard which you like.

        The copy is the same event, with the id, type, version, channel and key of the original,
        which stays as it is.

        Args:
            entry_id: The original.
            payload: Other bytes, as a producer would write them.
            headers: Headers of the application that are added or changed.

        Returns:
            The copy; its `edit_of` names the original.

        Raises:
            NoSuchFailureError: the original is not there.
            FailureNotEditableError: the store takes no copies.
            ValueError: a header begins with "varco-".
        """
        original = await self.get(entry_id)
        envelope: EventEnvelope = original.envelope
        kept = {name: text for name, text in envelope.headers.items() if name != REDRIVEN}
        changed = envelope.replace(
            payload=envelope.payload if payload is None else payload,
            headers={**kept, **checked_headers(headers or {}), EDITED: str(entry_id)},
            event=None,
        )
        copy = replace(
            original, entry_id=uuid4(), envelope=changed, attempts=0, in_hand=False, position=""
        )
        await self.add(copy)
        return await self.get(copy.entry_id)

    async def _all(
        self, name: str, act: _Act, wanted: FailureFilter, limit: int, continuation: str | None
    ) -> ActionResult:
        check_limit(limit)
        start = Token.of(name, wanted)
        if continuation is None:
            until = await self.mark()
            total = sum(one.count for one in await self.tally(wanted, until=until))
            token = replace(start, until=until, total=total)
        else:
            token = start.read(continuation)
        found = await self.find(wanted, after=token.after, until=token.until, limit=limit)
        # What is discarded has no order.
        held = {*token.held} if name == "retry" else None
        known: dict[UUID, FailureOutcome] = {}
        for one in found:
            if held is not None and _key(one) in held:
                known[one.entry_id] = FailureOutcome.HELD_BACK
            elif one.in_hand:
                known[one.entry_id] = FailureOutcome.IN_HAND
                _hold(held, one)
        result = await act([one.entry_id for one in found if one.entry_id not in known])
        return _on(token, found, replace(result, outcomes=known | {**result.outcomes}), limit, held)


def _on(
    token: Token,
    found: Sequence[Failure],
    result: ActionResult,
    limit: int,
    held: set[str] | None,
) -> ActionResult:
    """The result of one step of an action on all, with what the next one needs."""
    outcomes: dict[UUID, FailureOutcome] = {}
    after = token.after
    for one in found:
        outcome = result.outcomes[one.entry_id]
        if outcome is FailureOutcome.NOT_REACHED:
            break  # the next call begins here
        outcomes[one.entry_id] = outcome
        after = one.position
        if outcome in _AGAIN:
            _hold(held, one)
    seen = token.seen + len(outcomes)
    many = held or ()
    over = (len(found) < limit and len(outcomes) == len(found)) or len(many) > _MAX_HELD
    token = replace(token, after=after, seen=seen, held=tuple(sorted(many)))
    return ActionResult(
        outcomes=outcomes,
        errors=result.errors,
        seen=seen,
        total=max(token.total, seen),
        continuation=None if over else token.write(),
    )


def _hold(held: set[str] | None, failure: Failure) -> None:
    """Have the later ones of its key wait, where there is an order."""
    if held is not None and failure.envelope.key is not None:
        held.add(_key(failure))


def _key(failure: Failure) -> str:
    key = failure.envelope.key
    return "" if key is None else digest_of_key(key, failure.handler, failure.consumer_group)


def _group(tallies: Sequence[FailureTally], edges: int) -> FailureGroup:
    counts = [0] * (edges + 1)
    for one in tallies:
        counts[one.stretch] += one.count
    return FailureGroup(
        error_type=tallies[0].error_type,
        handler=tallies[0].handler,
        consumer_group=tallies[0].consumer_group,
        count=sum(counts),
        first_at=min(one.first_at for one in tallies),
        last_at=max(one.last_at for one in tallies),
        counts=tuple(counts[1:edges]),
    )


class OutboxFailureStore(FailureStore):
    """The parked entries of an outbox, and the keys that wait for an entry's next attempt."""

    @abstractmethod
    async def held_keys(self, *, limit: int = 100) -> list[HeldKey]:
        """Keys whose first entry is not due yet, those that are due first in front."""

    @abstractmethod
    async def release_keys(self, keys: Sequence[str]) -> int:
        """Make the next attempt of such keys due now, and say how many were.

        An entry that a relay has in hand stays with it.

        Raises:
            FailureLimitError: more than `MAX_AT_ONCE`.
        """


def check_limit(count: int) -> None:
    """Refuse more than one call may list or act on.

    Raises:
        FailureLimitError: it is not between 1 and `MAX_AT_ONCE`.
    """
    if not 1 <= count <= MAX_AT_ONCE:
        raise FailureLimitError(count, MAX_AT_ONCE)


def check_ids[T](entry_ids: Sequence[T]) -> list[T]:
    """The ids, or keys, each once, if one call may act on them.

    Raises:
        FailureLimitError: more than `MAX_AT_ONCE`.
    """
    if len(entry_ids) > MAX_AT_ONCE:
        raise FailureLimitError(len(entry_ids), MAX_AT_ONCE)
    return list(dict.fromkeys(entry_ids))


def outcomes_of(
    entry_ids: Sequence[UUID],
    known: Mapping[UUID, FailureOutcome],
    errors: Mapping[UUID, str] | None = None,
) -> ActionResult:
    """The result of one call: what is known, and GONE for all others."""
    outcomes = {one: known.get(one, FailureOutcome.GONE) for one in entry_ids}
    return ActionResult(
        outcomes=outcomes, errors=errors or {}, seen=len(outcomes), total=len(outcomes)
    )


def time_edges(since: datetime, until: datetime, parts: int) -> list[datetime]:
    """The moments that divide the time between two others into `parts` that are equally long.

    Raises:
        FailureLimitError: `parts` is not between 1 and `MAX_AT_ONCE`.
        ValueError: `until` is not after `since`.
    """
    check_limit(parts)
    if not since < until:
        raise ValueError(f"until must be after since; {until} is not after {since}")
    return [since + (until - since) * number / parts for number in range(parts + 1)]
