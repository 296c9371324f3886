"""Moments of deletion: rows that share one were marked together, and are restored together."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

_NEXT: Final = timedelta(microseconds=1)
_SET_BACK: Final = timedelta(seconds=1)
"""A clock that is behind the last mark by more did not stand still, but was set."""


class Marks:
    """The marks of one provider, no two of which are the same. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: datetime | None = None

    def at(self, now: datetime) -> datetime:
        """The mark of a deletion: now, or right after the last one where the clock stood still."""
        if now.tzinfo is None:
            return now  # the repository refuses it
        with self._lock:
            last = self._last
            if last is not None and now <= last < now + _SET_BACK:
                now = last + _NEXT
            self._last = now
            return now


def marks_of(provider: object) -> Marks:
    """Those of a provider; one that has no room for an attribute has new ones each time."""
    own: dict[str, Any] = getattr(provider, "__dict__", {})
    marks: Marks = own.setdefault("_marks", Marks())
    return marks
