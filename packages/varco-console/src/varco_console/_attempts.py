"""What became of retries: what is in hand, what came back, what is new, what has not come back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from varco_console._audit import AuditEntry
from varco_console._filters import read_described
from varco_console._setup import Named
from varco_console._view import View
from varco_events import Failure, FailureFilter, FailureOutcome

_SHOWN: Final = 3
_LOOKED_THROUGH: Final = 30
_COUNTED: Final = 300
_DONE: Final = FailureOutcome.DONE.value
_GROUP: Final = ("error_type", "handler", "consumer_group")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A retry, and what has happened since.

    Attributes:
        entry: Its entry in the audit.
        handed: How many were given back to their handler, relay or poller.
        back: How many came back since.
        new: How many failures that were none of it came since.
        is_counted: Whether the two are all; there may be more otherwise.
        returned: The ids, within it, of what came back.
    """

    entry: AuditEntry
    handed: int
    back: int
    new: int
    is_counted: bool
    returned: frozenset[str]

    @property
    def away(self) -> int:
        """How many have not come back."""
        return max(self.handed - self.back, 0)


@dataclass(frozen=True, slots=True)
class State:
    """What a failure is to people: a kind, for its looks, and words."""

    kind: str
    text: str


async def attempts_on(view: View, named: Named, wanted: FailureFilter) -> list[Attempt]:
    """The last retries of what a filter may name, the newest first."""
    found = await view.within(view.setup.audit.latest(place=named.name, limit=_LOOKED_THROUGH))
    retries = [one for one in found if one.action == "retry" and _overlaps(one, wanted)][:_SHOWN]
    return [await attempt_of(view, named, one) for one in retries]


async def attempt_of(view: View, named: Named, entry: AuditEntry) -> Attempt:
    """What has happened since a retry."""
    wanted = replace(read_described(entry.target), since=entry.at, until=None)
    later = await view.within(named.store.find(wanted, limit=_COUNTED, newest_first=True))
    back = [one for one in later if came_back(one, entry)]
    return Attempt(
        entry,
        entry.counts.get(_DONE, 0),
        len(back),
        len(later) - len(back),
        is_counted=len(later) < _COUNTED,
        returned=frozenset(one.retry_of or str(one.entry_id) for one in back),
    )


def came_back(failure: Failure, entry: AuditEntry) -> bool:
    """Whether a failure that is later than a retry was in it."""
    if failure.failed_at < entry.at:
        return False
    if entry.ids:
        return failure.entry_id in entry.ids or failure.retry_of in set(map(str, entry.ids))
    # What was made since has come back, if it has, of a later retry.
    return failure.envelope.time < entry.at


def state_of(failure: Failure, attempts: Sequence[Attempt]) -> State:
    """What a failure is to people."""
    if failure.in_hand:
        return State("busy", "Being retried")
    if failure.edit_of is not None:
        return State("edited", "Edited copy")
    if failure.retry_of is not None or any(came_back(failure, one.entry) for one in attempts):
        return State("back", "Came back")
    if any(failure.failed_at >= one.entry.at for one in attempts):
        return State("new", "New since the retry")
    return State("waiting", "Waiting")


async def retried(view: View, named: Named, failure_id: str) -> AuditEntry | None:
    """The last action on a failure that was chosen by itself."""
    found = await view.within(view.setup.audit.latest(place=named.name, limit=_LOOKED_THROUGH))
    return next((one for one in found if failure_id in set(map(str, one.ids))), None)


def _overlaps(entry: AuditEntry, wanted: FailureFilter) -> bool:
    mine = read_described(entry.target)
    return all(
        None in {getattr(mine, name), getattr(wanted, name)}
        or getattr(mine, name) == getattr(wanted, name)
        for name in (*_GROUP, "channel", "event_type", "key")
    )
