"""Failures of which all are looked at, whatever is asked for."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from varco_events._errors import FailureTokenError, NoSuchFailureError
from varco_events._failure_store import FailureStore
from varco_events._failures import (
    ALL_FAILURES,
    ChannelFigures,
    Failure,
    FailureFilter,
    FailureTally,
    StoreFigures,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Aside:
    """When something was put aside, and where it stands.

    Attributes:
        order: Its place; it keeps the one that it had.
        number: What was put aside later has a larger one.
        at: When.
    """

    order: int
    number: int
    at: datetime


class ScannedFailures(FailureStore):
    """Derives what is read from `scan`; nothing is looked up faster."""

    async def refresh(self) -> None:
        """Learn what others did, before each look at all."""

    @abstractmethod
    def scan(self) -> list[tuple[Aside, Failure]]:
        """All failures in order."""

    @abstractmethod
    def now(self) -> datetime:
        """The time of the store."""

    @abstractmethod
    def last(self) -> int:
        """The number of what was put aside last."""

    def waiting(self) -> Iterable[tuple[str, datetime]]:
        """The channel of everything that is on its way, and since when it is there."""
        return ()

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
        behind, most = _number(after), _number(until)
        await self.refresh()
        scanned = self.scan()
        if newest_first:
            scanned.reverse()
        found: list[Failure] = []
        for aside, failure in scanned:
            if len(found) >= limit:
                break
            if behind is not None and (
                aside.order >= behind if newest_first else aside.order <= behind
            ):
                continue
            if (most is None or aside.number <= most) and wanted.matches(failure):
                found.append(replace(failure, position=str(aside.order)))
        return found

    async def get(self, entry_id: UUID) -> Failure:
        """One failure."""
        await self.refresh()
        for aside, failure in self.scan():
            if failure.entry_id == entry_id:
                return replace(failure, position=str(aside.order))
        raise NoSuchFailureError(entry_id)

    async def tally(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        edges: Sequence[datetime] = (),
        until: str | None = None,
    ) -> list[FailureTally]:
        """How many match."""
        most = _number(until)
        await self.refresh()
        found: defaultdict[tuple[str, str, str, int], list[datetime]] = defaultdict(list)
        matches = wanted.matches
        for aside, one in self.scan():
            if (most is None or aside.number <= most) and matches(one):
                at = one.failed_at
                stretch = bisect_right(edges, at) if edges else 0
                found[one.error_type, one.handler, one.consumer_group, stretch].append(at)
        return [
            FailureTally(
                error_type=error,
                handler=handler,
                consumer_group=group,
                stretch=stretch,
                count=len(moments),
                first_at=min(moments),
                last_at=max(moments),
            )
            for (error, handler, group, stretch), moments in found.items()
        ]

    async def mark(self) -> str:
        """What tells what is there now from what comes later."""
        await self.refresh()
        return str(self.last())

    async def figures(self) -> StoreFigures:
        """How much waits and how much failed, by channel."""
        await self.refresh()
        failed: defaultdict[str, list[datetime]] = defaultdict(list)
        waiting: defaultdict[str, list[datetime]] = defaultdict(list)
        for _, failure in self.scan():
            failed[failure.channel].append(failure.failed_at)
        for channel, since in self.waiting():
            waiting[channel].append(since)
        return StoreFigures(
            self.now(),
            {
                channel: ChannelFigures(
                    waiting=len(waiting.get(channel, ())),
                    oldest_waiting_at=min(waiting.get(channel, ()), default=None),
                    failed=len(failed.get(channel, ())),
                    oldest_failed_at=min(failed.get(channel, ()), default=None),
                )
                for channel in sorted({*failed, *waiting})
            },
        )


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise FailureTokenError("find", f"{text!r} is no position of this store") from error
