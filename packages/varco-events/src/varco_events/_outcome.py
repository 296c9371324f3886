"""What came of an event in one handler."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What came of an event in one handler.

    HANDLED: it returned, or was called in an earlier delivery and returned then.
    FAILED: it, its filter or a middleware raised.
    NOT_ADDRESSED: its filter was false.
    UNREADABLE: it should have had the event, whose bytes this process cannot read.
    """

    HANDLED = "handled"
    FAILED = "failed"
    NOT_ADDRESSED = "not_addressed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class HandlerOutcome:
    """What came of one event in one handler.

    Attributes:
        handler: Its full name, "module.qualified_name"; the second subscription of that name to an
            event is "...#2", so that names are unique within a delivery.
        outcome: See `Outcome`.
        error: Why, for FAILED and UNREADABLE.
    """

    handler: str
    outcome: Outcome
    error: Exception | None = None
