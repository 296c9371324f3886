"""Whose turn it is: entries in order, those of one key one after the other, some held."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from uuid import UUID

    from varco_events._outbox import OutboxEntry


class Turns:
    """The entries of an outbox in memory, by their places: numbers in the order they were saved.

    `take` looks at what it may return and at nothing that is held or behind something of its key:
    what may have its turn is put into a queue, and looked at again when it is the next of it.
    """

    def __init__(self) -> None:
        self.kept: dict[int, OutboxEntry] = {}
        # By the number of the id: a UUID takes Python code to be hashed.
        self._places: dict[int, int] = {}
        self._last = 0
        self._leases: dict[int, datetime] = {}
        # Of leases that ran out, until somebody takes the place or does something with it.
        self.ran_out: dict[int, datetime] = {}
        self._first_end: datetime | None = None  # no lease runs out before
        # The places of each key, of which those that are gone are left out.
        self._lines: dict[str, deque[int]] = {}
        # The queues: what was just saved; what comes back; what is postponed, by its time.
        self._fresh: deque[int] = deque()
        self._again: list[int] = []
        self._later: list[tuple[datetime, int]] = []

    def add(self, entries: Iterable[OutboxEntry]) -> None:
        """Put entries at the end; one that is there already is replaced where it is."""
        places, kept, append = self._places, self.kept, self._fresh.append
        for entry in entries:
            number, key = entry.entry_id.int, entry.key
            if number in places:
                if kept[places[number]].key == key:
                    kept[places[number]] = entry
                    continue
                self.pop(entry.entry_id)
            self._last = place = self._last + 1
            places[number] = place
            kept[place] = entry
            if key is None or self._queue(key, place):
                append(place)

    def _queue(self, key: str, place: int) -> bool:
        """Put a place behind the others of its key; whether it is the first."""
        self._lines.setdefault(key, deque()).append(place)
        return self._first(key) == place

    def pop(self, entry_id: UUID) -> OutboxEntry | None:
        """Take an entry out; the next of its key may have its turn."""
        place = self._places.pop(entry_id.int, None)
        if place is None:
            return None
        entry = self.kept.pop(place)
        if self._leases.pop(place, None) is None:
            self.ran_out.pop(place, None)
        if entry.key is not None:
            self._offer(place, entry.key)
        return entry

    def place_of(self, entry_id: UUID) -> int | None:
        """The place of an entry; None of an unknown one."""
        return self._places.get(entry_id.int)

    def is_of_claim(self, entry: OutboxEntry) -> bool:
        """Whether no other claim has the entry by now, which is there."""
        kept = self.kept.get(self._places.get(entry.entry_id.int, 0))
        return kept is entry or (kept is not None and kept.claim_id == entry.claim_id)

    def next_place(self) -> int:
        """A place behind all others, for an entry that is put back later."""
        self._last += 1
        return self._last

    def put_back(self, entries: Iterable[tuple[int, OutboxEntry]]) -> None:
        """Put entries that were taken out back to their places."""
        for place, entry in entries:
            self._places[entry.entry_id.int] = place
            self.kept[place] = entry
            if entry.key is not None:
                line = self._lines.setdefault(entry.key, deque())
                at = bisect_left(line, place)
                if at == len(line) or line[at] != place:
                    line.insert(at, place)
            self._offer(place, entry.key)
        in_order = sorted(self.kept.items())
        self.kept.clear()
        self.kept.update(in_order)

    def is_held(self, place: int) -> bool:
        """Whether somebody has a lease that did not run out when it was last looked at."""
        return place in self._leases

    def put(self, entry: OutboxEntry) -> None:
        """Replace an entry, which nobody holds any more; an unknown one is no error."""
        place = self._places.get(entry.entry_id.int)
        if place is not None:
            self.kept[place] = entry
            self._leases.pop(place, None)
            self.ran_out.pop(place, None)
            self._offer(place, entry.key)

    def hold(self, entry_id: UUID, until: datetime) -> None:
        """Lengthen a lease, also one that ran out; what has none is left alone."""
        place = self._places.get(entry_id.int)
        if place is not None and (place in self._leases or place in self.ran_out):
            self.ran_out.pop(place, None)
            self._leases[place] = until
            self._ends(until)

    def take(self, now: datetime, until: datetime, limit: int) -> list[int]:
        """Lease the first places whose turn it is.

        Of each key those before which there is none that is not taken too. `ran_out` has those of
        them that had a lease.
        """
        self._wake(now)
        kept, fresh, leases = self.kept, self._fresh, self._leases
        # Those behind what is taken, each with what comes after it.
        behind: list[tuple[int, Iterator[int]]] = []
        taken: list[int] = []
        while len(taken) < limit:
            if self._again or behind:
                place, line = self._earliest(behind)
            elif fresh:
                place, line = fresh.popleft(), None
            else:
                break
            entry = kept.get(place)
            if entry is None or place in leases:
                continue
            if entry.available_at is not None and entry.available_at > now:
                if line is None:
                    heappush(self._later, (entry.available_at, place))
                continue
            if entry.key is None or self._goes_on(entry.key, place, line, behind):
                # At once: a place may stand in two of the queues.
                leases[place] = until
                taken.append(place)
        if taken:
            self._ends(until)
        return taken

    def _goes_on(
        self,
        key: str,
        place: int,
        line: Iterator[int] | None,
        behind: list[tuple[int, Iterator[int]]],
    ) -> bool:
        """Whether it is a place's turn; the next one of its key then comes behind it."""
        if line is None:
            if self._first(key) != place:
                return False
            line = islice(self._lines[key], 1, None)
        following = next((each for each in line if each in self.kept), None)
        if following is not None:
            heappush(behind, (following, line))
        return True

    def give_back(self, place: int) -> None:
        """Undo `take` for one."""
        del self._leases[place]
        self._offer(place, self.kept[place].key)

    def _ends(self, until: datetime) -> None:
        self._first_end = until if self._first_end is None else min(until, self._first_end)

    def _wake(self, now: datetime) -> None:
        """Let those have their turn again whose time is over."""
        while self._later and self._later[0][0] <= now:
            _, place = heappop(self._later)
            if place in self.kept:
                heappush(self._again, place)
        if self._first_end is not None and self._first_end <= now:
            over = [place for place, until in self._leases.items() if until <= now]
            for place in over:
                self.ran_out[place] = self._leases.pop(place)
                self._offer(place, self.kept[place].key)
            self._first_end = min(self._leases.values(), default=None)

    def _offer(self, place: int, key: str | None) -> None:
        """Let a place have its turn, or the first of its key."""
        first = place if key is None else self._first(key)
        if first is not None:
            heappush(self._again, first)

    def _first(self, key: str) -> int | None:
        line = self._lines[key]
        while line and line[0] not in self.kept:
            line.popleft()
        if line:
            return line[0]
        del self._lines[key]
        return None

    def _earliest(
        self, behind: list[tuple[int, Iterator[int]]]
    ) -> tuple[int, Iterator[int] | None]:
        """The next of what comes back, what is behind others, and what was just saved."""
        again, fresh = self._again, self._fresh
        if behind and not (again and again[0] < behind[0][0]):
            if not (fresh and fresh[0] < behind[0][0]):
                return heappop(behind)
        elif not (fresh and fresh[0] < again[0]):
            place = heappop(again)
            while again and again[0] == place:  # it may have come back twice
                heappop(again)
            return place, None
        return fresh.popleft(), None
