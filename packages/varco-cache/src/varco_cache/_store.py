"""The entries of an in-memory cache: bounded, expiring, and invalidated at a cost without size.

An invalidation of tags or of a prefix only begins a new epoch and waits; an entry of an older epoch
is looked at when it is next met. Writes, and a sweep while the cache is started, meet them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_cache._checks import checked_ttl
from varco_cache._entry import FOREVER, MISSING
from varco_cache._errors import CacheKeyError
from varco_cache._eviction import Eviction, Slot, make_policy
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from varco_cache._lease import LeaseBook

_STEP = 2
"""Entries that a write sweeps when a sweep is due: reclaiming needs no background task."""

_SLACK = 1024
"""Invalidations that may wait beyond the number of entries before all entries are looked at."""

_NO_TAGS = frozenset[str]()

_USUAL = 10**9
"""Seconds below which a time to live needs no closer look; an `int`, as both kinds compare to."""


def remaining(deadline: float, now: float) -> float:
    """Seconds from `now` to `deadline`, `FOREVER` when there is none."""
    return FOREVER if deadline == FOREVER else deadline - now


class Store:
    """What an `InMemoryCache` holds.

    Not safe for several threads. Nothing here awaits, so each call is one step for every task of
    the loop: that is what protects the state.
    """

    leases: LeaseBook

    def __init__(
        self,
        *,
        max_size: int | None,
        max_bytes: int | None,
        default_ttl: float | None,
        eviction: Eviction | str,
        sizeof: Callable[[Any, Any], int],
        clock: Callable[[], float],
        refuses: Callable[[Any, dict[str, Any]], bool] | None,
    ) -> None:
        self._max_size = FOREVER if max_size is None else max_size
        self._max_bytes = max_bytes
        self._default_ttl = default_ttl
        self._sizeof = sizeof
        self._clock = clock
        self._rule = refuses
        self._slots: dict[Any, Slot] = {}
        self._policy = make_policy(eviction)
        self._touches = self._policy.touches
        self._on_hit = self._touches or refuses is not None
        self._leased = self.leases.by_key
        self._bytes = 0
        self._hits: int = 0
        self._misses: int = 0
        self._sets = self._evictions = self._expirations = 0
        self._epoch = 0
        # Entries that were stored with the same tags one after the other share one set.
        self._last_tags = _NO_TAGS
        self._tags: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._lengths: set[int] = set()
        self._soonest = FOREVER
        self._sweeping = False
        self._sweep_epoch = 0
        self._sweep_ring = 0
        self._sweep_left: float = 0

    def peek(self, key: Any) -> Any:
        """The value, or `MISSING`."""
        try:
            slot = self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None
        if slot is None:
            return MISSING
        if slot.deadline < FOREVER and slot.deadline <= self._clock():
            self._expirations += 1
            self._forget(slot)
            return MISSING
        if slot.epoch is not self._epoch and not self._spared(slot):
            self._forget(slot)
            return MISSING
        if self._on_hit and not self._hit(slot):
            return MISSING
        if slot.hits & 3 != 3:  # noqa: PLR2004 # two bits count
            slot.hits += 1
        self._hits += 1
        return slot.value

    def put(  # noqa: C901, PLR0912 # the hot path is spelt out: a call costs as much as a step
        self, key: Any, value: Any, ttl: float | None, tags: Iterable[str] | None
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""
        # What may fail comes before the first change.
        try:
            slot = self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None
        held = _NO_TAGS
        if tags:
            # As a rule the tags are those of before: then there is nothing to check or to keep.
            held = self._last_tags if slot is None else slot.tags
            if tags != held:
                held = self._last_tags = checked_tags(tags)
        if ttl is None:
            ttl = self._default_ttl
        deadline = FOREVER
        if ttl is not None:
            number = ttl.__class__
            if not ((number is float or number is int) and 0 < ttl < _USUAL):
                checked_ttl(ttl)
            now = self._clock()
            deadline = now + ttl
            soonest = self._soonest
            if deadline < soonest:
                self._soonest = deadline
            elif now >= soonest:
                self._sweeping = True
        max_bytes = self._max_bytes
        size = 0 if max_bytes is None else self._sizeof(key, value)
        self._sets += 1
        if slot is None:
            if max_bytes is None and len(self._slots) >= self._max_size:
                self._evict()
            slot = Slot(key, value, deadline, held, self._epoch)
            self._slots[key] = slot
            self._policy.add(slot)
        else:
            slot.value = value
            slot.deadline = deadline
            slot.tags = held
            slot.epoch = self._epoch
            if slot.hits & 3 != 3:  # noqa: PLR2004 # two bits count
                slot.hits += 1
            if self._touches:
                self._policy.touch(slot)
        if max_bytes is not None:
            self._weigh(slot, size, max_bytes)
        if self._sweeping:
            self.sweep_some(_STEP)

    def drop(self, key: Any) -> None:
        """Forget a key."""
        slot = self.slot(key)
        if self._leased:
            self.leases.revoke(key)
        if slot is not None:
            self._forget(slot)

    def drop_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        if self._leased:
            self.leases.revoke_prefix(prefix)
        if self._slots:
            self._epoch += 1
            self._prefixes[prefix] = self._epoch
            self._lengths.add(len(prefix))
            self._begin_to_meet()

    def drop_tags(self, tags: Iterable[str]) -> None:
        """Forget what carries one of these tags."""
        held = checked_tags(tags)
        if self._leased:
            for tag in held:
                self.leases.tags.invalidate(tag)
        if held and self._slots:
            self._epoch += 1
            for tag in held:
                self._tags[tag] = self._epoch
            self._begin_to_meet()

    def drop_all(self) -> None:
        """Forget everything."""
        self.leases.revoke_all()
        self._slots.clear()
        self._policy.clear()
        self._tags.clear()
        self._prefixes.clear()
        self._lengths.clear()
        self._bytes = 0
        self._soonest = FOREVER
        self._sweeping = False

    def add_tags(self, key: Any, tags: Iterable[str]) -> None:
        """Have a stored entry carry these tags as well; nothing when there is none."""
        slot = self.slot(key)
        if slot is not None and self.is_alive(slot):
            slot.tags |= checked_tags(tags)

    def slot(self, key: Any) -> Slot | None:
        """The entry, dead or alive."""
        try:
            return self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None

    def is_alive(self, slot: Slot) -> bool:
        """Whether it neither expired nor was invalidated."""
        if slot.epoch is not self._epoch and not self._spared(slot):
            return False
        return slot.deadline == FOREVER or slot.deadline > self._clock()

    def refuses(self, slot: Slot) -> bool:
        """Whether the strategy has a rule against serving it."""
        if self._rule is None:
            return False
        left = remaining(slot.deadline, self._clock())
        return self._rule(slot.key, {"value": slot.value, "ttl": left, "tags": set(slot.tags)})

    def purge(self) -> None:
        """Reclaim all that expired or was invalidated."""
        self._policy.cursor = None
        while not self.sweep_some(len(self._slots) + 1):
            pass

    def sweep_some(self, count: int) -> bool:
        """Look at the next `count` entries from the oldest on; whether all were met."""
        policy = self._policy
        slot = policy.cursor or self._begin_sweep()
        now = self._clock()
        count = int(min(count, self._sweep_left))
        self._sweep_left -= count
        while count:
            if slot is policy.rings[self._sweep_ring]:
                self._sweep_ring += 1
                if self._sweep_ring == len(policy.rings):
                    self._finish_sweep()
                    return True
                slot = policy.rings[self._sweep_ring].next
                continue
            count -= 1
            current, slot = slot, slot.next
            if current.deadline <= now:
                self._expirations += 1
                self._forget(current)
            elif current.epoch is not self._epoch and not self._spared(current):
                self._forget(current)
            elif current.deadline < self._soonest:
                self._soonest = current.deadline
        policy.cursor = slot
        if not self._sweep_left:
            if slot is not policy.rings[0]:
                self._soonest = now  # of those it did not come to, one may be next
            self._finish_sweep()
            return True
        return False

    @property
    def sweep_is_due(self) -> bool:
        """Whether there may be something to reclaim."""
        return self._sweeping or self._clock() >= self._soonest

    def _hit(self, slot: Slot) -> bool:
        if self.refuses(slot):
            if self._slots.get(slot.key) is slot:  # the rule may have forgotten it itself
                self._forget(slot)
            return False
        if self._touches:
            self._policy.touch(slot)
        return True

    def _forget(self, slot: Slot) -> None:
        del self._slots[slot.key]
        self._policy.remove(slot)
        self._bytes -= slot.size

    def _spared(self, slot: Slot) -> bool:
        """Whether no tag or prefix invalidated it since its epoch; then it is of this epoch."""
        tags = self._tags
        if slot.tags and tags and not tags.keys().isdisjoint(slot.tags):
            for tag in slot.tags:
                if tags.get(tag, 0) > slot.epoch:
                    return False
        if self._prefixes and isinstance(slot.key, str):
            for length in self._lengths:
                if self._prefixes.get(slot.key[:length], 0) > slot.epoch:
                    return False
        slot.epoch = self._epoch
        return True

    def _begin_to_meet(self) -> None:
        """An invalidation waits for all entries to be met; too many of them do not wait."""
        self._sweeping = True
        self.sweep_some(_STEP)
        if len(self._prefixes) + len(self._tags) > len(self._slots) + _SLACK:
            self.purge()

    def _weigh(self, slot: Slot, size: int, max_bytes: int) -> None:
        self._bytes += size - slot.size
        slot.size = size
        if size > max_bytes:
            self._evictions += 1
            self._forget(slot)
        while self._bytes > max_bytes or len(self._slots) > self._max_size:
            self._evict()

    def _evict(self) -> None:
        slot = self._policy.evict(self._epoch, self._spared)
        del self._slots[slot.key]
        self._bytes -= slot.size
        self._evictions += 1

    def _begin_sweep(self) -> Slot:
        rings = self._policy.rings
        self._sweep_ring = 0
        self._sweep_epoch = self._epoch
        self._soonest = FOREVER
        # In a single ring all that was there is before all that was added, or used, since: after
        # as many entries the sweep is over, or a busy LRU would never let it end.
        self._sweep_left = len(self._slots) if len(rings) == 1 else FOREVER
        return rings[0].next

    def _finish_sweep(self) -> None:
        """Every entry was met, written or moved since the sweep began: what waited then is done."""
        self._policy.cursor = None
        self._sweeping = self._epoch != self._sweep_epoch
        for waiting in (self._tags, self._prefixes):
            for name in [one for one, epoch in waiting.items() if epoch <= self._sweep_epoch]:
                del waiting[name]
        self._lengths = {len(prefix) for prefix in self._prefixes}


def _unhashable(key: Any) -> CacheKeyError:
    return CacheKeyError("key", key, "use a hashable value, best a string")
