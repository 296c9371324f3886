"""The in-process cache."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from varco_cache._backend import CacheBackend
from varco_cache._entry import FOREVER, MISSING, CacheEntry, CacheStats
from varco_cache._errors import CacheConfigError
from varco_cache._settings import CacheSettings
from varco_cache._sizeof import approximate_size
from varco_cache._store import Store, remaining
from varco_cache._strategies import InvalidationStrategy, asks_on_hit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from varco_cache._eviction import Eviction
    from varco_cache._lease import Lease

_SLICE = 100
"""Entries that a background sweep looks at before it lets the loop go on."""

_SWEEP_SHARE = 0.05
"""Most of the loop's time that background sweeps take."""


class InMemoryCache(Store, CacheBackend):
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
        if strategy is not None and not isinstance(strategy, InvalidationStrategy):  # pyright: ignore[reportUnnecessaryIsInstance] # untyped callers
            raise CacheConfigError("strategy", strategy, "derive it from InvalidationStrategy")
        given = {"max_size": max_size, "max_bytes": max_bytes, "eviction": eviction}
        chosen = {name: value for name, value in given.items() if value is not None}
        self.settings: CacheSettings = dataclasses.replace(settings or CacheSettings(), **chosen)  # type: ignore[arg-type] # each value has its field's type
        default = None if strategy is None else strategy.default_ttl
        super().__init__(
            max_size=self.settings.max_size,
            max_bytes=self.settings.max_bytes,
            default_ttl=self.settings.default_ttl if default is None else default,
            eviction=self.settings.eviction,
            sizeof=sizeof or approximate_size,
            clock=clock,
            refuses=strategy.should_invalidate if strategy and asks_on_hit(strategy) else None,
        )
        self._strategy = strategy
        if strategy is not None:
            strategy.bind(self)

    @property
    def default_ttl(self) -> float | None:
        """Seconds that an entry lives which is set without a `ttl`; None for no end."""
        return self._default_ttl

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:  # noqa: ARG002 # kept as they are
        """The value, or `default` on a miss; pass `MISSING` to tell a miss from a cached None."""
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
        return CacheEntry(value, left, slot.tags)

    async def exists(self, key: Any) -> bool:
        """Whether `get` would hit; counts neither as hit nor as use."""
        slot = self.slot(key)
        return slot is not None and self.is_alive(slot) and not self.refuses(slot)

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] | None = ()
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""
        if self._leased:
            self.leases.revoke(key)
        self.put(key, value, ttl, tags)

    async def delete(self, key: Any) -> None:
        """Forget a key; a load that began before does not bring it back."""
        self.drop(key)

    async def clear(self) -> None:
        """Forget everything."""
        self.drop_all()

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
        self.put(lease.key, value, ttl, lease.tags if tags is None else tags)
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

    @property
    def size(self) -> int:
        """The number of entries that would be served; the others are reclaimed first."""
        self.purge()
        return len(self._slots)

    def stats(self) -> CacheStats:
        """What the cache did and holds."""
        return CacheStats(
            hits=self._hits,
            misses=self._misses,
            sets=self._sets,
            loads=self._flights.loads,
            stale=self._flights.stale,
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
            if self.sweep_is_due:
                spent = await self._sweep_all()
                pause = max(interval, spent / _SWEEP_SHARE)

    async def _sweep_all(self) -> float:
        """`sweep`; the seconds that it took from the loop."""
        self._policy.cursor = None
        spent = 0.0
        while True:
            begun = time.perf_counter()
            finished = self.sweep_some(_SLICE)
            spent += time.perf_counter() - begun
            if finished:
                return spent
            await anyio.lowlevel.checkpoint()
