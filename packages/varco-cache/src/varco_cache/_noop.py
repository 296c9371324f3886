"""A cache that holds nothing."""

# ruff: noqa: ARG002 # every argument is dropped
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_cache._backend import CacheBackend
from varco_cache._checks import checked_ttl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_cache._entry import CacheEntry
    from varco_cache._lease import Lease


class NoOpCache(CacheBackend):
    """Misses always; for tests, or to switch caching off. It still shares running loads."""

    local: bool = True
    reliable: bool = True

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """A miss."""
        return None

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store nothing."""
        checked_ttl(ttl)
        self.leases.revoke(key)

    async def delete(self, key: Any) -> None:
        """Only running loads are overtaken."""
        self.leases.revoke(key)

    async def clear(self) -> None:
        """Only running loads are overtaken."""
        self.leases.revoke_all()

    async def delete_prefix(self, prefix: str) -> None:
        """Only running loads are overtaken."""
        self.leases.revoke_prefix(prefix)

    async def invalidate_tags(self, *tags: str) -> None:
        """Only running loads are overtaken."""
        for tag in tags:
            self.leases.tags.invalidate(tag)

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store nothing."""
        self.leases.settle(lease)
        return False
