"""Entries of outboxes and inboxes as failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varco_events._dlq import RELAY_HANDLER
from varco_events._envelope import GROUP
from varco_events._failures import Failure

if TYPE_CHECKING:
    from datetime import datetime

    from varco_events._inbox import InboxEntry
    from varco_events._outbox import OutboxEntry


def parts_of_error(text: str | None) -> tuple[str, str]:
    """The class and the message of a `last_error`."""
    error_type, _, message = (text or "").partition(": ")
    return error_type[:255], message


def error_of_parts(error_type: str, message: str) -> str:
    """The `last_error` of a class and a message."""
    return f"{error_type}: {message}"


def relay_failure(entry: OutboxEntry, failed_at: datetime, *, position: str = "") -> Failure:
    """A parked entry as a failure."""
    error_type, message = parts_of_error(entry.last_error)
    return Failure(
        entry_id=entry.entry_id,
        envelope=entry.envelope,
        channel=entry.channel,
        handler=RELAY_HANDLER,
        error_type=error_type,
        error_message=message,
        attempts=entry.attempts,
        failed_at=failed_at,
        origin="relay",
        position=position,
    )


def inbox_failure(
    entry: InboxEntry, failed_at: datetime, *, in_hand: bool, position: str = ""
) -> Failure:
    """An entry that waits for another attempt, as a failure."""
    error_type, message = parts_of_error(entry.last_error)
    return Failure(
        entry_id=entry.entry_id,
        envelope=entry.envelope,
        channel=entry.channel,
        handler=entry.handler_name or RELAY_HANDLER,
        consumer_group=entry.headers.get(GROUP, ""),
        error_type=error_type,
        error_message=message,
        attempts=entry.attempts,
        failed_at=failed_at,
        in_hand=in_hand,
        origin="inbox",
        position=position,
    )
