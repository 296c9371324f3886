"""The pages of failures: groups, entries, one entry, and its edited copy."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from starlette.responses import Response

from varco_console._access import Permission
from varco_console._attempts import attempts_on, retried, state_of
from varco_console._audit import AuditEntry, AuditState
from varco_console._chart import Chart, chart, sparkline
from varco_console._errors import RefusedError
from varco_console._filters import PERIODS, Choice, read_choice, read_page
from varco_console._flow import busiest
from varco_console._recorded import told
from varco_console._redaction import edited_payload, show, shown_headers
from varco_console._setup import Named
from varco_console._view import View
from varco_events import Failure, FailureFilter, FailureGroup, NoSuchFailureError, StoreFigures

_GROUPS_A_PAGE: Final = 50
_ENTRIES_A_PAGE: Final = 50
_MOST_GROUPS: Final = 5_000
_SEARCHED: Final = 1_000


async def groups(view: View) -> Response:
    """The failures of a store by error and handler."""
    named, choice = view.named(), read_choice(view.query)
    figures = await view.within(named.store.figures())
    found, over_time = await _grouped(view, named, choice, figures)
    page = read_page(view.query.get("page", "1"))
    begin = (page - 1) * _GROUPS_A_PAGE
    return view.page(
        "groups.html",
        named=named,
        choice=choice,
        periods=PERIODS,
        channels=sorted(name for name, _ in busiest(figures)),
        chart=over_time,
        groups=[
            (one, sparkline(one.counts), choice.within(one.within(choice.wanted)))
            for one in found[begin : begin + _GROUPS_A_PAGE]
        ],
        kinds=len(found),
        total=sum(one.count for one in found),
        page=page,
        more=len(found) > begin + _GROUPS_A_PAGE,
        attempts=await attempts_on(view, named, choice.wanted),
    )


async def _grouped(
    view: View, named: Named, choice: Choice, figures: StoreFigures
) -> tuple[list[FailureGroup], Chart]:
    """The groups that match, and the chart of all of them together."""
    moments = [one.oldest_failed_at for one in figures.channels.values()]
    edges = choice.edges(min((one for one in moments if one is not None), default=None))
    found = await view.within(named.store.groups(choice.wanted, limit=_MOST_GROUPS, edges=edges))
    counts = [sum(one.counts[place] for one in found) for place in range(len(edges) - 1)]
    return found, chart(counts, edges)


async def entries(view: View) -> Response:
    """The failures that match, one by one."""
    named, choice = view.named(), read_choice(view.query)
    cursor = view.query.get("cursor")
    page = await view.within(named.store.page(choice.wanted, cursor=cursor, limit=_ENTRIES_A_PAGE))
    figures = await view.within(named.store.figures())
    found, over_time = await _grouped(view, named, choice, figures)
    attempts = await attempts_on(view, named, choice.wanted)
    return view.page(
        "entries.html",
        named=named,
        choice=choice,
        periods=PERIODS,
        channels=sorted(name for name, _ in busiest(figures)),
        chart=over_time,
        total=sum(one.count for one in found),
        items=[(one, state_of(one, attempts)) for one in page.items],
        next=page.next,
        cursor=cursor,
        attempts=attempts,
    )


async def entry(view: View) -> Response:
    """One failure; or, when it is gone, what became of it."""
    named, entry_id = view.named(), view.request.path_params["entry_id"]
    try:
        failure = await view.within(named.store.get(entry_id))
    except NoSuchFailureError:
        return await _gone(view, entry_id)
    attempts = await attempts_on(view, named, _like(failure))
    may_see = view.may(Permission.PAYLOAD)
    return view.page(
        "entry.html",
        named=named,
        failure=failure,
        state=state_of(failure, attempts),
        payload=show(failure.envelope, view.setup.hides) if may_see else None,
        headers=shown_headers(failure.envelope, view.setup.hides) if may_see else None,
        trace_id=trace_id_of(failure),
        trace_url=trace_url(view, failure),
        group=read_choice({}).within(_like(failure)).query(),
    )


async def edit(view: View) -> Response:
    """A form to change a failure's payload; sent, it puts a changed copy beside the original."""
    named, entry_id = view.named(), view.request.path_params["entry_id"]
    view.require(Permission.EDIT)
    view.require(Permission.PAYLOAD)
    failure = await view.within(named.store.get(entry_id))
    if view.request.method == "GET":
        return _edit_page(view, failure, None, None)
    form = await view.form()
    text = form.get("payload")
    try:
        payload = edited_payload(failure.envelope, text, view.setup.hides)
    except RefusedError as error:
        return _edit_page(view, failure, text, error)
    audit = view.setup.audit
    begun = AuditEntry(actor=view.user, action="edit", place=named.name, ids=(entry_id,), total=1)
    record = await view.within(audit.put(begun))
    try:
        copy = await view.within(named.store.edit(entry_id, payload=payload))
    except Exception as error:
        failed = replace(record, state=AuditState.FAILED, errors=(told(error),))
        await view.within(audit.put(failed))
        raise
    done = replace(record, state=AuditState.DONE, seen=1, target={"copy": str(copy.entry_id)})
    await view.within(audit.put(done))
    return view.go(f"failures/{named.slug}/entries/{copy.entry_id}")


def _edit_page(
    view: View, failure: Failure, text: str | None, error: RefusedError | None
) -> Response:
    shown = show(failure.envelope, view.setup.hides)
    return view.page(
        "edit.html",
        status=200 if error is None else error.http_status,
        named=view.named(),
        failure=failure,
        shown=shown,
        text=shown.text if text is None else text,
        error=error,
    )


async def _gone(view: View, entry_id: UUID) -> Response:
    """What became of a failure that is not there any more."""
    named = view.named()
    record = await retried(view, named, str(entry_id))
    returned: Failure | None = None
    if record is not None and record.action == "retry":
        later = await view.within(
            named.store.find(FailureFilter(since=record.at), limit=_SEARCHED, newest_first=True)
        )
        returned = next((one for one in later if one.retry_of == str(entry_id)), None)
    return view.page(
        "gone.html",
        status=404 if record is None else 200,
        named=named,
        entry_id=entry_id,
        record=record,
        outcome=record.outcomes.get(str(entry_id)) if record else None,
        returned=returned,
    )


def _like(failure: Failure) -> FailureFilter:
    """The filter of a failure's group."""
    return FailureFilter(
        error_type=failure.error_type,
        handler=failure.handler,
        consumer_group=failure.consumer_group,
    )


def trace_id_of(failure: Failure) -> str | None:
    """The id of the trace that an event was made in, if its header is one of W3C."""
    parts = (failure.trace_parent or "").split("-")
    is_one = len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum()  # noqa: PLR2004  # W3C
    return parts[1] if is_one else None


def trace_url(view: View, failure: Failure) -> str | None:
    """Where that trace can be seen."""
    trace_id = trace_id_of(failure)
    if trace_id is None or view.setup.trace_url is None:
        return None
    return view.setup.trace_url.replace("{trace_id}", trace_id)
