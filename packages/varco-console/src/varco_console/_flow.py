"""What is on its way: outboxes and inboxes by channel, relays, and who handles what."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.responses import Response

from varco_console._access import Permission
from varco_console._errors import RefusedError
from varco_console._recorded import recorded
from varco_console._setup import Named
from varco_console._view import View
from varco_events import (
    ChannelFigures,
    ConsumerState,
    ConsumerStates,
    HeldKey,
    OutboxFailureStore,
    StoreFigures,
)

_HELD_SHOWN: Final = 100
_ROWS_SHOWN: Final = 1_000
#: A store may have any number of channels, and a page has not.
CHANNELS_SHOWN: Final = 200
# A look that was taken so many seconds ago or more says how the depth changes.
_APART: Final = 5.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What is in one store, or why that cannot be said.

    Attributes:
        named: The store.
        figures: Its figures.
        error: Why there are none.
        change: By how much more waits than at the look before; None at the first look.
        seconds: How long ago that was.
        held: Keys whose first entry waits for its next attempt; None where there are no such keys.
    """

    named: Named
    figures: StoreFigures | None = None
    error: str | None = None
    change: int | None = None
    seconds: float = 0.0
    held: list[HeldKey] | None = None

    @property
    def channels(self) -> list[tuple[str, ChannelFigures]]:
        """Those with the most to look after, at most `CHANNELS_SHOWN`."""
        return busiest(self.figures)


def busiest(figures: StoreFigures | None) -> list[tuple[str, ChannelFigures]]:
    """The channels of a store that have the most failures, and then the most on its way."""
    found = [] if figures is None else list(figures.channels.items())
    found.sort(key=lambda one: (-one[1].failed, -one[1].waiting, one[0]))
    return found[:CHANNELS_SHOWN]


@dataclass(frozen=True, slots=True)
class Handled:
    """What a group has to do in a channel, and how its partitions are dealt out."""

    channel: str
    group: str
    parts: tuple[ConsumerState, ...]

    @property
    def lag(self) -> int:
        """How many events it has not handled."""
        return sum(one.lag for one in self.parts)

    @property
    def in_hand(self) -> int | None:
        """How many its consumers have; None where nobody knows."""
        known = [one.in_hand for one in self.parts if one.in_hand is not None]
        return sum(known) if known else None

    @property
    def oldest(self) -> float | None:
        """Seconds for which the oldest of them is in hand."""
        ages = (one.oldest_in_hand for one in self.parts)
        return max((age for age in ages if age is not None), default=None)

    @property
    def consumers(self) -> int:
        """How many processes have a partition."""
        return len({one.consumer for one in self.parts} - {None})

    @property
    def is_divided(self) -> bool:
        """Whether there are partitions at all."""
        return any(one.partition is not None for one in self.parts)

    @property
    def orphans(self) -> int:
        """How many partitions nobody has."""
        return sum(one.consumer is None for one in self.parts) if self.is_divided else 0


@dataclass(frozen=True, slots=True)
class Bus:
    """Who handles the events of a bus, or why that cannot be said."""

    name: str
    groups: Sequence[Handled] = ()
    error: str | None = None
    is_cut: bool = False


class Looks:
    """What was seen last of each store, to tell how depths change. Belongs to one event loop."""

    def __init__(self) -> None:
        self._seen: dict[str, StoreFigures] = {}

    def change(self, named: Named, now: StoreFigures) -> tuple[int | None, float]:
        """By how much more waits than at the look before, and how many seconds ago that was."""
        before = self._seen.get(named.slug)
        seconds = 0.0 if before is None else (now.at - before.at).total_seconds()
        if before is None or seconds >= _APART:
            self._seen[named.slug] = now
        return (None if before is None else now.waiting - before.waiting), seconds


async def flow(view: View, looks: Looks) -> Response:
    """What is on its way."""
    return view.page(
        "flow.html",
        flows=[await _flow_of(view, looks, one) for one in view.setup.stores.values()],
        relays={name: relay.status for name, relay in view.setup.relays.items()},
        buses=[await _bus_of(view, name, one) for name, one in view.setup.buses.items()],
    )


async def _flow_of(view: View, looks: Looks, named: Named) -> Flow:
    figures, error = await view.asked(named.store.figures())
    if figures is None:
        return Flow(named, error=error)
    held = None
    if isinstance(named.store, OutboxFailureStore):
        held, error = await view.asked(named.store.held_keys(limit=_HELD_SHOWN))
    change, seconds = looks.change(named, figures)
    return Flow(named, figures, error, change, seconds, held)


async def _bus_of(view: View, name: str, states: ConsumerStates) -> Bus:
    rows, error = await view.asked(states.consumers(limit=_ROWS_SHOWN))
    if rows is None:
        return Bus(name, error=error)
    parts: dict[tuple[str, str], list[ConsumerState]] = {}
    for row in rows:
        parts.setdefault((row.channel, row.group), []).append(row)
    groups = [Handled(*names, tuple(some)) for names, some in parts.items()]
    groups.sort(key=lambda one: (-one.lag, -one.orphans, one.channel, one.group))
    return Bus(name, groups, is_cut=len(rows) == _ROWS_SHOWN)


async def release(view: View) -> Response:
    """Have held-back keys tried now."""
    form = await view.form()
    named = view.named()
    view.require(Permission.RELEASE)
    keys = list(dict.fromkeys(form.all("keys")))
    if not isinstance(named.store, OutboxFailureStore) or not 1 <= len(keys) <= _HELD_SHOWN:
        raise RefusedError(
            400, "Nothing was released", f"Tick from 1 to {_HELD_SHOWN} keys of an outbox."
        )
    target = {"key": keys[0]} if len(keys) == 1 else {"keys": f"{len(keys)}: {', '.join(keys)}"}
    await recorded(view, "release", named.name, target, partial(named.store.release_keys, keys))
    return view.go("flow")
