"""Retrying and discarding: what was chosen, or all that match, step by step and on record."""

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import anyio
from starlette.responses import Response

from varco_console._access import Permission
from varco_console._attempts import attempt_of
from varco_console._audit import AuditEntry, AuditState
from varco_console._errors import AuditConflictError, RefusedError
from varco_console._filters import Choice, describe, read_choice, read_described
from varco_console._setup import Named
from varco_console._view import Form, View
from varco_events import EventsError

_MOST_CHOSEN: Final = 200
_AT_ONCE: Final = 200
# A step goes on until it took so long, and is cut off when it took too long.
_STEP_SECONDS: Final = 1.0
_LONGEST_STEP: Final = 30.0
_MOST_ERRORS: Final = 20
# Who runs a step and says nothing for so long has died.
_SILENCE: Final = timedelta(seconds=2 * _LONGEST_STEP)
_OF_FAILURE: Final = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}: ")
_NEEDS: Final = {"retry": Permission.RETRY, "discard": Permission.DISCARD}


async def act(view: View) -> Response:
    """Retry or discard what a form names; what cannot be undone, or is much, is asked about."""
    form = await view.form()
    named = view.named()
    action, _, scope = form.get("do").partition("-")
    if action not in _NEEDS or scope not in {"chosen", "matching"}:
        raise RefusedError(400, "Nothing was done", "The form names no action that there is.")
    view.require(_NEEDS[action])
    choice = read_choice(form.single())
    ids = chosen(form) if scope == "chosen" else ()
    if (scope == "matching" or action == "discard") and form.get("confirmed") != "yes":
        return await _ask(view, named, action, choice, ids)
    # By the clock of the store: what has failed since is told by it.
    now = (await view.within(named.store.figures())).at
    begun = AuditEntry(
        at=now,
        actor=view.user,
        action=action,
        place=named.name,
        target=describe(choice.wanted),
        ids=ids,
        total=len(ids),
        state=AuditState.PAUSED,
    )
    entry = await view.within(view.setup.audit.put(begun))
    entry = await _step(view, named, entry)
    return view.go(f"actions/{entry.entry_id}")


def chosen(form: Form) -> tuple[UUID, ...]:
    """The failures that a form names one by one.

    Raises:
        RefusedError: none, too many, or what is no id.
    """
    try:
        ids = tuple(dict.fromkeys(UUID(text) for text in form.all("ids")))
    except ValueError as error:
        raise RefusedError(400, "Nothing was done", "The form names no failures.") from error
    if not 1 <= len(ids) <= _MOST_CHOSEN:
        raise RefusedError(
            400,
            "Nothing was chosen" if not ids else "Too much was chosen",
            f"Tick from 1 to {_MOST_CHOSEN} failures, or act on all that match.",
        )
    return ids


async def _ask(
    view: View, named: Named, action: str, choice: Choice, ids: tuple[UUID, ...]
) -> Response:
    count = len(ids) or await view.within(named.store.count(choice.wanted))
    return view.page(
        "confirm.html",
        named=named,
        action=action,
        choice=choice,
        ids=ids,
        count=count,
        scope="chosen" if ids else "matching",
    )


async def show(view: View) -> Response:
    """How far an action is, and what came of it."""
    entry = await _entry(view)
    named = _named(view, entry)
    is_retry = entry.action == "retry"
    silent = datetime.now(UTC) - entry.changed_at > _SILENCE
    goes_on = entry.state is AuditState.PAUSED or (entry.state is AuditState.RUNNING and silent)
    return view.page(
        "action.html",
        entry=entry,
        errors=grouped(entry.errors),
        named=named,
        goes_on=goes_on and named is not None and view.may(_NEEDS.get(entry.action, "")),
        automatic="paused" not in view.query and not entry.errors and not silent,
        group=Choice(read_described(entry.target), "all", entry.at).query() if named else "",
        attempt=await attempt_of(view, named, entry) if named and is_retry else None,
    )


def grouped(errors: Iterable[str]) -> list[tuple[str, int]]:
    """Each error once, without the failure that it is of, and how many had it."""
    counts = Counter(_OF_FAILURE.sub("", error) for error in errors)
    return counts.most_common()


async def step(view: View) -> Response:
    """Go on with an action."""
    form = await view.form()
    entry = await _entry(view)
    named = _named(view, entry)
    if named is None or entry.action not in _NEEDS:
        raise RefusedError(409, "This cannot be continued", "It has ended.")
    view.require(_NEEDS[entry.action])
    if form.get("version") == str(entry.version) and entry.state in {
        AuditState.PAUSED,
        AuditState.RUNNING,
    }:
        entry = await _step(view, named, entry)
    return view.go(f"actions/{entry.entry_id}")


async def _step(view: View, named: Named, entry: AuditEntry) -> AuditEntry:
    """Act for a second or so. Of several who try at once, the audit lets one."""
    audit = view.setup.audit
    try:
        running = replace(entry, state=AuditState.RUNNING, errors=())
        entry = await view.within(audit.put(running))
    except AuditConflictError:
        return entry
    end = time.monotonic() + _STEP_SECONDS
    try:
        while entry.state is AuditState.RUNNING:
            before = entry.seen
            entry = await view.within(_once(named, entry), _LONGEST_STEP)
            if time.monotonic() >= end or entry.seen == before:
                break
    except (EventsError, RefusedError) as error:
        entry = replace(entry, errors=(*entry.errors, str(error)))
    except BaseException:
        text = "It was cut off; why is in the log of the process."
        entry = replace(entry, state=AuditState.PAUSED, errors=(*entry.errors, text))
        with anyio.move_on_after(view.setup.timeout, shield=True):
            await audit.put(entry)
        raise
    if entry.state is AuditState.RUNNING:
        entry = replace(entry, state=AuditState.PAUSED)
    return await view.within(audit.put(entry))


async def _once(named: Named, entry: AuditEntry) -> AuditEntry:
    """One call of the store."""
    store, retries = named.store, entry.action == "retry"
    if entry.ids:
        result = await (store.retry if retries else store.discard)(entry.ids)
    else:
        act_on = store.retry_all if retries else store.discard_all
        wanted = read_described(entry.target)
        result = await act_on(wanted, limit=_AT_ONCE, continuation=entry.continuation)
    counts = Counter(dict(entry.counts))
    counts.update(outcome.value for outcome in result.outcomes.values())
    errors = [*entry.errors, *(f"{one}: {error}" for one, error in result.errors.items())]
    return replace(
        entry,
        state=AuditState.RUNNING if result.continuation else AuditState.DONE,
        outcomes={str(one): out.value for one, out in result.outcomes.items()} if entry.ids else {},
        counts=dict(counts),
        errors=tuple(errors[:_MOST_ERRORS]),
        seen=result.seen,
        total=result.total,
        continuation=result.continuation,
    )


async def _entry(view: View) -> AuditEntry:
    entry = await view.within(view.setup.audit.get(view.request.path_params["entry_id"]))
    if entry is None:
        raise RefusedError(
            404,
            "There is no such action",
            "The audit has forgotten it, or it is in the memory of another process.",
        )
    return entry


def _named(view: View, entry: AuditEntry) -> Named | None:
    return next((one for one in view.setup.stores.values() if one.name == entry.place), None)
