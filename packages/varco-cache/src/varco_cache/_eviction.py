"""Who goes when the cache is full: S3-FIFO (the default), LRU or FIFO.

All keep their entries in linked rings, so that adding, removing and moving one costs the same
whatever the size, and a sweep can stop at any entry and go on later.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from typing import Any

from varco_cache._errors import CacheConfigError
from varco_cache._tags import NO_CELLS, Cells

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

    def __init__(self, key: Any, value: Any, deadline: float, tags: Cells, epoch: int) -> None:
        self.key = key
        self.value = value
        self.deadline = deadline
        self.tags = tags
        self.epoch = epoch
        self.hits = 0
        self.size = 0


def ring() -> Slot:
    """An empty ring: a link that is no entry, its own neighbour."""
    head = Slot(None, None, 0.0, NO_CELLS, 0)
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

    def victim(self, epoch: int) -> Slot:  # noqa: ARG002 # an entry's epoch matters to those who move it
        """The entry to evict next, still linked; there must be one.

        An entry that a policy would spare but whose `epoch` is not this one is returned as well:
        the cache looks whether it was invalidated, and asks again.
        """
        return self._young.next

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
    only. Keys that failed their trial are remembered for four fifths as many evictions as the
    cache has entries; when one comes back in that time, it skips the trial.
    """

    def __init__(self) -> None:
        super().__init__()
        self._main = ring()
        self.rings = (self._young, self._main)
        self._young_count = 0
        self._main_count = 0
        # Ghosts: 32 bits of fingerprint and 32 bits of the eviction's number, by key hash.
        self._ghosts = array("Q", bytes(8 * 64))
        self._evictions = 0

    def add(self, slot: Slot) -> None:
        """A new entry: on trial, or in the main ring when it was evicted lately."""
        hashed = hash(slot.key)
        ghosts = self._ghosts
        ghost = ghosts[hashed & (len(ghosts) - 1)]
        if ghost and ghost >> 32 == hashed * _MIX >> 16 & _LOW:
            age = self._evictions - (ghost & _LOW) & _LOW
            if age * 5 <= self._main_count * 4:
                slot.hits = MAIN
                self._main_count += 1
                link(self._main, slot)
                return
        self._young_count += 1
        link(self._young, slot)

    def remove(self, slot: Slot) -> None:
        """Take an entry out of its ring."""
        if slot.hits & MAIN:
            self._main_count -= 1
        else:
            self._young_count -= 1
        super().remove(slot)

    def victim(self, epoch: int) -> Slot:
        """Who failed the trial, or the oldest of the main ring that was not hit since its turn.

        So many are spared for a hit, then the next one goes all the same: no write has to walk
        through a whole ring of entries in use.
        """
        spared = 0
        while True:
            if self._young_count * 100 > self._main_count or not self._main_count:
                slot = self._young.next
                if slot.epoch is not epoch:
                    return slot
                if slot.hits and spared < _MOST_SPARED:
                    spared += 1
                    self.remove(slot)
                    slot.hits = MAIN
                    self._main_count += 1
                    link(self._main, slot)
                    continue
                self._remember(slot)
                return slot
            slot = self._main.next
            if slot.hits == MAIN or slot.epoch is not epoch or spared == _MOST_SPARED:
                return slot
            spared += 1
            super().remove(slot)
            slot.hits -= 1
            link(self._main, slot)

    def clear(self) -> None:
        """Forget all but the ghosts."""
        super().clear()
        self._young_count = self._main_count = 0

    def _remember(self, slot: Slot) -> None:
        ghosts = self._ghosts
        if len(ghosts) < 2 * self._main_count:
            ghosts = self._ghosts = array("Q", bytes(16 * len(ghosts)))
        self._evictions += 1
        hashed = hash(slot.key)
        number = self._evictions & _LOW
        ghosts[hashed & (len(ghosts) - 1)] = (hashed * _MIX >> 16 & _LOW) << 32 | number


_MOST_SPARED = 64
_LOW = 0xFFFF_FFFF
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
