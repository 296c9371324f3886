"""Doing one thing on record: in the audit before it is done, and with what came of it."""

from collections.abc import Awaitable
from dataclasses import replace

from varco_console._audit import AuditEntry, AuditState
from varco_console._view import View


async def recorded(
    view: View, action: str, place: str, target: dict[str, str], doing: Awaitable[int]
) -> AuditEntry:
    """Do something that says how many it was done to.

    Raises:
        Exception: as `doing` does; the audit says that it failed.
    """
    audit = view.setup.audit
    entry = AuditEntry(actor=view.user, action=action, place=place, target=target, total=1)
    entry = await audit.put(entry)
    try:
        count = await view.within(doing)
    except Exception as error:
        await audit.put(replace(entry, state=AuditState.FAILED, errors=(str(error),)))
        raise
    return await audit.put(
        replace(entry, state=AuditState.DONE, counts={"done": count}, seen=count, total=count)
    )
