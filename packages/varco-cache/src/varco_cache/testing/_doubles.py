"""A clock that is told the time, and a cache that fails when it is told to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from varco_cache._backend import CacheBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from varco_cache._entry import CacheEntry
    from varco_cache._lease import Lease


class ManualClock:
    """Seconds that stand still until `advance`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now: float = now

    def __call__(self) -> float:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Fault(StrEnum):
    """What may happen to an operation."""

    NONE = "none"
    ERROR_BEFORE = "error-before"
    """It fails and did nothing."""
    ERROR_AFTER = "error-after"
    """It fails and was done all the same, like an answer that is lost."""
    HANG_BEFORE = "hang-before"
    """It answers never and did nothing."""
    HANG_AFTER = "hang-after"
    """It answers never and was done all the same."""


class FaultyCache(CacheBackend):
    """A cache behind a bad line: `fault` is asked for each operation, by its name."""

    def __init__(self, cache: CacheBackend, fault: Callable[[str], Fault]) -> None:
        self.cache = cache
        self.shared: bool = cache.shared
        self.fault = fault

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The entry, if the line is good."""
        found: CacheEntry | None = await self._do(
            "get", self.cache.get_entry, key, type_hint=type_hint
        )
        return found

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries, if the line is good."""
        found: dict[Any, CacheEntry] = await self._do(
            "get", self.cache.get_entries, keys, type_hint=type_hint
        )
        return found

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value, perhaps."""
        await self._do("set", self.cache.set, key, value, ttl=ttl, tags=tags)

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store values, perhaps."""
        await self._do("set", self.cache.set_many, items, ttl=ttl, tags=tags)

    async def delete(self, key: Any) -> None:
        """Forget a key, perhaps."""
        await self._do("delete", self.cache.delete, key)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget keys, perhaps."""
        await self._do("delete", self.cache.delete_many, keys)

    async def clear(self) -> None:
        """Forget everything, perhaps."""
        await self._do("clear", self.cache.clear)

    async def delete_prefix(self, prefix: str) -> None:
        """Forget by prefix, perhaps."""
        await self._do("delete_prefix", self.cache.delete_prefix, prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget by tag, perhaps."""
        await self._do("invalidate_tags", self.cache.invalidate_tags, *tags)

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load, perhaps."""
        found: Lease = await self._do("lease", self.cache.lease, key, tags=tags)
        return found

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded, perhaps."""
        stored: bool = await self._do("fill", self.cache.fill, lease, value, ttl=ttl, tags=tags)
        return stored

    async def release(self, lease: Lease) -> None:
        """Give up a lease, perhaps."""
        await self._do("release", self.cache.release, lease)

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill would be stored, perhaps."""
        held: bool = await self._do("holds", self.cache.holds, lease)
        return held

    async def _do(self, name: str, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        fault = self.fault(name)
        # An operation over a line lets others go first, before and after it is done.
        await anyio.lowlevel.checkpoint()
        if fault is Fault.HANG_BEFORE:
            await anyio.sleep_forever()
        if fault is Fault.ERROR_BEFORE:
            raise ConnectionError(f"{name}: the line is down")
        result = await act(*args, **kwargs)
        await anyio.lowlevel.checkpoint()
        if fault is Fault.HANG_AFTER:
            await anyio.sleep_forever()
        if fault is Fault.ERROR_AFTER:
            raise ConnectionError(f"{name}: the line went down")
        return result
