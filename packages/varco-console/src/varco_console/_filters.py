"""Which failures a page is about, as its URL says it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from varco_console._errors import RefusedError
from varco_events import FailureFilter, time_edges

#: The periods that can be chosen, and how long they are.
PERIODS: Final[Mapping[str, timedelta | None]] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
_CHARTED: Final = timedelta(days=7)
_SHORTEST: Final = timedelta(minutes=48)
_BARS: Final = 48
# With a small chart for each of many groups, which wider bars suit, and which costs half as much.
_BARS_OF_MANY: Final = 24
_LONGEST: Final = 1_000
_DIGITS: Final = 7
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000
# What people type in, and what only links say: there an empty value means that it is empty.
_TYPED: Final = {"channel": "channel", "type": "event_type", "key": "key"}
_LINKED: Final = {"error": "error_type", "handler": "handler", "group": "consumer_group"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter, and the period that it came from.

    Attributes:
        wanted: The filter.
        period: The name of the period.
        now: When it was read.
    """

    wanted: FailureFilter
    period: str
    now: datetime

    @property
    def is_group(self) -> bool:
        """Whether it names one error of one handler."""
        return self.wanted.error_type is not None and self.wanted.handler is not None

    @property
    def is_narrowed(self) -> bool:
        """Whether somebody chose less than all, within a group or without."""
        return any(getattr(self.wanted, name) is not None for name in (*_TYPED.values(), "since"))

    def edges(self, oldest: datetime | None) -> list[datetime]:
        """The moments that divide its period for a chart.

        Args:
            oldest: Since when there is anything.
        """
        until = min(self.wanted.until or self.now, self.now)
        since = self.wanted.since or max(until - _CHARTED, oldest or until)
        bars = _BARS if self.is_group else _BARS_OF_MANY
        return time_edges(min(since, until - _SHORTEST), until, bars)

    def fields(self, *, absolute: bool = True) -> dict[str, str]:
        """What a form or a URL holds to say the same again.

        Args:
            absolute: With the moment that the period begins, which cursors need.
        """
        found: dict[str, str] = {}
        for name, attribute in (_TYPED | _LINKED).items():
            value = getattr(self.wanted, attribute)
            if value is not None:
                found[name] = value
        if absolute:
            for name in ("since", "until"):
                moment: datetime | None = getattr(self.wanted, name)
                if moment is not None:
                    found[name] = moment.isoformat()
        if self.period != "all":
            found["period"] = self.period
        return found

    def query(self, **more: object) -> str:
        """The same as a query string."""
        return urlencode(self.fields() | more, errors="replace")

    def within(self, wanted: FailureFilter) -> "Choice":
        """The same with another filter."""
        return replace(self, wanted=wanted)


def read_choice(given: Mapping[str, str]) -> Choice:
    """The filter that a query or a form says.

    Raises:
        RefusedError: a value is none, or too long.
    """
    now = datetime.now(UTC)
    for name, value in given.items():
        if name in {*_TYPED, *_LINKED} and (len(value) > _LONGEST or "\0" in value):
            raise _wrong(f"{name!r} is at most {_LONGEST} characters, none of them NUL")
    period = given.get("period", "") or "all"
    if period not in PERIODS:
        raise _wrong(f"'period' is one of {', '.join(PERIODS)}")
    length = PERIODS[period]
    since = _moment("since", given) or (None if length is None else now - length)
    words = {attribute: given.get(name) or None for name, attribute in _TYPED.items()}
    words |= {attribute: given[name] for name, attribute in _LINKED.items() if name in given}
    wanted = FailureFilter(**words, since=since, until=_moment("until", given))
    return Choice(wanted, period, now)


def describe(wanted: FailureFilter) -> dict[str, str]:
    """A filter for the audit: what is not None, as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in wanted.named().items()
    }


def read_described(target: Mapping[str, str]) -> FailureFilter:
    """The filter that `describe` wrote."""
    moments = {
        name: datetime.fromisoformat(target[name]) for name in ("since", "until") if name in target
    }
    words = {name: target[name] for name in (*_TYPED.values(), *_LINKED.values()) if name in target}
    return FailureFilter(**words, since=moments.get("since"), until=moments.get("until"))


def read_page(text: str) -> int:
    """The number of a page; 1 for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) < _DIGITS
    return max(int(text), 1) if is_number else 1


def read_moment(name: str, text: str) -> datetime:
    """A moment in UTC.

    Raises:
        RefusedError: it is none, has no time zone, or is too near to the ends of time.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            return moment.astimezone(UTC)
    except ValueError:
        pass
    raise _wrong(f"{name!r} is a moment with a time zone, such as 2026-05-01T12:00:00+00:00")


def _moment(name: str, given: Mapping[str, str]) -> datetime | None:
    text = given.get(name)
    if not text:
        return None
    return read_moment(name, text)


def _wrong(remedy: str) -> RefusedError:
    return RefusedError(400, "This address cannot be read", f"{remedy}.")
