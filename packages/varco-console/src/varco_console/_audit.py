"""Who did what in the console, kept."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4

from varco_console._errors import AuditConflictError


class AuditState(StrEnum):
    """How far an action is.

    RUNNING: begun, and not known to have ended.
    PAUSED: a part of it is done; it can be continued.
    DONE: it has ended.
    FAILED: it ended with an error.
    """

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did.

    It is kept before anything is done, and again with what came of it.

    Attributes:
        entry_id: Its identity.
        at: When it began.
        changed_at: When it was kept last.
        actor: Who did it.
        action: What was done: "retry", "discard", "edit", "release", "open", "drop tag", …
        place: Where: the name of a store, a breaker, a cache.
        target: What it was done to: a filter, a key, a tag.
        ids: The failures that were chosen one by one.
        state: How far it is.
        outcomes: What came of each of `ids`.
        counts: How many had which outcome.
        errors: A few of the errors.
        seen: How many it has looked at.
        total: How many there were when it began.
        continuation: Where it goes on.
        version: How often it was kept; 0 before the first time.
    """

    entry_id: UUID = field(default_factory=uuid4)
    at: datetime = field(default_factory=_now)
    changed_at: datetime = field(default_factory=_now)
    actor: str
    action: str
    place: str
    target: Mapping[str, str] = field(default_factory=dict[str, str])
    ids: tuple[UUID, ...] = ()
    state: AuditState = AuditState.RUNNING
    outcomes: Mapping[str, str] = field(default_factory=dict[str, str])
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    errors: tuple[str, ...] = ()
    seen: int = 0
    total: int = 0
    continuation: str | None = None
    version: int = 0


class AuditLog(ABC):
    """Where the audit is kept. Safe to use from many tasks, and processes where it is shared."""

    @abstractmethod
    async def put(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry, in place of the one with its id.

        Returns:
            The entry with its next version.

        Raises:
            AuditConflictError: what is kept has another version: somebody was faster.
        """

    @abstractmethod
    async def get(self, entry_id: UUID) -> AuditEntry | None:
        """One entry; None when there is none."""

    @abstractmethod
    async def latest(
        self, *, place: str | None = None, before: datetime | None = None, limit: int = 50
    ) -> list[AuditEntry]:
        """The last entries, the newest first.

        Args:
            place: Only those of this place.
            before: Only those that began before.
            limit: How many at most.
        """


class MemoryAudit(AuditLog):
    """An audit in the memory of one process, for tests and for trying the console.

    It is lost when the process ends, and other processes do not see it. Belongs to one event loop:
    nothing awaits between a look and a change.

    Args:
        max_size: How many entries are kept; the oldest go first.
    """

    def __init__(self, *, max_size: int = 10_000) -> None:
        self._entries: OrderedDict[UUID, AuditEntry] = OrderedDict()
        self._max_size = max_size

    async def put(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry."""
        known = self._entries.get(entry.entry_id)
        check_version(entry, None if known is None else known.version)
        kept = next_version(entry)
        self._entries[entry.entry_id] = kept
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)
        return kept

    async def get(self, entry_id: UUID) -> AuditEntry | None:
        """One entry."""
        return self._entries.get(entry_id)

    async def latest(
        self, *, place: str | None = None, before: datetime | None = None, limit: int = 50
    ) -> list[AuditEntry]:
        """The last entries."""
        found: list[AuditEntry] = []
        for one in reversed(self._entries.values()):
            if len(found) == limit:
                break
            if (place is None or one.place == place) and (before is None or one.at < before):
                found.append(one)
        return found


def check_version(entry: AuditEntry, kept: int | None) -> None:
    """Refuse a change of what is not there in its version.

    Raises:
        AuditConflictError: it is another one.
    """
    if entry.version != (kept or 0):
        raise AuditConflictError(
            f"entry {entry.entry_id} of the audit has version {kept}, and the change is of version "
            f"{entry.version}; read it again"
        )


def next_version(entry: AuditEntry) -> AuditEntry:
    """The entry as it is kept."""
    return replace(entry, version=entry.version + 1, changed_at=_now())
