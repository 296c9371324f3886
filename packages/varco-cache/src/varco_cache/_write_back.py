"""What "write-back" has promised and not yet written."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from varco_cache._backend import GuardedCache
from varco_cache._memory import InMemoryCache

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from varco_cache._backend import CacheBackend

_MOST_PENDING = 10_000

logger = logging.getLogger("varco_cache")


class WriteBuffer:
    """Pending writes to `target`, readable meanwhile as a layer of their own.

    A key stays in `pending` until the target has its value, or has forgotten its old one because
    the new one expired or was invalidated first. `paused` keeps a write that is under way from
    landing after an invalidation.
    """

    def __init__(self, target: CacheBackend, *, clock: Callable[[], float]) -> None:
        self.cache = InMemoryCache(clock=clock)
        self._target = target
        self._writing = anyio.Lock(fast_acquire=True)
        # Each key with a token of its own: what was written again since is another token.
        self._pending: dict[Any, object] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._pending

    async def add(self, key: Any, value: Any, ttl: float | None, tags: frozenset[str]) -> None:
        """Promise a write; past the bound the oldest is written, or forgotten, first."""
        self._pending[key] = object()
        await self.cache.set(key, value, ttl=ttl, tags=tags)
        while len(self._pending) > _MOST_PENDING:
            oldest = next(iter(self._pending))
            if not await self._write(oldest):
                await self._target.delete(oldest)
                self._pending.pop(oldest, None)
                self.cache.drop(oldest)

    async def flush(self) -> int:
        """Write all that is pending now, up to the first failure; how many are pending still."""
        for key in list(self._pending):
            if key in self._pending and not await self._write(key):
                break
        return len(self._pending)

    async def finish(self) -> None:
        """Write all, and say what had to be dropped."""
        left = await self.flush()
        if left:
            logger.error("%d pending writes were dropped: the cache beneath is away", left)

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """No write is under way."""
        async with self._writing:
            yield

    async def _write(self, key: Any) -> bool:
        async with self._writing:
            token = self._pending.get(key)
            if token is None:
                return True
            entry = await self.cache.get_entry(key)
            if entry is None:
                await self._target.delete(key)
            elif isinstance(self._target, GuardedCache):
                if not await self._target.try_set(key, entry.value, ttl=entry.ttl, tags=entry.tags):
                    return False
            else:
                await self._target.set(key, entry.value, ttl=entry.ttl, tags=entry.tags)
            if self._pending.get(key) is token:
                del self._pending[key]
                self.cache.drop(key)
            return True
