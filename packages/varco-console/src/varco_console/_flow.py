"""What is on its way: outboxes and inboxes by channel, and the keys that are held back."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from varco_console._access import Permission
from varco_console._errors import RefusedError
from varco_console._recorded import recorded
from varco_console._setup import Named
from varco_console._view import View
from varco_events import HeldKey, OutboxFailureStore, StoreFigures

_HELD_SHOWN: Final = 100
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
    error: RefusedError | None = None
    change: int | None = None
    seconds: float = 0.0
    held: list[HeldKey] | None = None


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
    found = [await _flow_of(view, looks, one) for one in view.setup.stores.values()]
    return view.page("flow.html", flows=found)


async def _flow_of(view: View, looks: Looks, named: Named) -> Flow:
    try:
        figures = await view.within(named.store.figures())
        held = None
        if isinstance(named.store, OutboxFailureStore):
            held = await view.within(named.store.held_keys(limit=_HELD_SHOWN))
    except RefusedError as error:
        return Flow(named, error=error)
    change, seconds = looks.change(named, figures)
    return Flow(named, figures, None, change, seconds, held)


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
    await recorded(view, "release", named.name, target, named.store.release_keys(keys))
    return view.go("flow")
