"""Processes that end at any await, and stores as such a process sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import new_class
from typing import TYPE_CHECKING, Any, cast

import anyio.lowlevel

from varco_events._deduplication import AbstractDeduplicator
from varco_events._dlq import AbstractDeadLetterQueue
from varco_events._inbox import InboxRepository
from varco_events._outbox import OutboxRepository

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from varco_events._dlq import DeadLetterEntry
    from varco_events._inbox import InboxEntry


class Killed(BaseException):
    """What code sees of a kill: nothing after it reaches anything outside."""


class How(StrEnum):
    """How work is cut off."""

    KILL = "kill"
    CANCEL = "cancel"
    ERROR = "error"


@dataclass(frozen=True)
class Cut:
    """Work is cut off at its `after`-th await."""

    how: How
    after: int


class Life:
    """The life of one process; what that awaits outside of itself goes through `tick`.

    Attributes:
        is_over: Whether it was killed.
        struck: How often its work was cut off.
        cancelled: How many of these were cancellations.
    """

    def __init__(self) -> None:
        self.is_over: bool = False
        self.struck: int = 0
        self.cancelled: int = 0
        self._cut: Cut | None = None
        self._scope: anyio.CancelScope | None = None
        self._left = 0
        self._on_death: list[Callable[[], object]] = []

    def on_death(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the process is killed: it closes what leads outside."""
        self._on_death.append(callback)

    def expect(self, cut: Cut | None, scope: anyio.CancelScope) -> None:
        """Cut off what is done from here on, in `scope`."""
        self._cut, self._scope = cut, scope
        self._left = cut.after if cut is not None else 0

    def die(self) -> None:
        """Be killed."""
        self._cut = None
        if not self.is_over:
            self.is_over = True
            self.struck += 1
            for callback in self._on_death:
                callback()

    def count(self) -> How | None:
        """Count one await; how the work is cut off here, if it is."""
        if self._cut is None or self.is_over:
            return None
        self._left -= 1
        if self._left:
            return None
        how, self._cut = self._cut.how, None
        if how is How.KILL:
            self.die()
        else:
            self.struck += 1
        if how is How.CANCEL and self._scope is not None:
            self.cancelled += 1
            self._scope.cancel()
        return how

    async def tick_done(self) -> None:
        """The moment after something that has no await of its own behind it: only a kill cuts."""
        if self.is_over or (self._cut is not None and self._cut.how is How.KILL):
            await self.tick()

    async def tick(self) -> None:
        """One await, at which the work may be cut off."""
        how = self.count()
        if self.is_over:
            raise Killed
        if how is How.ERROR:
            raise ConnectionError("the line was cut")
        await anyio.lowlevel.checkpoint()


_OUTBOX = (
    *("save", "save_many", "get_pending", "delete", "delete_many"),
    *("claim", "renew", "release", "park", "wait_for_work"),
)
_INBOX = ("save", "mark_processed", "get_unprocessed", "claim", "release", "is_processed")
_QUEUE = ("pop_batch", "ack", "nack", "count", "peek")


def outbox_of(life: Life, inner: OutboxRepository) -> OutboxRepository:
    """The outbox as a process sees it."""
    direct = {"now": inner.now, "notify": inner.notify}
    return _seen(OutboxRepository, life, inner, _OUTBOX, direct)  # type: ignore[type-abstract]  # nothing of it is left abstract


def queue_of(
    life: Life, inner: AbstractDeadLetterQueue, refuses: Callable[[], bool]
) -> AbstractDeadLetterQueue:
    """The dead letters as a process sees them; some pushes it `refuses`."""

    async def push(entry: DeadLetterEntry) -> None:
        await life.tick()
        if refuses():
            raise ConnectionError("the queue is out of order")
        await inner.push(entry)
        await life.tick()

    return _seen(AbstractDeadLetterQueue, life, inner, _QUEUE, {"push": push})  # type: ignore[type-abstract]  # likewise


def inbox_of(life: Life, inner: InboxRepository) -> InboxRepository:
    """The inbox as a process sees it."""

    @asynccontextmanager
    async def handling(entry: InboxEntry) -> AsyncGenerator[bool]:
        await life.tick()
        async with inner.handling(entry) as is_new:
            yield is_new
            await life.tick_done()
        await life.tick_done()

    direct: dict[str, Callable[..., Any]] = {"now": inner.now, "handling": handling}
    names: tuple[str, ...] = _INBOX
    if type(inner).discard is not InboxRepository.discard:
        names += ("discard",)
    return _seen(InboxRepository, life, inner, names, direct)  # type: ignore[type-abstract]  # likewise


def deduplicator_of(life: Life, inner: AbstractDeduplicator) -> AbstractDeduplicator:
    """The deduplicator as a process sees it."""
    names = ("is_duplicate", "mark_seen")
    return _seen(AbstractDeduplicator, life, inner, names, {})  # type: ignore[type-abstract]  # likewise


def _seen[T](
    base: type[T],
    life: Life,
    inner: T,
    awaited: Iterable[str],
    direct: dict[str, Callable[..., Any]],
) -> T:
    """An object of `base` that passes everything on to `inner`."""
    members = {name: _passing(life, getattr(inner, name)) for name in awaited}
    members |= {name: staticmethod(function) for name, function in direct.items()}
    made = new_class(base.__name__, (base,), exec_body=lambda space: space.update(members))
    return cast("T", made())


def _passing(life: Life, method: Callable[..., Any]) -> Any:
    async def passing(*args: Any, **kwargs: Any) -> Any:
        await life.tick()
        result = await method(*args, **kwargs)
        await life.tick()
        return result

    return staticmethod(passing)
