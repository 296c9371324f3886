"""The in-process cache."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from varco_cache._base import CacheBackend, remaining
from varco_cache._entry import FOREVER, MISSING, CacheEntry, CacheStats, checked_ttl
from varco_cache._errors import CacheKeyError
from varco_cache._eviction import Eviction, Slot, make_policy
from varco_cache._settings import CacheSettings
from varco_cache._sizeof import approximate_size
from varco_cache._strategies import InvalidationStrategy, asks_on_hit
from varco_cache._tags import NO_CELLS, any_dead, checked_tags, same_tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from varco_cache._lease import Lease

_STEP = 2
"""Entries that a write sweeps when a sweep is due: reclaiming needs no background task."""

_SLICE = 100
"""Entries that a background sweep looks at before it lets the loop go on."""

_PREFIX_SLACK = 1024

_SWEEP_SHARE = 0.05
"""Most of the loop's time that background sweeps take."""


class InMemoryCache(CacheBackend):
    """A bounded cache in this process.

    Expired and invalidated entries are never served; their memory is reclaimed by writes, and by
    a background sweep while the cache is started. Values are stored as they are, not copied.

    Not safe for several threads. No operation awaits, so each is one step for every task of the
    loop: that is what protects the state.
    """

    local: bool = True
    reliable: bool = True

    def __init__(
        self,
        settings: CacheSettings | None = None,
        *,
        strategy: InvalidationStrategy | None = None,
        max_size: int | None = None,
        max_bytes: int | None = None,
        eviction: Eviction | str | None = None,
        sizeof: Callable[[Any, Any], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The other arguments win over `settings`.

        Args:
            settings: Bounds and habits; the defaults of `CacheSettings` when None.
            strategy: Gives a default time to live, or invalidates from outside.
            max_size: Most entries.
            max_bytes: Most bytes, as `sizeof` counts them.
            eviction: "s3-fifo", "lru" or "fifo".
            sizeof: Bytes of a key and its value; by default a walk through built-in containers.
            clock: Seconds, never going back.
        """
        given = {"max_size": max_size, "max_bytes": max_bytes, "eviction": eviction}
        chosen = {name: value for name, value in given.items() if value is not None}
        self.settings: CacheSettings = dataclasses.replace(settings or CacheSettings(), **chosen)  # type: ignore[arg-type] # each value has its field's type
        self._strategy = strategy
        self._ask = strategy if strategy is not None and asks_on_hit(strategy) else None
        default = None if strategy is None else strategy.default_ttl
        self._default_ttl = self.settings.default_ttl if default is None else default
        self._max_size = FOREVER if self.settings.max_size is None else self.settings.max_size
        self._max_bytes = self.settings.max_bytes
        self._sizeof = sizeof or approximate_size
        self._clock = clock
        self._slots: dict[Any, Slot] = {}
        self._policy = make_policy(self.settings.eviction)
        self._touches = self._policy.touches
        self._plain = self._max_bytes is None and not self._touches
        self._on_hit = self._touches or self._ask is not None
        self._book = self.leases.tags
        self._leased = self.leases.by_key
        self._bytes = 0
        self._hits = self._misses = self._sets = self._evictions = self._expirations = 0
        # An invalidation of tags or of a prefix begins a new epoch, and an entry of an older one
        # is looked at again when it is next met. Prefixes wait here until a sweep met all.
        self._epoch = 0
        self._prefixes: dict[str, int] = {}
        self._lengths: set[int] = set()
        self._soonest = FOREVER
        self._sweeping = False
        self._sweep_epoch = 0
        self._sweep_ring = 0
        self._sweep_left: float = 0
        if strategy is not None:
            strategy.bind(self)

    @property
    def default_ttl(self) -> float | None:
        """Seconds that an entry lives which is set without a `ttl`; None for no end."""
        return self._default_ttl

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

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:  # noqa: ARG002 # kept as they are
        """The value, or `default` on a miss; pass `MISSING` to tell a miss from a cached None."""
        # The common miss and hit without a further call; `peek` decides about all else.
        try:
            slot = self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None
        if slot is None:
            self._misses += 1
            return default
        if (
            slot.epoch is self._epoch
            and not self._on_hit
            and ((deadline := slot.deadline) == FOREVER or deadline > self._clock())
        ):
            if slot.hits & 3 != 3:  # noqa: PLR2004 # two bits count
                slot.hits += 1
            self._hits += 1
            return slot.value
        value = self.peek(key)
        if value is MISSING:
            self._misses += 1
            return default
        return value

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:  # noqa: ARG002 # likewise
        """The value with its remaining time to live and its tags; None on a miss."""
        value = self.peek(key)
        if value is MISSING:
            self._misses += 1
            return None
        slot = self._slots[key]
        left = remaining(slot.deadline, self._clock()) if slot.deadline < FOREVER else FOREVER
        return CacheEntry(value, left, frozenset(cell.name for cell in slot.tags))

    async def exists(self, key: Any) -> bool:
        """Whether `get` would hit; counts neither as hit nor as use."""
        slot = self._slot(key)
        return slot is not None and self._alive(slot) and not self._refuses(slot)

    async def set(  # noqa: C901, PLR0912 # the hot path is spelt out
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] | None = ()
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""
        if self._leased:
            self.leases.revoke(key)
        # The common overwrite without a further call; `_put` decides about all else.
        try:
            slot = self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None
        if slot is None:
            self._put(key, value, ttl, tags)
            return
        held = slot.tags
        alike = slot.epoch is self._epoch and not self._sweeping and self._plain
        if alike and (held or tags):
            kind = tags.__class__
            if (kind is set or kind is frozenset) and len(tags) == len(held):  # type: ignore[arg-type] # it is one
                for cell in held:
                    if cell.name not in tags:  # type: ignore[operator] # likewise
                        alike = False
                        break
            else:
                alike = False
        if not alike:
            self._put(key, value, ttl, tags)
            return
        if ttl is None:
            ttl = self._default_ttl
        if ttl is None:
            slot.deadline = FOREVER
        elif 0 < ttl < FOREVER:
            now = self._clock()
            slot.deadline = deadline = now + ttl
            if deadline < self._soonest:
                self._soonest = deadline
            elif now >= self._soonest:
                self._sweeping = True
        else:
            checked_ttl(ttl)
            slot.deadline = FOREVER
        slot.value = value
        if slot.hits & 3 != 3:  # noqa: PLR2004 # two bits count
            slot.hits += 1
        self._sets += 1

    async def delete(self, key: Any) -> None:
        """Forget a key; a load that began before does not bring it back."""
        self.drop(key)

    async def clear(self) -> None:
        """Forget everything."""
        self.leases.revoke_all()
        self._book.invalidate_all()
        self._slots.clear()
        self._policy.clear()
        self._prefixes.clear()
        self._lengths.clear()
        self._bytes = 0
        self._soonest = FOREVER
        self._sweeping = False

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`, at a cost that knows no size."""
        self.drop_prefix(prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget everything stored with one of these tags, at a cost that knows no size."""
        self.drop_tags(tags)

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded under a lease unless it was revoked; whether it was stored."""
        if not self.leases.settle(lease, tags):
            return False
        self._put(lease.key, value, ttl, lease.tags if tags is None else tags)
        return True

    async def load(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
        join: bool = True,
        look: bool = True,
    ) -> Any:
        """`get_or_set` for a key that was just missed, by `peek`, which does not count it."""
        if look:
            self._misses += 1
        return await super().load(
            key, loader, ttl=ttl, tags=tags, type_hint=type_hint, join=join, look=look
        )

    def drop(self, key: Any) -> None:
        """`delete` without a coroutine."""
        slot = self._slot(key)
        if self._leased:
            self.leases.revoke(key)
        if slot is not None:
            self._forget(slot)

    def drop_prefix(self, prefix: str) -> None:
        """`delete_prefix` without a coroutine."""
        if self._leased:
            self.leases.revoke_prefix(prefix)
        if not self._slots:
            return
        self._epoch += 1
        self._prefixes[prefix] = self._epoch
        self._lengths.add(len(prefix))
        self._sweeping = True
        self._sweep(_STEP)
        if len(self._prefixes) > len(self._slots) + _PREFIX_SLACK:
            self._purge()

    def drop_tags(self, tags: Iterable[str]) -> None:
        """`invalidate_tags` without a coroutine."""
        for tag in checked_tags(tags):
            if self._book.invalidate(tag):
                self._epoch += 1
                self._sweeping = True

    def add_tags(self, key: Any, tags: Iterable[str]) -> None:
        """Have a stored entry carry these tags as well; nothing when there is none."""
        slot = self._slot(key)
        if slot is not None and self._alive(slot):
            held = {cell.name for cell in slot.tags}
            slot.tags += self._book.acquire(checked_tags(tags) - held)

    @property
    def size(self) -> int:
        """The number of entries that would be served; the others are reclaimed first."""
        self._purge()
        return len(self._slots)

    def stats(self) -> CacheStats:
        """What the cache did and holds."""
        return CacheStats(
            hits=self._hits,
            misses=self._misses,
            sets=self._sets,
            loads=self._flights.loads,
            evictions=self._evictions,
            expirations=self._expirations,
            entries=len(self._slots),
            size_bytes=self._bytes,
        )

    async def sweep(self) -> None:
        """Reclaim what expired or was invalidated, in slices between which the loop goes on."""
        await self._sweep_all()

    async def stop(self) -> None:
        """End the background sweep; the cache still answers afterwards."""
        await super().stop()
        if self._strategy is not None:
            await self._strategy.stop()

    async def _start(self, *, scoped: bool) -> None:
        if not self._background.running:
            if self._strategy is not None:
                await self._strategy.start()
            await super()._start(scoped=scoped)
            self.spawn(self._keep_sweeping)

    async def _keep_sweeping(self) -> None:
        pause = interval = self.settings.sweep_interval
        while True:
            await anyio.sleep(pause)
            pause = interval
            if self._sweeping or self._clock() >= self._soonest:
                spent = await self._sweep_all()
                pause = max(interval, spent / _SWEEP_SHARE)

    async def _sweep_all(self) -> float:
        """`sweep`; the seconds that it took from the loop."""
        self._policy.cursor = None
        spent = 0.0
        while True:
            begun = time.perf_counter()
            finished = self._sweep(_SLICE)
            spent += time.perf_counter() - begun
            if finished:
                return spent
            await anyio.lowlevel.checkpoint()

    def _slot(self, key: Any) -> Slot | None:
        try:
            return self._slots.get(key)
        except TypeError:
            raise _unhashable(key) from None

    def _put(self, key: Any, value: Any, ttl: float | None, tags: Iterable[str] | None) -> None:
        slot = self._slot(key)
        # What may fail comes before the first change.
        size = 0 if self._max_bytes is None else self._sizeof(key, value)
        deadline = FOREVER
        if (ttl := self._default_ttl if ttl is None else ttl) is not None:
            deadline = self._deadline(ttl)
        self._sets += 1
        if slot is None:
            cells = self._book.acquire(tags) if tags else NO_CELLS
            slot = Slot(key, value, deadline, cells, self._epoch)
            self._slots[key] = slot
            self._policy.add(slot)
            if self._max_bytes is None and len(self._slots) > self._max_size:
                self._evict()
        else:
            if slot.tags or tags:
                self._retag(slot, tags)
            slot.value = value
            slot.deadline = deadline
            slot.epoch = self._epoch
            if slot.hits & 3 != 3:  # noqa: PLR2004 # two bits count
                slot.hits += 1
            if self._touches:
                self._policy.touch(slot)
        if self._max_bytes is not None:
            self._weigh(slot, size, self._max_bytes)
        if self._sweeping:
            self._sweep(_STEP)

    def _deadline(self, ttl: float) -> float:
        if not 0 < ttl < FOREVER:
            checked_ttl(ttl)
            return FOREVER
        now = self._clock()
        deadline = now + ttl
        if deadline < self._soonest:
            self._soonest = deadline
        elif now >= self._soonest:
            self._sweeping = True
        return deadline

    def _retag(self, slot: Slot, tags: Iterable[str] | None) -> None:
        held = slot.tags
        if not tags or any_dead(held) or not same_tags(held, tags):
            slot.tags = self._book.acquire(tags) if tags else NO_CELLS
            self._book.release(held)

    def _weigh(self, slot: Slot, size: int, max_bytes: int) -> None:
        self._bytes += size - slot.size
        slot.size = size
        if size > max_bytes:
            self._evictions += 1
            self._forget(slot)
        while self._bytes > max_bytes or len(self._slots) > self._max_size:
            self._evict()

    def _evict(self) -> None:
        """Make room for one: what was invalidated goes first when it is met."""
        while True:
            slot = self._policy.victim(self._epoch)
            if slot.epoch is self._epoch or not self._spared(slot):
                self._evictions += 1
                self._forget(slot)
                return

    def _hit(self, slot: Slot) -> bool:
        if self._refuses(slot):
            if self._slots.get(slot.key) is slot:  # the rule may have forgotten it itself
                self._forget(slot)
            return False
        if self._touches:
            self._policy.touch(slot)
        return True

    def _refuses(self, slot: Slot) -> bool:
        """Whether the strategy has a rule against serving it."""
        if self._ask is None:
            return False
        left = remaining(slot.deadline, self._clock())
        metadata = {"value": slot.value, "ttl": left, "tags": {cell.name for cell in slot.tags}}
        return self._ask.should_invalidate(slot.key, metadata)

    def _forget(self, slot: Slot) -> None:
        del self._slots[slot.key]
        self._policy.remove(slot)
        if slot.tags:
            self._book.release(slot.tags)
        self._bytes -= slot.size

    def _alive(self, slot: Slot) -> bool:
        if slot.epoch is not self._epoch and not self._spared(slot):
            return False
        return slot.deadline == FOREVER or slot.deadline > self._clock()

    def _spared(self, slot: Slot) -> bool:
        """Whether no tag or prefix invalidated it since its epoch; then it is of this epoch."""
        if slot.tags and any_dead(slot.tags):
            return False
        if self._prefixes and isinstance(slot.key, str):
            for length in self._lengths:
                if self._prefixes.get(slot.key[:length], 0) > slot.epoch:
                    return False
        slot.epoch = self._epoch
        return True

    def _purge(self) -> None:
        self._policy.cursor = None
        while not self._sweep(len(self._slots) + 1):
            pass

    def _sweep(self, count: int) -> bool:
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
        """Every entry was met, written or moved since the sweep began: older prefixes are done."""
        self._policy.cursor = None
        self._sweeping = self._epoch != self._sweep_epoch
        met = [prefix for prefix, epoch in self._prefixes.items() if epoch <= self._sweep_epoch]
        for prefix in met:
            del self._prefixes[prefix]
        if met:
            self._lengths = {len(prefix) for prefix in self._prefixes}


def _unhashable(key: Any) -> CacheKeyError:
    return CacheKeyError("key", key, "use a hashable value, best a string")
