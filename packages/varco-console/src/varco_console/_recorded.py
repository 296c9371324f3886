"""Doing one thing on record: in the audit before it is done, and with what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from varco_console._audit import AuditEntry, AuditState
from varco_console._errors import RefusedError
from varco_console._view import View
from varco_events import EventsError


async def recorded(
    view: View,
    action: str,
    place: str,
    target: dict[str, str],
    doing: Callable[[], Awaitable[int]],
) -> AuditEntry:
    """Do something that says how many it was done to.

    Raises:
        Exception: as `doing` does; the audit says that it failed.
    """
    audit = view.setup.audit
    entry = AuditEntry(actor=view.user, action=action, place=place, target=target, total=1)
    entry = await view.within(audit.put(entry))
    try:
        count = await view.within(doing())
    except Exception as error:
        failed = replace(entry, state=AuditState.FAILED, errors=(told(error),))
        await view.within(audit.put(failed))
        raise
    done = replace(entry, state=AuditState.DONE, counts={"done": count}, seen=count, total=count)
    return await view.within(audit.put(done))


def told(error: Exception) -> str:
    """What the audit says of an error: nothing of one that nobody wrote for operators."""
    if isinstance(error, (RefusedError, EventsError)):
        return str(error)
    return "It failed; why is in the log of the process."
