"""Warmers fill a cache before anybody asks."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from varco_cache._checks import checked_ttl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

logger = logging.getLogger("varco_cache")


class CacheWarmer(ABC):
    """Fills a cache; `CacheBackend.add_warmer` has it run when the cache starts.

    Warming while the cache is in use may store what was read before a concurrent invalidation;
    warm before the first reader, or give the entries a short `ttl`.
    """

    @abstractmethod
    async def warm(self, cache: Any) -> None:
        """Store what should be there."""

    async def warm_safely(self, cache: Any) -> None:
        """`warm`, with its failure logged: a cold cache is slow, not broken."""
        try:
            await self.warm(cache)
        except Exception:
            logger.exception("warming a cache failed: %s", type(self).__qualname__)


class QueryCacheWarmer(CacheWarmer):
    """Stores the (key, value) pairs that `query_fn` returns."""

    def __init__(
        self,
        query_fn: Callable[[], Awaitable[Iterable[tuple[Any, Any]]]],
        *,
        ttl: float | None = None,
    ) -> None:
        self._query_fn = query_fn
        self._ttl = checked_ttl(ttl)

    async def warm(self, cache: Any) -> None:
        """Run the query and store its pairs."""
        await cache.set_many(dict(await self._query_fn()), ttl=self._ttl)


class SnapshotCacheWarmer(CacheWarmer):
    """Stores the mapping that `snapshot_fn` returns."""

    def __init__(
        self,
        snapshot_fn: Callable[[], Awaitable[Mapping[Any, Any]]],
        *,
        ttl: float | None = None,
    ) -> None:
        self._snapshot_fn = snapshot_fn
        self._ttl = checked_ttl(ttl)

    async def warm(self, cache: Any) -> None:
        """Read the snapshot and store it."""
        await cache.set_many(await self._snapshot_fn(), ttl=self._ttl)


class CompositeWarmer(CacheWarmer):
    """Runs warmers one after the other; one that fails does not stop the next."""

    def __init__(self, *warmers: CacheWarmer) -> None:
        self._warmers = warmers

    async def warm(self, cache: Any) -> None:
        """Run each."""
        for warmer in self._warmers:
            await warmer.warm_safely(cache)
