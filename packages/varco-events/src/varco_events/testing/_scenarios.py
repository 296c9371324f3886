"""What happens in a test of the conservation law, drawn by Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from varco_events.testing._fates import OF_ALL, Fate
from varco_events.testing._lives import Cut, How

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The listeners: one without a dead letter queue, one with an inbox, one with a deduplicator.
KINDS = ("plain", "with inbox", "deduplicated")
_KEYS = 3


@dataclass(frozen=True)
class Sent:
    """One event; its fate is that of the listeners that it `hits`."""

    fate: Fate
    hits: tuple[str, ...] = ()
    key: int | None = None


@dataclass(frozen=True)
class Send:
    """Events are saved in the outbox."""

    events: tuple[Sent, ...]


@dataclass(frozen=True)
class Relay:
    """A relay does what it does in one round."""

    cut: Cut | None = None


@dataclass(frozen=True)
class Poll:
    """An inbox poller does what it does in one round."""

    cut: Cut | None = None


@dataclass(frozen=True)
class Redrive:
    """The dead letters are delivered again."""

    cut: Cut | None = None


@dataclass(frozen=True)
class Restart:
    """The process ends cleanly, and another begins."""


@dataclass(frozen=True)
class Refuse:
    """The dead letter queue takes none of the next so many."""

    pushes: int


@dataclass(frozen=True)
class Mend:
    """From here on nothing fails that can be mended."""


type Step = Send | Relay | Poll | Redrive | Restart | Refuse | Mend


@dataclass(frozen=True)
class Scenario:
    """What happens, in order.

    A relay that `parks` has no dead letter queue; one that `restarts` does so before what is mended
    is driven again.
    """

    steps: Sequence[Step]
    parks: bool = False
    restarts: bool = False


def scenarios(groups: Sequence[str], *, deadly: bool) -> st.SearchStrategy[Scenario]:
    """Scenarios for listeners in these groups."""
    listeners = [f"{group}/{kind}" for group in groups for kind in KINDS]
    fates = [fate for fate in Fate if deadly or fate is not Fate.DEADLY]

    def sent(fate: Fate) -> st.SearchStrategy[Sent]:
        some = st.lists(st.sampled_from(listeners), min_size=1, unique=True).map(sorted)
        hits = st.just(listeners) if fate in OF_ALL else some
        keys = st.none() | st.integers(1, _KEYS)
        return st.builds(Sent, st.just(fate), hits.map(tuple), keys)

    events = st.sampled_from(fates).flatmap(sent)
    sends = st.builds(Send, st.lists(events, min_size=1, max_size=5).map(tuple))

    def steps(cuts: st.SearchStrategy[Cut | None]) -> st.SearchStrategy[list[Step]]:
        relays = st.builds(Relay, cuts)
        step = st.one_of(
            *(sends, relays, relays, relays),
            *(st.builds(Redrive, cuts), st.builds(Poll, cuts)),
            *(st.builds(Refuse, st.integers(1, 3)), st.builds(Restart), st.builds(Mend)),
        )
        return st.lists(step, min_size=1, max_size=12)

    cut = st.none() | st.builds(Cut, st.sampled_from(How), st.integers(1, 40))
    # Without interruption much more can be said of where everything is.
    rest = steps(st.none()) | steps(cut)

    def begun(first: Send, then: list[Step]) -> tuple[Step, ...]:
        return (first, *then)

    return st.builds(Scenario, st.builds(begun, sends, rest), st.booleans(), st.booleans())
