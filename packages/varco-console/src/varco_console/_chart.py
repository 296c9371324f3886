"""Counts over time as bars, for an SVG that needs no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_WIDTH: Final = 960
_HEIGHT: Final = 120
_SMALL_WIDTH: Final = 96
_SMALL_HEIGHT: Final = 24
# Up to so many seconds no moment of a chart needs its date.
_CLOCK_ALONE: Final = 43_200


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it stands, and what it says."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its bars, its size, its ends, and what it shows in words."""

    bars: tuple[Bar, ...]
    width: int
    height: int
    first: str
    last: str
    most: int
    summary: str


def chart(counts: Sequence[int], edges: Sequence[datetime]) -> Chart:
    """The bars of counts between each two of the edges."""
    most = max(counts, default=0)
    step = _WIDTH / max(len(counts), 1)
    bars: list[Bar] = []
    for place, count in enumerate(counts):
        if count:
            height = max(round(count / most * (_HEIGHT - 2), 1), 2)
            when = f"{_label(edges[place], edges)} to {_label(edges[place + 1], edges)}"
            title = f"{count:,} from {when}"
            bars.append(
                Bar(round(place * step + 1, 1), _HEIGHT - height, round(step - 2, 1), height, title)
            )
    first, last = _label(edges[0], edges), _label(edges[-1], edges)
    total = sum(counts)
    summary = f"{total:,} put aside between {first} and {last}"
    if most:
        at = counts.index(most)
        summary += f", the most ({most:,}) from {_label(edges[at], edges)} on"
    return Chart(tuple(bars), _WIDTH, _HEIGHT, first, last, most, summary)


def sparkline(counts: Sequence[int]) -> str:
    """The bars of a small chart as the data of one SVG path."""
    most = max(counts, default=0)
    if not most:
        return ""
    step = _SMALL_WIDTH / len(counts)
    parts: list[str] = []
    for place, count in enumerate(counts):
        if count:
            height = max(round(count / most * _SMALL_HEIGHT), 2)
            parts.append(
                f"M{place * step:.1f} {_SMALL_HEIGHT}v-{height}h{step - 0.5:.1f}v{height}z"
            )
    return "".join(parts)


def _label(moment: datetime, edges: Sequence[datetime]) -> str:
    span = (edges[-1] - edges[0]).total_seconds()
    pattern = "%H:%M" if span <= _CLOCK_ALONE else "%d %b %H:%M"
    return moment.astimezone(UTC).strftime(pattern)
