"""The first page, the flow, and the audit."""

from datetime import timedelta
from typing import Any, Final

from starlette.responses import Response

from varco_console._chart import sparkline
from varco_console._filters import read_moment
from varco_console._setup import Named
from varco_console._view import View
from varco_events import FailureFilter, time_edges

_DAY: Final = timedelta(days=1)
_BARS: Final = 24
_LATEST: Final = 5
_AUDIT_PAGE: Final = 50


async def overview(view: View) -> Response:
    """How everything is, at a glance."""
    return view.page(
        "overview.html",
        tiles=[await _tile(view, one) for one in view.setup.stores.values()],
        latest=await view.within(view.setup.audit.latest(limit=_LATEST)),
        open_breakers=[one for one in view.setup.breakers if one.state.value == "open"],
    )


async def _tile(view: View, named: Named) -> dict[str, Any]:
    """A store's figures; or why there are none, which must not hide the other stores."""
    figures, error = await view.asked(named.store.figures())
    found = None
    if figures is not None:
        edges = time_edges(figures.at - _DAY, figures.at, _BARS)
        wanted = FailureFilter(since=edges[0])
        found, error = await view.asked(named.store.groups(wanted, limit=_LATEST, edges=edges))
    if found is None:
        return {"named": named, "error": error}
    counts = [sum(one.counts[place] for one in found) for place in range(_BARS)]
    return {
        "named": named,
        "error": None,
        "figures": figures,
        "sparkline": sparkline(counts),
        "recent": sum(counts),
        "groups": found,
    }


async def audit(view: View) -> Response:
    """Who did what."""
    before = view.query.get("before")
    moment = read_moment("before", before) if before else None
    found = await view.within(view.setup.audit.latest(before=moment, limit=_AUDIT_PAGE + 1))
    return view.page(
        "audit.html",
        entries=found[:_AUDIT_PAGE],
        before=found[_AUDIT_PAGE - 1].at.isoformat() if len(found) > _AUDIT_PAGE else None,
    )
