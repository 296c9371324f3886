"""A dictionary whose entries are forgotten when their time is over."""

from __future__ import annotations

from heapq import heappop, heappush


class ExpiringDict[K, V]:
    """Forgets entries that are over whenever one is added; not safe for threads by itself."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[V, float]] = {}
        # When to look at an entry next, soonest first; one that lives longer by then comes back.
        # The number keeps keys from being compared.
        self._ends: list[tuple[float, int, K]] = []
        self._count = 0

    def set(self, key: K, value: V, until: float, now: float) -> None:
        """Add or change an entry, and forget those that are over."""
        known = self._entries.get(key)
        if known is None or until < known[1]:
            self._remember(key, until)
        self._entries[key] = (value, until)
        while self._ends and self._ends[0][0] <= now:
            _, _, due = heappop(self._ends)
            end = self._entries[due][1] if due in self._entries else now
            if end > now:
                self._remember(due, end)
            else:
                self._entries.pop(due, None)

    def _remember(self, key: K, until: float) -> None:
        self._count += 1
        heappush(self._ends, (until, self._count, key))

    def get(self, key: K) -> V | None:
        """The value, be it over or not; None if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def pop(self, key: K) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
