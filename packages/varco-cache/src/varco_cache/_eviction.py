"""Who goes when the cache is full: S3-FIFO (the default), LRU or FIFO.

All keep their entries in linked rings, so that adding, removing and moving one costs the same
whatever the size, and a sweep can stop at any entry and go on later.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from varco_cache._errors import CacheConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN = 4
"""The bit of `Slot.hits` that says the entry is in the main ring; the two bits below count hits."""


class Eviction(StrEnum):
    """The eviction policies by name."""

    S3_FIFO = "s3-fifo"
    LRU = "lru"
    FIFO = "fifo"


class Slot:
    """One entry of an in-memory cache, a link of a ring."""

    __slots__ = ("deadline", "epoch", "hits", "key", "next", "prev", "size", "tags", "value")

    prev: Slot
    next: Slot

    def __init__(
        self, key: Any, value: Any, deadline: float, tags: frozenset[str], epoch: int
    ) -> None:
        self.key: Any = key
        self.value: Any = value
        self.deadline: float = deadline
        self.tags: frozenset[str] = tags
        self.epoch: int = epoch
        self.hits: int = 0
        self.size: int = 0


def ring() -> Slot:
    """An empty ring: a link that is no entry, its own neighbour."""
    head = Slot(None, None, 0.0, frozenset(), 0)
    head.prev = head.next = head
    return head


def link(head: Slot, slot: Slot) -> None:
    """Put `slot` at the young end of the ring."""
    last = head.prev
    slot.prev = last
    slot.next = head
    last.next = head.prev = slot


class FifoPolicy:
    """The oldest goes."""

    touches = False

    def __init__(self) -> None:
        self._young = ring()
        self.rings: tuple[Slot, ...] = (self._young,)
        self.cursor: Slot | None = None
        """Where a sweep stands; it moves on by itself when that entry goes away."""

    def add(self, slot: Slot) -> None:
        """A new entry, the youngest."""
        link(self._young, slot)

    def remove(self, slot: Slot) -> None:
        """Take an entry out of its ring."""
        before, after = slot.prev, slot.next
        before.next = after
        after.prev = before
        if slot is self.cursor:
            self.cursor = after

    def touch(self, slot: Slot) -> None:
        """A hit; called only when `touches`."""

    def evict(self, epoch: int, spares: Callable[[Slot], bool]) -> Slot:  # noqa: ARG002 # see below
        """Take out the entry that goes next; there must be one.

        An entry that the policy would keep, but that is not of this `epoch`, goes all the same
        unless `spares` says that nothing invalidated it.
        """
        slot = self._young.next
        self.remove(slot)
        return slot

    def clear(self) -> None:
        """Forget all, without leaving cycles for the garbage collector."""
        for head in self.rings:
            slot = head.next
            while slot is not head:
                after = slot.next
                del slot.prev, slot.next
                slot = after
            head.prev = head.next = head
        self.cursor = None


class LruPolicy(FifoPolicy):
    """The one that was not used for the longest time goes."""

    touches = True

    def touch(self, slot: Slot) -> None:
        """A hit makes it the youngest."""
        self.remove(slot)
        link(self._young, slot)


class S3FifoPolicy(FifoPolicy):
    """A hundredth of the cache is a trial for new entries; those that are hit in it stay longer.

    After Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023), with a
    shorter trial that one hit passes, which measured better. A scan goes through the trial ring
    only. Evicted keys are remembered for two and a half times as many evictions as the cache has
    entries: one that left the main ring and comes back in that time goes there without a trial, and
    so does one that failed its trial and comes back twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self._main = ring()
        self.rings = (self._young, self._main)
        self._young_count = 0
        self._main_count = 0
        # Ghosts in pairs of places by key hash, where the older makes room: 15 bits of fingerprint,
        # whether the key came back before, and 16 bits of the time, which goes on with each
        # 2 ** _tick evictions, so that they last for many lives of a ghost.
        self._ghosts = array("I", bytes(8))
        self._evictions = self._tick = self._now = self._life = 0

    def add(self, slot: Slot) -> None:
        """A new entry: on trial, or in the main ring when it was evicted lately."""
        ghosts, hashed = self._ghosts, hash(slot.key)
        fingerprint = hashed * _MIX >> 16 & _FINGERPRINT
        place = hashed & (len(ghosts) - 2)
        if ghosts[place] >> 17 != fingerprint:
            place += 1
        ghost = ghosts[place]
        if ghost >> 17 == fingerprint:
            if self._now - ghost & _LOW > self._life:
                ghosts[place] = 0
            elif ghost & _CAME_BACK:
                slot.hits = MAIN
                self._main_count += 1
                link(self._main, slot)
                return
            else:
                ghosts[place] = ghost | _CAME_BACK
        self._young_count += 1
        link(self._young, slot)

    def remove(self, slot: Slot) -> None:
        """Take an entry out of its ring."""
        if slot.hits & MAIN:
            self._main_count -= 1
        else:
            self._young_count -= 1
        super().remove(slot)

    def evict(self, epoch: int, spares: Callable[[Slot], bool]) -> Slot:
        """Who failed the trial, or the oldest of the main ring that was not hit since its turn.

        So many are spared for a hit, then the next one goes all the same: no write has to walk
        through a whole ring of entries in use.
        """
        turns = _MOST_SPARED
        while True:
            on_trial = self._young_count * 100 > self._main_count or not self._main_count
            slot = (self._young if on_trial else self._main).next
            if slot.epoch is not epoch and not spares(slot):
                break
            if slot.hits & 3 == 0 or not turns:
                self._remember(slot, 0 if on_trial else _CAME_BACK)
                break
            turns -= 1
            self.remove(slot)
            slot.hits = MAIN if on_trial else slot.hits - 1
            self._main_count += 1
            link(self._main, slot)
        self.remove(slot)
        return slot

    def clear(self) -> None:
        """Forget all but the ghosts."""
        super().clear()
        self._young_count = self._main_count = 0

    def _remember(self, slot: Slot, came_back: int) -> None:
        ghosts, hashed = self._ghosts, hash(slot.key)
        entries = self._young_count + self._main_count
        if len(ghosts) < 4 * entries:
            ghosts = self._ghosts = array("I", bytes(4 << (4 * entries).bit_length()))
            self._tick = max(0, len(ghosts).bit_length() - 13)
            self._life = entries * 5 >> self._tick + 1
        self._evictions += 1
        now = self._now = self._evictions >> self._tick & _LOW
        fingerprint = hashed * _MIX >> 16 & _FINGERPRINT
        place = hashed & (len(ghosts) - 2)
        one, other = ghosts[place], ghosts[place + 1]
        if one >> 17 == fingerprint:
            came_back |= one & _CAME_BACK
        elif other >> 17 == fingerprint:
            came_back |= other & _CAME_BACK
            place += 1
        elif now - other & _LOW > now - one & _LOW:
            place += 1
        ghosts[place] = fingerprint << 17 | came_back | now


_MOST_SPARED = 64
_LOW = 0xFFFF
_CAME_BACK = 1 << 16
_FINGERPRINT = 0x7FFF
_MIX = 0x9E37_79B9_7F4A_7C15

_POLICIES: dict[Eviction, type[FifoPolicy]] = {
    Eviction.S3_FIFO: S3FifoPolicy,
    Eviction.LRU: LruPolicy,
    Eviction.FIFO: FifoPolicy,
}


def make_policy(eviction: Eviction | str) -> FifoPolicy:
    """The policy of this name.

    Raises:
        CacheConfigError: There is none.
    """
    try:
        return _POLICIES[Eviction(eviction)]()
    except ValueError:
        names = ", ".join(repr(one.value) for one in Eviction)
        raise CacheConfigError("eviction", eviction, f"one of {names}") from None
